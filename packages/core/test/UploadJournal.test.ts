import { assert, describe, it } from "@effect/vitest"
import { UploadJournal } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const key: UploadJournal.Key = { origin: "http://r", repository: "a", content: "sha256:1" }

describe("UploadJournal", () => {
  describe("makeMemory", () => {
    it.effect("gives an entry to one at a time, and keeps it", () =>
      Effect.gen(function* () {
        const journal = yield* UploadJournal.makeMemory
        yield* Effect.scoped(
          Effect.gen(function* () {
            const claim = Option.getOrThrow(yield* journal.claim(key))
            assert.isTrue(Option.isNone(yield* claim.read))
            yield* claim.write({ location: "http://r/1" })
            assert.isTrue(Option.isNone(yield* journal.claim(key)))
            assert.isTrue(Option.isSome(yield* journal.claim({ ...key, repository: "b" })))
          })
        )
        const claim = Option.getOrThrow(yield* Effect.scoped(journal.claim(key)))
        assert.deepStrictEqual(yield* claim.read, Option.some({ location: "http://r/1" }))
        yield* claim.remove
        assert.isTrue(Option.isNone(yield* claim.read))
      })
    )
  })
  it.scoped("has no entries by default", () =>
    Effect.gen(function* () {
      assert.isTrue(Option.isNone(yield* (yield* UploadJournal.UploadJournal).claim(key)))
    })
  )
})
