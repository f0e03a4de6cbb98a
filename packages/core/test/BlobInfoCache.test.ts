import { assert, describe, it } from "@effect/vitest"
import { BlobInfoCache, type Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const digest = (digit: string) => `sha256:${digit.repeat(64)}` as Digest.Digest
const place = { origin: "http://r", account: "ann" }

describe("BlobInfoCache", () => {
  describe("makeMemory", () => {
    it.effect("knows what a layer became", () =>
      Effect.gen(function* () {
        const cache = yield* BlobInfoCache.makeMemory
        assert.isTrue(Option.isNone(yield* cache.compressed(digest("1"), "gzip")))
        yield* cache.recordCompressed(digest("1"), "gzip", { digest: digest("2"), size: 7 })
        assert.isTrue(Option.isNone(yield* cache.compressed(digest("1"), "zstd")))
        yield* cache.recordCompressed(digest("1"), "zstd", { digest: digest("3"), size: 6 })
        const other = yield* cache.compressed(digest("1"), "zstd")
        assert.deepStrictEqual(other, Option.some({ digest: digest("3"), size: 6 }))
        assert.deepStrictEqual(
          yield* cache.compressed(digest("1"), "gzip"),
          Option.some({ digest: digest("2"), size: 7 })
        )
      })
    )
    it.effect("knows the last repositories of a blob, for each registry and account", () =>
      Effect.gen(function* () {
        const cache = yield* BlobInfoCache.makeMemory
        for (const name of ["a", "b", "c", "d", "e", "f", "b"]) {
          yield* cache.recordRepository(place, digest("1"), name)
        }
        assert.deepStrictEqual(yield* cache.repositories(place, digest("1")), ["b", "f", "e", "d", "c"])
        assert.deepStrictEqual(yield* cache.repositories({ ...place, account: "" }, digest("1")), [])
        assert.deepStrictEqual(yield* cache.repositories({ ...place, origin: "http://x" }, digest("1")), [])
        assert.deepStrictEqual(yield* cache.repositories(place, digest("2")), [])
      })
    )
  })
  it.effect("remembers nothing by default", () =>
    Effect.gen(function* () {
      const cache = yield* BlobInfoCache.BlobInfoCache
      yield* cache.recordCompressed(digest("1"), "gzip", { digest: digest("2"), size: 7 })
      assert.isTrue(Option.isNone(yield* cache.compressed(digest("1"), "gzip")))
    })
  )
})
