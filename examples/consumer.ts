/**
 * What a user's own program looks like: pushes an archive to a registry and reads the image back, with a timeout, retries
 * of one's own, and every client that Effect has. It starts a registry of its own, so it runs anywhere:
 * `node --import tsx examples/consumer.ts`, with `app.tar` in the working directory.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { getImageInfo, push } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry } from "@effect-registry/server"
import { DockerArchive } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"

const program = Effect.gen(function* () {
  const { host, url } = yield* EmbeddedRegistry.EmbeddedRegistry
  const source = DockerArchive.file("app.tar", { image: "fixture/app:1.0" })

  const batteries = NodeRegistry.layer({ url })
  const retrying = NodeRegistry.layer({
    url,
    transformClient: (client) =>
      HttpClient.retryTransient(client, { times: 3, schedule: Schedule.exponential("100 millis") })
  })
  const digests = yield* Effect.all([
    push(source, `${host}/team/app:node`).pipe(Effect.timeout("1 minute"), Effect.provide(batteries)),
    push(source, `${host}/team/app:retrying`).pipe(Effect.provide(retrying)),
    push(source, `${host}/team/app:fetch`).pipe(Effect.provide(FetchHttpClient.layer), Effect.provide(batteries)),
    push(source, `${host}/team/app:http`).pipe(Effect.provide(NodeHttpClient.layer), Effect.provide(batteries)),
    push(source, `${host}/team/app:undici`).pipe(Effect.provide(NodeHttpClient.layerUndici), Effect.provide(batteries))
  ])
  const unique = new Set(digests.flatMap(({ images }) => images.map(({ digest }) => digest)))
  if (unique.size !== 1) return yield* Effect.dieMessage(`the digests differ: ${[...unique].join(", ")}`)

  const info = yield* getImageInfo(`${host}/team/app:undici`).pipe(Effect.provide(batteries))
  yield* Effect.log(`${info.reference} for ${info.os}/${info.architecture}, ${info.layerCount} layers`)
})

Effect.runPromise(program.pipe(Effect.provide(Layer.fresh(EmbeddedRegistry.layerTemp())))).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
