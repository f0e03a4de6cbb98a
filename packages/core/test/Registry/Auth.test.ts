import { assert, describe, it } from "@effect/vitest"
import {
  Credentials,
  getManifest,
  listRepositories,
  type RegistryConfig,
  RegistryError,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import * as Client from "../../src/Registry/Client.js"
import * as Request from "../../src/Registry/Request.js"
import * as Scopes from "../../src/Registry/Scopes.js"
import { image } from "../support/Image.js"
import * as Scripted from "../support/ScriptedClient.js"

const secret = "hunter2:with:colons"
const { manifest } = image()
const ok: Scripted.Answer = {
  status: 200,
  body: manifest.bytes,
  headers: { "content-type": manifest.descriptor.mediaType }
}
const realm = "https://auth.example/token"
const challenge = (scope = "repository:team/app:pull", at = realm) => ({
  status: 401,
  headers: { "www-authenticate": `Bearer realm="${at}",service="reg",scope="${scope}"` }
})
const token = (value: string, more: Readonly<Record<string, unknown>> = {}) => ({
  status: 200,
  body: JSON.stringify({ token: value, expires_in: 300, ...more })
})
const host = "r.example"
const password = Credentials.layer({ [host]: Credentials.password("ann", Redacted.make(secret)) })
const basic = `Basic ${Encoding.encodeBase64(`ann:${secret}`)}`

/** A registry that takes these tokens, and a token server that hands them out. */
const withTokens = (
  handOut: (request: Scripted.Seen, count: number) => Scripted.Answer,
  accepts: (value: string | undefined) => boolean,
  options: RegistryConfig.Options = {}
) => {
  let count = 0
  return Scripted.make((request) => {
    if (request.url.startsWith(realm)) return handOut(request, ++count)
    return accepts(request.headers.authorization) ? ok : challenge()
  }, options)
}

const get = getManifest(`${host}/team/app:1`)
const form = ({ body }: Scripted.Seen) => Object.fromEntries(new URLSearchParams(new TextDecoder().decode(body)))
const query = ({ url }: Scripted.Seen) => [...new URL(url).searchParams]

describe("Auth", () => {
  describe("Basic", () => {
    const script = () =>
      Scripted.make(({ headers }) =>
        headers.authorization === basic ? ok : { status: 401, headers: { "www-authenticate": 'Basic realm="r"' } }
      )
    it.live("sends a password once the registry asks, and from then on at once", () => {
      const { layer, lines, seen } = script()
      return Effect.gen(function* () {
        yield* get
        yield* get
        assert.strictEqual(lines().length, 3)
        assert.deepStrictEqual(
          seen.map(({ headers }) => headers.authorization),
          [undefined, basic, basic]
        )
      }).pipe(Effect.provide(password), Effect.provide(layer))
    })
    it.live("says whose credentials are refused, and not what they are", () => {
      const wrong = Credentials.layer({ [host]: Credentials.password("eve", Redacted.make(secret)) })
      const { layer, seen } = script()
      return Effect.gen(function* () {
        const error = yield* Effect.flip(get)
        assert.instanceOf(error, RegistryError)
        assert.strictEqual(error.reason, "Unauthorized")
        assert.include(error.hint ?? "", '"eve"')
        assert.notInclude(JSON.stringify(error), secret)
        assert.strictEqual(seen.length, 2)
      }).pipe(Effect.provide(wrong), Effect.provide(layer))
    })
    it.live("tells how to log in where there are no credentials", () => {
      const { layer, seen } = script()
      return Effect.gen(function* () {
        const error = yield* Effect.flip(get)
        assert.include(error.hint ?? "", `ereg login ${host}`)
        assert.strictEqual(seen.length, 1)
      }).pipe(Effect.provide(layer))
    })
  })

  describe("tokens", () => {
    it.live("gets an anonymous one by GET, for what the operation needs", () => {
      const { layer, seen } = withTokens(
        () => token("t"),
        (value) => value === "Bearer t"
      )
      return Effect.gen(function* () {
        yield* get
        assert.deepStrictEqual(
          seen.map(({ method }) => method),
          ["GET", "GET", "GET"]
        )
        assert.deepStrictEqual(query(seen[1] as Scripted.Seen), [
          ["service", "reg"],
          ["scope", "repository:team/app:pull"]
        ])
        assert.isUndefined(seen[1]?.headers.authorization)
      }).pipe(Effect.provide(layer))
    })
    it.live("exchanges a password by POST, and is known by the token alone to the registry", () => {
      const { layer, seen } = withTokens(
        () => token("t"),
        (value) => value === "Bearer t"
      )
      return Effect.gen(function* () {
        yield* get
        assert.strictEqual(seen[1]?.method, "POST")
        assert.strictEqual(seen[1]?.url, realm)
        const { grant_type, password, scope, service, username } = form(seen[1] as Scripted.Seen)
        assert.deepStrictEqual(
          { grant_type, password, scope, service, username },
          {
            grant_type: "password",
            password: secret,
            scope: "repository:team/app:pull",
            service: "reg",
            username: "ann"
          }
        )
        assert.deepStrictEqual(
          seen.filter(({ url }) => url.includes(host)).map(({ headers }) => headers.authorization),
          [undefined, "Bearer t"]
        )
      }).pipe(Effect.provide(password), Effect.provide(layer))
    })
    for (const status of [400, 401, 403, 404, 405, 501]) {
      it.live(`falls back to GET with the password after ${status}, and remembers`, () => {
        const { layer, seen } = withTokens(
          ({ headers, method }, count) =>
            method === "POST" ? { status } : headers.authorization === basic ? token(`t${count}`) : { status: 401 },
          (value) => value?.startsWith("Bearer t") === true
        )
        return Effect.gen(function* () {
          yield* get
          yield* getManifest(`${host}/other/app:1`)
          const asked = seen.filter(({ url }) => url.startsWith(realm)).map(({ method }) => method)
          assert.deepStrictEqual(asked, ["POST", "GET", "GET"])
        }).pipe(Effect.provide(password), Effect.provide(layer))
      })
    }
    it.live("exchanges a refresh token by POST", () => {
      const identity = Credentials.layer({ [host]: { _tag: "IdentityToken", token: Redacted.make("refresh") } })
      const { layer, seen } = withTokens(
        () => ({ status: 200, body: '{"access_token":"t"}' }),
        (value) => value === "Bearer t"
      )
      return Effect.gen(function* () {
        yield* get
        const { grant_type, refresh_token } = form(seen[1] as Scripted.Seen)
        assert.deepStrictEqual([grant_type, refresh_token], ["refresh_token", "refresh"])
      }).pipe(Effect.provide(identity), Effect.provide(layer))
    })
    it.live("sends a registry token as it is", () => {
      const own = Credentials.layer({ [host]: { _tag: "RegistryToken", token: Redacted.make("mine") } })
      const { layer, seen } = withTokens(
        () => ({ status: 500 }),
        (value) => value === "Bearer mine"
      )
      return Effect.gen(function* () {
        yield* get
        assert.strictEqual(seen.length, 2)
      }).pipe(Effect.provide(own), Effect.provide(layer))
    })
    it.effect("uses a token until shortly before it ends, sixty seconds where nothing is said", () => {
      const { layer, seen } = withTokens(
        (_, count) => ({ status: 200, body: JSON.stringify({ token: `t${count}` }) }),
        (value) => value !== undefined
      )
      const asked = () => seen.filter(({ url }) => url.startsWith(realm)).length
      return Effect.gen(function* () {
        yield* get
        yield* TestClock.adjust("44 seconds")
        yield* get
        assert.strictEqual(asked(), 1)
        yield* TestClock.adjust("2 seconds")
        yield* get
        assert.strictEqual(asked(), 2)
        assert.strictEqual(seen[seen.length - 1]?.headers.authorization, "Bearer t2")
      }).pipe(Effect.provide(layer))
    })
    it.live("gets a fresh one after a 401 in the middle, once", () => {
      let revoked = false
      const { layer, seen } = withTokens(
        (_, count) => token(`t${count}`),
        (value) => value === (revoked ? "Bearer t2" : "Bearer t1")
      )
      return Effect.gen(function* () {
        yield* get
        revoked = true
        yield* get
        assert.strictEqual(seen.filter(({ url }) => url.startsWith(realm)).length, 2)
        revoked = false
        const error = yield* Effect.flip(Effect.zipRight(get, get))
        assert.strictEqual(error._tag === "RegistryError" ? error.status : 0, 401)
      }).pipe(Effect.provide(layer))
    })
    it.live("shares one fetch among requests at once", () => {
      const { layer, seen } = withTokens(
        () => token("t"),
        (value) => value === "Bearer t"
      )
      return Effect.gen(function* () {
        yield* Effect.all(
          Array.from({ length: 10 }, () => get),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(seen.filter(({ url }) => url.startsWith(realm)).length, 1)
      }).pipe(Effect.provide(layer))
    })
    it.live("goes on where the one who was fetching is interrupted", () => {
      let first = true
      const { layer } = withTokens(
        () => {
          if (!first) return token("t")
          first = false
          return "hang"
        },
        (value) => value === "Bearer t"
      )
      return Effect.gen(function* () {
        const stuck = yield* Effect.fork(get)
        yield* Effect.sleep("20 millis")
        const waiting = yield* Effect.fork(get)
        yield* Effect.sleep("20 millis")
        yield* Fiber.interrupt(stuck)
        yield* Fiber.join(waiting)
      }).pipe(Effect.provide(layer))
    })
    it.live("asks for what the registry itself asked where an action is refused", () => {
      const { layer, seen } = withTokens(
        ({ url }) => (url.includes("delete") ? { status: 400 } : token("t")),
        (value) => value === "Bearer t"
      )
      return Effect.gen(function* () {
        const client = yield* Client.make(
          { host, origin: `https://${host}` },
          { repository: Option.some("team/app"), scopes: [Scopes.repository("team/app", "pull", "push", "delete")] }
        )
        const call = {
          operation: "x",
          method: "GET",
          url: `https://${host}/v2/team/app/tags/list`,
          accept: [200]
        } as const
        yield* Effect.scoped(Request.send(client, call))
        const scopes = seen
          .filter(({ url }) => url.startsWith(realm))
          .map((request) => new URL(request.url).searchParams.get("scope"))
        assert.deepStrictEqual(scopes, ["repository:team/app:delete,pull,push", "repository:team/app:pull"])
      }).pipe(Effect.provide(layer))
    })
    it.live("asks for the catalog where repositories are listed", () => {
      const script = Scripted.make((request) =>
        request.url.startsWith(realm)
          ? token("t")
          : request.headers.authorization === "Bearer t"
            ? { status: 200, body: '{"repositories":[]}' }
            : challenge("registry:catalog:*")
      )
      return Effect.gen(function* () {
        yield* listRepositories(host)
        assert.deepStrictEqual(query(script.seen[1] as Scripted.Seen)[1], ["scope", "registry:catalog:*"])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("keeps the query that the realm brings along", () => {
      const at = `${realm}?tenant=a%2Fb`
      const script = Scripted.make((request) =>
        request.url.startsWith(realm)
          ? token("t")
          : request.headers.authorization === "Bearer t"
            ? ok
            : challenge(undefined, at)
      )
      return Effect.gen(function* () {
        yield* get
        assert.isTrue(script.seen[1]?.url.startsWith(`${at}&service=reg`))
      }).pipe(Effect.provide(script.layer))
    })
    it.live.each<[string, Scripted.Answer]>([
      ["no token in it", { status: 200, body: "{}" }],
      ["a page", { status: 200, body: "<html>" }],
      ["a token that is no header value", token("a\r\nb")],
      ["a token longer than any header", token("x".repeat(70_000))],
      ["more than a megabyte", { status: 200, body: JSON.stringify({ token: "x".repeat(1 << 20) }) }]
    ])("refuses an answer with %s", ([, answer]) => {
      const { layer } = withTokens(
        () => answer,
        () => false
      )
      return Effect.gen(function* () {
        const error = yield* Effect.flip(get)
        assert.include(["Protocol", "TooLarge"], error.reason)
        assert.include(error.message, "get a token to get manifest r.example/team/app:1")
      }).pipe(Effect.provide(layer))
    })
    it.live("tries again where the token server fails for a moment", () => {
      const { layer } = withTokens(
        (_, count) => (count < 3 ? { status: 503 } : token("t")),
        (value) => value === "Bearer t"
      )
      return Effect.asVoid(get).pipe(Effect.provide(layer))
    })
  })

  describe("what a hostile registry cannot do", () => {
    const refused = (script: ReturnType<typeof Scripted.make>, layer: Layer.Layer<never> = password) =>
      Effect.flip(get).pipe(Effect.provide(layer), Effect.provide(script.layer))

    it.live.each([
      ["plain HTTP", "http://auth.example/token"],
      ["a private address", "https://10.0.0.1/token"],
      ["this machine", "https://localhost/token"],
      ["the metadata service", "https://169.254.169.254/token"],
      ["user info", "https://a:b@auth.example/token"],
      ["another scheme", "file:///etc/passwd"],
      ["no URL", "https://["]
    ])("make us ask a token server at %s", ([, at]) => {
      const script = Scripted.make(({ url }) => (url.includes(host) ? challenge(undefined, at) : token("t")))
      return Effect.gen(function* () {
        const error = yield* refused(script)
        assert.strictEqual(error.reason, "UnsafeUrl")
        assert.isTrue(script.seen.every(({ url }) => url.includes(host)))
      })
    })
    it.live("get the token of another registry that has the same token server", () => {
      const both = Credentials.layer({ [host]: Credentials.password("ann", Redacted.make(secret)) })
      const script = Scripted.make(({ headers, method, url }) => {
        if (url.startsWith(realm)) return token(method === "POST" ? "of-ann" : "of-nobody")
        return headers.authorization === undefined ? challenge("repository:team/app:pull") : ok
      })
      return Effect.gen(function* () {
        yield* get
        yield* getManifest("evil.example/team/app:1")
        const sent = script.seen
          .filter(({ url }) => url.includes("evil.example"))
          .map(({ headers }) => headers.authorization)
        assert.deepStrictEqual(sent, [undefined, "Bearer of-nobody"])
      }).pipe(Effect.provide(both), Effect.provide(script.layer))
    })
    it.live("change its token server in mid-run", () => {
      let count = 0
      const script = Scripted.make(({ url }) =>
        url.includes(host) ? challenge(undefined, `https://auth${++count}.example/t`) : token("t")
      )
      return Effect.gen(function* () {
        const client = yield* Client.make(
          { host, origin: `https://${host}` },
          { repository: Option.none(), scopes: [] }
        )
        const call = { operation: "x", method: "GET", url: `https://${host}/v2/`, accept: [200] } as const
        yield* Effect.flip(Effect.scoped(Request.send(client, call)))
        const error = yield* Effect.flip(Effect.scoped(Request.send(client, call)))
        assert.strictEqual(error.reason, "UnsafeUrl")
        assert.isTrue(script.seen.every(({ url }) => !url.includes("auth2")))
      }).pipe(Effect.provide(script.layer))
    })
    it.live("have the password sent on from its token server", () => {
      const script = Scripted.make(({ url }) =>
        url.includes(host)
          ? challenge()
          : url.startsWith(realm)
            ? { status: 307, headers: { location: "https://else.example/t" } }
            : token("t")
      )
      return Effect.gen(function* () {
        const error = yield* refused(script)
        assert.strictEqual(error.reason, "UnsafeUrl")
        assert.isFalse(script.seen.some(({ url }) => url.includes("else.example")))
      })
    })
    it.live.each([
      ["Basic", 'Basic realm="x"'],
      ["Bearer", 'Bearer realm="http://tok.example/t",service="s"']
    ])("have the password of an HTTPS host sent in plain HTTP by a %s challenge", ([, asks]) => {
      const other = Credentials.layer({ "other.example": Credentials.password("ann", Redacted.make(secret)) })
      const script = Scripted.make(
        ({ url }) => {
          if (url.startsWith("http://plain.example")) {
            return { status: 302, headers: { location: "http://other.example/x" } }
          }
          return url.startsWith("http://tok.example")
            ? token("t")
            : { status: 401, headers: { "www-authenticate": asks ?? "" } }
        },
        { hosts: { "plain.example": { plainHttp: true } } }
      )
      return Effect.gen(function* () {
        yield* Effect.flip(getManifest("plain.example/team/app:1"))
        const everything = JSON.stringify(
          script.seen.map(({ body, headers }) => [form({ body } as Scripted.Seen), headers])
        )
        assert.notInclude(everything, secret)
        assert.notInclude(everything, basic)
      }).pipe(Effect.provide(other), Effect.provide(script.layer))
    })
    it.live("get anything to where it redirects, unless that host asks for its own", () => {
      const layer = Credentials.layer({
        [host]: Credentials.password("ann", Redacted.make(secret)),
        "cdn.example": Credentials.password("cdn", Redacted.make("other"))
      })
      const script = Scripted.make(({ headers, url }) => {
        if (url.includes("cdn.example")) {
          return headers.authorization === undefined ? { status: 401, headers: { "www-authenticate": "Basic" } } : ok
        }
        return headers.authorization === basic
          ? { status: 307, headers: { location: "https://cdn.example/x" } }
          : { status: 401, headers: { "www-authenticate": "Basic" } }
      })
      return Effect.gen(function* () {
        yield* get
        const sent = script.seen
          .filter(({ url }) => url.includes("cdn.example"))
          .map(({ headers }) => headers.authorization)
        assert.deepStrictEqual(sent, [undefined, `Basic ${Encoding.encodeBase64("cdn:other")}`])
      }).pipe(Effect.provide(layer), Effect.provide(script.layer))
    })
  })

  it.live("does not repeat a registry token that is no header value", () => {
    const broken = Credentials.layer({ [host]: { _tag: "RegistryToken", token: Redacted.make("mine\nyours") } })
    const { layer } = withTokens(
      () => token("t"),
      () => false
    )
    return Effect.gen(function* () {
      const error = yield* Effect.flip(get)
      assert.strictEqual(error.reason, "Credentials")
      assert.notInclude(JSON.stringify(error), "yours")
    }).pipe(Effect.provide(broken), Effect.provide(layer))
  })
  it.live("tells a credential that cannot be read from one that is refused", () => {
    const broken = Layer.succeed(Credentials.Credentials, {
      find: () =>
        Effect.fail(
          new ValidationError({
            reason: "InvalidCredentials",
            subject: "config.json",
            issues: [{ path: "", message: "is no JSON" }]
          })
        )
    })
    const { layer } = withTokens(
      () => token("t"),
      () => false
    )
    return Effect.gen(function* () {
      const error = yield* Effect.flip(get)
      assert.strictEqual(error.reason, "Credentials")
      assert.include(error.message, "config.json: is no JSON")
    }).pipe(Effect.provide(broken), Effect.provide(layer))
  })
})
