/** Shows what a running copy tells: any service with an `emit` hears it. */
import { copy, Progress, Registry } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const loud = Layer.succeed(Progress.Progress, {
  emit: (event) => {
    if (event._tag === "BlobDone") console.log(event.digest, event.outcome)
    if (event._tag === "Retrying") console.warn(event.operation, event.message)
  }
})

const program = copy(
  Registry.image("localhost:15000/team/app:1.0"),
  Registry.repository("localhost:15000/mirror/app"),
  { concurrency: 3 }
)

Effect.runPromise(program.pipe(Effect.provide(loud), Effect.provide(NodeRegistry.layer()))).then(
  ({ blobs, descriptor }) => console.log(descriptor.digest, blobs),
  (error: unknown) => {
    console.error(error)
    process.exitCode = 1
  }
)
