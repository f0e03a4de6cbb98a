/** Registries for tests that go over the network. */
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"

/** A path of the test's own, whatever is there removed with the scope. */
export const temporary = Effect.acquireRelease(
  Effect.sync(() => join(tmpdir(), `effect-registry-${crypto.randomUUID()}`)),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

/** An embedded registry of the test's own, with a record of what it was asked and the layer to talk to it. */
export const embedded = Effect.gen(function* () {
  const recorder = Faults.recorder()
  const root = yield* temporary
  const service = yield* EmbeddedRegistry.make({ root, fsync: false, observe: recorder.observe })
  return { ...service, recorder, layer: NodeRegistry.layer({ url: service.url }) }
})
