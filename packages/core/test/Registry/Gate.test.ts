import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Gate from "../../src/Registry/Gate.js"

/** Runs so many at once that stay until they are let go; how many got in. */
const crowd = (gate: Gate.Gate, size: number) =>
  Effect.gen(function* () {
    let inside = 0
    let most = 0
    const stay = Effect.scoped(
      Effect.zipRight(
        gate.pass,
        Effect.gen(function* () {
          inside += 1
          most = Math.max(most, inside)
          yield* Effect.sleep("1 millis")
          inside -= 1
        })
      )
    )
    yield* Effect.all(
      Array.from({ length: size }, () => stay),
      { concurrency: "unbounded" }
    )
    return most
  })

describe("Gate", () => {
  it.live("lets everybody pass until the registry asks to slow down", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* crowd(Gate.make(), 20), 20)
    })
  )
  it.live("lets half of those that were under way pass then, and slowly more again", () =>
    Effect.gen(function* () {
      const gate = Gate.make()
      yield* Effect.scoped(
        Effect.zipRight(
          Effect.all(Array.from({ length: 8 }, () => gate.pass)),
          Effect.sync(() => gate.narrow())
        )
      )
      assert.strictEqual(yield* crowd(gate, 20), 4)
      for (let answers = 0; answers < 5; answers++) gate.widen()
      assert.strictEqual(yield* crowd(gate, 20), 5)
    })
  )
  it.live("always lets one pass", () =>
    Effect.gen(function* () {
      const gate = Gate.make()
      for (let times = 0; times < 5; times++) gate.narrow()
      assert.strictEqual(yield* crowd(gate, 5), 1)
    })
  )
  it.live("gives the turn of one that was interrupted to the next", () =>
    Effect.gen(function* () {
      const gate = Gate.make()
      gate.narrow()
      const first = yield* Effect.fork(Effect.scoped(Effect.zipRight(gate.pass, Effect.never)))
      yield* Effect.sleep("5 millis")
      const waiting = yield* Effect.fork(Effect.scoped(Effect.zipRight(gate.pass, Effect.never)))
      yield* Effect.sleep("5 millis")
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(first)
      assert.strictEqual(yield* crowd(gate, 3), 1)
    })
  )
})
