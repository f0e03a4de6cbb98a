/** Listings that come in pages. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-tags */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Json from "../model/Json.js"
import * as Progress from "../Progress.js"
import type { RegistryError } from "../RegistryError.js"
import * as Client from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Retry from "./Retry.js"

/** A registry without paging answers with everything it has; one without end would fill our memory. */
export const maxPage = 32 * 1024 * 1024
/** Every page could name another one. */
export const maxPages = 100_000
/** distribution 3 refuses larger pages with a 400, and it is what servers without a word about it take. */
export const maxPageSize = 1000

/**
 * The names of all pages in the registry's order. A page that was there before ends the listing with a warning: it
 * would begin anew. With `complete` it fails there, because names may be missing.
 */
export const names = (
  client: Client.Client,
  operation: string,
  path: string,
  field: "tags" | "repositories",
  pageSize: number = maxPageSize,
  complete = false
): Stream.Stream<string, RegistryError> =>
  Stream.suspend(() => {
    const seen = new Set<string>()
    const n = Math.max(1, Math.min(maxPageSize, Math.floor(pageSize)))
    return Stream.paginateChunkEffect(Client.urlOf(client, `${path}?n=${n}`), (url) =>
      Effect.gen(function* () {
        seen.add(url)
        const { items, next } = yield* page(client, operation, url, field)
        const chunk = Chunk.fromIterable(items)
        if (Option.isNone(next)) return [chunk, Option.none<string>()] as const
        if (seen.has(next.value) && complete) {
          const detail = "the same page came twice, so the list may not be complete"
          return yield* Effect.fail(Failure.make(callOf(operation, url), "Protocol", { detail }))
        }
        if (seen.has(next.value)) {
          const progress = yield* Progress.Progress
          const message = `${client.endpoint.host} sent the same page twice; the listing ends there`
          progress.emit({ _tag: "Warning", message })
          return [chunk, Option.none<string>()] as const
        }
        if (seen.size >= maxPages) {
          const call = callOf(operation, url)
          return yield* Effect.fail(Failure.make(call, "TooLarge", { detail: `more than ${maxPages} pages` }))
        }
        return [chunk, next] as const
      })
    )
  })

/** The target of `rel="next"`. https://www.rfc-editor.org/rfc/rfc8288#section-3 */
export const nextLink = (header: string | undefined): Option.Option<string> => {
  for (const match of (header ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[^;,"=\s]+\s*(?:=\s*(?:"[^"]*"|[^;,\s]*))?)*)/g)) {
    const rel = /;\s*rel\s*=\s*(?:"([^"]*)"|([^;,\s]*))/i.exec(match[2] ?? "")
    const relations = (rel?.[1] ?? rel?.[2] ?? "").toLowerCase().split(/\s+/)
    if (relations.includes("next")) return Option.some(match[1] ?? "")
  }
  return Option.none()
}

// internal

const List = Schema.NullOr(Schema.Array(Schema.String))
const Body = { tags: Schema.Struct({ tags: List }), repositories: Schema.Struct({ repositories: List }) }

const callOf = (operation: string, url: string): Exchange.Call => ({
  operation,
  method: "GET",
  url,
  headers: { accept: "application/json" },
  accept: [200]
})

const page = (client: Client.Client, operation: string, url: string, field: "tags" | "repositories") => {
  const call = callOf(operation, url)
  return Retry.exchange(client, call, (response) =>
    Effect.gen(function* () {
      const bytes = yield* Exchange.bytes(client, call, response, maxPage)
      const items = yield* decode(call, bytes, field)
      const link = nextLink(response.headers.link)
      if (Option.isNone(link)) return { items, next: Option.none<string>() }
      const next = yield* Exchange.judge(client, { ...call, url: response.url }, link.value, "link")
      return { items, next: Option.some(next.href) }
    })
  )
}

const decode = (
  call: Exchange.Call,
  bytes: Uint8Array,
  field: "tags" | "repositories"
): Effect.Effect<ReadonlyArray<string>, RegistryError> => {
  const limits = { subject: call.operation, reason: "InvalidOption", maxSize: maxPage } as const
  const parsed = Either.flatMap(
    Json.parse(bytes, limits),
    ({ value }): Either.Either<ReadonlyArray<string>, unknown> =>
      field === "tags"
        ? Either.map(Json.decode(Body.tags, value, limits), ({ tags }) => tags ?? [])
        : Either.map(Json.decode(Body.repositories, value, limits), ({ repositories }) => repositories ?? [])
  )
  return Either.match(parsed, {
    onLeft: (cause) =>
      Effect.fail(
        Failure.make(call, "NotARegistry", { status: 200, detail: `the answer is no list of ${field}`, cause })
      ),
    onRight: Effect.succeed
  })
}
