/**
 * How many requests may be under way at once. Without bound until the registry asks to slow down (429): then half of
 * those that were, and slowly more again while it answers.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Gate {
  /** Waits for its turn, which ends with the scope. */
  readonly pass: Effect.Effect<void, never, Scope.Scope>
  /** The registry is overwhelmed. */
  readonly narrow: () => void
  /** The registry kept up. */
  readonly widen: () => void
}

export const make = (): Gate => {
  let limit = Number.POSITIVE_INFINITY
  let running = 0
  const waiting: Array<Deferred.Deferred<void>> = []

  const admit = (): void => {
    while (running < Math.floor(limit)) {
      const next = waiting.shift()
      if (next === undefined) return
      running += 1
      Deferred.unsafeDone(next, Effect.void)
    }
  }
  const leave = Effect.sync(() => {
    running -= 1
    admit()
  })
  const enter = Effect.suspend(() => {
    if (running < Math.floor(limit)) {
      running += 1
      return Effect.void
    }
    return Effect.flatMap(Deferred.make<void>(), (turn) => {
      waiting.push(turn)
      return Effect.onInterrupt(Effect.interruptible(Deferred.await(turn)), () =>
        Effect.suspend(() => {
          const at = waiting.indexOf(turn)
          if (at < 0) return leave
          waiting.splice(at, 1)
          return Effect.void
        })
      )
    })
  })

  return {
    pass: Effect.acquireRelease(enter, () => leave),
    narrow: () => {
      limit = Math.max(1, Math.floor(Math.min(limit, running) / 2))
    },
    widen: () => {
      // One more after as many answers as there may be requests.
      if (Number.isFinite(limit)) limit += 1 / limit
      admit()
    }
  }
}
