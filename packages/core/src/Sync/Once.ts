/** Questions that several ask and that are answered once. */
import * as Effect from "effect/Effect"

/** Runs the effect of a key for whoever comes first; the others wait for the same answer, or get the same error. */
export const make = <A, E, R>(): ((key: string, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) => {
  const asked = new Map<string, Effect.Effect<A, E, R>>()
  return (key, effect) =>
    Effect.gen(function* () {
      const mine = asked.get(key) ?? (yield* Effect.cached(effect))
      const first = asked.get(key) ?? mine
      asked.set(key, first)
      return yield* first
    })
}
