import { Readable } from "node:stream"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import { describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as NodeClient from "../src/NodeClient.js"
import { disconnected, readAll, serve, serveRaw } from "./support.js"

const MiB = 1 << 20
const put = (url: string, body: HttpBody.HttpBody) => HttpClientRequest.put(url, { body })
const endless = Stream.repeatValue(new Uint8Array(65_536).fill(7))
/** Waits in real time: the sockets do not know of TestClock. */
const sleep = (ms: number) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, ms)))
const messageOf = (error: { readonly cause?: unknown }): string => (error.cause as Error).message

describe("NodeClient", () => {
  describe("bodies", () => {
    const form = new FormData()
    form.append("field", "value")
    it.scoped.each<readonly [string, () => HttpBody.HttpBody, string, string | undefined]>([
      ["Empty", () => HttpBody.empty, "", "0"],
      ["text", () => HttpBody.text("hello"), "hello", "5"],
      ["Uint8Array", () => HttpBody.uint8Array(new TextEncoder().encode("bytes")), "bytes", "5"],
      [
        "Stream with a length",
        () => HttpBody.stream(Stream.make(Buffer.from("ab"), Buffer.from("cd")), "x/y", 4),
        "abcd",
        "4"
      ],
      [
        "Stream without one",
        () => HttpBody.stream(Stream.make(Buffer.from("ab"), Buffer.from("cd"))),
        "abcd",
        undefined
      ],
      ["raw string", () => HttpBody.raw("raw"), "raw", "3"],
      ["raw Readable", () => HttpBody.raw(Readable.from([Buffer.from("re")]), { contentLength: 2 }), "re", "2"],
      ["raw Blob", () => HttpBody.raw(new Blob(["blob"])), "blob", "4"],
      ["raw web stream", () => HttpBody.raw(new Blob(["web"]).stream()), "web", undefined]
    ])("carries %s", ([, body, text, length]) =>
      Effect.gen(function* () {
        const server = yield* serve(async (req, res) => {
          const { "content-length": n, "transfer-encoding": te } = req.headers
          res.end(JSON.stringify({ text: (await readAll(req)).toString(), n, te, method: req.method }))
        })
        const client = yield* NodeClient.make()
        const response = yield* client.execute(put(server.url, body()))
        expect(yield* response.json).toEqual({
          text,
          method: "PUT",
          ...(length === undefined ? { te: "chunked" } : { n: length })
        })
      })
    )

    it.scoped("carries FormData with its boundary", () =>
      Effect.gen(function* () {
        const server = yield* serve(async (req, res) => {
          res.setHeader("content-type", req.headers["content-type"] ?? "")
          res.end(await readAll(req))
        })
        const client = yield* NodeClient.make()
        const response = yield* client.execute(put(server.url, HttpBody.formData(form)))
        expect((yield* response.formData).get("field")).toBe("value")
      })
    )

    it.scoped("refuses a raw body of no known kind", () =>
      Effect.gen(function* () {
        const client = yield* NodeClient.make()
        const error = yield* Effect.flip(client.execute(put("http://127.0.0.1:1/", HttpBody.raw(42))))
        expect(error.reason).toBe("Encode")
      })
    )

    it.scoped.each([
      [3, "the body ended after 3 of 5 bytes"],
      [9, "the body is longer than its 5 bytes"]
    ] as const)("fails at once when %i of 5 bytes come", ([n, message]) =>
      Effect.gen(function* () {
        const server = yield* serve((req) => req.resume())
        const client = yield* NodeClient.make()
        const body = HttpBody.stream(Stream.make(new Uint8Array(n)), "x/y", 5)
        const error = yield* Effect.flip(client.execute(put(server.url, body)))
        expect(error.reason).toBe("Transport")
        expect(messageOf(error)).toBe(message)
      })
    )

    it.scoped("fails with the error of the body", () =>
      Effect.gen(function* () {
        const server = yield* serve((req) => req.resume())
        const client = yield* NodeClient.make()
        const cause = new Error("disk gone")
        const body = HttpBody.stream(Stream.concat(Stream.make(new Uint8Array(10)), Stream.fail(cause)), "x/y", 20)
        const error = yield* Effect.flip(client.execute(put(server.url, body)))
        expect(error.cause).toBe(cause)
      })
    )

    it.scoped("reads the body no faster than the server takes it", () =>
      Effect.gen(function* () {
        const server = yield* serve(() => {})
        const client = yield* NodeClient.make()
        let read = 0
        const body = HttpBody.stream(
          Stream.tap(endless, (bytes) =>
            Effect.sync(() => {
              read += bytes.length
            })
          )
        )
        const fiber = yield* Effect.fork(client.execute(put(server.url, body)))
        yield* sleep(300)
        yield* Fiber.interrupt(fiber)
        expect(read).toBeGreaterThan(0)
        expect(read).toBeLessThan(16 * MiB)
      })
    )
  })

  describe("answers", () => {
    it.scoped.each([["keep-alive"], ["close"]] as const)(
      "delivers a 401 in the middle of an upload, Connection: %s",
      ([connection]) =>
        Effect.gen(function* () {
          let closed = false
          const server = yield* serve((_, res) => {
            res.writeHead(401, { "www-authenticate": "Basic", connection })
            res.end("denied")
          })
          const client = yield* NodeClient.make()
          const stream = Stream.ensuring(
            endless,
            Effect.sync(() => {
              closed = true
            })
          )
          const response = yield* client.execute(put(server.url, HttpBody.stream(stream, "x/y", 1024 * MiB)))
          expect(response.status).toBe(401)
          expect(response.headers["www-authenticate"]).toBe("Basic")
          expect(yield* response.text).toBe("denied")
          yield* disconnected(server)
          expect(closed).toBe(true)
        })
    )

    it.scoped("follows no redirect, decodes nothing, and asks for no coding", () =>
      Effect.gen(function* () {
        const server = yield* serve((req, res) => {
          if (req.url === "/moved") return res.writeHead(307, { location: "/x" }).end()
          return res.writeHead(200, { "content-encoding": "gzip" }).end(`accept ${req.headers["accept-encoding"]}`)
        })
        const client = yield* NodeClient.make()
        const moved = yield* client.get(`${server.url}/moved`)
        expect([moved.status, moved.headers.location]).toEqual([307, "/x"])
        expect(yield* Effect.flatMap(client.get(server.url), (r) => r.text)).toBe("accept identity")
      })
    )

    it.scoped("gives an answer as stream, text, JSON, form and bytes, and keeps the connection", () =>
      Effect.gen(function* () {
        const seen = new Set<number | undefined>()
        const server = yield* serve((req, res) => {
          seen.add(req.socket.remotePort)
          res.writeHead(200, { "set-cookie": "a=b" }).end(req.url === "/form" ? "a=1&b=2" : '{"ok":true}')
        })
        const client = yield* NodeClient.make()
        const get = client.get(server.url)
        expect(Buffer.concat([...(yield* Effect.flatMap(get, (r) => Stream.runCollect(r.stream)))]).toString()).toBe(
          '{"ok":true}'
        )
        const response = yield* get
        expect(yield* response.text).toBe('{"ok":true}')
        expect(yield* response.json).toEqual({ ok: true })
        expect(response.cookies.toJSON()).toMatchObject({ cookies: { a: {} } })
        expect(Option.getOrThrow(response.remoteAddress)).toBe("127.0.0.1")
        expect(JSON.stringify(response)).toContain('"status":200')
        expect((yield* Effect.flatMap(get, (r) => r.arrayBuffer)).byteLength).toBe(11)
        expect([...(yield* Effect.flatMap(client.get(`${server.url}/form`), (r) => r.urlParamsBody))]).toEqual([
          ["a", "1"],
          ["b", "2"]
        ])
        expect(seen.size).toBe(1)
      })
    )

    it.scoped("keeps the connection when the scope of a finished answer closes", () =>
      Effect.gen(function* () {
        const seen = new Set<number | undefined>()
        const server = yield* serve(async (req, res) => {
          seen.add(req.socket.remotePort)
          await readAll(req)
          res.end("x")
        })
        const client = HttpClient.withScope(yield* NodeClient.make())
        for (const request of [
          HttpClientRequest.get(server.url),
          put(server.url, HttpBody.stream(Stream.make(new Uint8Array(9)))),
          HttpClientRequest.get(server.url)
        ]) {
          expect(yield* Effect.scoped(Effect.flatMap(client.execute(request), (r) => r.text))).toBe("x")
        }
        expect(seen.size).toBe(1)
      })
    )

    it.scoped("opens no more connections to a host than allowed", () =>
      Effect.gen(function* () {
        let most = 0
        const server = yield* serve((_, res) => {
          most = Math.max(most, server.sockets.size)
          setTimeout(() => res.end("x"), 10)
        })
        const client = yield* NodeClient.make({ maxConnectionsPerHost: 3 })
        yield* Effect.forEach(Array.from({ length: 12 }), () => Effect.flatMap(client.get(server.url), (r) => r.text), {
          concurrency: "unbounded"
        })
        expect(most).toBe(3)
      })
    )

    it.scoped("frees the connection of an answer without a body that nobody reads", () =>
      Effect.gen(function* () {
        const server = yield* serve((req, res) => {
          res.writeHead(req.url === "/204" ? 204 : 200, req.url === "/204" ? {} : { "content-length": "0" }).end()
        })
        const client = yield* NodeClient.make({ maxConnectionsPerHost: 1 })
        for (const path of ["", "/204", ""]) {
          expect((yield* client.head(server.url + path)).status).toBeLessThan(300)
          const response = yield* client.get(server.url + path)
          expect(Chunk.isEmpty(yield* Stream.runCollect(response.stream))).toBe(true)
          expect(yield* response.text).toBe("")
        }
      })
    )

    it.scoped("fails when a body breaks off or is longer than allowed", () =>
      Effect.gen(function* () {
        const server = yield* serve((req, res) => {
          res.writeHead(200, { "content-length": "1000" })
          res.write("x".repeat(500), () => req.url === "/cut" && req.socket.destroy())
        })
        const client = yield* NodeClient.make()
        const cut = yield* Effect.flip(
          Effect.flatMap(client.get(`${server.url}/cut`), (r) => Stream.runDrain(r.stream))
        )
        expect(cut).toMatchObject({ _tag: "ResponseError", reason: "Decode" })
        const long = yield* client.get(server.url).pipe(
          Effect.flatMap((r) => r.arrayBuffer),
          HttpIncomingMessage.withMaxBodySize(Option.some(100)),
          Effect.flip
        )
        expect(long).toMatchObject({ _tag: "ResponseError", reason: "Decode" })
      })
    )
  })

  describe("failures", () => {
    it.scoped("tells a refused connection by Node's code", () =>
      Effect.gen(function* () {
        const client = yield* NodeClient.make()
        const error = yield* Effect.flip(client.get("http://127.0.0.1:1/"))
        expect(error).toMatchObject({ _tag: "RequestError", reason: "Transport", cause: { code: "ECONNREFUSED" } })
      })
    )

    it.scoped("refuses a header that must not go out", () =>
      Effect.gen(function* () {
        const client = yield* NodeClient.make()
        const error = yield* Effect.flip(client.get("http://127.0.0.1:1/", { headers: { "x-evil": "a\r\nb" } }))
        expect(error.reason).toBe("Encode")
      })
    )

    it.scoped("gives up on an answer that does not come", () =>
      Effect.gen(function* () {
        const server = yield* serve((req) => req.resume())
        const client = yield* NodeClient.make({ stallTimeout: 100, answerTimeout: 300 })
        const start = Date.now()
        const get = yield* Effect.flip(client.get(server.url))
        expect(get).toMatchObject({ cause: { code: "ETIMEDOUT" } })
        expect(messageOf(get)).toBe("no answer within 0.1 s")
        const upload = yield* Effect.flip(client.execute(put(server.url, HttpBody.text("x"))))
        expect(messageOf(upload)).toBe("no answer within 0.3 s")
        expect(Date.now() - start).toBeGreaterThanOrEqual(390)
      })
    )

    it.scoped("gives up on a TLS handshake that does not end", () =>
      Effect.gen(function* () {
        const server = yield* serveRaw((socket) => socket.resume())
        const client = yield* NodeClient.make({ connectTimeout: 100 })
        const error = yield* Effect.flip(client.get(server.url.replace("http:", "https:")))
        expect(messageOf(error)).toBe("no connection within 0.1 s")
        expect(error).toMatchObject({ cause: { code: "ETIMEDOUT" } })
      })
    )

    it.scoped("tells TLS spoken to a plain server", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.end())
        const client = yield* NodeClient.make()
        const error = yield* Effect.flip(client.get(server.url.replace("http:", "https:")))
        expect(error).toMatchObject({ cause: { code: expect.stringMatching(/^(EPROTO|ERR_SSL_.*)$/) } })
      })
    )

    it.scoped("gives up on an upload that the server does not take", () =>
      Effect.gen(function* () {
        const server = yield* serveRaw((socket) => socket.pause())
        const client = yield* NodeClient.make({ stallTimeout: 150 })
        const error = yield* Effect.flip(client.execute(put(server.url, HttpBody.stream(endless))))
        expect(messageOf(error)).toBe("no byte moved within 0.15 s")
      })
    )

    it.scoped("gives up on a body that stops coming", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => {
          res.writeHead(200, { "content-length": "100" })
          res.write("x")
        })
        const client = yield* NodeClient.make({ stallTimeout: 100 })
        const error = yield* Effect.flip(Effect.flatMap(client.get(server.url), (r) => r.text))
        expect(messageOf(error)).toBe("no byte moved within 0.1 s")
      })
    )

    it.scoped("waits for a slow source and a slow reader of our own", () =>
      Effect.gen(function* () {
        const server = yield* serve(async (req, res) => {
          const sent = await readAll(req)
          res.end(Buffer.alloc(sent.length === 0 ? 20 * MiB : sent.length))
        })
        const client = yield* NodeClient.make({ stallTimeout: 60 })
        const slow = Stream.tap(Stream.make(new Uint8Array(1), new Uint8Array(1)), () => sleep(200))
        const response = yield* client.execute(put(server.url, HttpBody.stream(slow, "x/y", 2)))
        expect(yield* response.text).toBe("\0\0")
        let read = 0
        const download = yield* client.get(server.url)
        yield* Stream.runForEach(download.stream, (chunk) => {
          const first = read === 0
          read += chunk.length
          return first ? sleep(250) : Effect.void
        })
        expect(read).toBe(20 * MiB)
      })
    )
  })

  describe("interruption", () => {
    it.scoped("ends an upload within milliseconds and closes its source", () =>
      Effect.gen(function* () {
        let closed = false
        const server = yield* serve((req) => req.resume())
        const client = yield* NodeClient.make()
        const stream = Stream.ensuring(
          endless,
          Effect.sync(() => {
            closed = true
          })
        )
        const fiber = yield* Effect.fork(client.execute(put(server.url, HttpBody.stream(stream))))
        yield* sleep(100)
        expect(server.sockets.size).toBe(1)
        const start = Date.now()
        yield* Fiber.interrupt(fiber)
        expect(Date.now() - start).toBeLessThan(500)
        expect(closed).toBe(true)
        yield* disconnected(server)
      })
    )

    it.scoped("harms nobody where the answer is just over and its connection idle again", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.writeHead(401, { "content-length": "0" }).end())
        const client = yield* NodeClient.make()
        const one = Effect.flatMap(client.execute(HttpClientRequest.head(server.url)), ({ status }) =>
          Effect.fail(status)
        )
        // The first refusal interrupts the others, in whatever state they are; what goes wrong there ends the process.
        for (let round = 0; round < 300; round++) {
          const five = Effect.all([one, one, one, one, one], { concurrency: "unbounded" })
          expect(yield* Effect.flip(five)).toBe(401)
        }
      })
    )

    it.scoped("ends a download with its scope", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => {
          Readable.from(
            (function* () {
              while (true) yield Buffer.alloc(65_536)
            })()
          ).pipe(res)
        })
        const client = HttpClient.withScope(yield* NodeClient.make())
        const part = yield* Effect.scoped(
          Effect.flatMap(client.get(server.url), (r) => Stream.runCollect(Stream.take(r.stream, 3)))
        )
        expect(part.length).toBe(3)
        yield* disconnected(server)
      })
    )

    it.effect("closes idle connections with the client", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* serve((_, res) => res.end("x"))
          yield* Effect.scoped(
            Effect.flatMap(NodeClient.make(), (client) => Effect.flatMap(client.get(server.url), (r) => r.text))
          )
          yield* disconnected(server)
        })
      )
    )
  })
})
