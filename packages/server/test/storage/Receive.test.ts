import { createHash, randomBytes } from "node:crypto"
import * as Fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PassThrough, Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { receive } from "../../src/storage/Receive.js"

const open = (flags: string) =>
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

describe("receive", () => {
  it.scoped("writes and hashes all bytes in order, behind what is there", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open("r+")
      const hash = createHash("sha256")
      const bytes = randomBytes(9_000_001)
      const pieces = [...Array(200).keys()].map((index) => bytes.subarray(index * 45_001, (index + 1) * 45_001))
      const received = yield* receive(Readable.from(pieces), { handle, position: 5, hash, idle: 1000 })
      assert.strictEqual(received, bytes.length)
      assert.isTrue((yield* content).equals(Buffer.concat([Buffer.from("start"), bytes])))
      assert.strictEqual(hash.digest("hex"), createHash("sha256").update(bytes).digest("hex"))
    })
  )

  it.scoped("holds the sender back when the disk is slower", () =>
    Effect.gen(function* () {
      const { handle } = yield* open("r+")
      let sent = 0
      let written = 0
      let ahead = 0
      const slow = new Proxy(handle, {
        get: (target, key) =>
          key === "writev"
            ? async (buffers: ReadonlyArray<Uint8Array>, position: number) => {
                await new Promise((resolve) => setTimeout(resolve, 2))
                const result = await target.writev(buffers, position)
                written += result.bytesWritten
                return result
              }
            : Reflect.get(target, key, target)
      })
      const body = new Readable({
        read() {
          if (sent === 40 << 20) return void this.push(null)
          sent += 1 << 16
          ahead = Math.max(ahead, sent - written)
          this.push(Buffer.alloc(1 << 16))
        }
      })
      assert.strictEqual(yield* receive(body, { handle: slow, position: 0, hash: undefined, idle: 1000 }), 40 << 20)
      assert.isBelow(ahead, 8 << 20)
    })
  )

  it.scoped("keeps what came before the sender was lost", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open("r+")
      const body = new PassThrough()
      body.write("kept")
      setTimeout(() => body.destroy(new Error("reset")), 10)
      const error = yield* Effect.flip(receive(body, { handle, position: 5, hash: undefined, idle: 1000 }))
      assert.deepInclude(error, { _tag: "UploadError", reason: "ConnectionLost" })
      assert.strictEqual((yield* content).toString(), "startkept")
      const again = yield* Effect.flip(receive(body, { handle, position: 9, hash: undefined, idle: 1000 }))
      assert.deepInclude(again, { reason: "ConnectionLost" })
    })
  )

  it.scoped("keeps what came before it was interrupted", () =>
    Effect.gen(function* () {
      const { content, handle } = yield* open("r+")
      const body = new PassThrough()
      const fiber = yield* Effect.fork(receive(body, { handle, position: 5, hash: undefined, idle: 1000 }))
      body.write("kept")
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 10)))
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* content).toString(), "startkept")
    })
  )

  it.scoped("fails as storage when the file cannot be written", () =>
    Effect.gen(function* () {
      const { handle } = yield* open("r")
      const body = Readable.from([Buffer.alloc(3 << 20)])
      const error = yield* Effect.flip(receive(body, { handle, position: 0, hash: undefined, idle: 1000 }))
      assert.strictEqual(error._tag, "StorageError")
      assert.match(error.message, /^write an upload: EBADF/)
    })
  )
})
