/** What every verb about a repository begins with. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Reference from "../model/Reference.js"
import * as RegistryConfig from "../RegistryConfig.js"
import type { ValidationError } from "../ValidationError.js"
import * as Client from "./Client.js"
import * as Scopes from "./Scopes.js"

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig

export interface Connection {
  readonly client: Client.Client
  readonly reference: Reference.Reference
  /** As the registry's API calls it. */
  readonly repository: string
}

/** Parses, finds the registry, and takes the caller's client, for these actions in the repository. */
export const connect = (
  reference: string | Reference.Reference,
  parse: (text: string) => Either.Either<Reference.Reference, ValidationError>,
  ...actions: readonly [Scopes.Action, ...ReadonlyArray<Scopes.Action>]
): Effect.Effect<Connection, ValidationError, Environment> =>
  Effect.gen(function* () {
    const parsed = typeof reference === "string" ? yield* parse(reference) : reference
    const config = yield* RegistryConfig.RegistryConfig
    const endpoint = yield* RegistryConfig.endpoint(config, parsed.host)
    const repository =
      endpoint.host === Reference.dockerHub ? Reference.hubRepository(parsed.repository) : parsed.repository
    const client = yield* Client.make(endpoint, {
      repository: Option.some(repository),
      scopes: [Scopes.repository(repository, ...actions)]
    })
    return { client, reference: parsed, repository }
  })
