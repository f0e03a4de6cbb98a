import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Client from "../../src/Registry/Client.js"
import * as Page from "../../src/Registry/Page.js"
import * as Scripted from "../support/ScriptedClient.js"

const tags = (pageSize?: number) =>
  Effect.flatMap(
    Client.make({ host: "r.example", origin: "http://r.example" }, { repository: Option.none(), scopes: [] }),
    (client) => Stream.runCollect(Page.names(client, "list tags of r.example/a", "a/tags/list", "tags", pageSize))
  ).pipe(Effect.map(Chunk.toReadonlyArray))
const body = (...names: ReadonlyArray<string>) => JSON.stringify({ name: "a", tags: names })

describe("Page", () => {
  describe("names", () => {
    it.live("follows relative and absolute links to the last page", () => {
      const script = Scripted.byRequest({
        "GET /v2/a/tags/list?n=2": {
          status: 200,
          body: body("a", "b"),
          headers: { link: '</v2/a/tags/list?last=b&n=2>; rel="next"' }
        },
        "GET /v2/a/tags/list?last=b&n=2": {
          status: 200,
          body: body("c"),
          headers: { link: "<http://r.example/x>; rel=prev, <http://r.example/v2/a/tags/list?last=c>; rel=next" }
        },
        "GET /v2/a/tags/list?last=c": { status: 200, body: `{"name":"a","tags":null}` }
      })
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* tags(2), ["a", "b", "c"])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("never asks for more than a thousand", () => {
      const script = Scripted.byRequest({ "GET /v2/a/tags/list?n=1000": { status: 200, body: body() } })
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* tags(5000), [])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("refuses a next page on another origin", () => {
      const script = Scripted.inOrder([
        { status: 200, body: body("a"), headers: { link: '<http://evil.example/v2/a/tags/list>; rel="next"' } }
      ])
      return Effect.gen(function* () {
        const error = yield* Effect.flip(tags())
        assert.strictEqual(error.reason, "UnsafeUrl")
        assert.strictEqual(script.seen.length, 1)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("ends where a page comes again, and says so", () => {
      const script = Scripted.make(() => ({
        status: 200,
        body: body("a"),
        headers: { link: '</v2/a/tags/list?last=a>; rel="next"' }
      }))
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* tags(), ["a", "a"])
        assert.strictEqual(script.seen.length, 2)
        assert.strictEqual(script.events[0]?._tag, "Warning")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("refuses a page over its bound and what is no list", () => {
      const script = Scripted.inOrder([
        { status: 200, body: "", headers: { "content-length": String(Page.maxPage + 1) } },
        { status: 200, body: `{"tags":[1]}` },
        { status: 200, body: "<html>" }
      ])
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(tags())).reason, "TooLarge")
        assert.strictEqual((yield* Effect.flip(tags())).reason, "NotARegistry")
        assert.strictEqual((yield* Effect.flip(tags())).reason, "NotARegistry")
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("nextLink", () => {
    it("finds the target whatever stands around it", () => {
      assert.deepStrictEqual(Page.nextLink('</a,b?x=1;y>; title="x,y"; rel="prev next"'), Option.some("/a,b?x=1;y"))
      assert.deepStrictEqual(Page.nextLink("</a>;rel=next"), Option.some("/a"))
      assert.deepStrictEqual(Page.nextLink("</a>; rel=prev"), Option.none())
      assert.deepStrictEqual(Page.nextLink("garbage"), Option.none())
      assert.deepStrictEqual(Page.nextLink(undefined), Option.none())
    })
  })
})
