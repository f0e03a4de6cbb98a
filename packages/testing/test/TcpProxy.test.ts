import { createServer, get, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { TcpProxy } from "@effect-registry/testing"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** A server that answers a GET with `size` bytes and anything else with the number of bytes it was sent. */
const origin = (size = 10_000) =>
  Effect.gen(function* () {
    const uploads: Array<number> = []
    let gone = 0
    let last = Buffer.alloc(0)
    const count = async (request: IncomingMessage): Promise<number> => {
      let sum = 0
      for await (const chunk of request) {
        sum += chunk.length
        last = chunk
      }
      return sum
    }
    const server = createServer((request, response) => {
      count(request).then(
        (sum) => {
          if (request.method === "GET") return response.end(Buffer.alloc(size, "a"))
          uploads.push(sum)
          response.setHeader("location", `http://${request.headers.host}/next`)
          response.statusCode = 201
          return response.end(String(sum))
        },
        () => gone++
      )
    })
    yield* Effect.acquireRelease(
      Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
      () =>
        Effect.promise(() => {
          server.closeAllConnections()
          return new Promise((resolve) => server.close(resolve))
        })
    )
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      uploads: () => uploads,
      /** The last bytes that came. */
      last: () => last,
      gone: () => gone
    }
  })

const request = (url: string, init: RequestInit = {}) =>
  Effect.tryPromise(async (signal) => {
    const response = await fetch(url, { signal, ...init })
    return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
  })

const put = (url: string, size: number) => request(url, { method: "PUT", body: new Uint8Array(size) })

/** A GET by node:http, which tells how an answer ended. */
const plain = (url: string) =>
  new Promise<{ readonly length: string | undefined; readonly size: number; readonly error: string | undefined }>(
    (resolve, reject) => {
      const sent = get(url, (response) => {
        let size = 0
        const length = response.headers["content-length"]
        response.on("data", (chunk: Buffer) => {
          size += chunk.length
        })
        response.on("end", () => resolve({ length, size, error: undefined }))
        response.on("error", (error: NodeJS.ErrnoException) => resolve({ length, size, error: error.code }))
      })
      sent.on("error", reject)
    }
  )

