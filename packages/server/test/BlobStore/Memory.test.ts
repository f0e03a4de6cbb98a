/** What is particular to memory: time is the caller's clock. The rest is in the suite. */
import { PassThrough } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Memory from "../../src/BlobStore/Memory.js"
import { bodyOf, push } from "../suites/BlobStoreSuite.js"
import { bytesOf, random } from "../support.js"

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe("BlobStore.Memory", () => {
  it.effect("knows by the clock when blobs and uploads were touched, and sweeps by it", () =>
    Effect.gen(function* () {
      const blobs = Memory.make({ limits: {} })
      yield* TestClock.setTime(1000)
      const digest = yield* push(blobs, "a", bytesOf("layer"))
      const { id } = yield* blobs.startUpload("a", "sha256")
      yield* TestClock.setTime(5000)
      yield* blobs.append("a", id, bodyOf(bytesOf("more")), undefined)
      assert.deepEqual(yield* blobs.uploads, [{ id, repository: "a", size: 4, touched: 5000 }])
      assert.deepEqual(yield* blobs.list("a"), [{ digest, size: 5, touched: 1000 }])
      assert.isTrue(Option.isSome(yield* blobs.find("a", digest)))
      assert.deepEqual(yield* blobs.list("a"), [{ digest, size: 5, touched: 5000 }])
      yield* blobs.remove("a", digest)
      assert.strictEqual((yield* blobs.sweep({ before: 5000, dryRun: false })).blobs, 0)
      assert.strictEqual((yield* blobs.sweep({ before: 5001, dryRun: false })).blobs, 1)
    })
  )

  it.effect("counts a sender as gone after a minute of silence, each byte giving it another", () =>
    Effect.gen(function* () {
      const blobs = Memory.make({ limits: { bodyRate: 0 } })
      const { id } = yield* blobs.startUpload("a", "sha256")
      const body = new PassThrough()
      const sending = yield* Effect.fork(Effect.flip(blobs.append("a", id, body, undefined)))
      for (let sent = 0; sent < 4; sent++) {
        yield* turn
        yield* TestClock.adjust("59 seconds")
        body.write("x")
        yield* turn
      }
      assert.isTrue(Option.isNone(yield* Fiber.poll(sending)))
      yield* TestClock.adjust("60 seconds")
      assert.deepInclude(yield* Fiber.join(sending), { reason: "ConnectionLost" })
      assert.strictEqual(Option.getOrThrow(yield* blobs.findUpload("a", id)).size, 4)
    })
  )

  it.effect("counts a sender as gone that brings less than the rate in a minute", () =>
    Effect.gen(function* () {
      const blobs = Memory.make({ limits: { bodyRate: 100 } })
      const { id } = yield* blobs.startUpload("a", "sha256")
      const body = new PassThrough()
      const sending = yield* Effect.fork(Effect.flip(blobs.append("a", id, body, undefined)))
      const drip = (size: number) =>
        Effect.gen(function* () {
          for (let second = 0; second < 60; second += 10) {
            body.write(random(size))
            yield* turn
            yield* TestClock.adjust("10 seconds")
          }
        })
      yield* drip(1000)
      yield* drip(1000)
      assert.isTrue(Option.isNone(yield* Fiber.poll(sending)))
      yield* drip(990)
      assert.deepInclude(yield* Fiber.join(sending), { reason: "ConnectionLost" })
    })
  )

  it.effect("takes at most a gibibyte unless told otherwise, and never holds more for many small chunks", () =>
    Effect.gen(function* () {
      const blobs = Memory.make({ limits: {} })
      const { id } = yield* blobs.startUpload("a", "sha256")
      yield* blobs.append("a", id, bodyOf(random(300_000), 1), undefined)
      assert.strictEqual(Option.getOrThrow(yield* blobs.findUpload("a", id)).size, 300_000)
    })
  )
})
