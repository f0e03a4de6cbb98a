import { assert, describe, it } from "@effect/vitest"
import { Manifest, MediaType, referrers } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { image, serve } from "./support/Image.js"
import { make } from "./support/Referrer.js"
import * as Scripted from "./support/ScriptedClient.js"

const { manifest } = image()
const { digest } = manifest.descriptor
const sbom = make(manifest.descriptor, "sbom").listed
const signature = make(manifest.descriptor, "signature", "application/vnd.example.signature").listed
const listed = {
  status: 200,
  body: Manifest.assembleIndex(MediaType.ociIndex, [sbom, signature]).bytes,
  headers: { "content-type": MediaType.ociIndex }
}

describe("Referrers", () => {
  describe("referrers", () => {
    it.live("resolves a tag, and names each so that it can be read", () => {
      const script = Scripted.byRequest({
        ...serve("a", "t", manifest),
        [`GET /v2/a/referrers/${digest}`]: listed
      })
      return Effect.gen(function* () {
        const found = yield* referrers("r.example/a:t")
        assert.deepStrictEqual(found, {
          subject: `r.example/a@${digest}`,
          digest,
          source: "api",
          referrers: [sbom, signature].map((each) => ({ ...each, reference: `r.example/a@${each.digest}` }))
        })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("takes a digest as it is, which need not be there", () => {
      const script = Scripted.make(() => listed)
      return Effect.gen(function* () {
        const found = yield* referrers(`r.example/a@${digest}`, { artifactType: sbom.artifactType })
        assert.deepStrictEqual(
          found.referrers.map((each) => each.digest),
          [sbom.digest]
        )
        assert.deepStrictEqual(script.lines(), [
          `GET /v2/a/referrers/${digest}?artifactType=application%2Fvnd.example.sbom`
        ])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("says that there is no such tag", () => {
      const script = Scripted.byRequest({ "HEAD /v2/a/manifests/t": { status: 404 } })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(referrers("r.example/a:t"))
        assert.strictEqual(error.reason, "NotFound")
        assert.include(error.message, "r.example/a:t")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("says what is wrong with a reference", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(referrers("r.example/A"))).reason, "InvalidReference")
      }).pipe(Effect.provide(Scripted.inOrder([]).layer))
    )
  })
})
