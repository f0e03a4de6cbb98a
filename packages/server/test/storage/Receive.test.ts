import { createHash, randomBytes } from "node:crypto"
import * as Fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PassThrough, Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Buffers from "../../src/storage/Buffers.js"
import * as Hashing from "../../src/storage/Hashing.js"
import { notKept, receive, type Target } from "../../src/storage/Receive.js"

const open = (flags = "r+") =>
  Effect.gen(function* () {
    const path = join(tmpdir(), `receive-test-${randomBytes(6).toString("hex")}`)
    yield* Effect.acquireRelease(
      Effect.promise(() => Fs.writeFile(path, "start")),
      () => Effect.promise(() => Fs.rm(path, { force: true }))
    )
    const handle = yield* Effect.acquireRelease(
      Effect.promise(() => Fs.open(path, flags)),
      (handle) => Effect.promise(() => handle.close())
    )
    return { handle, content: Effect.promise(() => Fs.readFile(path)) }
  })

const into = (handle: Target["handle"], more: Partial<Target> = {}): Target => ({
  handle,
  position: 5,
  hash: undefined,
  buffers: new Buffers.Buffers(),
  room: Number.POSITIVE_INFINITY,
  pace: { idle: 5000, rate: 0 },
  ...more
})

/** A file whose writes take a while, and that says how often and how far it was written. */
const slowed = (handle: Target["handle"], millis: number) => {
  const seen = { written: 0, writes: 0, atOnce: 0, most: 0 }
  const slow = new Proxy(handle, {
    get: (target, key) =>
      key === "writev"
        ? async (buffers: ReadonlyArray<Uint8Array>, position: number) => {
            seen.atOnce += 1
            seen.most = Math.max(seen.most, seen.atOnce)
            await new Promise((resolve) => setTimeout(resolve, millis))
            const result = await target.writev(buffers, position)
            seen.atOnce -= 1
            seen.writes += 1
            seen.written += result.bytesWritten
            return result
          }
        : Reflect.get(target, key, target)
  })
  return { slow, seen }
}

const bodyOf = (bytes: Uint8Array, chunk: number): Readable => {
  const chunks: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += chunk) chunks.push(bytes.subarray(at, at + chunk))
  return Readable.from(chunks, { objectMode: false })
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const later = (millis: number) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, millis)))

