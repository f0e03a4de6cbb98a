/**
 * Who we are, to one request: nothing until a registry asks, then what it asks for, Basic or a token of its token server.
 * https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Credential } from "../Credentials.js"
import type { RegistryError } from "../RegistryError.js"
import * as Challenge from "./Challenge.js"
import type { Client } from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Redirect from "./Redirect.js"
import * as Scopes from "./Scopes.js"
import type { Key, Token } from "./Tokens.js"

/** A token server may answer with a page of any length. */
export const maxTokenBody = 1024 * 1024
/** A thousand tokens are kept, and no registry takes a longer one in a header. */
export const maxToken = 64 * 1024
/** Of a token whose server says nothing about it; Docker's specification has no shorter one. Seconds. */
export const defaultLifetime = 60
/** A token that ends within this time is renewed first; a short one in its last quarter. Seconds. */
export const renewBefore = 30

type Value = Redacted.Redacted
type Bearer = Challenge.Challenge & { readonly _tag: "Bearer" }

/** The Authorization that this origin is known to want; `None` where it has not asked yet. */
export const known = (
  client: Client,
  call: Exchange.Call,
  url: string
): Effect.Effect<Option.Option<Value>, RegistryError> => {
  const challenge = client.tokens.challenges.get(new URL(url).origin)
  // A host that we were redirected to is asked anew each time: most take a signature in the URL, and nothing else.
  if (challenge === undefined || !Exchange.isOwn(client, url)) return Effect.succeedNone
  return authorization(client, { ...call, url }, challenge, Option.none())
}

/** After a 401: another Authorization than the one that was refused, if there is one. */
export const answer = (
  client: Client,
  call: Exchange.Call,
  response: Exchange.Response,
  refused: Option.Option<Value>
): Effect.Effect<Option.Option<Value>, RegistryError> =>
  Effect.gen(function* () {
    const own = Exchange.isOwn(client, response.url)
    const reads = call.method === "GET" || call.method === "HEAD"
    if (!reads && !own) return Option.none()
    const challenge = Challenge.choose(Challenge.parse(response.headers["www-authenticate"]))
    if (Option.isNone(challenge)) return Option.none()
    if (own) client.tokens.challenges.set(new URL(response.url).origin, challenge.value)
    const fresh = yield* authorization(client, { ...call, url: response.url }, challenge.value, refused)
    const isSame =
      Option.isSome(fresh) && Option.isSome(refused) && Redacted.value(fresh.value) === Redacted.value(refused.value)
    return isSame ? Option.none() : fresh
  })

/** The error of a 401 that stays: whose credentials were refused, or that there are none. */
export const explain = (client: Client, error: RegistryError): Effect.Effect<RegistryError> => {
  if (error.reason !== "Unauthorized") return Effect.succeed(error)
  const { host } = client.endpoint
  return Effect.map(Effect.option(client.credential), (found) => {
    const credential = Option.flatten(found)
    return Failure.withHint(
      error,
      Option.match(credential, {
        onNone: () => {
          const isNamed = client.scopes.some((scope) => scope.startsWith("repository:"))
          const more = isNamed ? ", or check the name of the repository" : ""
          return `no credentials are known for ${host}: \`ereg login ${host}\`${more}`
        },
        onSome: (known) => `${host} refuses ${nameOf(known)}: check them, and what they are good for there`
      })
    )
  })
}

/** The user name that the registry knows us by; empty for nobody, and where it has not asked. */
export const account = (client: Client): Effect.Effect<string> =>
  client.tokens.challenges.has(new URL(client.endpoint.origin).origin)
    ? Effect.map(Effect.option(client.credential), (found) =>
        Option.match(Option.flatten(found), { onNone: () => "", onSome: accountOf })
      )
    : Effect.succeed("")

// internal

interface Subject extends Exchange.Call {
  /** Of the request that was challenged, after redirects. */
  readonly url: string
}

const authorization = (
  client: Client,
  subject: Subject,
  challenge: Challenge.Challenge,
  refused: Option.Option<Value>
): Effect.Effect<Option.Option<Value>, RegistryError> =>
  Effect.gen(function* () {
    const own = Exchange.isOwn(client, subject.url)
    const credential = yield* (own ? client.credential : client.credentialAt(new URL(subject.url))).pipe(
      Effect.mapError((cause) =>
        Failure.make(subject, "Credentials", { detail: cause.message, hint: cause.hint, cause })
      )
    )
    if (challenge._tag === "Basic") return Option.flatMap(credential, basic)
    if (Option.isSome(credential) && credential.value._tag === "RegistryToken") {
      if (isToken(Redacted.value(credential.value.token))) return Option.some(bearer(credential.value.token))
      return yield* Effect.fail(Failure.make(subject, "Credentials", { detail: "the registry token is none" }))
    }
    return Option.some(bearer(yield* tokenFor(client, subject, challenge, credential, refused)))
  })

