import { assert, describe, it } from "@effect/vitest"
import { type Progress, RegistryConfig, type RegistryError } from "@effect-registry/core"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as Client from "../../src/Registry/Client.js"
import * as Failure from "../../src/Registry/Failure.js"
import * as Retry from "../../src/Registry/Retry.js"
import * as Scripted from "../support/ScriptedClient.js"

const subject = { operation: "x", method: "GET", url: "http://r.example/v2/" }
const failure = (reason: RegistryError["reason"], details: Failure.Details = {}) =>
  Failure.make(subject, reason, details)

/** Runs attempts that fail with these errors, then succeed, on a test clock; returns the outcome and the waits between. */
const run = (
  errors: ReadonlyArray<RegistryError>,
  options: { answered?: boolean; retry?: RegistryConfig.RetryOptions } = {}
) =>
  Effect.gen(function* () {
    const config = RegistryConfig.make(options.retry === undefined ? {} : { retry: options.retry })
    const made = yield* Client.make(
      { host: "r.example", origin: "http://r.example" },
      { repository: Option.none(), scopes: [] }
    )
    const client = { ...made, config }
    client.state.answered = options.answered ?? true
    const at: Array<number> = []
    const fiber = yield* Effect.fork(
      Effect.either(
        Retry.retry(client, "x", (number) =>
          Effect.gen(function* () {
            at.push(yield* Clock.currentTimeMillis)
            const error = errors[number - 1]
            return error === undefined ? "done" : yield* Effect.fail(error)
          })
        )
      )
    )
    yield* TestClock.adjust("2 hours")
    const result = yield* Fiber.join(fiber)
    const waits = at.slice(1).map((time, index) => time - (at[index] ?? 0))
    return { result, attempts: at.length, waits }
  }).pipe(Effect.provide(Scripted.inOrder([]).layer))

describe("Retry", () => {
  it.effect("tries five times, waiting longer each time, with jitter", () =>
    Effect.gen(function* () {
      const { attempts, result, waits } = yield* run(
        Array.from({ length: 9 }, () => failure("ServerError", { status: 503 }))
      )
      assert.strictEqual(attempts, 5)
      assert.strictEqual(result._tag, "Left")
      const limits = [500, 1000, 2000, 4000]
      waits.forEach((wait, index) => {
        assert.isAtMost(wait, limits[index] ?? 0)
        assert.isAtLeast(wait, (limits[index] ?? 0) / 2)
      })
    })
  )
  it.effect("succeeds after one failure of every passing kind", () =>
    Effect.gen(function* () {
      for (const error of [
        failure("ConnectionLost"),
        failure("Timeout"),
        failure("RateLimited", { status: 429 }),
        failure("ServerError", { status: 500 })
      ]) {
        const { attempts, result } = yield* run([error])
        assert.strictEqual(attempts, 2, error.reason)
        assert.strictEqual(result._tag, "Right")
      }
    })
  )
  it.effect("does not try again what will stay as it is", () =>
    Effect.gen(function* () {
      for (const error of [
        failure("Tls"),
        failure("PlainHttpServer"),
        failure("Unauthorized", { status: 401 }),
        failure("Denied", { status: 403 }),
        failure("NotFound", { status: 404 }),
        failure("Rejected", { status: 400 }),
        failure("ServerError", { status: 501 })
      ]) {
        assert.strictEqual((yield* run([error])).attempts, 1, error.reason)
      }
    })
  )
  it.effect("gives a host that refuses the first request three attempts in five seconds", () =>
    Effect.gen(function* () {
      const refused = Array.from({ length: 9 }, () => failure("Unreachable"))
      const first = yield* run(refused, { answered: false })
      assert.strictEqual(first.attempts, 3)
      assert.isBelow(
        first.waits.reduce((a, b) => a + b, 0),
        5000
      )
      const slow = yield* run(refused, { answered: false, retry: { delay: "20 seconds", maxDelay: "20 seconds" } })
      assert.strictEqual(slow.attempts, 1)
      assert.strictEqual((yield* run(refused)).attempts, 5)
    })
  )
  it.effect("obeys Retry-After beyond the budget, but not for ever", () =>
    Effect.gen(function* () {
      const asked = yield* run([failure("RateLimited", { status: 429, retryAfter: 90_000 })])
      assert.strictEqual(asked.result._tag, "Right")
      assert.isAtLeast(asked.waits[0] ?? 0, 90_000)
      const never = yield* run([failure("RateLimited", { status: 429, retryAfter: 86_400_000 })])
      assert.strictEqual(never.attempts, 1)
    })
  )
  it.effect("stops when the operation has waited out its budget", () =>
    Effect.gen(function* () {
      const errors = Array.from({ length: 50 }, () => failure("ServerError", { status: 500 }))
      const { attempts } = yield* run(errors, { retry: { attempts: 50, delay: "8 seconds", budget: "20 seconds" } })
      assert.isBelow(attempts, 7)
      assert.isAbove(attempts, 2)
    })
  )
  it.effect("counts a time once that many wait at once", () =>
    Effect.gen(function* () {
      const made = yield* Client.make(
        { host: "r.example", origin: "http://r.example" },
        { repository: Option.none(), scopes: [] }
      )
      const client = { ...made, config: RegistryConfig.make() }
      client.state.answered = true
      // For three seconds nothing works; forty blobs at once would wait far more than thirty seconds together.
      const attempt = () =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          now < 3000 ? Effect.fail(failure("ServerError", { status: 503 })) : Effect.void
        )
      const all = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 40 }, () => Retry.retry(client, "x", attempt)),
          { concurrency: "unbounded" }
        )
      )
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(all)
    }).pipe(Effect.provide(Scripted.inOrder([]).layer))
  )
  it.effect("fetches wrong bytes again twice, then says DigestMismatch", () =>
    Effect.gen(function* () {
      const { attempts, result } = yield* run(Array.from({ length: 9 }, () => failure("DigestMismatch")))
      assert.strictEqual(attempts, 3)
      assert.strictEqual(result._tag === "Left" ? result.left.reason : "", "DigestMismatch")
    })
  )
  it.effect("does not multiply attempts when an inner retry has given up", () =>
    Effect.gen(function* () {
      const client = yield* Client.make(
        { host: "r.example", origin: "http://r.example" },
        { repository: Option.none(), scopes: [] }
      )
      client.state.answered = true
      let attempts = 0
      const inner = Retry.retry(client, "x", () =>
        Effect.suspend(() => {
          attempts++
          return Effect.fail(failure("ConnectionLost"))
        })
      )
      const fiber = yield* Effect.fork(Effect.flip(Retry.retry(client, "x", () => inner)))
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(fiber)
      assert.strictEqual(attempts, 5)
    }).pipe(Effect.provide(Scripted.inOrder([]).layer))
  )
  it.effect("tells of every attempt", () => {
    const script = Scripted.inOrder([])
    return Effect.gen(function* () {
      const client = yield* Client.make(
        { host: "r.example", origin: "http://r.example" },
        { repository: Option.none(), scopes: [] }
      )
      client.state.answered = true
      const fiber = yield* Effect.fork(
        Retry.retry(client, "get x", (number) => (number === 1 ? Effect.fail(failure("ConnectionLost")) : Effect.void))
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      const events: ReadonlyArray<Progress.ProgressEvent> = script.events
      assert.deepStrictEqual(events, [
        { _tag: "Retrying", operation: "get x", attempt: 2, message: "x: the connection was lost" }
      ])
    }).pipe(Effect.provide(script.layer))
  })
})
