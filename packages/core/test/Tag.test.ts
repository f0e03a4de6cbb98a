import { assert, describe, it } from "@effect/vitest"
import { tag } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { image, serve } from "./support/Image.js"
import * as Scripted from "./support/ScriptedClient.js"

const { manifest } = image()
const { digest } = manifest.descriptor

describe("Tag", () => {
  describe("tag", () => {
    it.live("puts the manifest's bytes under every new tag that lacks them", () => {
      const script = Scripted.byRequest({
        ...serve("a", "1", manifest),
        ...serve("a", "has-it", manifest),
        "HEAD /v2/a/manifests/new": { status: 404 },
        "PUT /v2/a/manifests/new": { status: 201 }
      })
      return Effect.gen(function* () {
        const result = yield* tag("r.example/a:1", ["new", "has-it"])
        assert.deepStrictEqual(result.references, [`r.example/a:new@${digest}`, `r.example/a:has-it@${digest}`])
        assert.deepStrictEqual(script.seen.find(({ method }) => method === "PUT")?.body, manifest.bytes)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("refuses a malformed tag before anything is asked", () => {
      const script = Scripted.inOrder([])
      return Effect.gen(function* () {
        const error = yield* Effect.flip(tag("r.example/a:1", ["fine", "not fine"]))
        assert.strictEqual(error.reason, "InvalidReference")
      }).pipe(Effect.provide(script.layer))
    })
  })
})