const basic = (credential: Credential): Option.Option<Value> =>
  credential._tag === "Password"
    ? Option.some(
        Redacted.make(`Basic ${Encoding.encodeBase64(`${credential.username}:${Redacted.value(credential.password)}`)}`)
      )
    : Option.none()

/** What is no header value would fail in the client, with the token in its message. */
const isToken = (text: string): boolean => text.length <= maxToken && /^[\x21-\x7e]+$/.test(text)

const bearer = (token: Value): Value => Redacted.make(`Bearer ${Redacted.value(token)}`)

const accountOf = (credential: Credential): string => (credential._tag === "Password" ? credential.username : "<token>")

const nameOf = (credential: Credential): string => {
  if (credential._tag !== "Password") return "the token"
  const from = credential.source === undefined ? "" : ` from ${credential.source}`
  return `the credentials of ${JSON.stringify(credential.username)}${from}`
}

/** One that is good for a while yet, fetched by one of those that need it at once. */
const tokenFor = (
  client: Client,
  subject: Subject,
  challenge: Bearer,
  credential: Option.Option<Credential>,
  refused: Option.Option<Value>
): Effect.Effect<Value, RegistryError> =>
  Effect.gen(function* () {
    const { origin } = new URL(subject.url)
    const before = client.state.realms.get(origin)
    if (before !== undefined && before !== challenge.realm) {
      const detail = "the registry names another token server than a moment ago"
      return yield* Effect.fail(Failure.make(subject, "UnsafeUrl", { detail }))
    }
    client.state.realms.set(origin, challenge.realm)
    const realm = yield* Exchange.judge(client, subject, challenge.realm, "realm")
    const own = Exchange.isOwn(client, subject.url)
    const wanted = [...client.scopes, ...(subject.scopes ?? [])]
    const scopes = own ? Scopes.merge(wanted, challenge.scopes) : Scopes.reading(challenge.scopes)
    const key: Key = {
      origin,
      account: Option.match(credential, { onNone: () => "", onSome: accountOf }),
      realm: challenge.realm,
      service: Option.getOrElse(challenge.service, () => ""),
      scopes
    }
    return yield* client.tokens.turn(key)(
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const held = client.tokens.get(key)
        const isRefused =
          held !== undefined &&
          Option.exists(refused, (value) => Redacted.value(value) === Redacted.value(bearer(held.value)))
        if (held !== undefined && held.expiresAt > now && !isRefused) return held.value
        client.tokens.forget(key)
        const asked = Scopes.only(wanted, challenge.scopes)
        const fetched = yield* fetchToken(client, subject, realm, challenge, credential, scopes).pipe(
          // What does not parse may have been damaged on the way.
          Effect.retry({ times: 2, while: ({ reason, status }) => reason === "Protocol" && status === 200 }),
          // A token server may refuse an action that it does not know; then for what the registry itself asked.
          Effect.catchIf(
            ({ status }) => status === 400 && own && asked.length > 0 && asked.join(" ") !== scopes.join(" "),
            () => fetchToken(client, subject, realm, challenge, credential, asked)
          )
        )
        client.tokens.set(key, fetched)
        return fetched.value
      })
    )
  })

const fetchToken = (
  client: Client,
  subject: Subject,
  realm: URL,
  challenge: Bearer,
  credential: Option.Option<Credential>,
  scopes: ReadonlyArray<string>
): Effect.Effect<Token, RegistryError> => {
  const ask: Ask = { client, subject, realm, service: challenge.service, scopes }
  if (Option.isNone(credential)) return byGet(ask, Option.none())
  if (client.tokens.withoutPost.has(realm.href)) return byGet(ask, basic(credential.value))
  const posted = byPost(ask, credential.value)
  // The form may have been damaged on the way, and a refresh token is refused by itself once more.
  if (credential.value._tag !== "Password") return Effect.retry(posted, { times: 1, while: lacksPost })
  return Effect.catchIf(posted, lacksPost, () =>
    byGet(ask, basic(credential.value)).pipe(
      Effect.tap(() => Effect.sync(() => void client.tokens.withoutPost.add(realm.href))),
      Effect.catchIf(lacksGet, () => posted)
    )
  )
}

