import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry, Faults, TokenServer } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const users = {
  ann: { password: "secret", may: { "repository:team/*": ["pull", "push"], "registry:catalog": ["*"] } },
  root: { password: "toor" }
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
}

const ask = (url: string, init: RequestInit = {}): Effect.Effect<Answer> =>
  Effect.promise(async () => {
    const response = await fetch(url, init)
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === "" ? {} : JSON.parse(text) }
  })

const basic = (name: string, password: string) => ({ authorization: `Basic ${btoa(`${name}:${password}`)}` })

const get = (
  server: TokenServer.TokenServerService,
  scopes: ReadonlyArray<string>,
  headers: Record<string, string> = {}
) => {
  const query = new URLSearchParams([["service", server.service], ...scopes.map((scope) => ["scope", scope])])
  return ask(`${server.realm}?${query}`, { headers })
}

const post = (server: TokenServer.TokenServerService, form: Readonly<Record<string, string>>) =>
  ask(server.realm, { method: "POST", body: new URLSearchParams({ service: server.service, ...form }) })

describe("TokenServer", () => {
  describe("GET", () => {
    it.scopedLive("grants of what is asked what the user may do", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({ users, expiresIn: 300 })
        const { body, status } = yield* get(
          server,
          ["repository:team/app:pull,push,delete", "repository:other:pull", "registry:catalog:*"],
          basic("ann", "secret")
        )
        assert.strictEqual(status, 200)
        assert.strictEqual(body.scope, "repository:team/app:pull,push registry:catalog:*")
        assert.strictEqual(body.expires_in, 300)
        assert.strictEqual(body.token, body.access_token)
        const [request] = server.requests()
        assert.strictEqual(request?.grant, "basic")
        assert.strictEqual(request?.scopes.length, 3)
        assert.strictEqual(server.verify(String(body.token))?.account, "ann")
      })
    )
    it.scopedLive("refuses a wrong password, a stranger and, unless told otherwise, nobody", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({ users })
        assert.strictEqual((yield* get(server, [], basic("ann", "wrong"))).status, 401)
        assert.strictEqual((yield* get(server, [], basic("eve", "secret"))).status, 401)
        assert.strictEqual((yield* get(server, [])).status, 401)
        const open = yield* TokenServer.make({ anonymous: { "repository:*": ["pull"] } })
        const { body } = yield* get(open, ["repository:x:pull,push"])
        assert.strictEqual(body.scope, "repository:x:pull")
        assert.isUndefined(body.expires_in)
      })
    )
    it.scopedLive("grants one scope of several where it is told to", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({ users, oneScope: true, field: "access_token" })
        const scopes = ["repository:a:pull", "repository:b:pull"]
        const { body } = yield* get(server, scopes, basic("root", "toor"))
        assert.strictEqual(body.scope, "repository:a:pull")
        assert.isUndefined(body.token)
        assert.isString(body.access_token)
      })
    )
  })
  describe("POST", () => {
    it.scopedLive("takes a password and an identity token", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({ users, identityTokens: { "identity-1": "ann" } })
        const scope = "repository:team/a:pull repository:team/b:pull"
        const password = { grant_type: "password", username: "ann", password: "secret", scope }
        assert.strictEqual((yield* post(server, password)).body.scope, scope)
        assert.isUndefined((yield* post(server, password)).body.token)
        assert.strictEqual((yield* post(server, { ...password, password: "x" })).status, 401)
        const refresh = { grant_type: "refresh_token", refresh_token: "identity-1", scope }
        assert.strictEqual((yield* post(server, refresh)).body.scope, scope)
        assert.strictEqual((yield* post(server, { ...refresh, refresh_token: "x" })).status, 401)
        assert.deepStrictEqual(
          server.requests().map(({ grant }) => grant),
          ["password", "password", "password", "refresh_token", "refresh_token"]
        )
      })
    )
    it.scopedLive("is refused with the status that was chosen", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({ users, refusePost: 405 })
        const form = { grant_type: "password", username: "ann", password: "secret" }
        assert.strictEqual((yield* post(server, form)).status, 405)
      })
    )
  })
  describe("layer", () => {
    const guarded = Layer.unwrapEffect(
      Effect.map(TokenServer.TokenServer, (tokens) =>
        EmbeddedRegistry.layerMemory({ onRequest: TokenServer.onRequest(tokens) })
      )
    ).pipe(Layer.provideMerge(TokenServer.layer({ users })))
    it.live("is for registries that are put behind it", () =>
      Effect.gen(function* () {
        const { realm } = yield* TokenServer.TokenServer
        const { url } = yield* EmbeddedRegistry.EmbeddedRegistry
        const refused = yield* ask(`${url}/v2/`)
        assert.strictEqual(refused.status, 401)
        assert.include(refused.headers.get("www-authenticate"), `realm="${realm}"`)
      }).pipe(Effect.provide(guarded))
    )
  })
  describe("a form without end", () => {
    it.scopedLive("costs its sender the connection", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({ users })
        const body = new Uint8Array(3 << 20)
        const sent = yield* Effect.either(Effect.tryPromise(() => fetch(server.realm, { method: "POST", body })))
        assert.strictEqual(sent._tag, "Left")
        assert.strictEqual((yield* get(server, [], basic("ann", "secret"))).status, 200)
      })
    )
  })
  describe("script", () => {
    it.scopedLive("answers in the server's place", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({
          users,
          script: ({ index }) => (index === 1 ? { status: 503, headers: { "retry-after": "1" } } : undefined)
        })
        const statuses = []
        for (let at = 0; at < 3; at++) statuses.push((yield* get(server, [], basic("ann", "secret"))).status)
        assert.deepStrictEqual(statuses, [200, 503, 200])
      })
    )
  })
  describe("verify", () => {
    it.scopedLive("knows a token until it ends or is revoked", () =>
      Effect.gen(function* () {
        const server = yield* TokenServer.make({ users, lifetime: 0.2 })
        const first = yield* get(server, [], basic("ann", "secret"))
        assert.isDefined(server.verify(String(first.body.token)))
        yield* Effect.sleep("250 millis")
        assert.isUndefined(server.verify(String(first.body.token)))
        const second = yield* get(server, [], basic("ann", "secret"))
        yield* server.revoke
        assert.isUndefined(server.verify(String(second.body.token)))
        assert.isUndefined(server.verify("something"))
      })
    )
  })
  describe("onRequest", () => {
    const digest = `sha256:${"0".repeat(64)}`
    const cases: ReadonlyArray<readonly [method: string, path: string, scope: string | undefined]> = [
      ["GET", "/v2/", undefined],
      ["GET", "/v2/_catalog?n=5", "registry:catalog:*"],
      ["GET", "/v2/team/app/tags/list", "repository:team/app:pull"],
      ["HEAD", `/v2/team/app/blobs/${digest}`, "repository:team/app:pull"],
      ["GET", "/v2/team/app/blobs/uploads/some-id", "repository:team/app:pull"],
      ["POST", "/v2/team/app/blobs/uploads/", "repository:team/app:pull,push"],
      [
        "POST",
        `/v2/team/app/blobs/uploads/?mount=${digest}&from=team%2Fbase`,
        "repository:team/app:pull,push repository:team/base:pull"
      ],
      ["PUT", "/v2/team/app/manifests/1", "repository:team/app:pull,push"],
      ["DELETE", `/v2/team/app/manifests/${digest}`, "repository:team/app:delete"]
    ]
    const guarded = (next?: Faults.Hooks["onRequest"]) =>
      Effect.gen(function* () {
        const tokens = yield* TokenServer.make({ users })
        const onRequest = TokenServer.onRequest(tokens, { next })
        const context = yield* Layer.build(EmbeddedRegistry.layerMemory({ onRequest }))
        return { tokens, url: Context.get(context, EmbeddedRegistry.EmbeddedRegistry).url }
      })
    it.scopedLive("says which scope a request needs, and lets it through with a token for that", () =>
      Effect.gen(function* () {
        const { tokens, url } = yield* guarded()
        for (const [method, path, scope] of cases) {
          const refused = yield* ask(`${url}${path}`, { method })
          assert.strictEqual(refused.status, 401, path)
          const asked = scope === undefined ? "" : `,scope="${scope}"`
          const challenge = `Bearer realm="${tokens.realm}",service="registry.test"${asked}`
          assert.strictEqual(refused.headers.get("www-authenticate"), challenge)
          const { body } = yield* get(tokens, scope?.split(" ") ?? [], basic("root", "toor"))
          const headers = { authorization: `Bearer ${body.token}` }
          assert.notStrictEqual((yield* ask(`${url}${path}`, { method, headers })).status, 401, path)
        }
      })
    )
    it.scopedLive("tells a token for something else from one that is none", () =>
      Effect.gen(function* () {
        const { tokens, url } = yield* guarded()
        const { body } = yield* get(tokens, ["repository:team/app:pull"], basic("ann", "secret"))
        const statusAndError = (token: unknown, path: string) =>
          Effect.map(ask(`${url}${path}`, { headers: { authorization: `Bearer ${token}` } }), ({ headers, status }) => [
            status,
            /error="(.*)"/.exec(headers.get("www-authenticate") ?? "")?.[1]
          ])
        assert.deepStrictEqual(yield* statusAndError(body.token, "/v2/other/tags/list"), [401, "insufficient_scope"])
        assert.deepStrictEqual(yield* statusAndError("x", "/v2/"), [401, "invalid_token"])
        assert.deepStrictEqual(yield* statusAndError(body.token, "/v2/"), [200, undefined])
      })
    )
    it.scopedLive("asks the next hook about what it lets through", () =>
      Effect.gen(function* () {
        const { tokens, url } = yield* guarded(() => Effect.succeed(Faults.respond(418)))
        const { body } = yield* get(tokens, [], basic("ann", "secret"))
        assert.strictEqual((yield* ask(`${url}/v2/`)).status, 401)
        assert.strictEqual(
          (yield* ask(`${url}/v2/`, { headers: { authorization: `Bearer ${body.token}` } })).status,
          418
        )
      })
    )
  })
  describe("onRequestBasic", () => {
    it.scopedLive("wants one of the passwords", () =>
      Effect.gen(function* () {
        const onRequest = TokenServer.onRequestBasic({ ann: "secret" })
        const context = yield* Layer.build(EmbeddedRegistry.layerMemory({ onRequest }))
        const { url } = Context.get(context, EmbeddedRegistry.EmbeddedRegistry)
        const refused = yield* ask(`${url}/v2/`, { headers: basic("ann", "wrong") })
        assert.strictEqual(refused.status, 401)
        assert.match(refused.headers.get("www-authenticate") ?? "", /^Basic realm=/)
        assert.strictEqual((yield* ask(`${url}/v2/`, { headers: basic("ann", "secret") })).status, 200)
      })
    )
  })
})
