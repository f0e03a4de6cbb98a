import { gunzipSync, gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import type { CopyOptions, MemoryStore as MemoryStoreNs } from "@effect-registry/core"
import { copy, Digest, Json, Manifest, MediaType, MemoryStore } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { seed, text } from "../support/memory.js"

const gzip = (plain: Uint8Array) => new Uint8Array(gzipSync(plain))

/** An image with gzipped layers and a config that names their diff IDs. */
const image = (store: MemoryStoreNs.MemoryStore, format: Manifest.Format, tags: ReadonlyArray<string>, name = "app") =>
  Effect.gen(function* () {
    const make = seed(store)
    const plain = [text(`${name} lower`.repeat(100)), text(`${name} upper`.repeat(100))]
    const diffIds = plain.map((bytes) => Digest.fromBytes(bytes))
    const value = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: diffIds } }
    const config = yield* make.blob(Manifest.configType(format), Json.encode(value))
    const type = MediaType.layerType(format, "gzip")
    const layers = yield* Effect.forEach(plain, (bytes) => make.blob(type, gzip(bytes)))
    const descriptor = yield* make.manifest(Manifest.assemble(format, config, layers), tags)
    return { descriptor, diffIds }
  })

const manifestOf = (store: MemoryStoreNs.MemoryStore, digest: Digest.Digest) =>
  Manifest.decode(store.manifests.get(digest) ?? new Uint8Array(), { subject: "manifest", digest })

const converted = (from: MemoryStoreNs.MemoryStore, tag: string, options: CopyOptions) =>
  Effect.gen(function* () {
    const to = MemoryStore.make("to")
    const result = yield* copy(from.source(tag), to.target, options)
    return { to, result, manifest: yield* manifestOf(to, result.descriptor.digest) }
  })

