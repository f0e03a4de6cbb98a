import { assert, describe, it } from "@effect/vitest"
import { Descriptor, Digest, Json, Manifest, MediaType } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as fc from "fast-check"

const text = (value: string) => new TextEncoder().encode(value)
const part = (mediaType: string, content: string) =>
  Descriptor.make(mediaType, Digest.fromBytes(text(content)), text(content).length)
const config = part(MediaType.ociConfig, "{}")
const layer = part(MediaType.ociLayerGzip, "layer")
const image = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [layer] }
const index = { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [part(MediaType.ociManifest, "child")] }

const decode = (value: unknown, options: Partial<Manifest.DecodeOptions> = {}) =>
  Manifest.decode(typeof value === "string" ? text(value) : Json.encode(value), { subject: "app:1", ...options })
const manifest = (value: unknown, options: Partial<Manifest.DecodeOptions> = {}) =>
  Either.getOrThrow(decode(value, options))
const failure = (value: unknown, options: Partial<Manifest.DecodeOptions> = {}) =>
  Either.getOrThrow(Either.flip(decode(value, options)))
/** The JSON of an image with something put in front of its fields. */
const withText = (fields: string) => JSON.stringify(image).replace("{", `{${fields},`)

describe("Manifest", () => {
  describe("decode", () => {
    it("keeps the exact bytes, their digest and size, and fields it does not know", () => {
      const bytes = text(`  ${JSON.stringify({ ...image, x: { y: [null] }, layers: [{ ...layer, z: 1 }] }, null, 3)}\n`)
      const result = Either.getOrThrow(Manifest.decode(bytes, { subject: "app:1" }))
      assert.strictEqual(result.bytes, bytes)
      assert.deepStrictEqual(result.descriptor, part(MediaType.ociManifest, new TextDecoder().decode(bytes)))
      assert.deepStrictEqual<unknown>(result.value, { ...image, x: { y: [null] }, layers: [{ ...layer, z: 1 }] })
    })

    it.each([
      [MediaType.dockerManifest, "Image"],
      [MediaType.ociManifest, "Image"],
      [MediaType.dockerIndex, "Index"],
      [MediaType.ociIndex, "Index"]
    ])("reads %s as %s", (mediaType, tag) => {
      const value = { ...(tag === "Image" ? image : index), mediaType }
      for (const declared of [undefined, mediaType, `${mediaType}; charset=utf-8`, "application/json", "text/plain"]) {
        const result = manifest(value, { mediaType: declared })
        assert.strictEqual(result._tag, tag)
        assert.strictEqual(result.descriptor.mediaType, mediaType)
      }
    })

    it("takes the type from outside where the document does not tell it, and OCI's where nobody does", () => {
      const { mediaType: _, ...untyped } = image
      assert.strictEqual(
        manifest(untyped, { mediaType: MediaType.dockerManifest }).descriptor.mediaType,
        MediaType.dockerManifest
      )
      assert.strictEqual(manifest(untyped).descriptor.mediaType, MediaType.ociManifest)
      const { mediaType: __, ...untypedIndex } = index
      assert.strictEqual(manifest(untypedIndex).descriptor.mediaType, MediaType.ociIndex)
    })

    it("takes null for an empty list, for no annotations and for no subject, as Go writes them", () => {
      assert.deepStrictEqual(Manifest.blobs(manifest({ ...image, layers: null, annotations: null, subject: null })), [
        config
      ])
      assert.deepStrictEqual(Manifest.children(manifest({ ...index, manifests: null })), [])
    })

    it("names the config first, then the layers; and the children of an index", () => {
      assert.deepStrictEqual(Manifest.blobs(manifest(image)), [config, layer])
      assert.deepStrictEqual(Manifest.children(manifest(image)), [])
      assert.deepStrictEqual(Manifest.blobs(manifest(index)), [])
      assert.deepStrictEqual(Manifest.children(manifest(index)), index.manifests)
    })

    it("compares the digest it was asked by, of either algorithm, before it reads on", () => {
      const bytes = Json.encode(image)
      for (const algorithm of ["sha256", "sha512"] as const) {
        const digest = Digest.fromBytes(bytes, algorithm)
        assert.strictEqual(manifest(image, { digest }).descriptor.digest, digest)
        assert.strictEqual(failure("{ cut", { digest }).reason, "DigestMismatch")
      }
    })

    it.each<[string, unknown, string | undefined, RegExp]>([
      ["layers and manifests", { ...image, manifests: index.manifests }, undefined, /both layers and manifests/],
      ["an index with a config", { ...index, config }, undefined, /both layers and manifests/],
      [
        "the type of an index on an image",
        { ...image, mediaType: MediaType.ociIndex },
        undefined,
        /fields are those of an image/
      ],
      [
        "the type of an image on an index",
        { ...index, mediaType: MediaType.ociManifest },
        undefined,
        /fields are those of an index/
      ],
      ["another Content-Type", image, MediaType.dockerManifest, /came as application\/vnd.docker/],
      ["a Content-Type of an index", image, MediaType.ociIndex, /came as/],
      ["a page for people", image, "text/html", /came as text\/html/],
      ["layers twice", withText('"layers":[]'), undefined, /"layers" stands there twice/],
      ["layers twice, far apart", withText(`"layers"${" ".repeat(100)}:[]`), undefined, /twice/],
      ["layers twice, escaped", withText('"l\\u0061yers":[]'), undefined, /twice/],
      ["layers in capitals too", withText('"LAYERS":[]'), undefined, /"LAYERS" is not written/],
      ["manifests in capitals", withText('"Manifests":[]'), undefined, /"Manifests" is not written/],
      ["layers with a long s", withText('"layerſ":[]'), undefined, /"layerſ" is not written/],
      ["mediaType in small letters", withText('"mediatype":"x"'), undefined, /"mediatype"/],
      ["a layer with two digests", { ...image, layers: [{ ...layer, Digest: config.digest }] }, undefined, /"Digest"/],
      ["a config with two sizes", { ...image, config: { ...config, SIZE: 1 } }, undefined, /"SIZE"/],
      ["a child with two digests", { ...index, manifests: [{ ...config, diGest: "x" }] }, undefined, /"diGest"/],
      [
        "a digest twice in a layer",
        JSON.stringify(image).replace('"size":5', `"size":5,"digest":"${config.digest}"`),
        undefined,
        /"digest" stands there twice/
      ]
    ])("refuses as ambiguous %s (CVE-2021-41190)", (_, value, mediaType, message) => {
      const error = failure(value, { mediaType })
      assert.strictEqual(error.reason, "AmbiguousManifest")
      assert.match(error.message, message)
      assert.match(error.message, /^app:1: /)
    })

    it("does not mind annotations that differ in case alone", () => {
      assert.strictEqual(manifest({ ...image, annotations: { Digest: "a", digest: "b" } })._tag, "Image")
    })

    it.each<[string, unknown, string | undefined]>([
      ["by its Content-Type", "not even JSON", "application/vnd.docker.distribution.manifest.v1+prettyjws"],
      ["by its mediaType", { ...image, mediaType: "application/vnd.docker.distribution.manifest.v1+json" }, undefined],
      ["by its version", { schemaVersion: 1, name: "app", fsLayers: [] }, undefined],
      ["by its layers", { fsLayers: [], history: [] }, "application/json"]
    ])("tells Docker schema 1 %s, and what to do", (_, value, mediaType) => {
      const error = failure(value, { mediaType })
      assert.strictEqual(error.reason, "UnsupportedManifest")
      assert.match(error.message, /schema 1/)
      assert.match(error.hint ?? "", /push the image again/)
    })

    it("refuses a type that is no manifest's", () => {
      assert.strictEqual(failure({ ...image, mediaType: MediaType.ociConfig }).reason, "UnsupportedManifest")
      const { mediaType: _, ...untyped } = image
      assert.strictEqual(failure(untyped, { mediaType: "application/vnd.other" }).reason, "UnsupportedManifest")
    })

    it.each<[string, unknown, RegExp]>([
      ["an array", [], /expected/i],
      ["null", "null", /expected/i],
      ["nothing", "", /is empty/],
      ["a page", "<html></html>", /is not JSON/],
      ["no schemaVersion", { ...image, schemaVersion: undefined }, /schemaVersion/],
      ["a schemaVersion in quotes", { ...image, schemaVersion: "2" }, /schemaVersion/],
      ["no config", { ...image, config: undefined }, /config/],
      ["no layers", { ...image, layers: undefined }, /layers/],
      [
        "a digest that is none",
        { ...image, layers: [{ ...layer, digest: "sha256:../../x" }] },
        /layers\[0\]\.digest: expected sha256/
      ],
      ["a negative size", { ...image, layers: [{ ...layer, size: -1 }] }, /layers\[0\]\.size/],
      ["half a byte", { ...image, layers: [{ ...layer, size: 0.5 }] }, /layers\[0\]\.size/],
      ["a size beyond 2^53", { ...image, layers: [{ ...layer, size: 2 ** 60 }] }, /layers\[0\]\.size/],
      ["a descriptor without type", { ...image, config: { ...config, mediaType: "" } }, /config\.mediaType/],
      ["annotations that are no texts", { ...image, annotations: { a: 1 } }, /annotations\.a/],
      ["layers that are an object", { ...image, layers: {} }, /layers/],
      ["a key __proto__", withText('"__proto__":{"manifests":[]}'), /__proto__/]
    ])("refuses as invalid %s", (_, value, message) => {
      const error = failure(value)
      assert.strictEqual(error.reason, "InvalidManifest")
      assert.match(error.message, message)
    })

    it("refuses 8 MiB and a byte, and documents nested deeper than 64", () => {
      const huge = Manifest.decode(new Uint8Array(Manifest.maxSize + 1), { subject: "app:1" })
      assert.strictEqual(Either.getOrThrow(Either.flip(huge)).reason, "TooLarge")
      assert.match(failure(withText(`"x":${"[".repeat(64)}${"]".repeat(64)}`)).message, /64 levels/)
    })

    it("throws on no bytes at all", () => {
      const whole = JSON.stringify(image)
      fc.assert(
        fc.property(fc.nat(whole.length), fc.string({ maxLength: 4 }), fc.nat(8), (at, put, drop) => {
          const changed = whole.slice(0, at) + put + whole.slice(at + drop)
          const result = decode(changed)
          if (Either.isRight(result)) assert.deepStrictEqual(result.right.bytes, text(changed))
        }),
        { numRuns: 500 }
      )
    })
  })

  describe("assemble", () => {
    it("writes the manifest as docker push does, the same bytes each time", () => {
      const made = Manifest.assemble("docker", { ...config, annotations: { a: "b" } }, [layer, layer])
      assert.strictEqual(
        new TextDecoder().decode(made.bytes),
        `{"schemaVersion":2,"mediaType":"${MediaType.dockerManifest}",` +
          `"config":{"mediaType":"${config.mediaType}","size":2,"digest":"${config.digest}"},"layers":[` +
          `{"mediaType":"${layer.mediaType}","size":5,"digest":"${layer.digest}"},` +
          `{"mediaType":"${layer.mediaType}","size":5,"digest":"${layer.digest}"}]}`
      )
    })

    it.each(["docker", "oci"] as const)("makes a %s manifest that decodes to itself", (format) => {
      const made = Manifest.assemble(format, config, [layer])
      const { digest, mediaType } = made.descriptor
      const result = Either.getOrThrow(Manifest.decode(made.bytes, { subject: "made", mediaType, digest }))
      assert.deepStrictEqual<unknown>(result, made)
    })
  })

  describe("assembleIndex", () => {
    it("keeps platforms and annotations, and decodes to itself", () => {
      const child = { ...part(MediaType.ociManifest, "x"), platform: { os: "linux", architecture: "arm64" } }
      const made = Manifest.assembleIndex(MediaType.ociIndex, [child], { made: "here" })
      const result = Either.getOrThrow(Manifest.decode(made.bytes, { subject: "made", mediaType: MediaType.ociIndex }))
      assert.deepStrictEqual<unknown>(result, made)
      assert.deepStrictEqual(Manifest.children(result), [child])
    })
  })

  describe("inlineData", () => {
    const inline = (data: string, of = "hello") =>
      Manifest.inlineData({ ...part("text/plain", of), data }, "the descriptor")

    it("gives the bytes, and nothing where there are none", () => {
      assert.deepStrictEqual(Either.getOrThrow(inline(btoa("hello"))), Option.some(text("hello")))
      assert.deepStrictEqual(Either.getOrThrow(Manifest.inlineData(config, "x")), Option.none())
    })

    it.each([
      ["*", "hello", /not base64/],
      [btoa("hello!"), "hello", /has 6 bytes, its size says 5/],
      [btoa("jello"), "hello", /has the digest/]
    ])("refuses %s", (data, of, message) => {
      const error = Either.getOrThrow(Either.flip(inline(data, of)))
      assert.strictEqual(error.reason, "InvalidDescriptor")
      assert.match(error.message, message)
    })
  })
})
