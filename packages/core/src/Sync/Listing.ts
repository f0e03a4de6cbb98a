/** What the registries hold: the repositories that a pattern means, and the tags of each. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { streamRepositories, streamTags } from "../List.js"
import * as Reference from "../model/Reference.js"
import * as RegistryConfig from "../RegistryConfig.js"
import type { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import { nameOf, type Rule } from "./Rule.js"

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig

/** A registry could list names without end. */
export const maxNames = 100_000

export interface Tags {
  /** Each once. */
  readonly tags: ReadonlySet<string>
  /** Whether everything that was listed can be a tag; nothing is pruned by a listing that has other things in it. */
  readonly sound: boolean
}

/** A repository under its registry's own name. */
export interface Repository {
  readonly host: string
  readonly path: string
  /** `host/path`. */
  readonly name: string
}

/** The repository of a reference, with the host that it means. */
export const resolve = (
  reference: Pick<Reference.Reference, "host" | "repository">
): Effect.Effect<Repository, ValidationError, RegistryConfig.RegistryConfig> =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    const { host } = yield* RegistryConfig.endpoint(config, reference.host)
    const path = host === Reference.dockerHub ? Reference.hubRepository(reference.repository) : reference.repository
    return { host, path, name: nameOf(host, path) }
  })

/** The repositories that a rule takes from, sorted. A pattern leaves out what lies below the rule's own target. */
export const sources = ({
  below,
  source
}: Rule): Effect.Effect<ReadonlyArray<Repository>, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    if (source._tag === "Repository") return [yield* resolve(source.reference)]
    const { host } = yield* resolve({ host: source.host, repository: "x" })
    const listed = yield* bounded(
      `repositories of ${host}`,
      streamRepositories(host, { complete: true }).pipe(
        Stream.filter((path) => Reference.isRepository(path) && source.matches(path))
      )
    )
    const names = [...listed].sort().map((path): Repository => ({ host, path, name: nameOf(host, path) }))
    if (Option.isNone(below)) return names
    // Else the next sync would take its own copies for sources.
    const copies = (yield* resolve(below.value)).name.slice(0, -1)
    const fixed = nameOf(host, `${source.prefix}x`).slice(0, -1)
    return copies.length > fixed.length ? names.filter(({ name }) => !name.startsWith(copies)) : names
  })

/** The tags of a repository. With `complete` a listing that begins anew is a failure, not an end. */
export const tags = (
  { name }: Repository,
  complete: boolean
): Effect.Effect<Tags, RegistryError | ValidationError, Environment> =>
  Effect.map(bounded(`tags of ${name}`, streamTags(name, { complete })), (all) => {
    const valid = [...all].filter(Reference.isTag)
    return { tags: new Set(valid), sound: valid.length === all.size }
  })

/** The tags of a repository that may not be there yet: `None` then. */
export const tagsIfAny = (
  repository: Repository
): Effect.Effect<Option.Option<Tags>, RegistryError | ValidationError, Environment> =>
  tags(repository, true).pipe(
    Effect.asSome,
    Effect.catchIf(
      (error) => error._tag === "RegistryError" && error.reason === "NotFound",
      () => Effect.succeedNone
    )
  )

// internal

const bounded = <E, R>(
  what: string,
  names: Stream.Stream<string, E, R>
): Effect.Effect<ReadonlySet<string>, E | ValidationError, R> =>
  Effect.flatMap(Stream.runCollect(Stream.take(names, maxNames + 1)), (all) =>
    Chunk.size(all) > maxNames
      ? Effect.fail(ValidationError.of("TooLarge", what, `there are more than ${maxNames}`))
      : Effect.succeed(new Set(all))
  )
