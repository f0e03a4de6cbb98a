/** The keys and values of `auths`: https://docs.docker.com/reference/cli/docker/login/ and containers-auth.json(5). */
import { Credentials } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as CredentialHelper from "../CredentialHelper.js"

const field = Schema.optional(Schema.NullOr(Schema.String))

export const Entry = Schema.Struct({
  /** Base64 of `user:password`. */
  auth: field,
  username: field,
  password: field,
  identitytoken: field,
  registrytoken: field
})
export type Entry = typeof Entry.Type

/**
 * A key as references name its part of a registry: `host[:port]`, or `host[:port]/namespace`. Docker's own keys are a bare
 * host or `https://host/v1/`; of a URL only the host counts.
 */
export const normalize = (key: string): string => {
  const bare = key.replace(/^https?:\/\//i, "")
  const path = bare === key ? bare.replace(/\/+$/, "").replace(/^([^/]+)\/v[12]$/, "$1") : bare.replace(/\/.*$/s, "")
  const [host = "", ...namespace] = path.split("/")
  return [canonicalHost(host.toLowerCase()), ...namespace].join("/")
}

/** What a helper and `auths` call a normalized key. */
export const serverUrl = (key: string): string => (key === "docker.io" ? "https://index.docker.io/v1/" : key)

/** Whether no secret is in it: Docker leaves such entries behind where a helper has the secret. */
export const isEmpty = ({ auth, identitytoken, password, registrytoken }: Entry): boolean =>
  ![auth, password, identitytoken, registrytoken].some(isGiven)

/** The credential of an entry that is not empty; what breaks the rules is said without repeating it. */
export const toCredential = (entry: Entry): Either.Either<Credentials.Credential, string> => {
  const { auth, identitytoken, password, registrytoken, username } = entry
  if (isGiven(registrytoken)) return Either.right({ _tag: "RegistryToken", token: Redacted.make(registrytoken) })
  if (isGiven(identitytoken)) return Either.right({ _tag: "IdentityToken", token: Redacted.make(identitytoken) })
  if (!isGiven(auth)) {
    return isGiven(username)
      ? Either.right(CredentialHelper.fromPair(username, Redacted.make(password ?? "")))
      : Either.left("has a password without a user name")
  }
  const rule = "auth is not the base64 text of USER:PASSWORD"
  return Either.flatMap(
    Either.mapLeft(Encoding.decodeBase64String(auth), () => rule),
    (text) => {
      const colon = text.indexOf(":")
      if (colon < 1) return Either.left(rule)
      // Some old clients padded the password.
      const secret = text.slice(colon + 1).replace(/^\0+|\0+$/g, "")
      return Either.right(CredentialHelper.fromPair(text.slice(0, colon), Redacted.make(secret)))
    }
  )
}

/** The entry's fields for a credential. */
export const fromCredential = (credential: CredentialHelper.Credential): Entry =>
  credential._tag === "IdentityToken"
    ? { identitytoken: Redacted.value(credential.token) }
    : { auth: Encoding.encodeBase64(`${credential.username}:${Redacted.value(credential.password)}`) }

/** The fields of an entry that are not about its secret: `email`, and what we do not know. */
export const withoutSecret = (entry: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(entry).filter(([name]) => !secretFields.some((secret) => secret === name)))

/** The key of the record that covers a repository best, as it is written there. */
export const best = (
  keys: ReadonlyArray<string>,
  host: string,
  repository: Option.Option<string>
): Option.Option<string> =>
  Option.flatMap(Credentials.longestMatch(keys.map(normalize), host, repository), (found) =>
    Option.fromNullable(keys.find((key) => key === found) ?? keys.find((key) => normalize(key) === found))
  )

// internal

const secretFields = ["auth", "username", "password", "identitytoken", "registrytoken"] as const

const isGiven = (text: string | null | undefined): text is string => text !== undefined && text !== null && text !== ""

const canonicalHost = (host: string): string =>
  host === "index.docker.io" || host === "registry-1.docker.io" ? "docker.io" : host
