import { PassThrough } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { BlobStore } from "../src/BlobStore.js"
import * as Expiry from "../src/Expiry.js"
import { hour, later, now } from "./Gc/support.js"
import { all, memory } from "./suites/Backends.js"

describe("Expiry", () => {
  for (const { name, open } of all) {
    describe(`expire over ${name}`, () => {
      it.scopedLive("never removes an upload that somebody is writing to, and removes it when that one left", () =>
        Effect.gen(function* () {
          const { blobs } = yield* open()
          const expire = Effect.provideService(Expiry.expire({ expiry: "30 millis" }), BlobStore, blobs)
          const { id } = yield* blobs.startUpload("a", "sha256")
          const body = new PassThrough()
          body.write("some")
          const sending = yield* Effect.fork(blobs.append("a", id, body, undefined))
          while (body.readableLength > 0) yield* Effect.sleep(5)
          yield* Effect.sleep(100)
          assert.deepEqual(yield* expire, [])
          yield* Fiber.interrupt(sending)
          assert.deepEqual(yield* blobs.findUpload("a", id), Option.some({ id, size: 4 }))
          yield* Effect.sleep(100)
          assert.deepEqual(yield* expire, [{ repository: "a", id, size: 4 }])
          assert.deepEqual(yield* expire, [])
        })
      )
    })
  }

  describe("run", () => {
    it.scoped("expires now and again and again, until the scope ends", () =>
      Effect.gen(function* () {
        yield* now
        const { blobs } = yield* memory.open()
        const left = Effect.map(blobs.uploads, (uploads) => uploads.length)
        yield* blobs.startUpload("a", "sha256")
        yield* later(25 * hour)
        const running = Effect.provideService(Expiry.run({ expiry: "1 day" }), BlobStore, blobs)
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* running
            yield* TestClock.adjust(0)
            assert.strictEqual(yield* left, 0)
            yield* blobs.startUpload("a", "sha256")
            yield* TestClock.adjust("23 hours")
            assert.strictEqual(yield* left, 1)
            yield* TestClock.adjust("2 hours")
            assert.strictEqual(yield* left, 0)
          })
        )
        yield* blobs.startUpload("a", "sha256")
        yield* TestClock.adjust("50 hours")
        assert.strictEqual(yield* left, 1)
      })
    )
  })
})
