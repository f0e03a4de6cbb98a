import { assert, describe, it } from "@effect/vitest"
import { type Digest, Manifest, MediaType, Referrer } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Uses from "../../src/Delete/Uses.js"
import * as Client from "../../src/Registry/Client.js"
import { image, serve } from "../support/Image.js"
import * as Scripted from "../support/ScriptedClient.js"

const client = Client.make({ host: "r.example", origin: "http://r.example" }, { repository: Option.none(), scopes: [] })
const { manifest } = image()
const { digest } = manifest.descriptor
const index = (...children: ReadonlyArray<Manifest.Manifest>) =>
  Manifest.assembleIndex(
    MediaType.ociIndex,
    children.map(({ descriptor }) => descriptor)
  )
const tags = (...names: ReadonlyArray<string>) => ({
  "GET /v2/a/tags/list?n=1000": { status: 200, body: JSON.stringify({ name: "a", tags: names }) }
})
const find = (...digests: ReadonlyArray<Digest.Digest>) =>
  Effect.flatMap(client, (client) => Uses.find(client, "a", new Set(digests)))

/** An index around an index around … the image. */
const nested = (depth: number) => {
  const all = [index(manifest)]
  while (all.length < depth) all.push(index(all.at(-1) ?? manifest))
  return all
}
const served = (manifests: ReadonlyArray<Manifest.Manifest>) =>
  Object.fromEntries(manifests.flatMap((each) => Object.entries(serve("a", undefined, each))))

describe("Uses", () => {
  describe("find", () => {
    it.live("names the tags, and the tags whose index holds it at any depth, reading each index once", () => {
      const levels = nested(4)
      const top = levels[3] ?? manifest
      const script = Scripted.byRequest({
        ...served(levels),
        ...serve("a", "one", manifest),
        ...serve("a", "deep", top),
        ...serve("a", "deeper", index(top, image({ os: "windows" }).manifest)),
        ...serve("a", "other", image({ os: "windows" }).manifest),
        ...tags("one", "deep", "deeper", "other")
      })
      return Effect.gen(function* () {
        const uses = yield* find(digest)
        assert.deepStrictEqual(uses(digest), { tags: ["one"], indexes: ["deep", "deeper"] })
        const reads = script.lines().filter((line) => line.startsWith("GET /v2/a/manifests/"))
        assert.strictEqual(new Set(reads).size, reads.length)
        assert.strictEqual(reads.length, 5)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("takes no list of referrers for a use of what it lists", () => {
      const tag = Referrer.fallbackTag(image({ os: "windows" }).manifest.descriptor.digest)
      const script = Scripted.byRequest({ ...serve("a", tag, index(manifest)), ...tags(tag) })
      return Effect.gen(function* () {
        assert.deepStrictEqual((yield* find(digest))(digest), { tags: [], indexes: [] })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("takes no index for a use that is to go as well", () => {
      const whole = index(manifest)
      const script = Scripted.byRequest({ ...serve("a", "multi", whole), ...tags("multi") })
      return Effect.gen(function* () {
        const uses = yield* find(digest, whole.descriptor.digest)
        assert.deepStrictEqual(uses(digest), { tags: [], indexes: [] })
        assert.deepStrictEqual(uses(whole.descriptor.digest), { tags: ["multi"], indexes: [] })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("finds nothing behind what is gone or cannot be read", () => {
      const whole = index(manifest)
      const headers = { "content-type": MediaType.ociIndex }
      const script = Scripted.byRequest({
        ...serve("a", "half", whole),
        [`GET /v2/a/manifests/${whole.descriptor.digest}`]: { status: 404 },
        "HEAD /v2/a/manifests/gone": { status: 404 },
        "HEAD /v2/a/manifests/old": { status: 405 },
        "GET /v2/a/manifests/old": { status: 200, headers, body: "[]" },
        ...tags("half", "gone", "old")
      })
      return Effect.gen(function* () {
        assert.deepStrictEqual((yield* find(digest))(digest), { tags: [], indexes: [] })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("goes no deeper than its bound", () => {
      const levels = nested(Manifest.maxDepth + 2)
      const script = Scripted.byRequest({
        ...served(levels),
        ...serve("a", "deep", levels.at(-1) ?? manifest),
        ...tags("deep")
      })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(find(digest))
        assert.strictEqual(error.reason, "TooLarge")
        assert.include(error.hint ?? "", "--force")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("tells how far it is", () => {
      const names = Array.from({ length: 120 }, (_, n) => `t${n}`)
      const script = Scripted.make(({ method, path }) =>
        method === "HEAD" ? { status: 404 } : { status: 200, body: JSON.stringify({ name: path, tags: names }) }
      )
      return Effect.gen(function* () {
        yield* find(digest)
        const told = script.events.flatMap((event) => (event._tag === "Looking" ? [event.done] : []))
        assert.deepStrictEqual([told[0], told.at(-1)], [0, 120])
      }).pipe(Effect.provide(script.layer))
    })
  })
})
