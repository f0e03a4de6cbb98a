import { assert, describe, it } from "@effect/vitest"
import { Digest, Manifest, MediaType, Referrer } from "@effect-registry/core"
import * as Effect from "effect/Effect"

const digest = Digest.fromBytes(new Uint8Array(0))
const config = { mediaType: "application/vnd.example.config+json", digest, size: 0 }
const decode = (document: object) =>
  Manifest.decode(new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, ...document })), { subject: "test" })

describe("Referrer", () => {
  describe("describe", () => {
    it.effect("carries the type a manifest gives itself, and its annotations", () =>
      Effect.gen(function* () {
        const annotations = { "org.example": "yes" }
        const manifest = yield* decode({
          mediaType: MediaType.ociManifest,
          artifactType: "application/vnd.example.sbom",
          config,
          layers: [],
          annotations
        })
        assert.deepStrictEqual(Referrer.describe(manifest), {
          ...manifest.descriptor,
          artifactType: "application/vnd.example.sbom",
          annotations
        })
      })
    )

    it.effect("carries the type of its config where the manifest gives itself none", () =>
      Effect.gen(function* () {
        const manifest = yield* decode({ mediaType: MediaType.ociManifest, config, layers: [] })
        assert.strictEqual(Referrer.describe(manifest).artifactType, config.mediaType)
      })
    )

    it.effect("carries no type for an index without one", () =>
      Effect.gen(function* () {
        const index = yield* decode({ mediaType: MediaType.ociIndex, manifests: [] })
        assert.deepStrictEqual(Referrer.describe(index), index.descriptor)
      })
    )
  })

  describe("subjectOf", () => {
    it.effect("is what a manifest refers to, and nothing for Go's null", () =>
      Effect.gen(function* () {
        const subject = { mediaType: MediaType.ociManifest, digest, size: 7 }
        const base = { mediaType: MediaType.ociManifest, config, layers: [] }
        assert.deepStrictEqual(Referrer.subjectOf(yield* decode({ ...base, subject })), subject)
        assert.isUndefined(Referrer.subjectOf(yield* decode({ ...base, subject: null })))
      })
    )
  })

  describe("fallbackTag", () => {
    it("has at most 64 digits of the digest", () => {
      const hex = "ab".repeat(64)
      assert.strictEqual(Referrer.fallbackTag(digest), `sha256-${Digest.hex(digest)}`)
      assert.strictEqual(Referrer.fallbackTag(`sha512:${hex}` as Digest.Digest), `sha512-${hex.slice(0, 64)}`)
    })
  })
})
