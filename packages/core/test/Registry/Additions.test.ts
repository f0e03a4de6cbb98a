import { assert, describe, it } from "@effect/vitest"
import { listTags, Referrer } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { make } from "../support/Referrer.js"
import { layer, listed, opened, put, start, subject, tag, write } from "../support/ReferrersList.js"

const [one, two] = [make(subject, "1"), make(subject, "2")]

describe("Additions", () => {
  describe("make", () => {
    it.scopedLive("lists a referrer under its subject's tag, with its type and annotations, and once", () =>
      Effect.gen(function* () {
        const { repository } = yield* start(false)
        yield* write(repository, [one])
        assert.deepStrictEqual(yield* listed(repository), [one.listed])
        yield* write(repository, [one, two], ["sbom"])
        assert.deepStrictEqual(yield* listed(repository), [one.listed, two.listed])
        yield* write(repository, [two], ["sbom"])
        assert.deepStrictEqual(yield* listed(repository), [one.listed, two.listed])
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("writes no tag where the registry lists referrers", () =>
      Effect.gen(function* () {
        const { recorder, repository } = yield* start(true)
        yield* write(repository, [one])
        yield* write(repository, [one], ["sbom"])
        yield* write(repository, [one], ["sbom"])
        assert.deepStrictEqual(yield* listTags(repository), ["sbom"])
        const asked = (yield* recorder.exchanges).filter(({ path }) => path.endsWith(tag))
        assert.deepStrictEqual(asked, [])
        // Its answers say so; only where nothing was written the registry has to be asked.
        const questions = (yield* recorder.exchanges).filter(({ path }) => path.includes("/referrers/"))
        assert.strictEqual(questions.length, 1)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("lists a referrer that is there and unlisted, as a registry before the API may have it", () =>
      Effect.gen(function* () {
        const { repository, url } = yield* start(false)
        yield* write(repository, [one], ["sbom"])
        yield* put(url, [])
        yield* write(repository, [one], ["sbom"])
        assert.deepStrictEqual(yield* listed(repository), [one.listed])
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("loses none of those that two clients write at once, and writes fewer lists than entries", () =>
      Effect.gen(function* () {
        const { recorder, repository } = yield* start(false)
        const all = Array.from({ length: 20 }, (_, n) => make(subject, `n${n}`))
        yield* Effect.all([write(repository, all.slice(0, 12)), write(repository, all.slice(8))], { concurrency: 2 })
        const found = (yield* listed(repository)).map(({ digest }) => digest)
        assert.deepStrictEqual([...found].sort(), all.map(({ descriptor }) => descriptor.digest).sort())
        const puts = (yield* recorder.exchanges).filter(({ method, path }) => method === "PUT" && path.endsWith(tag))
        assert.isBelow(puts.length, 12)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("adds again what another process has overwritten", () =>
      Effect.gen(function* () {
        const { repository, url } = yield* start(false)
        yield* write(repository, [two])
        yield* Effect.zipRight(
          write(repository, [one]),
          // Read before ours was listed, and written after.
          Effect.delay(put(url, [two.listed]), 150),
          { concurrent: true }
        )
        assert.deepStrictEqual(yield* listed(repository), [two.listed, one.listed])
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("fails where the tag has something else", () =>
      Effect.gen(function* () {
        const { repository } = yield* start(false)
        // The tag gets the manifest itself, and no index.
        const error = yield* Effect.flip(write(repository, [one], [tag]))
        assert.strictEqual(error.reason, "InvalidManifest")
        assert.include(error.message, tag)
        assert.isDefined(error.hint)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("writes one list a subject, and before the image gets its tag", () =>
      Effect.gen(function* () {
        const { recorder, repository } = yield* start(false)
        const others = Array.from({ length: 5 }, (_, n) => make(one.descriptor, `n${n}`))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const writer = yield* opened(repository)
            for (const { bytes, descriptor } of [one, two, ...others])
              yield* writer.writeManifest(descriptor, bytes, [])
            const { bytes, descriptor } = make(subject, "tagged")
            yield* writer.writeManifest(descriptor, bytes, [{ repository: Option.none(), tag: Option.some("1") }])
            yield* writer.commit ?? Effect.void
          })
        )
        const puts = (yield* recorder.exchanges)
          .filter(({ method, path }) => method === "PUT" && /manifests\/(1|sha256-\w+)$/.test(path))
          .map(({ path }) => path.slice(path.lastIndexOf("/") + 1))
        const ofOne = Referrer.fallbackTag(one.descriptor.digest)
        // The last one lists what has the tag itself, which has to be there first.
        assert.deepStrictEqual([puts.slice(0, 2).sort(), puts.slice(2)], [[ofOne, tag].sort(), ["1", tag]])
        assert.strictEqual((yield* listed(repository)).length, 3)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("writes the lists at the end of a run that nobody committed", () =>
      Effect.gen(function* () {
        const { repository } = yield* start(false)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const writer = yield* opened(repository)
            yield* writer.writeManifest(one.descriptor, one.bytes, [])
            assert.deepStrictEqual(yield* listTags(repository), [])
          })
        )
        assert.deepStrictEqual(yield* listed(repository), [one.listed])
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("lists in the next run what a run has written that was cut off, and asks once a subject", () =>
      Effect.gen(function* () {
        const { recorder, repository } = yield* start(false)
        const all = Array.from({ length: 5 }, (_, n) => make(subject, `n${n}`))
        const cutOff = Effect.scoped(
          Effect.gen(function* () {
            const writer = yield* opened(repository)
            for (const { bytes, descriptor } of all) yield* writer.writeManifest(descriptor, bytes, [])
            return yield* Effect.interrupt
          })
        )
        assert.strictEqual((yield* Effect.exit(cutOff))._tag, "Failure")
        assert.deepStrictEqual(yield* listTags(repository), [])
        const before = (yield* recorder.exchanges).length
        yield* write(repository, all)
        assert.strictEqual((yield* listed(repository)).length, 5)
        const asked = (yield* recorder.exchanges).slice(before).filter(({ path }) => path.includes("/referrers/"))
        assert.strictEqual(asked.length, 1)
      }).pipe(Effect.provide(layer))
    )
  })
})
