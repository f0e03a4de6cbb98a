/** The tags of a repository, for whoever has to know them all. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Reference from "../model/Reference.js"
import type { RegistryError } from "../RegistryError.js"
import * as Client from "./Client.js"
import * as Failure from "./Failure.js"
import * as Page from "./Page.js"

/**
 * All tags, each once. Fails rather than to end early, because what is not seen could need what goes: with `TooLarge` beyond
 * `max`, and with `Protocol` where a page comes twice or names what is no tag.
 */
export const list = (
  client: Client.Client,
  repository: string,
  max: number
): Effect.Effect<ReadonlyArray<string>, RegistryError> =>
  Effect.gen(function* () {
    const path = `${repository}/tags/list`
    const operation = `list tags of ${Client.nameOf(client, repository)}`
    const fail = (reason: "TooLarge" | "Protocol", detail: string) =>
      Effect.fail(Failure.make({ operation, method: "GET", url: Client.urlOf(client, path) }, reason, { detail }))
    const listed = yield* Page.names(client, operation, path, "tags", Page.maxPageSize, true).pipe(
      Stream.take(max + 1),
      Stream.runCollect
    )
    const all = [...new Set(listed)]
    if (all.length > max) return yield* fail("TooLarge", `more than ${max} tags`)
    const odd = all.find((tag) => !Reference.isTag(tag))
    if (odd !== undefined) return yield* fail("Protocol", `${JSON.stringify(odd.slice(0, 200))} is no tag`)
    return all
  })
