import { assert, describe, it } from "@effect/vitest"
import type { BlobContent, ImageTarget } from "@effect-registry/core"
import {
  copy,
  Descriptor,
  Digest,
  Json,
  Manifest,
  MediaType,
  MemoryStore,
  Platform,
  Progress,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

import { recorded, seed, text } from "./support/memory.js"

describe("Copy", () => {
  describe("copy", () => {
    it.effect("moves an image byte for byte, with its tag", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const to = MemoryStore.make("to")
        const descriptor = yield* seed(from).image("a", ["one", "two"], ["1.0"])
        const result = yield* copy(from.source("1.0"), to.target)
        assert.strictEqual(result.descriptor.digest, descriptor.digest)
        assert.deepStrictEqual(result.blobs, { sent: 3, mounted: 0, existing: 0, bytesSent: result.blobs.bytesSent })
        assert.deepStrictEqual(to.manifests.get(descriptor.digest), from.manifests.get(descriptor.digest))
        assert.deepStrictEqual([...to.names.keys()], ["app:1.0"])
        assert.deepStrictEqual(new Map(to.blobs), new Map(from.blobs))
      })
    )

    it.effect("copies a shared blob once", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const a = yield* make.image("a", ["shared", "a", "shared"])
        const b = yield* make.image("b", ["shared", "b"])
        yield* make.manifest(Manifest.assembleIndex(MediaType.ociIndex, [a, b]), ["all"])
        const { reads, source } = recorded(from.source("all"))
        yield* copy(source, MemoryStore.make("to").target)
        assert.strictEqual(new Set(reads).size, reads.length)
        assert.strictEqual(reads.length, 5)
      })
    )

    it.effect("writes children before the index that names them, and tags last", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const child = yield* make.image("a", ["one"])
        const inner = yield* make.manifest(Manifest.assembleIndex(MediaType.ociIndex, [child]))
        const root = yield* make.manifest(Manifest.assembleIndex(MediaType.ociIndex, [inner]), ["all"])
        const order: Array<string> = []
        yield* copy(from.source("all"), MemoryStore.make("to").target).pipe(
          Effect.provideService(Progress.Progress, {
            emit: (event) => {
              if (event._tag === "BlobDone") order.push("blob")
              if (event._tag === "ManifestDone") order.push(`${event.digest} ${event.tags.join()}`)
            }
          })
        )
        assert.deepStrictEqual(order, ["blob", "blob", `${child.digest} `, `${inner.digest} `, `${root.digest} all`])
      })
    )

    it.effect("reads no blob of an image that is there already", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const to = MemoryStore.make("to")
        yield* seed(from).image("a", ["one", "two"], ["1.0"])
        yield* copy(from.source(), to.target)
        const { reads, source } = recorded(from.source())
        const again = yield* copy(source, to.target, { tags: ["2.0"] })
        assert.deepStrictEqual(reads, [])
        assert.strictEqual(again.blobs.sent, 0)
        assert.deepStrictEqual([...to.names.keys()], ["app:1.0", "app:2.0"])
      })
    )

    it.effect("sends blobs and children again, once, that the target says it has and then misses", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const to = MemoryStore.make("to")
        const make = seed(from)
        const child = yield* make.image("a", ["one"])
        const root = yield* make.manifest(Manifest.assembleIndex(MediaType.ociIndex, [child]), ["all"])
        const missing = ValidationError.of("MissingContent", "to", "a child is not there")
        const forced: Array<boolean | undefined> = []
        const written = new Set<Digest.Digest>()
        const forgetful: ImageTarget<ValidationError> = {
          name: "to",
          open: Effect.map(to.target.open, (writer) => ({
            ...writer,
            hasManifest: ({ digest }) => Effect.succeed(digest === child.digest),
            writeBlob: (write) => {
              forced.push(write.force)
              return writer.writeBlob(write)
            },
            writeManifest: (descriptor, bytes, names, force) =>
              Effect.suspend(() => {
                if (descriptor.digest === root.digest && !written.has(child.digest)) return Effect.fail(missing)
                written.add(descriptor.digest)
                return writer.writeManifest(descriptor, bytes, names, force)
              }),
            lacksContent: (error) => error instanceof ValidationError && error.reason === "MissingContent"
          }))
        }
        const result = yield* copy(from.source("all"), forgetful)
        assert.strictEqual(result.descriptor.digest, root.digest)
        assert.deepStrictEqual([...to.manifests.keys()].sort(), [child.digest, root.digest].sort())
        assert.deepStrictEqual(forced, [true, true])
        assert.strictEqual(result.blobs.sent, 2)
      })
    )

    it.effect("moves at most `concurrency` blobs at once", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        yield* seed(from).image(
          "a",
          Array.from({ length: 12 }, (_, index) => `layer ${index}`),
          ["1.0"]
        )
        let running = 0
        let most = 0
        const slow = (content: BlobContent<ValidationError>): BlobContent<ValidationError> => ({
          _tag: "Stream",
          size: content._tag === "Bytes" ? content.bytes.length : 0,
          stream: Stream.unwrap(
            Effect.gen(function* () {
              most = Math.max(most, ++running)
              yield* Effect.yieldNow()
              yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
              running--
              return content._tag === "Bytes" ? Stream.succeed(content.bytes) : Stream.empty
            })
          )
        })
        const reader = yield* Effect.scoped(from.source().open)
        const { source } = recorded(from.source(), { blob: (descriptor) => Effect.map(reader.blob(descriptor), slow) })
        yield* copy(source, MemoryStore.make("to").target, { concurrency: 3 })
        assert.strictEqual(most, 3)
      })
    )

    it.effect("leaves no manifest and no tag when a blob's bytes are wrong", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const to = MemoryStore.make("to")
        yield* seed(from).image("a", ["one", "two"], ["1.0"])
        const { source } = recorded(from.source(), {
          blob: (descriptor) => Effect.succeed({ _tag: "Bytes", bytes: new Uint8Array(descriptor.size) })
        })
        const error = yield* Effect.flip(copy(source, to.target))
        assert.strictEqual(error.reason, "DigestMismatch")
        assert.strictEqual(to.manifests.size, 0)
        assert.strictEqual(to.names.size, 0)
      })
    )

    it.effect("writes no manifest when the source changed while it was read", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const to = MemoryStore.make("to")
        yield* seed(from).image("a", ["one"], ["1.0"])
        const changed = ValidationError.of("InvalidArchive", "app.tar", "changed while it was read")
        const { source } = recorded(from.source(), { unchanged: Effect.fail(changed) })
        const error = yield* Effect.flip(copy(source, to.target))
        assert.strictEqual(error.message, changed.message)
        assert.strictEqual(to.manifests.size, 0)
      })
    )

    it.effect("asks which image is meant where the source has several", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        yield* seed(from).image("a", ["one"], ["1.0"])
        yield* seed(from).image("b", ["two"], ["2.0"])
        const error = yield* Effect.flip(copy(from.source(), MemoryStore.make("to").target))
        assert.strictEqual(error.reason, "SeveralImages")
        assert.strictEqual(error.message, "from: holds 2 images: app:1.0; app:2.0")
      })
    )

    it.effect("refuses a manifest whose bytes have another digest", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        yield* seed(from).image("a", ["one"], ["1.0"])
        const other = Manifest.assembleIndex(MediaType.ociIndex, [])
        const { source } = recorded(from.source(), { manifest: () => Effect.succeed(other.bytes) })
        const error = yield* Effect.flip(copy(source, MemoryStore.make("to").target))
        assert.include(["DigestMismatch", "AmbiguousManifest"], error.reason)
      })
    )

    it.effect("gives up on indexes nested too deeply", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        let inner = yield* make.image("a", ["one"])
        for (let level = 0; level < 17; level++) {
          inner = yield* make.manifest(
            Manifest.assembleIndex(MediaType.ociIndex, [inner]),
            level === 16 ? ["deep"] : []
          )
        }
        const error = yield* Effect.flip(copy(from.source("deep"), MemoryStore.make("to").target))
        assert.strictEqual(error.reason, "TooLarge")
      })
    )

    it.effect("refuses a blob that two descriptors give different sizes", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const config = yield* make.blob(MediaType.ociConfig, text("{}"))
        const layer = yield* make.blob(MediaType.ociLayer, text("one"))
        yield* make.manifest(Manifest.assemble("oci", config, [layer, { ...layer, size: 4 }]), ["1.0"])
        const error = yield* Effect.flip(copy(from.source("1.0"), MemoryStore.make("to").target))
        assert.strictEqual(error.reason, "InvalidManifest")
        assert.include(error.message, "two sizes, 3 and 4")
      })
    )

    it.effect("takes inline data of the right digest without asking the source, and refuses wrong data", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const config = yield* make.blob(MediaType.ociConfig, text("{}"))
        const inline = (data: string): Manifest.Manifest => {
          const value = {
            schemaVersion: 2 as const,
            mediaType: MediaType.ociManifest,
            config: { ...config, data },
            layers: []
          }
          const bytes = Json.encode(value)
          const descriptor = Descriptor.make(MediaType.ociManifest, Digest.fromBytes(bytes), bytes.length)
          return { _tag: "Image", descriptor, bytes, value }
        }
        yield* make.manifest(inline(btoa("{}")), ["good"])
        yield* make.manifest(inline(btoa("[]")), ["bad"])
        const { reads, source } = recorded(from.source("good"))
        yield* copy(source, MemoryStore.make("to").target)
        assert.deepStrictEqual(reads, [])
        const error = yield* Effect.flip(copy(from.source("bad"), MemoryStore.make("to").target))
        assert.strictEqual(error.reason, "InvalidDescriptor")
      })
    )

    describe("platforms", () => {
      const platform = (os: string, architecture: string) => ({ os, architecture })
      const multi = Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const amd64 = { ...(yield* make.image("amd64", ["a"])), platform: platform("linux", "amd64") }
        const arm64 = { ...(yield* make.image("arm64", ["b"])), platform: platform("linux", "arm64") }
        const s390x = { ...(yield* make.image("s390x", ["c"])), platform: platform("linux", "s390x") }
        const index = yield* make.manifest(Manifest.assembleIndex(MediaType.ociIndex, [amd64, arm64, s390x]), ["all"])
        return { from, amd64, arm64, s390x, index }
      })

      it.effect("moves an index whole unless told otherwise", () =>
        Effect.gen(function* () {
          const { from, index } = yield* multi
          const to = MemoryStore.make("to")
          assert.strictEqual((yield* copy(from.source("all"), to.target)).descriptor.digest, index.digest)
          assert.strictEqual(to.manifests.size, 4)
        })
      )

      it.effect("moves the manifest of one platform", () =>
        Effect.gen(function* () {
          const { arm64, from } = yield* multi
          const to = MemoryStore.make("to")
          const result = yield* copy(from.source("all"), to.target, {
            platforms: [yield* Platform.parse("linux/arm64/v8")]
          })
          assert.strictEqual(result.descriptor.digest, arm64.digest)
          assert.strictEqual(to.manifests.size, 1)
        })
      )

      it.effect("makes a new index of several platforms", () =>
        Effect.gen(function* () {
          const { amd64, arm64, from, index } = yield* multi
          const to = MemoryStore.make("to")
          const platforms = [platform("linux", "amd64"), platform("linux", "arm64")]
          const result = yield* copy(from.source("all"), to.target, { platforms })
          assert.notStrictEqual(result.descriptor.digest, index.digest)
          assert.isTrue(to.manifests.has(amd64.digest) && to.manifests.has(arm64.digest))
          assert.strictEqual(to.manifests.size, 3)
        })
      )

      it.effect("refuses an image that is no index and for another platform", () =>
        Effect.gen(function* () {
          const from = MemoryStore.make("from")
          const make = seed(from)
          const value = { architecture: "amd64", os: "linux", rootfs: { diff_ids: [] } }
          const config = yield* make.blob(MediaType.ociConfig, Json.encode(value))
          yield* make.manifest(Manifest.assemble("oci", config, []), ["1.0"])
          const to = MemoryStore.make("to")
          const platforms = [platform("linux", "arm64")]
          const error = yield* Effect.flip(copy(from.source("1.0"), to.target, { platforms }))
          assert.strictEqual(error.reason, "PlatformNotFound")
          assert.include(error.message, "is an image for linux/amd64, not for linux/arm64")
          assert.strictEqual(to.manifests.size, 0)
          yield* copy(from.source("1.0"), to.target, { platforms: [...platforms, platform("linux", "amd64")] })
          assert.strictEqual(to.manifests.size, 1)
        })
      )

      it.effect("lists what there is when the platform is missing", () =>
        Effect.gen(function* () {
          const { from } = yield* multi
          const error = yield* Effect.flip(
            copy(from.source("all"), MemoryStore.make("to").target, { platforms: [platform("windows", "amd64")] })
          )
          assert.strictEqual(error.reason, "PlatformNotFound")
          assert.include(error.message, "linux/amd64, linux/arm64, linux/s390x")
        })
      )
    })
  })
})
