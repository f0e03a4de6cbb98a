import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Machine from "../../src/Control/Machine.js"
import * as Owner from "../../src/Control/Owner.js"

/** A port of the loopback interface that nobody listens on. */
const refused = { port: 1, token: "0".repeat(64) }

/** The state, and the seconds that it took to say so. */
const stateOf = (text: string, look: (seconds: number) => Owner.Record | undefined) =>
  Effect.gen(function* () {
    let seconds = 0
    const found = yield* Effect.fork(
      Owner.stateOf(
        { text, beatAt: 7 },
        Effect.sync(() => look(seconds))
      )
    )
    while (Option.isNone(yield* Fiber.poll(found))) {
      // Asking takes real time, watching does not.
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 10)))
      yield* TestClock.adjust("500 millis")
      seconds += 0.5
    }
    return { state: yield* Fiber.join(found), seconds }
  })

describe("Owner", () => {
  describe("stateOf", () => {
    const elsewhere = Effect.map(
      Effect.promise(Machine.here),
      (place): Owner.Owner => ({ ...refused, place: { ...place, host: "elsewhere" } })
    )

    it.effect("watches an owner that it cannot ask for ten seconds", () =>
      Effect.gen(function* () {
        const text = Owner.encode(yield* elsewhere)
        const { seconds, state } = yield* stateOf(text, () => ({ text, beatAt: 7 }))
        assert.deepEqual(state, { _tag: "Gone" })
        assert.isAtLeast(seconds, 10)
      })
    )

    it.effect("finds it alive by its first sign of life", () =>
      Effect.gen(function* () {
        const owner = yield* elsewhere
        const text = Owner.encode(owner)
        const { seconds, state } = yield* stateOf(text, (seconds) => ({ text, beatAt: seconds < 3 ? 7 : 8 }))
        assert.deepEqual(state, { _tag: "Alive", owner: JSON.parse(text), reachable: false })
        assert.isBelow(seconds, 10)
        assert.strictEqual(Owner.whereOf(owner), `process ${process.pid} on elsewhere`)
      })
    )

    it.effect(
      "watches one of the same host name on a machine that was started at another time: names are given twice",
      () =>
        Effect.gen(function* () {
          const place = yield* Effect.promise(Machine.here)
          const text = Owner.encode({ ...refused, place: { ...place, boot: "another" } })
          const alive = yield* stateOf(text, (seconds) => ({ text, beatAt: seconds < 3 ? 7 : 8 }))
          assert.strictEqual(alive.state._tag, "Alive")
          assert.isAtLeast((yield* stateOf(text, () => ({ text, beatAt: 7 }))).seconds, 10)
        })
    )

    it.effect("watches also a record that it does not understand, until there is another one", () =>
      Effect.gen(function* () {
        for (const text of ["", "{", '{"port":"x"}', JSON.stringify({ ...(yield* elsewhere), port: 0 })]) {
          assert.deepEqual((yield* stateOf(text, () => undefined)).state, { _tag: "Gone" })
          const alive = yield* stateOf(text, () => ({ text, beatAt: 8 }))
          assert.deepEqual(alive.state, { _tag: "Alive", owner: undefined, reachable: false })
        }
      })
    )

    it.effect("watches none that has said that it ended, or whose port is closed", () =>
      Effect.gen(function* () {
        const place = yield* Effect.promise(Machine.here)
        const owners: ReadonlyArray<Owner.Owner> = [
          { ...(yield* elsewhere), released: true },
          { ...refused, place }
        ]
        for (const owner of owners) {
          const state = yield* Owner.stateOf({ text: Owner.encode(owner), beatAt: 7 }, Effect.never)
          assert.deepEqual(state, { _tag: "Gone" })
        }
      })
    )
  })
})
