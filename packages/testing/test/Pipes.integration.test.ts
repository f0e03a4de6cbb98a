/** Archives that come through a pipe into threads that compress them, and leave through one. */
import { assert, describe, it } from "@effect/vitest"
import { copy, MemoryStore, push } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { DockerArchive } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Fixture, TarBytes } from "../src/index.js"
import { startEmbedded } from "./support/servers.js"

const image = Fixture.image({ compressed: false, layers: 3, size: 2_500_000 })
const archive = Fixture.dockerArchive([{ image, tags: ["app:1"] }])
const pieces = Array.from({ length: Math.ceil(archive.length / 65_536) }, (_, at) =>
  archive.subarray(at * 65_536, (at + 1) * 65_536)
)
const slowly = Stream.rechunk(Stream.fromIterable(pieces), 1).pipe(
  Stream.tap(() => Effect.sleep("1 millis")),
  Stream.tap(() => Effect.yieldNow())
)

describe("a pipe", () => {
  it.scopedLive("is compressed by threads while it arrives, to the layers of a push from a file", () =>
    Effect.gen(function* () {
      const host = yield* startEmbedded()
      yield* Effect.gen(function* () {
        const piped = yield* push(DockerArchive.stream(slowly), `${host}/piped/app:1`)
        const memory = MemoryStore.make()
        const whole = DockerArchive.stream(Stream.succeed(archive), { compress: "none" })
        const direct = yield* copy(whole, memory.target)
        assert.strictEqual(piped.images[0]?.digest, direct.descriptor.digest)
        assert.strictEqual(piped.blobs.sent, 4)
        // What the registry has is known before it is asked: nothing is compressed or sent.
        const again = yield* push(DockerArchive.stream(slowly), `${host}/piped/app:2`)
        assert.deepStrictEqual([again.images[0]?.digest, again.blobs.sent], [direct.descriptor.digest, 0])
      }).pipe(Effect.provide(NodeRegistry.layer({ url: `http://${host}`, state: false })))
    })
  )

  it.scopedLive("that stops in the middle of a layer can be left at once", () =>
    Effect.gen(function* () {
      const input = Stream.concat(Stream.succeed(archive.subarray(0, 3_000_000)), Stream.never)
      const fiber = yield* DockerArchive.stream(input).open.pipe(
        Effect.scoped,
        Effect.provide(NodeRegistry.layer({ state: false })),
        Effect.fork
      )
      yield* Effect.sleep("300 millis")
      const began = Date.now()
      yield* Fiber.interrupt(fiber)
      assert.isBelow(Date.now() - began, 2_000)
    })
  )

  it.scopedLive("gives what it was given, when it is compressed on the way to another", () =>
    Effect.gen(function* () {
      const chunks: Array<Uint8Array> = []
      const target = DockerArchive.pipe((bytes) => Effect.sync(() => void chunks.push(Uint8Array.from(bytes))))
      const { descriptor } = yield* copy(DockerArchive.stream(slowly), target)
      const found = yield* copy(
        DockerArchive.stream(Stream.succeed(TarBytes.concat(chunks))),
        MemoryStore.make().target
      )
      assert.strictEqual(found.descriptor.digest, descriptor.digest)
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )
})