const lacksGet = ({ status }: RegistryError): boolean => status === 404 || status === 405 || status === 501

/** What servers without OAuth2 answer to a POST; some say that it is not authorized. */
const lacksPost = ({ status }: RegistryError): boolean =>
  status !== undefined && [400, 401, 403, 404, 405, 411, 415, 501].includes(status)

interface Ask {
  readonly client: Client
  readonly subject: Subject
  readonly realm: URL
  readonly service: Option.Option<string>
  readonly scopes: ReadonlyArray<string>
}

const byGet = (ask: Ask, authorization: Option.Option<Value>): Effect.Effect<Token, RegistryError> => {
  const query = new URLSearchParams()
  if (Option.isSome(ask.service)) query.append("service", ask.service.value)
  for (const scope of ask.scopes) query.append("scope", scope)
  // As text: a query that the realm brings along must stay as it is.
  const url = `${ask.realm.href}${ask.realm.search === "" ? "?" : "&"}${query}`
  return request(ask, { method: "GET", url }, authorization, 0)
}

const byPost = (ask: Ask, credential: Credential): Effect.Effect<Token, RegistryError> => {
  const form = new URLSearchParams({ client_id: ask.client.config.userAgent })
  if (Option.isSome(ask.service)) form.append("service", ask.service.value)
  if (ask.scopes.length > 0) form.append("scope", ask.scopes.join(" "))
  if (credential._tag === "Password") {
    form.append("grant_type", "password")
    form.append("username", credential.username)
    form.append("password", Redacted.value(credential.password))
  } else {
    form.append("grant_type", "refresh_token")
    form.append("refresh_token", Redacted.value(credential.token))
  }
  const body = HttpBody.text(form.toString(), "application/x-www-form-urlencoded")
  return request(ask, { method: "POST", url: ask.realm.href, body }, Option.none(), 0)
}

const request = (
  ask: Ask,
  { body, method, url }: Pick<Exchange.Call, "method" | "url" | "body">,
  authorization: Option.Option<Value>,
  hop: number
): Effect.Effect<Token, RegistryError> => {
  const call: Exchange.Call = {
    operation: `get a token to ${ask.subject.operation}`,
    method,
    url,
    headers: { accept: "application/json" },
    body,
    accept: [200]
  }
  return Effect.scoped(
    Effect.gen(function* () {
      const response = yield* Exchange.exchange(ask.client, call, url, authorization)
      const location = Redirect.target(method, response.status, response.headers.location)
      if (Option.isSome(location)) {
        const next = yield* Exchange.judge(ask.client, call, location.value, "realm")
        // The password goes to the server that was named, and to no other.
        if (next.origin === ask.realm.origin && hop < Redirect.maxRedirects) {
          return yield* request(ask, { method, url: next.href, body }, authorization, hop + 1)
        }
        const detail = "the token server leads to another one"
        return yield* Effect.fail(Failure.make(call, "UnsafeUrl", { status: response.status, detail }))
      }
      const checked = yield* Exchange.check(ask.client, call, response)
      return yield* decode(call, checked.status, yield* Exchange.bytes(ask.client, call, checked, maxTokenBody))
    })
  )
}

const TokenBody = Schema.parseJson(
  Schema.Struct({
    token: Schema.optional(Schema.NullOr(Schema.String)),
    access_token: Schema.optional(Schema.NullOr(Schema.String)),
    expires_in: Schema.optional(Schema.NullOr(Schema.Number))
  })
)

const decode = (call: Exchange.Call, status: number, bytes: Uint8Array): Effect.Effect<Token, RegistryError> =>
  Effect.gen(function* () {
    const body = Option.getOrUndefined(Schema.decodeUnknownOption(TokenBody)(new TextDecoder().decode(bytes)))
    const text = [body?.token, body?.access_token].find((each) => each !== undefined && each !== null && each !== "")
    if (text === undefined || text === null || !isToken(text)) {
      return yield* Effect.fail(Failure.make(call, "Protocol", { status, detail: "the token server sent no token" }))
    }
    const seconds = Math.max(0, body?.expires_in ?? defaultLifetime)
    const now = yield* Clock.currentTimeMillis
    const good = seconds - Math.min(renewBefore, seconds / 4)
    return { value: Redacted.make(text), expiresAt: now + good * 1000 }
  })
