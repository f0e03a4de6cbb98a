import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import * as Deadline from "../../src/Registry/Deadline.js"

const never = (total: number) =>
  Effect.gen(function* () {
    const meter = yield* Deadline.makeMeter
    const limits = { total, answer: Duration.minutes(15), stall: Duration.minutes(1) }
    const fiber = yield* Effect.fork(Effect.flip(Deadline.guard(Effect.never, meter, limits, Duration.format)))
    return { meter, ended: Effect.map(Fiber.poll(fiber), (exit) => exit._tag === "Some"), result: Fiber.join(fiber) }
  })

describe("Deadline", () => {
  describe("guard", () => {
    it.effect("ends a transfer after a minute without a byte", () =>
      Effect.gen(function* () {
        const { ended, result } = yield* never(10)
        yield* TestClock.adjust("59 seconds")
        assert.isFalse(yield* ended)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* result, "1m")
      })
    )
    it.effect("lets a slow transfer go on for an hour", () =>
      Effect.gen(function* () {
        const { ended, meter } = yield* never(1000)
        for (let minute = 0; minute < 80; minute++) {
          meter.add(1)
          yield* TestClock.adjust("50 seconds")
        }
        assert.isFalse(yield* ended)
      })
    )
    it.effect("waits a quarter of an hour for the answer to the last byte", () =>
      Effect.gen(function* () {
        const { ended, meter, result } = yield* never(10)
        meter.add(10)
        yield* TestClock.adjust("14 minutes")
        assert.isFalse(yield* ended)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* result, "15m")
      })
    )
    it.live("ends with what it watches where the caller cannot be interrupted", () =>
      Effect.gen(function* () {
        const meter = yield* Deadline.makeMeter
        const limits = { total: 10, answer: Duration.minutes(15), stall: Duration.minutes(1) }
        const guarded = Deadline.guard(Effect.succeed("done"), meter, limits, Duration.format)
        assert.strictEqual(yield* Effect.uninterruptible(guarded), "done")
      })
    )
  })
})
