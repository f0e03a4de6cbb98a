/** A registry in your own tests, with a fault on request. */
import { assert, it } from "@effect/vitest"
import { listRepositories, ping } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"

it.effect("talks to a registry of its own", () =>
  Effect.gen(function* () {
    const { url } = yield* EmbeddedRegistry.EmbeddedRegistry
    const repositories = yield* listRepositories().pipe(Effect.provide(NodeRegistry.layer({ url })))
    assert.deepStrictEqual(repositories, [])
  }).pipe(Effect.provide(EmbeddedRegistry.layerTemp()))
)

it.live("gets over one bad answer", () => {
  const onRequest = (request: Faults.Request) => Effect.succeed(request.index === 0 ? Faults.respond(503) : undefined)
  return Effect.gen(function* () {
    const { url } = yield* EmbeddedRegistry.EmbeddedRegistry
    const { version } = yield* ping().pipe(Effect.provide(NodeRegistry.layer({ url, retry: { delay: "10 millis" } })))
    assert.strictEqual(version._tag, "Some")
  }).pipe(Effect.provide(EmbeddedRegistry.layerTemp({ onRequest })))
})
