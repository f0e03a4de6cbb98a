/** One lock a key, for as long as somebody uses it: a repository's manifests, an upload's file. */
import * as Effect from "effect/Effect"

export type KeyedLock = (key: string) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export const make = (): KeyedLock => {
  const locks = new Map<string, { readonly semaphore: Effect.Semaphore; users: number }>()
  const enter = (key: string) =>
    Effect.sync(() => {
      const lock = locks.get(key) ?? { semaphore: Effect.unsafeMakeSemaphore(1), users: 0 }
      lock.users += 1
      locks.set(key, lock)
      return lock
    })
  return (key) => (self) =>
    Effect.acquireUseRelease(
      enter(key),
      (lock) => lock.semaphore.withPermits(1)(self),
      (lock) =>
        Effect.sync(() => {
          lock.users -= 1
          if (lock.users === 0) locks.delete(key)
        })
    )
}
