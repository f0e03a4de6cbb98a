import { assert, describe, it } from "@effect/vitest"
import type { MemoryStore as MemoryStoreNs } from "@effect-registry/core"
import {
  copy,
  Descriptor,
  Digest,
  Manifest,
  MediaType,
  MemoryStore,
  Progress,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { recorded, seed, text } from "../support/memory.js"

const attachment = (
  store: MemoryStoreNs.MemoryStore,
  name: string,
  subject: Descriptor.Descriptor | undefined,
  tags: ReadonlyArray<string> = []
) =>
  Effect.gen(function* () {
    const make = seed(store)
    const config = yield* make.blob("application/vnd.oci.empty.v1+json", text("{}"))
    const layer = yield* make.blob("application/vnd.example.note", text(name))
    const value = {
      schemaVersion: 2 as const,
      mediaType: MediaType.ociManifest,
      artifactType: "application/vnd.example.note",
      config,
      layers: [layer],
      ...(subject === undefined ? {} : { subject: Descriptor.make(subject.mediaType, subject.digest, subject.size) })
    }
    return yield* make.manifest(Manifest.ofImage(value), tags)
  })

/** An index of two images; a signature of the index, one of a child, and a signature of a signature. */
const signed = Effect.gen(function* () {
  const from = MemoryStore.make("from")
  const make = seed(from)
  const a = yield* make.image("a", ["a"])
  const b = yield* make.image("b", ["b"])
  const index = yield* make.manifest(Manifest.assembleIndex(MediaType.ociIndex, [a, b]), ["1.0"])
  const ofIndex = yield* attachment(from, "signature of the index", index)
  const ofChild = yield* attachment(from, "bill of materials of a child", b)
  const ofSignature = yield* attachment(from, "signature of the signature", ofIndex)
  return { from, index, referrers: [ofIndex, ofChild, ofSignature] }
})

describe("Copy/Graph", () => {
  describe("referrers", () => {
    it.effect("leaves them alone unless they are asked for", () =>
      Effect.gen(function* () {
        const { from, referrers } = yield* signed
        const to = MemoryStore.make("to")
        const result = yield* copy(from.source("1.0"), to.target)
        assert.strictEqual(result.referrers, 0)
        for (const { digest } of referrers) assert.isFalse(to.manifests.has(digest))
      })
    )

    it.effect("moves those of the image, of its children, and of other referrers", () =>
      Effect.gen(function* () {
        const { from, referrers } = yield* signed
        const to = MemoryStore.make("to")
        const result = yield* copy(from.source("1.0"), to.target, { referrers: true })
        assert.strictEqual(result.referrers, 3)
        assert.deepStrictEqual(new Set(to.manifests.keys()), new Set(from.manifests.keys()))
        assert.deepStrictEqual(new Map(to.blobs), new Map(from.blobs))
        for (const { digest } of referrers) assert.isTrue(to.manifests.has(digest))
        assert.deepStrictEqual([...to.names.keys()], ["app:1.0"])
      })
    )

    it.effect("writes them before the tag", () =>
      Effect.gen(function* () {
        const { from } = yield* signed
        const order: Array<string> = []
        const to = MemoryStore.make("to").target
        const target = {
          ...to,
          open: Effect.map(to.open, (writer) => ({
            ...writer,
            writeManifest: (...args: Parameters<typeof writer.writeManifest>) => {
              order.push(args[2].map(({ tag }) => Option.getOrElse(tag, () => "")).join())
              return writer.writeManifest(...args)
            }
          }))
        }
        yield* copy(from.source("1.0"), target, { referrers: true })
        assert.deepStrictEqual(order, ["", "", "", "", "", "1.0"])
      })
    )

    it.effect("adds those that came later to an image that is there", () =>
      Effect.gen(function* () {
        const { from, index } = yield* signed
        const to = MemoryStore.make("to")
        yield* copy(from.source("1.0"), to.target, { referrers: true })
        const late = yield* attachment(from, "a late one", index)
        const { reads, source } = recorded(from.source("1.0"))
        const result = yield* copy(source, to.target, { referrers: true })
        assert.isTrue(to.manifests.has(late.digest))
        assert.strictEqual(result.blobs.sent, 1)
        assert.strictEqual(reads.length, 1)
      })
    )

    it.effect("passes over one that is listed and gone, and says so", () =>
      Effect.gen(function* () {
        const { from, referrers } = yield* signed
        const [gone] = referrers
        const warnings: Array<string> = []
        const source = from.source("1.0")
        const lacking: typeof source = {
          ...source,
          open: Effect.map(source.open, (reader) => ({
            ...reader,
            manifest: (descriptor) =>
              descriptor.digest === gone?.digest
                ? Effect.fail(ValidationError.of("MissingContent", "from", "gone"))
                : reader.manifest(descriptor),
            isMissing: (error) => error instanceof ValidationError && error.reason === "MissingContent"
          }))
        }
        const to = MemoryStore.make("to")
        yield* copy(lacking, to.target, { referrers: true }).pipe(
          Effect.provideService(Progress.Progress, {
            emit: (event) => void (event._tag === "Warning" && warnings.push(event.message))
          })
        )
        assert.strictEqual(to.manifests.size, from.manifests.size - 1)
        assert.deepStrictEqual(warnings, [`${gone?.digest} is listed among the referrers, and is not there`])
      })
    )

    it.effect("brings those of the children of an index that is there", () =>
      Effect.gen(function* () {
        const { from } = yield* signed
        const to = MemoryStore.make("to")
        yield* copy(from.source("1.0"), to.target)
        const result = yield* copy(from.source("1.0"), to.target, { referrers: true })
        assert.strictEqual(result.referrers, 3)
        assert.deepStrictEqual(new Set(to.manifests.keys()), new Set(from.manifests.keys()))
      })
    )

    it.effect("gives up on manifests that refer to one another without end", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const image = yield* seed(from).image("a", ["a"], ["1.0"])
        let subject: Descriptor.Descriptor = image
        for (let depth = 0; depth < 20; depth++) subject = yield* attachment(from, `${depth}`, subject)
        const to = MemoryStore.make("to")
        const error = yield* Effect.flip(copy(from.source("1.0"), to.target, { referrers: true }))
        assert.strictEqual(error.reason, "TooLarge")
        assert.include(error.message, "refer to one another")
        assert.strictEqual(to.manifests.size, 0)
      })
    )
  })

  describe("digestTags", () => {
    it.effect("moves signatures that lie under tags made of the digest, with these tags", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const image = yield* seed(from).image("a", ["a"], ["1.0"])
        const tag = `sha256-${Digest.hex(image.digest)}`
        const signature = yield* attachment(from, "signature", undefined, [`${tag}.sig`])
        yield* attachment(from, "something else", undefined, [`${tag}.other`])
        const to = MemoryStore.make("to")
        yield* copy(from.source("1.0"), to.target, { digestTags: true })
        assert.deepStrictEqual([...to.names.keys()].sort(), ["app:1.0", `app:${tag}.sig`])
        assert.strictEqual(to.names.get(`app:${tag}.sig`)?.digest, signature.digest)
      })
    )
  })

  describe("digestTags and referrers", () => {
    it.effect("keep the tag of a signature that is a referrer too", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const image = yield* seed(from).image("a", ["a"], ["1.0"])
        const tag = `sha256-${Digest.hex(image.digest)}.sig`
        yield* attachment(from, "signature", image, [tag])
        const to = MemoryStore.make("to")
        yield* copy(from.source("1.0"), to.target, { digestTags: true, referrers: true })
        assert.deepStrictEqual([...to.names.keys()].sort(), ["app:1.0", `app:${tag}`])
      })
    )
  })

  describe("what an index may name", () => {
    it.effect("moves entries that are no manifests as blobs", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const layer = yield* make.blob("application/vnd.oci.image.layer.v1.tar+gzip", text("a layer of a cache"))
        const config = yield* make.blob("application/vnd.buildkit.cacheconfig.v0", text("{}"))
        const index = yield* make.manifest(Manifest.assembleIndex(MediaType.ociIndex, [layer, config]), ["cache"])
        const to = MemoryStore.make("to")
        const result = yield* copy(from.source("cache"), to.target)
        assert.strictEqual(result.descriptor.digest, index.digest)
        assert.deepStrictEqual(new Map(to.blobs), new Map(from.blobs))
      })
    )

    it.effect("leaves foreign layers where they are, and takes them along when told so", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const config = yield* make.blob(MediaType.dockerConfig, text('{"rootfs":{"diff_ids":[]}}'))
        const blob = yield* make.blob(MediaType.dockerForeignLayer, text("of another company"))
        const foreign = { ...blob, urls: ["https://example.com/layer"] }
        yield* make.manifest(Manifest.assemble("docker", config, [foreign]), ["1.0"])
        const without = MemoryStore.make("without")
        yield* copy(from.source("1.0"), without.target)
        assert.isFalse(without.blobs.has(foreign.digest))
        const along = MemoryStore.make("along")
        yield* copy(from.source("1.0"), along.target, { includeForeign: true })
        assert.isTrue(along.blobs.has(foreign.digest))
        assert.deepStrictEqual([...along.manifests.keys()], [...without.manifests.keys()])
        const lacking = from.source("1.0")
        const gone: typeof lacking = {
          ...lacking,
          open: Effect.map(lacking.open, (reader) => ({
            ...reader,
            blob: (descriptor) =>
              descriptor.digest === foreign.digest
                ? Effect.fail(ValidationError.of("MissingContent", "from", "gone"))
                : reader.blob(descriptor),
            isMissing: (error) => error instanceof ValidationError && error.reason === "MissingContent"
          }))
        }
        const again = MemoryStore.make("again")
        yield* copy(gone, again.target, { includeForeign: true })
        assert.deepStrictEqual([...again.manifests.keys()], [...without.manifests.keys()])
      })
    )
  })

  describe("a target that has it", () => {
    it.effect("is not looked into where its tag has the digest", () =>
      Effect.gen(function* () {
        const { from } = yield* signed
        const to = MemoryStore.make("to")
        yield* copy(from.source("1.0"), to.target)
        const nobody = () => Effect.die("nothing is read")
        const { reads, source } = recorded(from.source("1.0"), { manifest: nobody, blob: nobody })
        const result = yield* copy(source, to.target)
        assert.deepStrictEqual(result.blobs, { sent: 0, mounted: 0, existing: 0, bytesSent: 0 })
        assert.deepStrictEqual(reads, [])
      })
    )

    it.effect("is looked into, and mended, with forceRecursive", () =>
      Effect.gen(function* () {
        const { from, index } = yield* signed
        const to = MemoryStore.make("to")
        // As after a garbage collection gone wrong: the tag is there and a child is not.
        const bytes = from.manifests.get(index.digest) ?? new Uint8Array()
        yield* seed(to).manifest(yield* Manifest.decode(bytes, { subject: "index" }), ["1.0"])
        yield* copy(from.source("1.0"), to.target)
        assert.strictEqual(to.manifests.size, 1)
        yield* copy(from.source("1.0"), to.target, { forceRecursive: true })
        assert.strictEqual(to.manifests.size, 3)
        assert.strictEqual(to.blobs.size, 4)
      })
    )
  })
})
