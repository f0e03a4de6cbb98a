/**
 * Who we are at a registry. Credentials are bound to a host, or to a part of its repositories; where none are found,
 * requests are anonymous. Secrets are `Redacted`: nothing prints them by accident.
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as RegistryConfig from "./RegistryConfig.js"
import { ValidationError } from "./ValidationError.js"

export type Credential = Password | IdentityToken | RegistryToken

/** Sent as Basic, or exchanged for a token where the registry names a token server. */
export interface Password {
  readonly _tag: "Password"
  readonly username: string
  readonly password: Redacted.Redacted
  /** Where it was found, for a message when it is refused: `EREG_USERNAME and EREG_PASSWORD`, a file. */
  readonly source?: string | undefined
}

/** A refresh token, exchanged for an access token at the registry's token server. */
export interface IdentityToken {
  readonly _tag: "IdentityToken"
  readonly token: Redacted.Redacted
}

/** An access token that is sent to the registry as it is. */
export interface RegistryToken {
  readonly _tag: "RegistryToken"
  readonly token: Redacted.Redacted
}

export interface Service {
  /**
   * The credential for a repository of a host, or for the host itself. `host` is `host[:port]` as references have it,
   * `docker.io` for Docker Hub. Fails with a ValidationError, reason `InvalidCredentials`, where a place that should
   * hold them cannot be read.
   */
  readonly find: (
    host: string,
    repository: Option.Option<string>
  ) => Effect.Effect<Option.Option<Credential>, ValidationError>
}

/** Defaults to none: every request is anonymous. */
export class Credentials extends Context.Reference<Credentials>()("@effect-registry/core/Credentials", {
  defaultValue: (): Service => none
}) {}

export const none: Service = { find: () => Effect.succeedNone }

export const password = (username: string, secret: Redacted.Redacted): Password => ({
  _tag: "Password",
  username,
  password: secret
})

/**
 * Fixed credentials by `host[:port]` or `host[:port]/namespace`; the longest that fits is taken. A port that is not the
 * scheme's own has to be there; a scheme in front makes no difference.
 */
export const make = (entries: Readonly<Record<string, Credential>>): Service => {
  const byHost = new Map(
    Object.entries(entries).map(([key, credential]) => [
      key
        .replace(/^https?:\/\//i, "")
        .replace(/\/+$/, "")
        .toLowerCase(),
      credential
    ])
  )
  return {
    find: (host, repository) =>
      Effect.succeed(
        Option.flatMap(longestMatch([...byHost.keys()], host, repository), (key) =>
          Option.fromNullable(byHost.get(key))
        )
      )
  }
}

/** Those of `first`, and where it has none those of `second`. */
export const orElse = (first: Service, second: Service): Service => ({
  find: (host, repository) =>
    Effect.flatMap(
      first.find(host, repository),
      Option.match({
        onNone: () => second.find(host, repository),
        onSome: (credential) => Effect.succeedSome(credential)
      })
    )
})

export const layer = (entries: Readonly<Record<string, Credential>>): Layer.Layer<never> =>
  Layer.succeed(Credentials, make(entries))

/**
 * Those of EREG_USERNAME and EREG_PASSWORD for the registry of the configuration, and for no other. Without a
 * configured registry, or without both variables, there are none; with one of them alone, finding fails.
 */
export const fromEnvironment = (
  config: RegistryConfig.Service
): Effect.Effect<Service, ConfigError.ConfigError | ValidationError> =>
  Effect.gen(function* () {
    const username = yield* Config.option(Config.nonEmptyString("EREG_USERNAME"))
    const secret = yield* Config.option(Config.redacted("EREG_PASSWORD"))
    if (!RegistryConfig.hasRegistry(config) || (Option.isNone(username) && Option.isNone(secret))) return none
    const { host: own } = yield* RegistryConfig.endpoint(config, Option.none())
    if (Option.isSome(username) && Option.isSome(secret)) {
      const source = "EREG_USERNAME and EREG_PASSWORD"
      return make({ [own]: { ...password(username.value, secret.value), source } })
    }
    const [given, missing] = Option.isSome(username)
      ? ["EREG_USERNAME", "EREG_PASSWORD"]
      : ["EREG_PASSWORD", "EREG_USERNAME"]
    const error = ValidationError.of("InvalidCredentials", given, `is set, and ${missing} is not`)
    return { find: (host) => (host === own ? Effect.fail(error) : Effect.succeedNone) }
  })

/** The longest of the keys, `host[:port]` with or without a namespace, that covers the repository. */
export const longestMatch = (
  keys: ReadonlyArray<string>,
  host: string,
  repository: Option.Option<string>
): Option.Option<string> => {
  const name = Option.match(repository, { onNone: () => host, onSome: (path) => `${host}/${path}` })
  let longest: string | undefined
  for (const key of keys) {
    const covers = key === name || name.startsWith(`${key}/`)
    if (covers && key.length > (longest?.length ?? -1)) longest = key
  }
  return Option.fromNullable(longest)
}
