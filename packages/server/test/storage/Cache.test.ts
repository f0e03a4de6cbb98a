import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Cache from "../../src/storage/Cache.js"

const weigh = (text: string) => text.length

/** A reading that ends when told to. */
const controlled = () => {
  let reads = 0
  let end: (value: string) => void = () => {}
  const load = () => {
    reads++
    return new Promise<string>((resolve) => {
      end = resolve
    })
  }
  return { load, reads: () => reads, end: (value: string) => end(value) }
}

const soon = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))

describe("Cache", () => {
  describe("get", () => {
    it.effect("reads once for all that ask at the same time, and not again", () =>
      Effect.gen(function* () {
        const cache = Cache.make(10_000, weigh)
        const reading = controlled()
        const asked = [cache.get("a", reading.load), cache.get("a", reading.load)]
        yield* soon
        reading.end("text")
        assert.deepStrictEqual(yield* Effect.promise(() => Promise.all(asked)), ["text", "text"])
        assert.strictEqual(yield* Effect.promise(() => cache.get("a", reading.load)), "text")
        assert.strictEqual(reading.reads(), 1)
      })
    )

    it.effect("asks again where nothing was found or the reading failed", () =>
      Effect.gen(function* () {
        const cache = Cache.make(10_000, weigh)
        assert.isUndefined(yield* Effect.promise(() => cache.get("a", async () => undefined)))
        const failure = yield* Effect.flip(
          Effect.tryPromise(() => cache.get("a", () => Promise.reject(new Error("no disk"))))
        )
        assert.match(String(failure.error), /no disk/)
        assert.strictEqual(yield* Effect.promise(() => cache.get("a", async () => "there")), "there")
      })
    )
  })

  describe("set and drop", () => {
    it.effect("win over a reading that began before them", () =>
      Effect.gen(function* () {
        const cache = Cache.make(10_000, weigh)
        for (const change of [() => cache.set("a", "new"), () => cache.drop("a")]) {
          const reading = controlled()
          cache.drop("a")
          const old = cache.get("a", reading.load)
          yield* soon
          change()
          reading.end("old")
          yield* Effect.promise(() => old)
          assert.notStrictEqual(cache.peek("a"), "old")
        }
      })
    )

    it.effect("let a reading that begins after them be kept, whenever the one before them ends", () =>
      Effect.gen(function* () {
        const cache = Cache.make(10_000, weigh)
        const [before, after] = [controlled(), controlled()]
        const first = cache.get("a", before.load)
        yield* soon
        cache.drop("a")
        const second = cache.get("a", after.load)
        yield* soon
        before.end("old")
        yield* Effect.promise(() => first)
        after.end("new")
        assert.strictEqual(yield* Effect.promise(() => second), "new")
        assert.strictEqual(cache.peek("a"), "new")
      })
    )
  })

  describe("make", () => {
    it("drops what was not used for longest when there is no room", () => {
      const cache = Cache.make(1000, weigh)
      for (const key of ["a", "b", "c"]) cache.set(key, "x".repeat(100))
      cache.peek("a")
      for (const key of ["d", "e"]) cache.set(key, "x".repeat(100))
      assert.deepStrictEqual(
        ["a", "b", "c", "d", "e"].filter((key) => cache.peek(key) !== undefined),
        ["a", "c", "d", "e"]
      )
    })

    it("keeps nothing that would take more than a quarter of it, and forgets what that replaces", () => {
      const cache = Cache.make(1000, weigh)
      cache.set("a", "small")
      cache.set("a", "x".repeat(400))
      assert.isUndefined(cache.peek("a"))
    })
  })
})
