import { assert, describe, it, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Tag from "../../src/Handler/Tag.js"
import { codeOf, pushBlob, pushImage, putManifest, random, send, uniqueName } from "../support.js"

describe("paginate", () => {
  it("takes n entries after last and says whether more follow", () => {
    const items = ["a", "b", "c"]
    assert.deepEqual(Tag.paginate(items, { n: undefined, last: undefined }), { items, next: undefined })
    assert.deepEqual(Tag.paginate(items, { n: 2, last: undefined }), { items: ["a", "b"], next: { n: 2, last: "b" } })
    assert.deepEqual(Tag.paginate(items, { n: 2, last: "b" }), { items: ["c"], next: undefined })
    assert.deepEqual(Tag.paginate(items, { n: 3, last: undefined }), { items, next: undefined })
    assert.deepEqual(Tag.paginate(items, { n: 1, last: "aa" }), { items: ["b"], next: { n: 1, last: "b" } })
    assert.deepEqual(Tag.paginate(items, { n: 0, last: undefined }), { items: [], next: undefined })
  })
})

/** Follows Link headers to the end, as a client does. */
const pages = (path: string, key: "tags" | "repositories") =>
  Effect.gen(function* () {
    const found: Array<ReadonlyArray<string>> = []
    let next: string | undefined = path
    while (next !== undefined && found.length < 10) {
      const answer: { readonly text: string; readonly headers: Headers } = yield* send("GET", next)
      found.push(JSON.parse(answer.text)[key])
      next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get("link") ?? "")?.[1]
    }
    return found
  })

layer(EmbeddedRegistry.layerTemp())("Tag", (it) => {
  describe("list", () => {
    it.effect("gives all tags sorted, and page by page", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushImage(name, "b")
        for (const tag of ["c", "a", "B", "10", "_x"]) yield* putManifest(name, tag, text)
        const sorted = ["10", "B", "_x", "a", "b", "c"]
        assert.deepEqual(JSON.parse((yield* send("GET", `/v2/${name}/tags/list`)).text), { name, tags: sorted })
        const found = yield* pages(`/v2/${name}/tags/list?n=4`, "tags")
        assert.deepEqual(found, [sorted.slice(0, 4), sorted.slice(4)])
      })
    )

    it.effect("tells a repository without tags from none", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const unknown = yield* send("GET", `/v2/${name}/tags/list`)
        assert.deepEqual([unknown.status, codeOf(unknown)], [404, "NAME_UNKNOWN"])
        yield* pushBlob(name, random(10))
        assert.deepEqual(JSON.parse((yield* send("GET", `/v2/${name}/tags/list`)).text), { name, tags: [] })
      })
    )

    it.effect("refuses an n that is no number", () =>
      Effect.gen(function* () {
        const answer = yield* send("GET", "/v2/a/tags/list?n=x")
        assert.deepEqual([answer.status, codeOf(answer)], [400, "UNSUPPORTED"])
      })
    )
  })
})

layer(EmbeddedRegistry.layerTemp())("catalog", (it) => {
  it.effect("lists repositories that hold a manifest, nested ones too, sorted and page by page", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* pages("/v2/_catalog", "repositories"), [[]])
      for (const name of ["b", "a/b", "a", "a/b/c", "a-b"]) yield* pushImage(name)
      yield* pushBlob("only/blobs", random(5))
      const sorted = ["a", "a-b", "a/b", "a/b/c", "b"]
      assert.deepEqual(yield* pages("/v2/_catalog", "repositories"), [sorted])
      assert.deepEqual(yield* pages("/v2/_catalog?n=2", "repositories"), [
        sorted.slice(0, 2),
        sorted.slice(2, 4),
        ["b"]
      ])
    })
  )
})
