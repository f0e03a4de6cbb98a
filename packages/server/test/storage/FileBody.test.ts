import { randomBytes } from "node:crypto"
import { readdirSync, readlinkSync } from "node:fs"
import * as Fs from "node:fs/promises"
import { createServer, get, type IncomingMessage } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { FileBody } from "../../src/storage/FileBody.js"

const bytes = randomBytes(9_000_001)

const file = Effect.acquireRelease(
  Effect.promise(async () => {
    const path = join(tmpdir(), `file-body-${randomBytes(6).toString("hex")}`)
    await Fs.writeFile(path, bytes)
    return path
  }),
  (path) => Effect.promise(() => Fs.rm(path, { force: true }))
)

const isOpen = (path: string): boolean =>
  readdirSync("/proc/self/fd").some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false
    }
  })

const until = (condition: () => boolean) =>
  Effect.promise(async () => {
    for (let tries = 0; tries < 500 && !condition(); tries++) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.isTrue(condition())
  })

/** A server that answers every request with a body of its own; gives its address. */
const serving = (open: () => FileBody) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer((_, response) => {
        pipeline(open(), response).catch(() => {})
      }).listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" ? address?.port : undefined
        const close = () => {
          server.close()
          server.closeAllConnections()
        }
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const request = (url: string) =>
  Effect.async<IncomingMessage>((resume) => {
    get(url, { agent: false }, (response) => resume(Effect.succeed(response))).on("error", () => {})
  })

const collect = async (body: AsyncIterable<Uint8Array>) => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const ranges = [
  [0, 0],
  [0, 9_000_000],
  [(1 << 18) - 1, 1 << 18],
  [1 << 18, (1 << 19) - 1],
  [1_234_567, 8_999_999],
  [9_000_000, 9_000_000]
] as const

describe("FileBody", () => {
  it.scopedLive("has the bytes of its range for whoever keeps them", () =>
    Effect.gen(function* () {
      const path = yield* file
      for (const [start, end] of ranges) {
        const found = yield* Effect.promise(() => collect(new FileBody(path, start, end)))
        assert.isTrue(found.equals(bytes.subarray(start, end + 1)), `${start}-${end}`)
      }
    })
  )

  it.scopedLive("sends the bytes of its range, and of several at once", () =>
    Effect.gen(function* () {
      const path = yield* file
      for (const [start, end] of ranges) {
        const { url } = yield* serving(() => new FileBody(path, start, end))
        const answers = yield* Effect.forEach([1, 2, 3], () => request(url), { concurrency: 3 })
        const all = yield* Effect.promise(() => Promise.all(answers.map(collect)))
        for (const found of all) assert.isTrue(found.equals(bytes.subarray(start, end + 1)), `${start}-${end}`)
      }
      if (process.platform === "linux") yield* until(() => !isOpen(path))
    })
  )

  it.scopedLive("reads no further than its client does, and closes the file when that leaves", () =>
    Effect.gen(function* () {
      const path = yield* file
      const large = 200 << 20
      yield* Effect.promise(() => Fs.truncate(path, large))
      const bodies: Array<FileBody> = []
      const { url } = yield* serving(() => {
        const body = new FileBody(path, 0, large - 1)
        bodies.push(body)
        return body
      })
      const response = yield* request(url)
      response.on("error", () => {})
      yield* Effect.sleep("200 millis")
      assert.deepEqual(
        bodies.map((body) => body.readableEnded || body.destroyed),
        [false]
      )
      if (process.platform === "linux") assert.isTrue(isOpen(path))
      response.destroy()
      yield* until(() => bodies.every((body) => body.closed))
      if (process.platform === "linux") yield* until(() => !isOpen(path))
    })
  )

  it.scopedLive("cuts the connection where the file has become shorter, or is not there", () =>
    Effect.gen(function* () {
      const path = yield* file
      const { url } = yield* serving(() => new FileBody(path, 0, bytes.length + 100))
      const response = yield* request(url)
      const error = yield* Effect.flip(Effect.tryPromise(() => collect(response)))
      assert.match(String(error.cause), /aborted/)
      const missing = new FileBody(`${path}-missing`, 0, 10)
      const failure = yield* Effect.flip(Effect.tryPromise(() => collect(missing)))
      assert.match(String(failure.cause), /ENOENT/)
    })
  )
})
