import { assert, describe, it } from "@effect/vitest"
import { listRepositories, listTags, streamRepositories, streamTags } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Scripted from "./support/ScriptedClient.js"

const pages = Scripted.byRequest({
  "GET /v2/a/tags/list?n=1000": {
    status: 200,
    body: `{"name":"a","tags":["b","a"]}`,
    headers: { link: '</v2/a/tags/list?n=1000&last=b>; rel="next"' }
  },
  "GET /v2/a/tags/list?n=1000&last=b": { status: 200, body: `{"name":"a","tags":["b","c"]}` },
  "GET /v2/_catalog?n=1000": { status: 200, body: `{"repositories":["z","m/n"]}` }
})

describe("List", () => {
  describe("listTags", () => {
    it.live("collects all pages, sorted, each tag once", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* listTags("r.example/a"), ["a", "b", "c"])
      }).pipe(Effect.provide(pages.layer))
    )
    it.live("has no tags where the registry says null", () => {
      const script = Scripted.inOrder([{ status: 200, body: `{"name":"a","tags":null}` }])
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* listTags("r.example/a"), [])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("says that there is no such repository", () => {
      const script = Scripted.inOrder([{ status: 404, body: `{"errors":[{"code":"NAME_UNKNOWN"}]}` }])
      return Effect.gen(function* () {
        const error = yield* Effect.flip(listTags("r.example/a"))
        assert.strictEqual(error.reason, "NotFound")
        assert.match(error.message, /^list tags of r\.example\/a: not found/)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("refuses a reference with a tag", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(listTags("r.example/a:1"))).reason, "InvalidReference")
      }).pipe(Effect.provide(pages.layer))
    )
  })
  describe("streamTags", () => {
    it.live("asks for the next page only when it is wanted", () => {
      const script = Scripted.make((_, index) => ({
        status: 200,
        body: JSON.stringify({ tags: [`t${index}`] }),
        headers: { link: `</v2/a/tags/list?last=t${index}>; rel="next"` }
      }))
      return Effect.gen(function* () {
        const first = yield* Stream.runCollect(Stream.take(streamTags("r.example/a"), 2))
        assert.deepStrictEqual(Chunk.toReadonlyArray(first), ["t0", "t1"])
        assert.strictEqual(script.seen.length, 2)
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("listRepositories", () => {
    it.live("lists the registry's catalog, sorted", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* listRepositories("r.example"), ["m/n", "z"])
        const streamed = yield* Stream.runCollect(streamRepositories("r.example"))
        assert.deepStrictEqual(Chunk.toReadonlyArray(streamed), ["z", "m/n"])
      }).pipe(Effect.provide(pages.layer))
    )
    it.live("passes a refusal on", () => {
      const script = Scripted.inOrder([{ status: 401 }])
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(listRepositories("docker.io"))).reason, "Unauthorized")
      }).pipe(Effect.provide(script.layer))
    })
  })
})
