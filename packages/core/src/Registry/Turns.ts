/** Turns at something that only one may change at a time, for as long as somebody wants one. */
import * as Effect from "effect/Effect"

export interface Turns<A> {
  /** Runs alone among all that have the key. */
  readonly alone: <B, E, R>(key: string, self: Effect.Effect<B, E, R>) => Effect.Effect<B, E, R>
  /**
   * Has `change` run with these items, and with those that others wait to have changed at the same time. Where it fails for
   * somebody else, it runs again for those who wait.
   */
  readonly together: <E, R>(
    key: string,
    items: ReadonlyArray<A>,
    change: (items: ReadonlyArray<A>) => Effect.Effect<void, E, R>
  ) => Effect.Effect<void, E, R>
}

export const make = <A>(): Turns<A> => {
  const turns = new Map<string, Turn<A>>()
  const withTurn = <B, E, R>(key: string, use: (turn: Turn<A>) => Effect.Effect<B, E, R>): Effect.Effect<B, E, R> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const turn = turns.get(key) ?? { semaphore: Effect.unsafeMakeSemaphore(1), waiting: new Set(), users: 0 }
        turn.users += 1
        turns.set(key, turn)
        return turn
      }),
      use,
      (turn) =>
        Effect.sync(() => {
          turn.users -= 1
          if (turn.users === 0) turns.delete(key)
        })
    )
  return {
    alone: (key, self) => withTurn(key, ({ semaphore }) => semaphore.withPermits(1)(self)),
    together: (key, items, change) =>
      withTurn(key, ({ semaphore, waiting }) => {
        const now = Effect.suspend(() => {
          // Whoever had the turn before may have taken them along.
          if (!items.some((item) => waiting.has(item))) return Effect.void
          const batch = [...waiting]
          return Effect.map(change(batch), () => {
            for (const item of batch) waiting.delete(item)
          })
        })
        for (const item of items) waiting.add(item)
        return Effect.ensuring(
          semaphore.withPermits(1)(now),
          Effect.sync(() => {
            for (const item of items) waiting.delete(item)
          })
        )
      })
  }
}

// internal

interface Turn<A> {
  readonly semaphore: Effect.Semaphore
  /** By identity: equal items of two callers are both waited for. */
  readonly waiting: Set<A>
  users: number
}
