import { connect, type Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { openSocket, readSocket, startUpload, uniqueName } from "./support.js"

const post = (headers: string) => `POST /v2/a/blobs/uploads/ HTTP/1.1\r\nhost: x\r\n${headers}\r\n\r\n`

/** A client that goes on writing when the server has said its last word. */
const stubborn = Effect.flatMap(EmbeddedRegistry.EmbeddedRegistry, ({ port }) =>
  Effect.acquireRelease(
    Effect.sync(() => connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {})),
    (socket) => Effect.sync(() => socket.destroy())
  )
)

/** Writes until the connection closes or so many bytes were taken; how many they were. */
const pour = (socket: Socket, most: number) =>
  Effect.async<number>((resume) => {
    const chunk = Buffer.alloc(64 << 10)
    let written = 0
    const more = () => {
      while (written < most && !socket.destroyed) {
        written += chunk.length
        if (!socket.write(chunk)) return void socket.once("drain", more)
      }
      if (written >= most) resume(Effect.succeed(written))
    }
    socket.once("close", () => resume(Effect.succeed(socket.bytesWritten)))
    more()
  })

const refusing = EmbeddedRegistry.layerMemory({ readOnly: true })

describe("Unread", () => {
  it.scopedLive("reads little of a large body that was refused, and closes the connection", () =>
    Effect.gen(function* () {
      for (const headers of ["content-length: 10000000000", "transfer-encoding: chunked"]) {
        const socket = yield* stubborn
        const answer = yield* Effect.fork(readSocket(socket, "\r\n\r\n{"))
        const start = performance.now()
        socket.write(post(headers))
        if (headers.startsWith("transfer")) socket.write("ffffffff\r\n")
        const text = yield* Fiber.join(answer)
        expect(text).toMatch(/^HTTP\/1.1 405 /)
        expect(text.toLowerCase()).toContain("connection: close")
        expect(yield* pour(socket, 1 << 30)).toBeLessThan(32 << 20)
        expect(performance.now() - start).toBeLessThan(10_000)
      }
    }).pipe(Effect.provide(refusing))
  )

  it.scopedLive("lets a client that sends all before it listens see the answer", () =>
    Effect.gen(function* () {
      const socket = yield* openSocket
      socket.pause()
      socket.write(post("content-length: 800000"))
      yield* Effect.sleep("50 millis")
      socket.write(Buffer.alloc(800_000))
      yield* Effect.sleep("50 millis")
      const answer = yield* Effect.fork(readSocket(socket, "UNSUPPORTED"))
      socket.resume()
      expect(yield* Fiber.join(answer)).toContain("UNSUPPORTED")
    }).pipe(Effect.provide(refusing))
  )

  it.scopedLive("keeps the connection of a small body that comes", () =>
    Effect.gen(function* () {
      const socket = yield* openSocket
      const first = yield* Effect.fork(readSocket(socket, "UNSUPPORTED"))
      socket.write(post("content-length: 1000"))
      expect((yield* Fiber.join(first)).toLowerCase()).toContain("connection: keep-alive")
      const second = yield* Effect.fork(readSocket(socket, "200 OK"))
      socket.write(`${"x".repeat(1000)}GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n`)
      expect(yield* Fiber.join(second)).toContain("HTTP/1.1 200 OK")
      // The time that the body had is over, and means nothing any more.
      yield* Effect.sleep("2200 millis")
      expect(socket.destroyed || socket.readableEnded).toBe(false)
    }).pipe(Effect.provide(refusing))
  )

  it.scopedLive("waits two seconds for a body that does not come", () =>
    Effect.gen(function* () {
      const socket = yield* openSocket
      const start = performance.now()
      socket.write(post("content-length: 1000"))
      yield* readSocket(socket, "never")
      const took = performance.now() - start
      expect(took).toBeLessThan(10_000)
      expect(took).toBeGreaterThan(1500)
    }).pipe(Effect.provide(refusing))
  )

  it.scopedLive("asks for no body that is held back for an answer, unless it will be read", () =>
    Effect.gen(function* () {
      const location = yield* startUpload(uniqueName())
      const socket = yield* openSocket
      const go = yield* Effect.fork(readSocket(socket, "\r\n\r\n"))
      socket.write(`PATCH ${location} HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n`)
      expect(yield* Fiber.join(go)).toBe("HTTP/1.1 100 Continue\r\n\r\n")
      const done = yield* Effect.fork(readSocket(socket, "\r\n\r\n"))
      socket.write("abc")
      expect(yield* Fiber.join(done)).toMatch(/^HTTP\/1.1 202 /)
      const other = yield* openSocket
      const refused = yield* Effect.fork(readSocket(other, "}"))
      other.write("PUT /v2/a/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
      expect(yield* Fiber.join(refused)).toMatch(/^HTTP\/1.1 404 /)
    }).pipe(Effect.provide(EmbeddedRegistry.layerMemory()))
  )
})
