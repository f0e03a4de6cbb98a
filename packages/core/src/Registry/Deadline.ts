/** Time limits of one exchange: silence while bytes are due, and the wait for an answer. Slow but moving is never cut. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** From the last byte of an upload to its answer: a registry hashes and moves it then. */
export const uploadAnswerTimeout = Duration.minutes(15)

/** Counts the bytes of one transfer and remembers when the last ones passed. */
export interface Meter {
  readonly add: (bytes: number) => void
  readonly bytes: () => number
  readonly lastAt: () => number
}

export const makeMeter: Effect.Effect<Meter> = Effect.map(Effect.clock, (clock) => {
  let bytes = 0
  let lastAt = clock.unsafeCurrentTimeMillis()
  return {
    add: (more) => {
      bytes += more
      lastAt = clock.unsafeCurrentTimeMillis()
    },
    bytes: () => bytes,
    lastAt: () => lastAt
  }
})

export interface Limits {
  /** Bytes that are due; once they have passed, `answer` counts instead of `stall`. */
  readonly total: number
  readonly answer: Duration.Duration
  /** Silence that ends a transfer while bytes are due. */
  readonly stall: Duration.Duration
}

/** Of a body that is read to its end. */
export const ofBody = (stall: Duration.Duration): Limits => ({ total: Number.POSITIVE_INFINITY, answer: stall, stall })

/** Fails with `onSilence` where nothing moves for too long. */
export const guard = <A, E, R, E2>(
  self: Effect.Effect<A, E, R>,
  meter: Meter,
  limits: Limits,
  onSilence: (limit: Duration.Duration) => E2
): Effect.Effect<A, E | E2, R> => {
  const watch: Effect.Effect<never, E2> = Effect.gen(function* () {
    while (true) {
      const limit = meter.bytes() >= limits.total ? limits.answer : limits.stall
      const left = meter.lastAt() + Duration.toMillis(limit) - (yield* Clock.currentTimeMillis)
      if (left <= 0) return yield* Effect.fail(onSilence(limit))
      yield* Effect.sleep(Duration.min(Duration.millis(left), limits.answer))
    }
  })
  // Where the caller cannot be interrupted the watch must still end with what it watches.
  return Effect.raceFirst(self, Effect.interruptible(watch))
}
