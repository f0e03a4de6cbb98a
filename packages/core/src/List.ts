/** What a registry holds: its repositories, and the tags of one. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Reference from "./model/Reference.js"
import * as Client from "./Registry/Client.js"
import { connect } from "./Registry/Connection.js"
import * as Page from "./Registry/Page.js"
import * as Scopes from "./Registry/Scopes.js"
import * as RegistryConfig from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import type { ValidationError } from "./ValidationError.js"

export interface ListOptions {
  /** Names asked for in one request, 1 to 1000. Default 1000; registries may send fewer. */
  readonly pageSize?: number | undefined
  /** Fail with `Protocol` where the registry sends a page twice, rather than warn and end there. Default false. */
  readonly complete?: boolean | undefined
}

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig

/**
 * The names of all repositories of a registry, sorted. `host` is `HOST[:PORT]` or a URL; by default the configured
 * registry. A public registry mostly refuses: reason `Unauthorized`, `Denied` or `NotFound`.
 *
 * Fails with a RegistryError, or a ValidationError for a malformed host.
 *
 * @example
 * ```ts
 * import { listRepositories } from "@effect-registry/core"
 *
 * const program = listRepositories("localhost:15000")
 * ```
 * @since 0.1.0
 */
export const listRepositories = (
  host?: string,
  options: ListOptions = {}
): Effect.Effect<ReadonlyArray<string>, RegistryError | ValidationError, Environment> =>
  collect(streamRepositories(host, options)).pipe(Effect.withSpan("effect-registry.listRepositories"))

/**
 * The names of all repositories, page by page in the registry's order. Fails as `listRepositories` does.
 *
 * @example
 * ```ts
 * import { streamRepositories } from "@effect-registry/core"
 * import * as Stream from "effect/Stream"
 *
 * const first = Stream.runHead(streamRepositories("localhost:15000"))
 * ```
 * @since 0.1.0
 */
export const streamRepositories = (
  host?: string,
  options: ListOptions = {}
): Stream.Stream<string, RegistryError | ValidationError, Environment> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const endpoint = yield* RegistryConfig.find(host)
      const client = yield* Client.make(endpoint, { repository: Option.none(), scopes: [Scopes.catalog] })
      return Page.names(
        client,
        `list repositories of ${endpoint.host}`,
        "_catalog",
        "repositories",
        options.pageSize,
        options.complete
      )
    })
  )

/**
 * All tags of a repository, sorted.
 *
 * Fails with a RegistryError (`NotFound` where there is no such repository), or a ValidationError for a malformed name.
 *
 * @example
 * ```ts
 * import { listTags } from "@effect-registry/core"
 *
 * const program = listTags("localhost:15000/team/app")
 * ```
 * @since 0.1.0
 */
export const listTags = (
  repository: string | Reference.Reference,
  options: ListOptions = {}
): Effect.Effect<ReadonlyArray<string>, RegistryError | ValidationError, Environment> =>
  collect(streamTags(repository, options)).pipe(Effect.withSpan("effect-registry.listTags"))

/**
 * All tags of a repository, page by page in the registry's order. Fails as `listTags` does.
 *
 * @example
 * ```ts
 * import { streamTags } from "@effect-registry/core"
 * import * as Stream from "effect/Stream"
 *
 * const releases = streamTags("localhost:15000/team/app").pipe(Stream.filter((tag) => tag.startsWith("v")))
 * ```
 * @since 0.1.0
 */
export const streamTags = (
  repository: string | Reference.Reference,
  options: ListOptions = {}
): Stream.Stream<string, RegistryError | ValidationError, Environment> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { client, repository: name } = yield* connect(repository, Reference.parseRepository, "pull")
      return Page.names(
        client,
        `list tags of ${Client.nameOf(client, name)}`,
        `${name}/tags/list`,
        "tags",
        options.pageSize,
        options.complete
      )
    })
  )

// internal

/** Registries differ in their order, and a page may repeat the end of the one before. */
const collect = <E, R>(names: Stream.Stream<string, E, R>): Effect.Effect<ReadonlyArray<string>, E, R> =>
  Effect.map(Stream.runCollect(names), (all) => [...new Set(Chunk.toReadonlyArray(all))].sort())
