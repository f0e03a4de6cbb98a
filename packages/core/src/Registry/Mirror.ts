/** Where an image can be read: at the registry's mirrors, in their order, and at the registry itself. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Reference from "../model/Reference.js"
import * as Progress from "../Progress.js"
import * as RegistryConfig from "../RegistryConfig.js"
import { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import * as Client from "./Client.js"
import { connect } from "./Connection.js"
import * as Scopes from "./Scopes.js"

/** A repository that holds what is wanted, or should. */
export interface Place {
  readonly client: Client.Client
  /** As the API there calls it. */
  readonly repository: string
}

export interface Reading {
  readonly reference: Reference.Reference
  /** The registry itself, last of the places. */
  readonly own: Place
  /** What `use` comes to at the first place where it succeeds; the registry's own error where it does nowhere. */
  readonly first: <A, E, R>(
    use: (place: Place) => Effect.Effect<A, RegistryError | E, R>
  ) => Effect.Effect<A, RegistryError | E, R>
}

/** As `connect`, for reading. */
export const reading = (
  reference: string | Reference.Reference,
  parse: (text: string) => Either.Either<Reference.Reference, ValidationError>
): Effect.Effect<Reading, ValidationError, HttpClient.HttpClient | RegistryConfig.RegistryConfig> =>
  Effect.gen(function* () {
    const { client, reference: parsed, repository } = yield* connect(reference, parse, "pull")
    const own = { client, repository }
    const mirrors = yield* Effect.forEach(client.config.hosts[client.endpoint.host]?.mirrors ?? [], (mirror) =>
      Effect.gen(function* () {
        const { endpoint, path } = yield* RegistryConfig.mirror(client.config, mirror)
        const name = path === "" ? repository : `${path}/${repository}`
        const scopes = [Scopes.repository(name, "pull")]
        const there: Place = {
          client: yield* Client.make(endpoint, { repository: Option.some(name), scopes }),
          repository: name
        }
        return there
      })
    )
    const left = new Set(mirrors)
    const first: Reading["first"] = (use) => {
      const attempt = mirrors
        .filter((mirror) => left.has(mirror))
        .reduceRight(
          (next, mirror) =>
            Effect.catchIf(use(mirror), isItsFault, (error) =>
              Effect.gen(function* () {
                // One that lacks an image may have the next; one that does not work is not asked again.
                const lacksIt = error instanceof RegistryError && error.reason === "NotFound"
                if (!lacksIt && left.delete(mirror)) {
                  const progress = yield* Progress.Progress
                  const why = error instanceof Error ? error.message : String(error)
                  const message = `mirror ${mirror.client.endpoint.host} is left out: ${why}`
                  progress.emit({ _tag: "Warning", message })
                }
                return yield* next
              })
            ),
          use(own)
        )
      return attempt
    }
    return { reference: parsed, own, first }
  })

// internal

/** What the mirror did or sent, told from what the caller asked for. */
const isItsFault = (error: unknown): boolean =>
  error instanceof RegistryError ||
  (error instanceof ValidationError && (error.reason.endsWith("Manifest") || error.reason === "InvalidImageConfig"))
