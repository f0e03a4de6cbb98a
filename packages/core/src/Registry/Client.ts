/** What one operation knows about one registry: made when the operation begins and gone with it. */
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Credentials from "../Credentials.js"
import * as RegistryConfig from "../RegistryConfig.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Gate from "./Gate.js"
import * as Tokens from "./Tokens.js"

export interface Client {
  readonly endpoint: RegistryConfig.Endpoint
  readonly config: RegistryConfig.Service
  readonly http: HttpClient.HttpClient.With<HttpClientError.HttpClientError, Scope.Scope>
  /** What the operation needs a token for: `repository:team/app:pull,push`. */
  readonly scopes: ReadonlyArray<string>
  /** Ours at this registry; looked up when a request is challenged for the first time. */
  readonly credential: Effect.Effect<Option.Option<Credentials.Credential>, ValidationError>
  /**
   * That of another host, which a request was redirected to. None where the host is not reached as we would reach it: a
   * registry in plain HTTP could otherwise lead a password of an HTTPS host over the wire.
   */
  readonly credentialAt: (url: URL) => Effect.Effect<Option.Option<Credentials.Credential>, ValidationError>
  /** Shared by all operations under the same configuration. */
  readonly tokens: Tokens.Tokens
  readonly state: State
}

/** Mutable, and shared by all that the operation does at once. */
export interface State {
  /** The registry has answered at least once. */
  answered: boolean
  /** Milliseconds spent waiting to try again since the last success. */
  waited: number
  /** Until when somebody waits to try again, in milliseconds. */
  waitingUntil: number
  /** No attempt starts before this time, in milliseconds: the registry asked everybody to slow down. */
  notBefore: number
  /** Requests at once, once the registry asked to slow down. */
  readonly gate: Gate.Gate
  /** The token server that each origin named first. */
  readonly realms: Map<string, string>
  /** Errors that were tried often enough. */
  readonly givenUp: WeakSet<RegistryError>
  readonly warnings: Set<string>
  /** The registry refused a body of unknown length. */
  refusesChunkedEncoding: boolean
  /** The registry refused a whole blob in one request. */
  refusesLargeBodies: boolean
  /** The registry answers requests for a part of a blob with something else. */
  breaksRanges: boolean
  /** The registry cannot be asked for referrers. */
  lacksReferrers: boolean
}

export interface Options {
  /** The one that the operation is about. */
  readonly repository: Option.Option<string>
  readonly scopes: ReadonlyArray<string>
}

export const make = (
  endpoint: RegistryConfig.Endpoint,
  { repository, scopes }: Options
): Effect.Effect<Client, never, HttpClient.HttpClient | RegistryConfig.RegistryConfig> =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    const http = yield* HttpClient.HttpClient
    const credentials = yield* Credentials.Credentials
    return {
      endpoint,
      config,
      // The platform's spans carry whole URLs, and its propagation headers would go to third hosts.
      http: HttpClient.withScope(HttpClient.withTracerDisabledWhen(http, () => true)),
      scopes,
      credential: yield* Effect.cached(credentials.find(endpoint.host, repository)),
      credentialAt: (url) =>
        Effect.flatMap(RegistryConfig.endpoint(config, Option.some(url.host)), ({ host, origin }) =>
          new URL(origin).origin === url.origin ? credentials.find(host, Option.none()) : Effect.succeedNone
        ),
      tokens: Tokens.of(config, credentials),
      state: {
        answered: false,
        waited: 0,
        waitingUntil: 0,
        notBefore: 0,
        gate: Gate.make(),
        realms: new Map(),
        givenUp: new WeakSet(),
        warnings: new Set(),
        refusesChunkedEncoding: false,
        refusesLargeBodies: false,
        breaksRanges: false,
        lacksReferrers: false
      }
    }
  })

/** `https://host/v2/REPOSITORY/…` */
export const urlOf = (client: Client, path: string): string => `${client.endpoint.origin}/v2/${path}`

/** `host/repository`, for messages. */
export const nameOf = (client: Client, repository: string): string => `${client.endpoint.host}/${repository}`
