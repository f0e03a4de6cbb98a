import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/TestClock"
import * as Tracer from "effect/Tracer"
import * as Client from "../../src/Registry/Client.js"
import * as Exchange from "../../src/Registry/Exchange.js"
import * as Request from "../../src/Registry/Request.js"
import * as Retry from "../../src/Registry/Retry.js"
import * as Scripted from "../support/ScriptedClient.js"

const origin = "http://r.example"
const call = { operation: "get x", method: "GET", url: `${origin}/v2/x?secret=1`, accept: [200] } as const
const send = (extra: Partial<Exchange.Call> = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* Client.make({ host: "r.example", origin }, { repository: Option.none(), scopes: [] })
      const response = yield* Request.send(client, { ...call, ...extra })
      return new TextDecoder().decode(yield* Exchange.bytes(client, call, response, 1000))
    })
  )

describe("Request", () => {
  describe("send", () => {
    it.effect("asks for plain bytes under our name", () => {
      const script = Scripted.inOrder([{ status: 200, body: "hi" }], { userAgent: "tester" })
      return Effect.gen(function* () {
        assert.strictEqual(yield* send(), "hi")
        assert.strictEqual(script.seen[0]?.headers["accept-encoding"], "identity")
        assert.strictEqual(script.seen[0]?.headers["user-agent"], "tester")
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("follows redirects and gives credentials to the registry's own origin alone", () => {
      const script = Scripted.inOrder([
        { status: 307, headers: { location: "/v2/y" } },
        { status: 302, headers: { location: "https://cdn.example/blob?sig=abc" } },
        { status: 200, body: "there" }
      ])
      return Effect.gen(function* () {
        assert.strictEqual(yield* send({ headers: { authorization: "Bearer t", accept: "a/b" } }), "there")
        assert.deepStrictEqual(
          script.seen.map(({ headers, url }) => [url, headers.authorization, headers.accept]),
          [
            [call.url, "Bearer t", "a/b"],
            [`${origin}/v2/y`, "Bearer t", "a/b"],
            ["https://cdn.example/blob?sig=abc", undefined, "a/b"]
          ]
        )
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("gives a host's own headers to no other origin", () => {
      const hosts = { "r.example": { headers: { "X-Team": "a", "x-key": Redacted.make("secret") } } }
      const script = Scripted.inOrder(
        [
          { status: 307, headers: { location: "https://cdn.example/blob" } },
          { status: 200, body: "there" }
        ],
        { hosts }
      )
      return Effect.gen(function* () {
        yield* send()
        const headers = script.seen.map(({ headers }) => [headers["x-team"], headers["x-key"]])
        assert.deepStrictEqual(headers, [
          ["a", "secret"],
          [undefined, undefined]
        ])
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("asks for less at once after a 429", () => {
      let inside = 0
      const most = [0, 0]
      const slow = Effect.gen(function* () {
        const round = script.seen.length > 8 ? 1 : 0
        inside += 1
        most[round] = Math.max(most[round] ?? 0, inside)
        yield* Effect.sleep("1 second")
        inside -= 1
      })
      const script = Scripted.make((_, index) => ({ status: index < 8 ? 429 : 200, headers: { "retry-after": "0" } }))
      return Effect.gen(function* () {
        const client = yield* Client.make({ host: "r.example", origin }, { repository: Option.none(), scopes: [] })
        const one = Retry.exchange(client, call, () => slow)
        const all = yield* Effect.fork(
          Effect.all(
            Array.from({ length: 8 }, () => one),
            { concurrency: "unbounded" }
          )
        )
        yield* TestClock.adjust("10 minutes")
        yield* Fiber.join(all)
        assert.strictEqual(script.seen.length, 16)
        assert.isAtMost(most[1] ?? 8, 4)
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("refuses a redirect to a private address before calling it", () => {
      const script = Scripted.inOrder([{ status: 302, headers: { location: "http://169.254.169.254/latest?token=t" } }])
      return Effect.gen(function* () {
        const error = yield* Effect.flip(send())
        assert.strictEqual(error.reason, "UnsafeUrl")
        assert.match(error.message, /169\.254\.169\.254\/latest: 169.254.169.254 is a link-local address/)
        assert.notMatch(error.message, /token/)
        assert.strictEqual(script.seen.length, 1)
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("ends a redirect loop", () => {
      const script = Scripted.make(() => ({ status: 302, headers: { location: "/v2/x" } }))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(send())
        assert.strictEqual(error.reason, "Protocol")
        assert.match(error.message, /more than 10 redirects/)
        assert.strictEqual(script.seen.length, 11)
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("holds no more of an error page than its bound", () => {
      const page = new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(new Uint8Array(256 * 1024))
      })
      const script = Scripted.inOrder([{ status: 503, body: page, headers: { "content-type": "text/html" } }])
      return Effect.gen(function* () {
        const error = yield* Effect.flip(send())
        assert.strictEqual(error.reason, "ServerError")
        assert.deepStrictEqual(error.codes, [])
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("gives up on a server that says nothing for a minute", () => {
      const script = Scripted.inOrder(["hang"])
      return Effect.gen(function* () {
        const fiber = yield* Effect.fork(Effect.flip(send()))
        yield* TestClock.adjust("59 seconds")
        assert.isNull(fiber.unsafePoll())
        yield* TestClock.adjust("2 seconds")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.reason, "Timeout")
        assert.match(error.message, /nothing came for 1m/)
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("passes a registry's warning on, once", () => {
      const answer = { status: 200, headers: { warning: '299 - "this is \\"old\\"", 199 - "no"' } }
      const script = Scripted.inOrder([answer, answer])
      return Effect.gen(function* () {
        const client = yield* Client.make({ host: "r.example", origin }, { repository: Option.none(), scopes: [] })
        yield* Effect.scoped(Request.send(client, call))
        yield* Effect.scoped(Request.send(client, call))
        assert.deepStrictEqual(script.events, [{ _tag: "Warning", message: 'r.example: this is "old"' }])
      }).pipe(Effect.provide(script.layer))
    })
    it.effect("keeps queries out of its spans and sends no trace headers", () => {
      const script = Scripted.inOrder([{ status: 200, body: "hi" }])
      const spans: Array<Tracer.Span> = []
      return Effect.gen(function* () {
        const tracer = yield* Effect.tracer
        const recording = Tracer.make({
          ...tracer,
          span: (...args) => {
            const span = tracer.span(...args)
            spans.push(span)
            return span
          }
        })
        yield* Effect.withTracer(send(), recording)
        assert.deepStrictEqual(
          spans.map(({ name }) => name),
          ["effect-registry.request"]
        )
        assert.strictEqual(spans[0]?.attributes.get("url"), `${origin}/v2/x`)
        assert.isUndefined(script.seen[0]?.headers.traceparent)
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("bytes", () => {
    it.effect("refuses a body over its limit, announced or not", () => {
      const script = Scripted.inOrder([
        { status: 200, body: "", headers: { "content-length": "1001" } },
        { status: 200, body: new Response(new Uint8Array(1001)).body ?? "" }
      ])
      return Effect.gen(function* () {
        for (const message of [/1001 bytes, at most 1000/, /goes on and on/]) {
          const error = yield* Effect.flip(send())
          assert.strictEqual(error.reason, "TooLarge")
          assert.match(error.message, message)
        }
      }).pipe(Effect.provide(script.layer))
    })
  })
})
