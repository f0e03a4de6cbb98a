/** Lists of tags and repositories, page by page. https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#listing-tags */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ManifestStore } from "../ManifestStore.js"
import * as OciError from "../OciError.js"
import type { Page } from "../Route.js"
import { json } from "./Exchange.js"

export const list = (name: string, page: Page) =>
  Effect.gen(function* () {
    const tags = yield* (yield* ManifestStore).tags(name)
    if (Option.isNone(tags)) return yield* OciError.make("NAME_UNKNOWN", "no such repository", { detail: { name } })
    const { items, next } = paginate(tags.value, page)
    return json({ name, tags: items }, link(`/v2/${name}/tags/list`, next))
  })

export const catalog = (page: Page) =>
  Effect.gen(function* () {
    const { items, next } = paginate(yield* (yield* ManifestStore).repositories, page)
    return json({ repositories: items }, link("/v2/_catalog", next))
  })

/** The items after `last`, `n` at most, and the page that follows if there is more. `items` are sorted by code unit. */
export const paginate = (
  items: ReadonlyArray<string>,
  { last, n }: Page
): {
  readonly items: ReadonlyArray<string>
  readonly next: { readonly n: number; readonly last: string } | undefined
} => {
  const rest = last === undefined ? items : items.filter((item) => item > last)
  const taken = n === undefined ? rest : rest.slice(0, n)
  const end = taken.at(-1)
  return {
    items: taken,
    next: n === undefined || end === undefined || taken.length === rest.length ? undefined : { n, last: end }
  }
}

// internal

const link = (path: string, next: { readonly n: number; readonly last: string } | undefined): Record<string, string> =>
  next === undefined ? {} : { link: `<${path}?n=${next.n}&last=${encodeURIComponent(next.last)}>; rel="next"` }
