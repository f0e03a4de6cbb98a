/** Registries for tests that go over the network. */
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults, type ServerError } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A path of the test's own, whatever is there removed with the scope. */
export const temporary = Effect.acquireRelease(
  Effect.sync(() => join(tmpdir(), `effect-registry-${crypto.randomUUID()}`)),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

interface Embedded extends EmbeddedRegistry.EmbeddedRegistryService {
  readonly recorder: Faults.Recorder
  readonly layer: ReturnType<typeof NodeRegistry.layer>
}

/** An embedded registry of the test's own, with a record of what it was asked and the layer to talk to it. */
export const embedded: Effect.Effect<Embedded, ServerError, Scope.Scope> = Effect.gen(function* () {
  const recorder = Faults.recorder()
  const service = yield* EmbeddedRegistry.makeMemory({ observe: recorder.observe })
  return { ...service, recorder, layer: NodeRegistry.layer({ url: service.url }) }
})
