import { PassThrough } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Body from "../../src/Handler/Body.js"
import type { Exchange } from "../../src/Handler/Exchange.js"

const mebibyte = 1 << 20

const exchange = (bounds: Body.Bounds, length?: number): Exchange & { readonly body: PassThrough } => ({
  method: "PUT",
  headers: length === undefined ? {} : { "content-length": String(length) },
  body: new PassThrough(),
  bounds,
  referrers: true
})

const patient = { idle: 60_000, rate: 1 }

const read = (each: Exchange) => Body.use(each, Effect.succeed)

describe("Body", () => {
  describe("use", () => {
    it.live("gives the whole body", () =>
      Effect.gen(function* () {
        const each = exchange(Body.bounds(mebibyte, patient), 5)
        const reading = yield* Effect.fork(read(each))
        each.body.write("he")
        each.body.end("llo")
        assert.strictEqual(Buffer.from(yield* Fiber.join(reading)).toString(), "hello")
      })
    )

    it.live("keeps the bytes and not the pieces they came in, which hold a block of memory each", () =>
      Effect.gen(function* () {
        const each = exchange(Body.bounds(mebibyte, patient))
        const reading = yield* Effect.fork(read(each))
        yield* Effect.yieldNow()
        // The same piece of memory again and again: who keeps it sees only what was in it last.
        const piece = Buffer.alloc(1)
        for (let at = 0; at < 200_000; at++) {
          piece[0] = at % 251
          each.body.emit("data", piece)
        }
        each.body.emit("end")
        const bytes = yield* Fiber.join(reading)
        assert.strictEqual(bytes.length, 200_000)
        assert.isTrue(bytes.every((byte, at) => byte === at % 251))
      })
    )

    it.live("refuses what is announced or comes too large, broken off or too slow", () =>
      Effect.gen(function* () {
        const bounds = Body.bounds(10, patient)
        assert.strictEqual((yield* Effect.flip(read(exchange(bounds, 11)))).status, 413)
        const large = exchange(bounds)
        large.body.write("0123456789a")
        assert.strictEqual((yield* Effect.flip(read(large))).status, 413)
        const cut = exchange(bounds)
        cut.body.write("a")
        const reading = yield* Effect.fork(Effect.flip(read(cut)))
        yield* Effect.sleep("10 millis")
        cut.body.destroy()
        assert.strictEqual((yield* Fiber.join(reading)).message, "the body broke off")
        const silent = yield* Effect.flip(read(exchange(Body.bounds(10, { idle: 50, rate: 1 }))))
        assert.deepEqual([silent.status, silent.message], [400, "the body came too slowly"])
        const dripping = exchange(Body.bounds(mebibyte, { idle: 60_000, rate: 100_000, window: 100 }))
        const timer = setInterval(() => dripping.body.write("x"), 10)
        assert.strictEqual((yield* Effect.flip(read(dripping))).message, "the body came too slowly")
        clearInterval(timer)
      })
    )

    it.live("does not begin to read a large one while others fill the room for them, but small ones", () =>
      Effect.gen(function* () {
        const bounds = Body.bounds(16 * mebibyte, patient)
        const held = [1, 2, 3, 4].map(() => exchange(bounds, 16 * mebibyte))
        const reading = yield* Effect.forEach(held, (each) => Effect.fork(read(each)))
        const waiting = exchange(bounds, 16 * mebibyte)
        const last = yield* Effect.fork(read(waiting))
        yield* Effect.sleep("20 millis")
        assert.deepEqual([held[3]?.body.listenerCount("data"), waiting.body.listenerCount("data")], [1, 0])
        const small = exchange(bounds, 2)
        small.body.end("{}")
        assert.strictEqual((yield* read(small)).length, 2)
        held[0]?.body.end("{}")
        waiting.body.end("[]")
        assert.strictEqual(Buffer.from(yield* Fiber.join(last)).toString(), "[]")
        yield* Fiber.interruptAll(reading)
      })
    )
  })
})
