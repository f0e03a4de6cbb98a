import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { assert, describe, layer, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Fixture } from "../src/index.js"
import * as Process from "./support/fuzzProcess.js"
import * as Socket from "./support/fuzzSocket.js"
import * as Client from "./support/fuzzUploads.js"
import { sha256 } from "./support/fuzzWords.js"
import { mebibyte } from "./support/process.js"

// Slow machines are no fault of the registry.
vi.setConfig({ testTimeout: 120_000 })

/** Sends a byte now and then on each connection until it is told to stop. */
const drip = (connections: ReadonlyArray<Socket.Connection>, bytes: string, every: number) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      setInterval(() => {
        for (const { send } of connections) send(bytes)
      }, every)
    ),
    (timer) => Effect.sync(() => clearInterval(timer))
  )

layer(Process.Program.layer, { excludeTestServices: true, timeout: "1 minute" })(
  "a registry among hostile clients",
  (it) => {
    describe("connections", () => {
      it.scoped(
        "serves others while hundreds of clients send their headers byte by byte, and closes these in half a minute",
        () =>
          Effect.gen(function* () {
            const { port } = yield* Client.serve()
            const slow = yield* Client.openMany(port, 300)
            for (const { send } of slow) send("GET /v2/ HTTP/1.1\r\nhost: x\r\nx: ")
            yield* drip(slow, "y", 200)
            yield* Effect.sleep("300 millis")
            yield* Client.expectServed(port)
            const all = slow.map((connection) => Effect.promise(() => connection.closed(30_000)))
            assert.notInclude(yield* Effect.all(all, { concurrency: "unbounded" }), false)
          }),
        60_000
      )

      it.scoped("serves others among a thousand connections that say nothing, and lets go of those that leave", () =>
        Effect.gen(function* () {
          const server = yield* Client.serve()
          yield* Client.expectServed(server.port)
          const before = server.descriptors()
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* Client.openMany(server.port, 1000)
              yield* Client.expectServed(server.port)
              assert.isBelow(server.memory(), 300)
            })
          )
          yield* Client.eventually(
            "all closed",
            5000,
            Effect.sync(() => (server.descriptors() <= before + 2 ? true : undefined))
          )
        })
      )

      it.scoped("ends connections whose client has closed its half", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve()
          const location = yield* Client.startUpload(port)
          const starts = ["", "GET /v2/ HT", Socket.head("PATCH", location, { "content-length": "10" })]
          for (const start of starts) {
            const connection = yield* Client.open(port)
            connection.send(start)
            yield* Effect.sleep("50 millis")
            connection.halfClose()
            assert.isTrue(yield* Effect.promise(() => connection.closed(5000)), JSON.stringify(start))
          }
          yield* Client.expectServed(port)
        })
      )

      it.scoped("survives clients that ask for an upgrade and reset the connection", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve()
          const blob = yield* Client.push(port, "a", Fixture.noise(8 * mebibyte, 1))
          const resets = ["h2c", "websocket", "x"].map((upgrade) =>
            Effect.gen(function* () {
              const connection = yield* Client.open(port)
              connection.send(Socket.head("GET", blob, { connection: "upgrade", upgrade }))
              yield* Effect.sleep("100 millis")
              connection.socket.resetAndDestroy()
              yield* Effect.sleep("100 millis")
            })
          )
          yield* Effect.all(resets)
          yield* Client.expectServed(port)
        })
      )

      it.scoped("survives clients that reset the connection at any point of a request", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve()
          const body = Fixture.noise(2 * mebibyte, 2)
          const blob = yield* Client.push(port, "a", body)
          const location = yield* Client.startUpload(port)
          const manifest = { "content-type": Client.indexType, "content-length": "100" }
          const requests = [
            Socket.head("GET", blob),
            Socket.head("GET", blob).repeat(50),
            Socket.head("HEAD", blob),
            Socket.head("PUT", "/v2/a/manifests/x", manifest),
            `${Socket.head("PATCH", location, { "content-length": "100" })}abc`,
            `${Socket.head("POST", `/v2/a/blobs/uploads/?digest=${sha256(body)}`, { "transfer-encoding": "chunked" })}3\r\nabc`,
            Socket.head("GET", "/v2/", { expect: "100-continue", "content-length": "10" }),
            "GET /v2/ HTTP/1.1\r\nbad header\r\n\r\n"
          ]
          for (const request of requests) {
            for (const wait of [0, 5, 50]) {
              const connection = yield* Client.open(port)
              connection.send(request)
              yield* Effect.sleep(wait)
              connection.socket.resetAndDestroy()
            }
          }
          yield* Client.expectServed(port)
        })
      )

      for (const [requests, how] of [
        [1, "ask for a large blob and never read it"],
        [300, "ask for it hundreds of times in one go"]
      ] as const) {
        it.scoped(`holds little for clients that ${how}, and serves others`, () =>
          Effect.gen(function* () {
            const server = yield* Client.serve()
            const { port } = server
            const blob = yield* Client.push(port, "a", Fixture.noise(64 * mebibyte, 3))
            const before = [server.memory(), server.descriptors()] as const
            for (const { send, socket } of yield* Client.openMany(port, 20)) {
              socket.pause()
              send(Socket.head("GET", blob).repeat(requests))
            }
            yield* Effect.sleep("1 second")
            yield* Client.expectServed(port)
            assert.isBelow(server.memory() - before[0], 300)
            // The connection, and the file that is read for it.
            assert.isAtMost(server.descriptors() - before[1], 3 * 20)
          })
        )
      }
    })

    describe("uploads", () => {
      it.scoped("cuts one that falls silent and keeps its bytes", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve({ limits: { idle: "500 millis" } })
          const location = yield* Client.startUpload(port)
          const connection = yield* Client.open(port)
          connection.send(Socket.head("PATCH", location, { "content-length": "1000" }))
          connection.send("abc")
          assert.isTrue(yield* Effect.promise(() => connection.closed(5000)))
          assert.strictEqual(yield* Client.sizeOf(port, location), 3)
          Client.expectStatus(yield* Client.send(port, "PATCH", location, "def"), 202)
          Client.expectStatus(yield* Client.finish(port, location, Buffer.from("abcdef")), 201)
        })
      )

      it.scoped(
        "cuts those that are slower than the least rate, keeps their bytes, and lets a slow one above it take its time",
        () =>
          Effect.gen(function* () {
            const { port } = yield* Client.serve({ limits: { bodyRate: 100, idle: "2 seconds" } })
            const [dripping, moving] = [yield* Client.startUpload(port), yield* Client.startUpload(port)]
            const loris = yield* Client.open(port)
            loris.send(Socket.head("PATCH", dripping, { "transfer-encoding": "chunked" }))
            yield* drip([loris], "1\r\na\r\n", 200)
            const steady = yield* Client.open(port)
            // Longer than any limit of time: many times the silence allowed, and more than the minute of the least rate.
            const size = 200 * 70
            steady.send(Socket.head("PATCH", moving, { "content-length": String(size) }))
            yield* Effect.promise(async () => {
              for (let sent = 0; sent < size; sent += 200) {
                steady.send("a".repeat(200))
                await Client.pause(950)
              }
            })
            Client.expectStatus(yield* Effect.promise(() => steady.answer("PATCH")), 202)
            Client.expectStatus(yield* Client.finish(port, moving, Buffer.from("a".repeat(size))), 201)
            assert.isTrue(yield* Effect.promise(() => loris.closed(1000)))
            assert.isAbove((yield* Client.sizeOf(port, dripping)) ?? 0, 3)
          }),
        120_000
      )

      it.scoped("keeps the bytes of one that ends short of its length, and takes the rest later", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve()
          const location = yield* Client.startUpload(port)
          const connection = yield* Client.open(port)
          connection.send(`${Socket.head("PATCH", location, { "content-length": "9" })}abc`)
          yield* Effect.sleep("100 millis")
          connection.destroy()
          yield* Client.eventually(
            "three bytes",
            5000,
            Effect.map(Client.sizeOf(port, location), (size) => (size === 3 ? true : undefined))
          )
          Client.expectStatus(yield* Client.send(port, "PATCH", location, "defghi"), 202)
          Client.expectStatus(yield* Client.finish(port, location, Buffer.from("abcdefghi")), 201)
        })
      )

      it.scoped("takes no byte past the length that was stated, and none of what follows for a request", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve()
          const location = yield* Client.startUpload(port)
          const connection = yield* Client.open(port)
          connection.send(`${Socket.head("PATCH", location, { "content-length": "3" })}abcdef`)
          // What follows is no request, so the parser may end the connection before anybody has looked at the three bytes.
          const { status } = Client.expectStatus(yield* Effect.promise(() => connection.answer("PATCH")), 202, 400)
          assert.isTrue(yield* Effect.promise(() => connection.closed(5000)))
          yield* Effect.sleep("200 millis")
          assert.include(status === 202 ? [3] : [0, 3], yield* Client.sizeOf(port, location))
        })
      )

      it.scoped("refuses one that is larger than the limit, with and without its length, and forgets it", () =>
        Effect.gen(function* () {
          const { port, root } = yield* Client.serve({ limits: { uploadSize: mebibyte } })
          const body = Fixture.noise(mebibyte + 1, 4)
          for (const framing of [{ "content-length": String(body.length) }, { "transfer-encoding": "chunked" }]) {
            const location = yield* Client.startUpload(port)
            const connection = yield* Client.open(port)
            connection.send(Socket.head("PATCH", location, framing))
            if ("transfer-encoding" in framing) connection.send(`${body.length.toString(16)}\r\n`)
            connection.send(body)
            const answer = Client.expectStatus(yield* Effect.promise(() => connection.answer("PATCH")), 413)
            assert.strictEqual(Client.codeOf(answer), "SIZE_INVALID")
            assert.isUndefined(yield* Client.sizeOf(port, location))
          }
          // Not by pieces either.
          const location = yield* Client.startUpload(port)
          Client.expectStatus(yield* Client.send(port, "PATCH", location, body.subarray(0, mebibyte)), 202)
          Client.expectStatus(yield* Client.send(port, "PATCH", location, "x"), 413)
          yield* Client.push(port, "a", body.subarray(0, mebibyte))
          assert.deepStrictEqual(
            [...Process.walk(root).keys()].filter((path) => /_uploads\/./.test(path)),
            []
          )
        })
      )

      it.scoped("serves others while 200 are open and abandoned, and refuses more than the limit", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve({ limits: { openUploads: 210 } })
          const starts = Array.from({ length: 200 }, () => Client.startUpload(port))
          yield* Effect.all(starts, { concurrency: 20 })
          yield* Client.expectServed(port)
          const more = yield* Effect.all(
            Array.from({ length: 20 }, () => Client.send(port, "POST", "/v2/a/blobs/uploads/", "")),
            { concurrency: 20 }
          )
          const statuses = more.map((outcome) => Client.expectStatus(outcome, 202, 429).status)
          assert.strictEqual(statuses.filter((status) => status === 202).length, 10)
        })
      )
    })

    describe("manifests", () => {
      it.scoped("refuses a gigabyte, with and without its length, without holding it", () =>
        Effect.gen(function* () {
          const server = yield* Client.serve()
          const { port } = server
          const block = Buffer.alloc(mebibyte, " ")
          const before = server.peak()
          for (const framing of [{ "content-length": String(1024 * mebibyte) }, { "transfer-encoding": "chunked" }]) {
            const connection = yield* Client.open(port)
            connection.send(Socket.head("PUT", "/v2/a/manifests/x", { "content-type": Client.indexType, ...framing }))
            if ("transfer-encoding" in framing) connection.send("40000000\r\n")
            for (let n = 0; n < 64; n++) connection.send(block)
            const answer = Client.expectStatus(yield* Effect.promise(() => connection.answer("PUT")), 413)
            assert.strictEqual(answer.headers.get("connection"), "close")
            assert.isTrue(yield* Effect.promise(() => connection.closed(10_000)))
          }
          assert.isBelow(server.peak() - before, 150)
        })
      )

      it.scoped("never decompresses: a compressed bomb is a manifest that is none, or just bytes", () =>
        Effect.gen(function* () {
          const server = yield* Client.serve()
          const { port } = server
          const bomb = gzipSync(Buffer.alloc(256 * mebibyte))
          const before = server.peak()
          const headers = { "content-encoding": "gzip", "content-type": Client.indexType }
          Client.expectStatus(yield* Client.request(port, "PUT", "/v2/a/manifests/x", { headers, body: bomb }), 400)
          const path = yield* Client.push(port, "a", bomb)
          assert.isTrue(Client.answered(yield* Client.send(port, "GET", path)).body.equals(bomb))
          assert.isBelow(server.peak() - before, 100)
        })
      )

      it.scoped("keeps tags apart that differ in case only", () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve()
          const tags = ["latest", "LATEST", "Latest"]
          for (const [n, tag] of tags.entries()) Client.expectStatus(yield* Client.putTag(port, tag, n), 201)
          for (const [n, tag] of tags.entries()) {
            assert.isTrue(
              Client.answered(yield* Client.send(port, "GET", `/v2/a/manifests/${tag}`)).body.equals(Client.index(n))
            )
          }
          Client.expectStatus(yield* Client.send(port, "DELETE", "/v2/a/manifests/LATEST"), 202)
          Client.expectStatus(yield* Client.send(port, "GET", "/v2/a/manifests/latest"), 200)
        })
      )
    })

    describe("the folder", () => {
      it.scoped.skipIf(process.platform === "win32")("is not left through a link in place of a repository", () =>
        Effect.gen(function* () {
          const { port, root } = yield* Client.serve()
          const outside = join(root, "..", "outside")
          mkdirSync(join(outside, "_tags"), { recursive: true })
          writeFileSync(join(outside, "_tags", "secret"), sha256(""))
          yield* Client.push(port, "a", Buffer.from("x"))
          symlinkSync(outside, join(root, "repositories", "linked"))
          Client.expectStatus(yield* Client.send(port, "GET", "/v2/linked/manifests/secret"), 404)
          const catalog = Client.answered(yield* Client.send(port, "GET", "/v2/_catalog"))
          assert.notInclude(catalog.body.toString(), "linked")
          assert.strictEqual(readFileSync(join(outside, "_tags", "secret"), "utf8"), sha256(""))
        })
      )
    })
  }
)
