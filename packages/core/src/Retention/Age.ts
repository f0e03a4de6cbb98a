/** When an image was made, as far as that can be believed. */
import * as Option from "effect/Option"

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md#pre-defined-annotation-keys */
export const annotation = "org.opencontainers.image.created"

/**
 * What builds write that are to come out the same every time: Go's year 1, 1970, and the 1980 in which zip begins. No
 * container image is that old.
 */
const placeholdersEnd = Date.UTC(1981, 0, 1)

const rfc3339 = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

/** The time in milliseconds; `None` for what is no RFC 3339 date, a placeholder, or later than `now`. */
export const instant = (text: string | null | undefined, now: number): Option.Option<number> => {
  const [, date, time, fraction = "", zone] = rfc3339.exec(text?.trim() ?? "") ?? []
  if (date === undefined || time === undefined || zone === undefined) return Option.none()
  const milliseconds = Date.parse(`${date}T${time}${fraction.slice(0, 4)}${zone.toUpperCase()}`)
  return milliseconds >= placeholdersEnd && milliseconds <= now ? Option.some(milliseconds) : Option.none()
}
