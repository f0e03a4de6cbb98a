import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as KeyedLock from "../src/KeyedLock.js"

describe("KeyedLock", () => {
  it.effect("lets one at a time in for a key, and any number for different keys", () =>
    Effect.gen(function* () {
      const lock = KeyedLock.make()
      const most = (keys: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          let inside = 0
          let highest = 0
          const work = Effect.sync(() => {
            inside += 1
            highest = Math.max(highest, inside)
          }).pipe(
            Effect.zipRight(Effect.yieldNow()),
            Effect.ensuring(
              Effect.sync(() => {
                inside -= 1
              })
            )
          )
          yield* Effect.forEach(keys, (key) => lock(key)(work), { concurrency: "unbounded" })
          return highest
        })
      assert.strictEqual(yield* most(["a", "a", "a"]), 1)
      assert.strictEqual(yield* most(["a", "b", "c"]), 3)
    })
  )

  it.effect("is open again after a failure and after an interruption", () =>
    Effect.gen(function* () {
      const lock = KeyedLock.make()
      yield* Effect.flip(lock("a")(Effect.fail("no")))
      yield* Effect.exit(lock("a")(Effect.interrupt))
      assert.strictEqual(yield* lock("a")(Effect.succeed(1)), 1)
    })
  )

  it.effect("lets in where it is free, and says so at once where it is not", () =>
    Effect.gen(function* () {
      const lock = KeyedLock.make()
      const inside = yield* lock("a")(
        Effect.all([lock.ifFree("a")(Effect.succeed(1)), lock.ifFree("b")(Effect.succeed(2))])
      )
      assert.deepStrictEqual(inside, [Option.none(), Option.some(2)])
      assert.deepStrictEqual(yield* lock.ifFree("a")(Effect.succeed(3)), Option.some(3))
    })
  )
})
