/** How blobs are taken, and what is refused. */
import { deepStrictEqual, strictEqual } from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Fixture from "../../Fixture.js"
import type { Test, TypedError } from "./Contract.js"
import {
  blobWrite,
  damages,
  expectGraph,
  expectTyped,
  identity,
  layerOf,
  names,
  pieces,
  plain,
  SourceBroke,
  writeBlobs
} from "./Support.js"

export const cases = <E extends TypedError, R>(test: Test<E, R>): void => {
  test("writes a blob that is there already no second time, and does not read it", (store) =>
    Effect.gen(function* () {
      const writer = yield* store.target.open
      const layer = layerOf(61)
      strictEqual((yield* writer.writeBlob(blobWrite(layer.descriptor, layer.gzip))).outcome, "Sent")
      let reads = 0
      const again = yield* writer.writeBlob({
        ...blobWrite(layer.descriptor, layer.gzip),
        content: Effect.sync(() => {
          reads++
          return { _tag: "Bytes" as const, bytes: layer.gzip }
        })
      })
      strictEqual(again.outcome, "Exists")
      strictEqual(reads, 0)
      deepStrictEqual(identity(again.descriptor), identity(layer.descriptor))
    }))

  test("takes one blob from several writers at once", (store) =>
    Effect.gen(function* () {
      const image = Fixture.image({ seed: 71, layers: 1, size: 200_000 })
      const writer = yield* store.target.open
      yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => writeBlobs(writer, image), { concurrency: "unbounded" })
      yield* writer.writeManifest(plain(image.descriptor), image.manifest, names(store, ["1.0"]))
      yield* writer.commit ?? Effect.void
      yield* expectGraph(store.source("1.0"), image)
    }))

  test("takes a blob as a stream of uneven chunks", (store) =>
    Effect.gen(function* () {
      const image = Fixture.image({ seed: 81, layers: 1, size: 100_000 })
      const writer = yield* store.target.open
      yield* writeBlobs(writer, image, (bytes) => ({
        _tag: "Stream",
        size: bytes.length,
        stream: Stream.fromIterable(pieces(bytes, [1, 0, 511, 513, 40_000]))
      }))
      yield* writer.writeManifest(plain(image.descriptor), image.manifest, names(store, ["1.0"]))
      yield* writer.commit ?? Effect.void
      yield* expectGraph(store.source("1.0"), image)
    }))

  test("takes a blob that has no bytes", (store) =>
    Effect.gen(function* () {
      const writer = yield* store.target.open
      const empty = Fixture.describeBytes("application/octet-stream", new Uint8Array())
      const { descriptor } = yield* writer.writeBlob(blobWrite(empty, new Uint8Array()))
      deepStrictEqual(identity(descriptor), identity(empty))
    }))

  for (const [what, damage] of Object.entries(damages)) {
    test(`refuses a blob ${what}, and does not keep it`, (store) =>
      Effect.gen(function* () {
        const writer = yield* store.target.open
        const layer = layerOf(91)
        yield* expectTyped(writer.writeBlob(blobWrite(layer.descriptor, damage(layer.gzip))))
        const repaired = yield* writer.writeBlob(blobWrite(layer.descriptor, layer.gzip))
        strictEqual(repaired.outcome, "Sent")
      }))
  }

  test("refuses a blob whose descriptor tells another size", (store) =>
    Effect.gen(function* () {
      const writer = yield* store.target.open
      const layer = layerOf(101)
      const descriptor = { ...layer.descriptor, size: layer.descriptor.size + 1 }
      yield* expectTyped(writer.writeBlob(blobWrite(descriptor, layer.gzip)))
    }))

  test("passes on the error of a blob that cannot be read, and does not keep it", (store) =>
    Effect.gen(function* () {
      const writer = yield* store.target.open
      const layer = layerOf(111)
      const broken = new SourceBroke()
      const atOnce = yield* Effect.flip(
        writer.writeBlob({ ...blobWrite(layer.descriptor, layer.gzip), content: Effect.fail(broken) })
      )
      strictEqual(atOnce, broken)
      const midway = Stream.concat(Stream.make(layer.gzip.subarray(0, 100)), Stream.fail(broken))
      const content = Effect.succeed({ _tag: "Stream" as const, size: layer.gzip.length, stream: midway })
      strictEqual(yield* Effect.flip(writer.writeBlob({ ...blobWrite(layer.descriptor, layer.gzip), content })), broken)
      strictEqual((yield* writer.writeBlob(blobWrite(layer.descriptor, layer.gzip))).outcome, "Sent")
    }))
}
