/** Questions to the other registry: each one once at a time, within limits of time, and what its failures are to a client. */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import * as OciError from "../OciError.js"
import { StorageError } from "../StorageError.js"
import { UpstreamError, type UpstreamErrorReason } from "../Upstream.js"

export interface Options {
  readonly staleAfter?: Duration.DurationInput | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly pause?: Duration.DurationInput | undefined
}

export interface Ask {
  /** The answer. `operation` says what is asked, for the log: `look for the blob … in team/app`. */
  readonly now: <A>(
    operation: string,
    question: Effect.Effect<A, UpstreamError | StorageError>
  ) => Effect.Effect<A, StorageError>
  /**
   * The answer, or `known` where the other registry cannot be asked or could not be asked a moment ago. A refusal is an
   * answer.
   */
  readonly orKnown: <A>(
    operation: string,
    question: Effect.Effect<A, UpstreamError | StorageError>,
    known: A
  ) => Effect.Effect<A, StorageError>
  /** One run for all that ask at the same time; it goes on when those that asked have left. */
  readonly shared: <A>() => (key: string, self: Effect.Effect<A, StorageError>) => Effect.Effect<A, StorageError>
}

export const make = (scope: Scope.Scope, options: Options): Ask => {
  const staleAfter = Duration.decode(options.staleAfter ?? "5 seconds")
  const timeout = Duration.decode(options.timeout ?? "30 seconds")
  const pause = Duration.toMillis(options.pause ?? "5 seconds")
  let pausedUntil = 0

  const within = <A>(question: Effect.Effect<A, UpstreamError | StorageError>, limit: Duration.Duration) =>
    Effect.timeoutFail(question, {
      duration: limit,
      onTimeout: () => new UpstreamError({ reason: "TimedOut", message: `no answer within ${Duration.format(limit)}` })
    })
  const failing = (operation: string) => (error: UpstreamError | StorageError) =>
    error._tag === "StorageError" ? error : toStorageError(operation, error)

  return {
    now: (operation, question) => Effect.mapError(within(question, timeout), failing(operation)),
    orKnown: (operation, question, known) =>
      Effect.gen(function* () {
        if ((yield* Clock.currentTimeMillis) < pausedUntil) return known
        return yield* Effect.catchTag(within(question, staleAfter), "UpstreamError", (error) =>
          Effect.gen(function* () {
            if (error.reason === "Refused") return yield* error
            if (error.reason !== "Invalid") pausedUntil = (yield* Clock.currentTimeMillis) + pause
            yield* Effect.logWarning(`${operation}: the cache answers, because ${error.message}`)
            return known
          })
        )
      }).pipe(Effect.mapError(failing(operation))),
    shared: <A>() => {
      const running = new Map<string, Deferred.Deferred<A, StorageError>>()
      return (key: string, self: Effect.Effect<A, StorageError>) =>
        // Whoever leaves between the two steps would leave a question that nobody asks.
        Effect.uninterruptibleMask((restore) => {
          const there = running.get(key)
          if (there !== undefined) return restore(Deferred.await(there))
          const answer = Deferred.unsafeMake<A, StorageError>(FiberId.none)
          running.set(key, answer)
          const settle = (exit: Exit.Exit<A, StorageError>) => {
            running.delete(key)
            return Deferred.done(answer, exit)
          }
          const started = Effect.forkIn(Effect.onExit(Effect.interruptible(self), settle), scope)
          return Effect.zipRight(started, restore(Deferred.await(answer)))
        })
    }
  }
}

/** The failure with what a client is told of it: neither texts nor addresses of the other registry. */
export const toStorageError = (operation: string, error: UpstreamError): StorageError =>
  new StorageError({ operation: `cannot ${operation}`, cause: error, answer: answers[error.reason] })

// internal

const gateway = (status: number, message: string) => OciError.make("UNKNOWN", message, { status })

const answers: Record<UpstreamErrorReason, OciError.OciError> = {
  Refused: OciError.make("DENIED", "the registry behind this cache refuses to hand this out"),
  RateLimited: OciError.make("TOOMANYREQUESTS", "the registry behind this cache takes no more requests for now", {
    headers: { "retry-after": "30" }
  }),
  Unavailable: gateway(502, "the registry behind this cache cannot be reached"),
  TimedOut: gateway(504, "the registry behind this cache does not answer in time"),
  Invalid: gateway(502, "the registry behind this cache sent what cannot be used")
}