describe("Copy/Convert", () => {
  describe("format", () => {
    it.effect("makes Docker's manifest OCI's and back, with the blobs as they are", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const { descriptor } = yield* image(from, "docker", ["1.0"])
        const oci = yield* converted(from, "1.0", { format: "oci" })
        assert.strictEqual(oci.manifest.descriptor.mediaType, MediaType.ociManifest)
        assert.deepStrictEqual(
          Manifest.blobs(oci.manifest).map(({ mediaType }) => mediaType),
          [MediaType.ociConfig, MediaType.ociLayerGzip, MediaType.ociLayerGzip]
        )
        assert.deepStrictEqual(new Map(oci.to.blobs), new Map(from.blobs))
        assert.deepStrictEqual(oci.result.changed, [{ from: descriptor.digest, to: oci.manifest.descriptor.digest }])
        const back = yield* converted(oci.to, "1.0", { format: "docker" })
        assert.strictEqual(back.manifest.descriptor.digest, descriptor.digest)
      })
    )

    it.effect("leaves an image alone that has the format", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const { descriptor } = yield* image(from, "oci", ["1.0"])
        const { result } = yield* converted(from, "1.0", { format: "oci", compress: "gzip" })
        assert.strictEqual(result.descriptor.digest, descriptor.digest)
        assert.deepStrictEqual(result.changed, [])
      })
    )

    it.effect("converts the images of an index and leaves its attestations out", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const a = yield* image(from, "oci", [], "a")
        const b = yield* image(from, "oci", [], "b")
        const attestation = yield* image(from, "oci", [], "attestation")
        const platform = (os: string, architecture: string) => ({ platform: { os, architecture } })
        const index = Manifest.assembleIndex(MediaType.ociIndex, [
          { ...a.descriptor, ...platform("linux", "amd64") },
          { ...b.descriptor, ...platform("linux", "arm64") },
          { ...attestation.descriptor, ...platform("unknown", "unknown") }
        ])
        yield* seed(from).manifest(index, ["all"])
        const { manifest, result, to } = yield* converted(from, "all", { format: "docker" })
        assert.strictEqual(manifest.descriptor.mediaType, MediaType.dockerIndex)
        const children = Manifest.children(manifest)
        assert.deepStrictEqual(
          children.map((child) => [child.mediaType, child.platform?.architecture]),
          [
            [MediaType.dockerManifest, "amd64"],
            [MediaType.dockerManifest, "arm64"]
          ]
        )
        for (const { digest } of children) assert.isTrue(to.manifests.has(digest))
        assert.strictEqual(to.manifests.size, 3)
        assert.deepStrictEqual(
          new Set(result.changed.map((each) => each.from)),
          new Set([index.descriptor.digest, a.descriptor.digest, b.descriptor.digest])
        )
        const same = yield* converted(from, "all", { format: "oci" })
        assert.strictEqual(same.result.descriptor.digest, index.descriptor.digest)
        assert.strictEqual(same.to.manifests.size, 4)
      })
    )

    it.effect("keeps annotations from OCI to OCI", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const { descriptor } = yield* image(from, "oci", [])
        const plain = yield* manifestOf(from, descriptor.digest)
        assert(plain._tag === "Image")
        const annotated = Manifest.ofImage({ ...plain.value, annotations: { "org.example": "kept" } })
        yield* seed(from).manifest(annotated, ["1.0"])
        const { manifest } = yield* converted(from, "1.0", { compress: "zstd" })
        assert.deepStrictEqual(manifest.value.annotations, { "org.example": "kept" })
      })
    )
  })

  describe("compress", () => {
    it.effect("compresses layers by zstd and gzip again, and their plain bytes stay", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const { diffIds } = yield* image(from, "oci", ["1.0"])
        const zstd = yield* converted(from, "1.0", { compress: "zstd" })
        const [config, ...layers] = Manifest.blobs(zstd.manifest)
        assert.deepStrictEqual(
          layers.map(({ mediaType }) => mediaType),
          [MediaType.ociLayerZstd, MediaType.ociLayerZstd]
        )
        assert.isTrue(config !== undefined && from.blobs.has(config.digest))
        const again = yield* converted(zstd.to, "1.0", { compress: "gzip" })
        const plain = Manifest.blobs(again.manifest)
          .slice(1)
          .map(({ digest }) => Digest.fromBytes(gunzipSync(again.to.blobs.get(digest) ?? new Uint8Array())))
        assert.deepStrictEqual(plain, diffIds)
      })
    )

    it.effect("keeps nothing that was said of the bytes of before", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const { descriptor } = yield* image(from, "oci", [])
        const plain = yield* manifestOf(from, descriptor.digest)
        assert(plain._tag === "Image")
        const layers = plain.value.layers.map((layer) => ({
          ...layer,
          data: Buffer.from(from.blobs.get(layer.digest) ?? []).toString("base64"),
          annotations: { "containerd.io/snapshot/stargz/toc.digest": "gone", "org.example": "kept" }
        }))
        yield* seed(from).manifest(Manifest.ofImage({ ...plain.value, layers }), ["1.0"])
        const { manifest, to } = yield* converted(from, "1.0", { compress: "zstd" })
        for (const { annotations, data } of Manifest.blobs(manifest).slice(1)) {
          assert.isUndefined(data)
          assert.deepStrictEqual(annotations, { "org.example": "kept" })
        }
        yield* copy(to.source("1.0"), MemoryStore.make("again").target)
      })
    )

    it.effect("leaves encrypted layers alone, and says why such an image is not converted", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const config = yield* make.blob(MediaType.ociConfig, Json.encode({ rootfs: { diff_ids: [] } }))
        const layer = yield* make.blob(`${MediaType.ociLayerGzip}+encrypted`, text("secret"))
        yield* make.manifest(Manifest.assemble("oci", config, [layer]), ["1.0"])
        const error = yield* Effect.flip(converted(from, "1.0", { format: "docker" }))
        assert.strictEqual(error.reason, "InvalidOption")
        assert.include(error.message, "tar+gzip+encrypted")
      })
    )

    it.effect("refuses a layer that is not what its config says", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const other = Digest.fromBytes(text("something else"))
        const config = yield* make.blob(MediaType.ociConfig, Json.encode({ rootfs: { diff_ids: [other] } }))
        const layer = yield* make.blob(MediaType.ociLayerGzip, gzip(text("what it is")))
        yield* make.manifest(Manifest.assemble("oci", config, [layer]), ["1.0"])
        const error = yield* Effect.flip(converted(from, "1.0", { compress: "zstd" }))
        assert.strictEqual(error.reason, "LayerMismatch")
      })
    )

    it.effect("refuses layers that do not decompress", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const config = yield* make.blob(
          MediaType.ociConfig,
          Json.encode({ rootfs: { diff_ids: [Digest.fromBytes(text("plain"))] } })
        )
        const layer = yield* make.blob(MediaType.ociLayerGzip, gzip(text("plain")).subarray(0, 12))
        yield* make.manifest(Manifest.assemble("oci", config, [layer]), ["1.0"])
        const error = yield* Effect.flip(converted(from, "1.0", { compress: "zstd" }))
        assert.strictEqual(error.reason, "DamagedData")
      })
    )

    it.effect("knows no zstd in Docker's format", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        yield* image(from, "docker", ["1.0"])
        const error = yield* Effect.flip(converted(from, "1.0", { compress: "zstd" }))
        assert.strictEqual(error.reason, "InvalidOption")
        assert.include(error.hint ?? "", "--format oci")
        const { manifest } = yield* converted(from, "1.0", { compress: "zstd", format: "oci" })
        assert.strictEqual(manifest.descriptor.mediaType, MediaType.ociManifest)
      })
    )
  })

  describe("what is not converted", () => {
    it.effect("is an artifact", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        const make = seed(from)
        const config = yield* make.blob("application/vnd.cncf.helm.config.v1+json", text("{}"))
        const layer = yield* make.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", gzip(text("chart")))
        yield* make.manifest(Manifest.assemble("oci", config, [layer]), ["chart"])
        const error = yield* Effect.flip(converted(from, "chart", { format: "docker" }))
        assert.strictEqual(error.reason, "InvalidOption")
        assert.include(error.message, "application/vnd.cncf.helm.config.v1+json")
        yield* converted(from, "chart", {})
      })
    )

    it.effect("is an image whose signatures are to go along", () =>
      Effect.gen(function* () {
        const from = MemoryStore.make("from")
        yield* image(from, "docker", ["1.0"])
        const error = yield* Effect.flip(converted(from, "1.0", { format: "oci", referrers: true }))
        assert.strictEqual(error.reason, "InvalidOption")
        assert.include(error.message, "signatures")
      })
    )
  })
})