describe("receive", () => {
  const { size } = Buffers
  for (const where of ["here", "inThread"] as const) {
    it.scoped(`writes and hashes exactly the bytes that come, hashing ${where}`, () =>
      Effect.gen(function* () {
        const hashing = yield* Hashing.make
        const all = randomBytes(3 * size + 1)
        for (const length of [0, 1, size - 1, size, size + 1, 2 * size, 3 * size + 1]) {
          for (const chunk of [65_536, 100_003, 2 * size + 5]) {
            const { content, handle } = yield* open()
            const hash = hashing[where]("sha256")
            const bytes = all.subarray(0, length)
            assert.strictEqual(yield* receive(bodyOf(bytes, chunk), into(handle, { hash })), length)
            assert.isTrue((yield* content).equals(Buffer.concat([Buffer.from("start"), bytes])), `${length}/${chunk}`)
            assert.strictEqual(yield* Effect.promise(hash.digest), sha256(bytes), `${length}/${chunk}`)
          }
        }
      })
    )
  }

  it.scoped("keeps many bodies apart that share few buffers, and none waits for ever for a slow one", () =>
    Effect.gen(function* () {
      const hashing = yield* Hashing.make
      const buffers = new Buffers.Buffers(3)
      const slow = yield* Effect.forEach([1, 2, 3, 4], () =>
        Effect.gen(function* () {
          const { content, handle } = yield* open()
          const body = new PassThrough()
          body.write("slow")
          const fiber = yield* Effect.fork(receive(body, into(handle, { buffers })))
          return { body, content, fiber }
        })
      )
      yield* later(10)
      yield* Effect.forEach(
        Array.from({ length: 30 }, (_, index) => randomBytes(100_000 * index)),
        (bytes) =>
          Effect.gen(function* () {
            const { content, handle } = yield* open()
            const hash = hashing.inThread("sha256")
            yield* receive(bodyOf(bytes, 65_536), into(handle, { hash, buffers }))
            assert.isTrue((yield* content).subarray(5).equals(bytes))
            assert.strictEqual(yield* Effect.promise(hash.digest), sha256(bytes))
          }),
        { concurrency: "unbounded" }
      )
      for (const { body, content, fiber } of slow) {
        body.end("er")
        assert.strictEqual(yield* Fiber.join(fiber), 6)
        assert.strictEqual((yield* content).toString(), "startslower")
      }
    })
  )

  it.scoped("lets a fast body through between many more slow ones than there are buffers", () =>
    Effect.gen(function* () {
      const buffers = new Buffers.Buffers(2)
      const bodies = Array.from({ length: 40 }, () => new PassThrough())
      const { handle } = yield* open()
      const fibers = yield* Effect.forEach(bodies, (body) => Effect.fork(receive(body, into(handle, { buffers }))))
      const timer = setInterval(() => bodies.forEach((body) => void body.write("slow")), 100)
      yield* later(150)
      const { content, handle: own } = yield* open()
      const bytes = randomBytes(5 * size)
      const begun = performance.now()
      yield* receive(bodyOf(bytes, 65_536), into(own, { buffers }))
      assert.isBelow(performance.now() - begun, 8000)
      assert.isTrue((yield* content).subarray(5).equals(bytes))
      clearInterval(timer)
      for (const body of bodies) body.end()
      yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
    })
  )

  it.scoped("holds the sender back when the disk is slower, and writes one piece after the other", () =>
    Effect.gen(function* () {
      const { handle } = yield* open()
      const { seen, slow } = slowed(handle, 2)
      let sent = 0
      let ahead = 0
      const body = new Readable({
        read() {
          if (sent === 40 << 20) return void this.push(null)
          sent += 1 << 16
          ahead = Math.max(ahead, sent - seen.written)
          this.push(Buffer.alloc(1 << 16))
        }
      })
      assert.strictEqual(yield* receive(body, into(slow)), 40 << 20)
      assert.isBelow(ahead, 3 << 20)
      assert.strictEqual(seen.most, 1)
    })
  )

  it.scoped("finishes a write that the system did only in part", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open()
      const partly = new Proxy(handle, {
        get: (target, key) => {
          if (key === "writev") {
            return (buffers: ReadonlyArray<Uint8Array>, position: number) =>
              target.write(Buffer.concat(buffers), 0, 1000, position)
          }
          const value = Reflect.get(target, key, target)
          return typeof value === "function" ? value.bind(target) : value
        }
      })
      const bytes = randomBytes(3 * size)
      assert.strictEqual(yield* receive(bodyOf(bytes, 65_536), into(partly)), bytes.length)
      assert.isTrue((yield* content).subarray(5).equals(bytes))
    })
  )

  it.scoped("keeps what came before the sender was lost", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open()
      const body = new PassThrough()
      body.write("kept")
      setTimeout(() => body.destroy(new Error("reset")), 10)
      const error = yield* Effect.flip(receive(body, into(handle)))
      assert.deepInclude(error, { _tag: "UploadError", reason: "ConnectionLost" })
      assert.strictEqual((yield* content).toString(), "startkept")
      const again = yield* Effect.flip(receive(body, into(handle, { position: 9 })))
      assert.deepInclude(again, { reason: "ConnectionLost" })
    })
  )

  it.scoped("keeps what came before it was interrupted, also what is still being written", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open()
      const { slow } = slowed(handle, 30)
      const body = new PassThrough()
      const bytes = randomBytes(900_000)
      const fiber = yield* Effect.fork(receive(body, into(slow)))
      for (let at = 0; at < bytes.length; at += 50_000) body.write(bytes.subarray(at, at + 50_000))
      yield* later(10)
      yield* Fiber.interrupt(fiber)
      assert.isTrue((yield* content).subarray(5).equals(bytes))
    })
  )

  it.scoped("writes bytes that come slowly before the buffer is full", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open()
      const body = new PassThrough()
      const fiber = yield* Effect.fork(receive(body, into(handle, { pace: { idle: 400, rate: 0 } })))
      body.write("slow")
      yield* later(250)
      assert.strictEqual((yield* content).toString(), "startslow")
      body.end()
      assert.strictEqual(yield* Fiber.join(fiber), 4)
    })
  )

  it.scoped("gives up a sender that falls silent, and keeps what it sent", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open()
      const body = new PassThrough()
      body.write("kept")
      const error = yield* Effect.flip(receive(body, into(handle, { pace: { idle: 60, rate: 0 } })))
      assert.deepInclude(error, { reason: "ConnectionLost" })
      assert.isTrue(body.destroyed)
      assert.strictEqual((yield* content).toString(), "startkept")
    })
  )

  it.scoped("gives up a sender below the rate, and lets one above it go on", () =>
    Effect.gen(function* () {
      const trickle = (bytes: number, times: number) => {
        const body = new PassThrough()
        let sent = 0
        const timer = setInterval(() => {
          if (sent++ < times) body.write(Buffer.alloc(bytes))
          else body.end()
        }, 10)
        body.once("close", () => clearInterval(timer))
        return body
      }
      const pace = { idle: 5000, rate: 5000, window: 150 }
      const { handle } = yield* open()
      const error = yield* Effect.flip(receive(trickle(10, 200), into(handle, { pace })))
      assert.deepInclude(error, { reason: "ConnectionLost" })
      assert.strictEqual(yield* receive(trickle(500, 60), into(handle, { pace })), 30_000)
    })
  )

  it.scoped("does not count the time in which the sender waits for the disk", () =>
    Effect.gen(function* () {
      const { handle } = yield* open()
      const { slow } = slowed(handle, 150)
      const bytes = randomBytes(20 * size)
      const pace = { idle: 50, rate: 1e9, window: 50 }
      assert.strictEqual(yield* receive(bodyOf(bytes, 4 * size), into(slow, { pace })), bytes.length)
    })
  )

  it.scoped("takes as many bytes as there is room for and not one more", () =>
    Effect.gen(function* () {
      const { handle } = yield* open()
      const bytes = randomBytes(size + 100)
      assert.strictEqual(yield* receive(bodyOf(bytes, 1000), into(handle, { room: bytes.length })), bytes.length)
      const error = yield* Effect.flip(receive(bodyOf(bytes, 1000), into(handle, { room: bytes.length - 1 })))
      assert.deepInclude(error, { _tag: "UploadError", reason: "TooLarge" })
    })
  )

  it.scoped("fails as storage when the file cannot be written, and gives all buffers back", () =>
    Effect.gen(function* () {
      const { handle } = yield* open("r")
      const buffers = new Buffers.Buffers(2)
      for (let round = 0; round < 3; round++) {
        const body = Readable.from([Buffer.alloc(3 << 20)])
        const error = yield* Effect.flip(receive(body, into(handle, { buffers })))
        assert.strictEqual(error._tag, "StorageError")
        assert.match(error.message, /^write an upload: EBADF/)
      }
      const { handle: good } = yield* open()
      assert.strictEqual(yield* receive(Readable.from([Buffer.alloc(1 << 20)]), into(good, { buffers })), 1 << 20)
    })
  )

  it.scoped("has the disk begin early, waits for it at the end, and fails where the disk did", () =>
    Effect.gen(function* () {
      const { handle } = yield* open()
      const mebibyte = Buffer.alloc(1 << 20)
      const body = () =>
        Readable.from(
          Array.from({ length: 100 }, () => mebibyte),
          { objectMode: false }
        )
      let begun = 0
      let ended = 0
      const ahead = () => {
        begun += 1
        return Effect.runPromise(later(1)).then(() => {
          ended += 1
        })
      }
      yield* receive(body(), into(handle, { ahead }))
      assert.isAtLeast(begun, 1)
      assert.isAtMost(begun, 3)
      assert.strictEqual(ended, begun)
      const broken = () => Promise.reject(new Error("EIO"))
      const error = yield* Effect.flip(receive(body(), into(handle, { ahead: broken })))
      assert.deepInclude(error, { _tag: "StorageError", operation: notKept })
    })
  )
})
