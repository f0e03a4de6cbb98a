/** Layers that are compressed on the way. */
import { strictEqual } from "node:assert/strict"
import { gunzipSync } from "node:zlib"
import * as Effect from "effect/Effect"
import * as Fixture from "../../Fixture.js"
import * as TarBytes from "../../TarBytes.js"
import type { Test, TypedError } from "./Contract.js"
import { blobWrite, compressedWrite, contentOf, damages, expectTyped, layerOf, names } from "./Support.js"

export const cases = <E extends TypedError, R>(test: Test<E, R>): void => {
  test("compresses a layer on the way and says what it became", (store) =>
    Effect.gen(function* () {
      const layer = layerOf(151)
      const writer = yield* store.target.open
      const { descriptor } = yield* writer.writeBlob(compressedWrite(layer, layer.tar))
      const config = Fixture.image({ seed: 151, layers: 1 })
      yield* writer.writeBlob(blobWrite(config.configDescriptor, config.config))
      const manifest = TarBytes.bytes(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: config.descriptor.mediaType,
          config: config.configDescriptor,
          layers: [descriptor]
        })
      )
      const described = Fixture.describeBytes(config.descriptor.mediaType, manifest)
      yield* writer.writeManifest(described, manifest, names(store, ["1.0"]))
      yield* writer.commit ?? Effect.void
      const reader = yield* store.source("1.0").open
      const bytes = yield* contentOf(yield* reader.blob(descriptor))
      strictEqual(Fixture.digest(bytes), descriptor.digest)
      strictEqual(bytes.length, descriptor.size)
      strictEqual(Fixture.digest(gunzipSync(bytes)), layer.diffId)
    }))

  test("refuses a layer that is not what its diff ID says", (store) =>
    Effect.gen(function* () {
      const layer = layerOf(161)
      const writer = yield* store.target.open
      yield* expectTyped(writer.writeBlob(compressedWrite(layer, damages["with a flipped byte"](layer.tar))))
    }))
}
