/** What a repository has under its tags. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Digest } from "../model/Digest.js"
import type { Connection } from "../Registry/Connection.js"
import * as Manifest from "../Registry/Manifest.js"
import * as Tags from "../Registry/Tags.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"

/** More than any repository is meant to have. */
export const maxTags = 500_000

/** All tags, each once. Fails rather than to end early: what is not seen could need what goes. */
export const tags = ({ client, repository }: Connection): Effect.Effect<ReadonlyArray<string>, RegistryError> =>
  Tags.list(client, repository, maxTags)

/** What each tag names, without those that are gone by now. */
export const digests = (
  { client, repository }: Connection,
  names: ReadonlyArray<string>
): Effect.Effect<ReadonlyMap<string, Digest>, RegistryError | ValidationError> =>
  Effect.map(
    Effect.forEach(names, (tag) => digest({ client, repository }, tag), { concurrency: client.config.concurrency }),
    (found) =>
      new Map(
        names.flatMap((tag, index) =>
          Option.toArray(Option.map(found[index] ?? Option.none(), (each) => [tag, each] as const))
        )
      )
  )

/** What the tag names now. */
export const digest = (
  { client, repository }: Pick<Connection, "client" | "repository">,
  tag: string
): Effect.Effect<Option.Option<Digest>, RegistryError | ValidationError> =>
  Effect.map(
    Manifest.head(client, repository, tag),
    Option.map((descriptor) => descriptor.digest)
  )