describe("TcpProxy", () => {
  it.scoped("passes requests and answers on unchanged, and counts them", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url)
      const got = yield* request(`${proxy.url}/a?b=%20c`)
      assert.isTrue(got.body.equals(Buffer.alloc(10_000, "a")))
      const sent = yield* put(`${proxy.url}/x`, 50_000)
      assert.strictEqual(sent.status, 201)
      assert.strictEqual(sent.body.toString(), "50000")
      assert.strictEqual(sent.headers.get("location"), `${proxy.url}/next`)
      assert.deepStrictEqual(
        proxy.requests().map(({ index, method, url }) => [index, method, url]),
        [
          [0, "GET", "/a?b=%20c"],
          [1, "PUT", "/x"]
        ]
      )
      assert.deepStrictEqual(proxy.bytes(), { up: 50_000, down: 10_005 })
      assert.isAtLeast(proxy.connections(), 1)
    })
  )

  it.scoped("answers the request that the script names by itself", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, ({ index }) =>
        index === 1 ? TcpProxy.respond(503, { "retry-after": "1" }, "later") : undefined
      )
      assert.strictEqual((yield* put(proxy.url, 10)).status, 201)
      const answer = yield* put(proxy.url, 10)
      assert.deepStrictEqual(
        [answer.status, answer.headers.get("retry-after"), answer.body.toString()],
        [503, "1", "later"]
      )
      assert.strictEqual((yield* put(proxy.url, 10)).status, 201)
      assert.deepStrictEqual(server.uploads(), [10, 10])
    })
  )

  it.scoped("cuts an answer after the bytes it was told", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.cutResponse(4321))
      const got = yield* Effect.promise(async () => {
        const response = await fetch(proxy.url)
        let size = 0
        try {
          for await (const chunk of response.body ?? []) size += chunk.length
          return { size, cut: false }
        } catch {
          return { size, cut: true }
        }
      })
      assert.deepStrictEqual(got, { size: 4321, cut: true })
      assert.strictEqual(proxy.bytes().down, 4321)
    })
  )

  it.scoped("cuts a request after the bytes it was told, and the server never sees the whole", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.cutRequest(1000))
      yield* Effect.flip(put(proxy.url, 50_000))
      assert.strictEqual(proxy.bytes().up, 1000)
      assert.deepStrictEqual(server.uploads(), [])
    })
  )

  it.scoped("loses an answer to a request that was carried out", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.cutResponse(0))
      yield* Effect.flip(put(proxy.url, 100))
      assert.deepStrictEqual(server.uploads(), [100])
    })
  )

  it.scoped("resets a connection before anything reaches the server", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.disconnect)
      yield* Effect.flip(put(proxy.url, 100))
      assert.deepStrictEqual(server.uploads(), [])
    })
  )

  it.scoped("ends an answer early, cleanly, with the length that was promised or with its own", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, ({ url }) =>
        url === "/truncate" ? TcpProxy.truncateResponse(1234) : TcpProxy.shortenResponse(1234)
      )
      const short = yield* request(`${proxy.url}/shorten`)
      assert.deepStrictEqual([short.body.length, short.headers.get("content-length")], [1234, "1234"])
      const truncated = yield* Effect.promise(() => plain(`${proxy.url}/truncate`))
      assert.deepStrictEqual(truncated, { length: "10000", size: 1234, error: "ECONNRESET" })
      assert.strictEqual(proxy.struck(), 2)
    })
  )

  it.scoped("gives the server a part of a request as the whole", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.shortenRequest(1234))
      assert.strictEqual((yield* put(proxy.url, 500_000)).body.toString(), "1234")
      const stream = new Blob([new Uint8Array(500_000)]).stream()
      const chunked: RequestInit & { readonly duplex: "half" } = { method: "PUT", body: stream, duplex: "half" }
      assert.strictEqual((yield* request(proxy.url, chunked)).body.toString(), "1234")
      assert.deepStrictEqual(server.uploads(), [1234, 1234])
    })
  )

  it.scoped("does nothing to a body that does not reach the place, and chooses the place by the length", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () =>
        TcpProxy.all(
          TcpProxy.cutRequest(20_000),
          TcpProxy.flipResponse((length = 0) => length / 2)
        )
      )
      const { body } = yield* request(proxy.url)
      assert.deepStrictEqual([body.indexOf(0x60), body.lastIndexOf(0x60)], [5000, 5000])
      assert.strictEqual(proxy.struck(), 1)
      assert.strictEqual((yield* put(proxy.url, 10_000)).status, 201)
    })
  )

  it.scoped("flips one bit, in either direction, and keeps the length", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.flipResponse(9_999))
      const { body } = yield* request(proxy.url)
      assert.strictEqual(body.length, 10_000)
      assert.strictEqual(body[9_999], 0x61 ^ 1)
      assert.isTrue(body.subarray(0, 9_999).equals(Buffer.alloc(9_999, "a")))
      yield* proxy.script(() => TcpProxy.flipRequest(1))
      assert.strictEqual((yield* put(proxy.url, 10)).body.toString(), "10")
      assert.strictEqual(server.last()[1], 1)
    })
  )

  it.live("stalls until the client gives up", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* origin()
        const proxy = yield* TcpProxy.make(server.url, ({ method }) =>
          method === "GET"
            ? TcpProxy.stallResponse(100)
            : method === "PUT"
              ? TcpProxy.stallRequest(100)
              : TcpProxy.silence
        )
        for (const attempt of [request(proxy.url), put(proxy.url, 50_000), request(proxy.url, { method: "DELETE" })]) {
          const outcome = yield* Effect.timeoutOption(attempt, "150 millis")
          assert.strictEqual(outcome._tag, "None")
        }
        assert.deepStrictEqual(proxy.bytes(), { up: 100, down: 100 })
      })
    )
  )

  it.live("delays and slows down", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* origin(50_000)
        const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.all(TcpProxy.delay(100), TcpProxy.limit(250_000)))
        const [time] = yield* Effect.timed(request(proxy.url))
        assert.isAtLeast(Number(time.value._tag === "Nanos" ? time.value.nanos / 1_000_000n : 0), 290)
      })
    )
  )

  it.live("shares a limit between connections, exactly, in each direction", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* origin(2_000_000)
        const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.limit(20_000_000))
        const down = Effect.replicateEffect(request(proxy.url), 3)
        const up = Effect.all([put(proxy.url, 3_000_000), put(proxy.url, 3_000_000)], { concurrency: 2 })
        const [time] = yield* Effect.timed(Effect.all([down, up], { concurrency: 2 }))
        assert.isAtLeast(Duration.toMillis(time), 245)
        assert.isAtMost(Duration.toMillis(time), 600)
        assert.deepStrictEqual(proxy.bytes().up, 6_000_000)
      })
    )
  )

  it.scoped("closes the port and still serves the request under way", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.delay(50), { keepAlive: false })
      const served = yield* Effect.fork(request(proxy.url))
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))
      yield* proxy.closePort
      assert.match(String((yield* Effect.flip(Effect.tryPromise(() => plain(proxy.url)))).cause), /ECONNREFUSED/)
      assert.strictEqual((yield* Fiber.join(served)).status, 200)
      yield* proxy.accept
      assert.strictEqual((yield* request(proxy.url)).status, 200)
      assert.strictEqual(proxy.connections(), 2)
    })
  )

  it.scoped("refuses connections and accepts them again on the same port", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url)
      assert.strictEqual((yield* request(proxy.url)).status, 200)
      yield* proxy.refuse
      yield* Effect.flip(request(proxy.url))
      yield* proxy.accept
      assert.strictEqual((yield* request(proxy.url)).status, 200)
    })
  )

  it.scoped("takes another script on the way", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url)
      yield* proxy.script(() => TcpProxy.respond(429))
      assert.strictEqual((yield* request(proxy.url)).status, 429)
    })
  )
})
