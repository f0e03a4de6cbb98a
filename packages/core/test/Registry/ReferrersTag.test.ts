import { assert, describe, it } from "@effect/vitest"
import { listTags, Manifest, MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as ReferrersTag from "../../src/Registry/ReferrersTag.js"
import { serve } from "../support/Image.js"
import { type Made, make } from "../support/Referrer.js"
import { connected, layer, listed, start, subject, tag, write } from "../support/ReferrersList.js"
import * as Scripted from "../support/ScriptedClient.js"

const [one, two] = [make(subject, "1"), make(subject, "2")]

describe("ReferrersTag", () => {
  describe("add", () => {
    it.live("leaves out what is gone where the registry refuses a list that names it", () => {
      const gone = make(subject, "gone")
      const before = Manifest.assembleIndex(MediaType.ociIndex, [gone.listed, two.listed])
      const refused = { status: 400, body: `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}` }
      const there = (made: Made) => serve("a", undefined, { ...before, ...made })
      const script = Scripted.byRequest({
        ...serve("a", tag, before),
        [`PUT /v2/a/manifests/${tag}`]: [refused, { status: 201 }],
        [`HEAD /v2/a/manifests/${gone.descriptor.digest}`]: { status: 404 },
        ...there(one),
        ...there(two)
      })
      return Effect.gen(function* () {
        const client = yield* connected("http://r.example")
        yield* ReferrersTag.add(client, "a", subject.digest, [one.listed])
        const written = JSON.parse(new TextDecoder().decode(script.seen.at(-1)?.body))
        assert.deepStrictEqual(written.manifests, [two.listed, one.listed])
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("confirm", () => {
    it.live("gives up on a list that is overwritten again and again", () => {
      const never = Manifest.assembleIndex(MediaType.ociIndex, [two.listed])
      const script = Scripted.byRequest({
        ...serve("a", tag, never),
        [`PUT /v2/a/manifests/${tag}`]: { status: 201 }
      })
      return Effect.gen(function* () {
        const client = yield* connected("http://r.example")
        const error = yield* Effect.flip(ReferrersTag.confirm(client, "a", subject.digest, [one.listed], 1))
        assert.strictEqual(error.reason, "Rejected")
        assert.include(error.message, "keep overwriting")
        assert.strictEqual(script.lines().filter((line) => line.startsWith("PUT")).length, ReferrersTag.maxLooks)
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("remove", () => {
    it.scopedLive("takes entries off, and the tag away with the last", () =>
      Effect.gen(function* () {
        const { repository, url } = yield* start(false)
        yield* write(repository, [one, two])
        const client = yield* connected(url)
        const remove = (made: Made) =>
          ReferrersTag.remove(client, "a", subject.digest, new Set([made.descriptor.digest]))
        yield* remove(one)
        assert.deepStrictEqual(yield* listed(repository), [two.listed])
        yield* remove(one)
        assert.deepStrictEqual(yield* listed(repository), [two.listed])
        yield* remove(two)
        assert.deepStrictEqual(yield* listTags(repository), [])
        yield* remove(two)
      }).pipe(Effect.provide(layer))
    )
  })
})
