import { assert, describe, it } from "@effect/vitest"
import { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Blob from "../../src/Registry/Blob.js"
import * as Client from "../../src/Registry/Client.js"
import * as Scripted from "../support/ScriptedClient.js"

const client = Client.make({ host: "r.example", origin: "http://r.example" }, { repository: Option.none(), scopes: [] })
const digest = Digest.fromBytes(Scripted.utf8("hello blob"))

describe("Blob", () => {
  describe("head", () => {
    it.live("tells size, absence, and nothing where HEAD is unsupported", () => {
      const script = Scripted.inOrder([
        { status: 200, headers: { "content-length": "7" } },
        { status: 404 },
        { status: 405 }
      ])
      return Effect.gen(function* () {
        const one = yield* client
        assert.deepStrictEqual(yield* Blob.head(one, "a", digest), Option.some({ size: Option.some(7) }))
        assert.deepStrictEqual(yield* Blob.head(one, "a", digest), Option.none())
        assert.deepStrictEqual(yield* Blob.head(one, "a", digest), Option.none())
      }).pipe(Effect.provide(script.layer))
    })
  })

  describe("find", () => {
    it.live("looks by GET where HEAD is unsupported, and says that there is none", () => {
      const script = Scripted.inOrder([{ status: 405 }, { status: 200, body: "hello blob" }, { status: 404 }])
      return Effect.gen(function* () {
        const one = yield* client
        yield* Blob.find(one, "a", digest)
        const error = yield* Effect.flip(Blob.find(one, "a", digest))
        assert.strictEqual(error.reason, "NotFound")
        assert.include(error.message, digest)
      }).pipe(Effect.provide(script.layer))
    })
  })
})
