/** A registry in your own tests, what it was asked, and faults on request. docs/testing.md tells more. */
import { assert, it, layer } from "@effect/vitest"
import { listRepositories, ping } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults, TokenServer } from "@effect-registry/server"
import * as Effect from "effect/Effect"

const quick = { retry: { delay: "10 millis" } } as const

layer(EmbeddedRegistry.layerMemory())("with one registry for all", (it) => {
  it.effect("talks to it", () =>
    Effect.gen(function* () {
      const { url } = yield* EmbeddedRegistry.EmbeddedRegistry
      const repositories = yield* listRepositories().pipe(Effect.provide(NodeRegistry.layer({ url })))
      assert.deepStrictEqual(repositories, [])
    })
  )
})

it.scopedLive("gets over one bad answer, and asks again", () =>
  Effect.gen(function* () {
    const recorder = Faults.recorder()
    const { url } = yield* EmbeddedRegistry.makeMemory({
      observe: recorder.observe,
      onRequest: Faults.once({ route: "Base" }, Faults.respond(503))
    })
    const { version } = yield* ping().pipe(Effect.provide(NodeRegistry.layer({ url, ...quick })))
    assert.strictEqual(version._tag, "Some")
    const asked = yield* recorder.matching({ method: "GET" })
    assert.deepStrictEqual(
      asked.map(({ path, status }) => `${path} ${status}`),
      ["/v2/ 503", "/v2/ 200"]
    )
  })
)

it.scopedLive("says who it is where that is asked", () =>
  Effect.gen(function* () {
    const tokens = yield* TokenServer.make({ anonymous: { "registry:catalog": ["*"] } })
    const { url } = yield* EmbeddedRegistry.makeMemory({ onRequest: TokenServer.onRequest(tokens) })
    yield* listRepositories().pipe(Effect.provide(NodeRegistry.layer({ url })))
    assert.deepStrictEqual(
      tokens.requests().flatMap(({ scopes }) => scopes),
      ["registry:catalog:*"]
    )
  })
)
