import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { TcpProxy } from "@effect-registry/testing"
import * as Effect from "effect/Effect"

/** A server that answers a GET with `size` bytes and anything else with the number of bytes it was sent. */
const origin = (size = 10_000) =>
  Effect.gen(function* () {
    const uploads: Array<number> = []
    let gone = 0
    const count = async (request: IncomingMessage): Promise<number> => {
      let sum = 0
      for await (const chunk of request) sum += chunk.length
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
      gone: () => gone
    }
  })

const request = (url: string, init: RequestInit = {}) =>
  Effect.tryPromise(async (signal) => {
    const response = await fetch(url, { signal, ...init })
    return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) }
  })

const put = (url: string, size: number) => request(url, { method: "PUT", body: new Uint8Array(size) })

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

  it.scoped("flips one byte, in either direction, and keeps the length", () =>
    Effect.gen(function* () {
      const server = yield* origin()
      const proxy = yield* TcpProxy.make(server.url, () => TcpProxy.flipResponse(9_999))
      const { body } = yield* request(proxy.url)
      assert.strictEqual(body.length, 10_000)
      assert.strictEqual(body[9_999], 0x61 ^ 0xff)
      assert.isTrue(body.subarray(0, 9_999).equals(Buffer.alloc(9_999, "a")))
    })
  )

  it.live("stalls until the client gives up", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* origin()
        const proxy = yield* TcpProxy.make(server.url, ({ method }) =>
          method === "GET" ? TcpProxy.stallResponse(100) : TcpProxy.stallRequest(100)
        )
        for (const attempt of [request(proxy.url), put(proxy.url, 50_000)]) {
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
