/** Numbers of bytes as people write them. */
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** `10G`, `500MB`, `64KiB`, `1000`: powers of ten, or with an `i` of two. At least 1. */
export const parse = (text: string): Option.Option<number> => {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgt])(i?))?b?$/i.exec(text.trim())
  if (match === null) return Option.none()
  const power = " kmgt".indexOf((match[2] ?? " ").toLowerCase())
  const bytes = Math.floor(Number(match[1]) * (match[3] ? 1024 : 1000) ** power)
  return bytes >= 1 && Number.isSafeInteger(bytes) ? Option.some(bytes) : Option.none()
}

/** An option that takes one. */
export const option = (name: string, description: string): Options.Options<number> =>
  Options.text(name).pipe(
    Options.withPseudoName("BYTES"),
    Options.withDescription(description),
    Options.mapEffect((text) =>
      Option.match(parse(text), {
        onNone: () =>
          Effect.fail(
            ValidationError.invalidValue(
              HelpDoc.p(`--${name} is a number of bytes such as 500M or 10GiB, not ${JSON.stringify(text)}`)
            )
          ),
        onSome: Effect.succeed
      })
    )
  )
