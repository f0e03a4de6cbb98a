/** A re-push compresses and sends nothing, a push to a second repository mounts, and nobody else's word is remembered. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { BlobInfoCache, Compressor, copy, MemoryStore, push, Registry } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { DockerArchive } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Fixture, Tools, Walk } from "../src/index.js"
import { startDocker, startEmbedded, temporaryFolder } from "./support/servers.js"

const image = Fixture.image({ layers: 3, size: 50_000 })

/** Counts the layers that are compressed. */
const counting = () => {
  let runs = 0
  const service: Compressor.Service = {
    name: Compressor.portable.name,
    decompress: Compressor.portable.decompress,
    compress: (algorithm, plain, onBytes) => {
      const { result, stream } = Compressor.portable.compress(algorithm, plain, onBytes)
      return {
        result,
        stream: Stream.suspend(() => {
          runs += 1
          return stream
        })
      }
    }
  }
  return { service, runs: () => runs }
}

const archive = Effect.gen(function* () {
  const path = join(yield* temporaryFolder, "app.tar")
  yield* Effect.promise(() => writeFile(path, Fixture.dockerArchive([{ image, tags: ["app:1"] }])))
  return DockerArchive.file(path)
})

const behaviours = (start: Effect.Effect<string, unknown, Scope.Scope>) => {
  it.scopedLive("compresses and sends nothing a second time, also in another run", () =>
    Effect.gen(function* () {
      const host = yield* start
      const source = yield* archive
      const state = yield* temporaryFolder
      const { runs, service } = counting()
      const run = (reference: string) =>
        push(source, reference).pipe(
          Effect.provideService(Compressor.Compressor, service),
          Effect.provide(NodeRegistry.layer({ state }))
        )
      const first = yield* run(`${host}/cache/app:1`)
      assert.strictEqual(first.blobs.sent, 4)
      assert.strictEqual(runs(), 3)
      const second = yield* run(`${host}/cache/app:1`)
      assert.deepStrictEqual(second.blobs, { sent: 0, mounted: 0, existing: 4, bytesSent: 0 })
      const third = yield* run(`${host}/cache/other:2`)
      assert.deepStrictEqual(third.blobs, { sent: 0, mounted: 4, existing: 0, bytesSent: 0 })
      assert.strictEqual(runs(), 3)
      const graph = yield* Walk.registry(`http://${host}`, "cache/other", "2")
      assert.strictEqual(graph.root, first.images[0]?.digest)
    })
  )
  it.scopedLive("compresses and sends again where the registry has lost what it is said to have", () =>
    Effect.gen(function* () {
      const host = yield* start
      const empty = yield* start
      const source = yield* archive
      const { runs, service } = counting()
      yield* Effect.gen(function* () {
        yield* push(source, `${host}/cache/app:1`)
        const again = yield* push(source, `${empty}/cache/app:1`)
        assert.strictEqual(again.blobs.sent, 4)
        assert.strictEqual(runs(), 6)
      }).pipe(
        Effect.provideService(Compressor.Compressor, service),
        Effect.provide(NodeRegistry.layer({ state: false }))
      )
      yield* Walk.registry(`http://${empty}`, "cache/app", "1")
    })
  )
}

describe("BlobInfoCache on the embedded registry", () => {
  behaviours(startEmbedded())

  it.scopedLive("learns no layer's digest from an image that is copied, whatever its config says", () =>
    Effect.gen(function* () {
      const host = yield* startEmbedded()
      yield* push(yield* archive, `${host}/cache/app:1`)
      const cache = yield* BlobInfoCache.makeMemory
      yield* Effect.gen(function* () {
        yield* copy(Registry.image(`${host}/cache/app:1`), Registry.repository(`${host}/cache/copy`))
        yield* copy(Registry.image(`${host}/cache/app:1`), MemoryStore.make().target)
      }).pipe(Effect.provideService(BlobInfoCache.BlobInfoCache, cache))
      for (const { diffId } of image.layers) assert.isTrue(Option.isNone(yield* cache.compressed(diffId, "gzip")))
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )
  it.scopedLive("does not believe an entry whose size the registry does not confirm", () =>
    Effect.gen(function* () {
      const host = yield* startEmbedded()
      const source = yield* archive
      const cache = yield* BlobInfoCache.makeMemory
      const remembering = Effect.provideService(BlobInfoCache.BlobInfoCache, cache)
      const first = yield* remembering(push(source, `${host}/cache/app:1`))
      const layer = image.layers[0]
      if (layer === undefined) return assert.fail("no layer")
      const right = yield* cache.compressed(layer.diffId, "gzip")
      if (Option.isNone(right)) return assert.fail("nothing was remembered")
      yield* cache.recordCompressed(layer.diffId, "gzip", { digest: right.value.digest, size: right.value.size + 1 })
      const second = yield* remembering(push(source, `${host}/cache/app:2`))
      assert.strictEqual(second.images[0]?.digest, first.images[0]?.digest)
      yield* Walk.registry(`http://${host}`, "cache/app", "2")
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )
})
Tools.needing(describe, "docker-registry")("BlobInfoCache on docker-registry", () => behaviours(startDocker()))
