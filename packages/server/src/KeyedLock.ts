/** One lock a key, for as long as somebody uses it: a repository's manifests, an upload's file. */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

export interface KeyedLock {
  (key: string): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Runs it only where nobody holds the lock now, and never waits; `None` otherwise. */
  readonly ifFree: (key: string) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<Option.Option<A>, E, R>
}

export const make = (): KeyedLock => {
  const locks = new Map<string, { readonly semaphore: Effect.Semaphore; users: number }>()
  const enter = (key: string) =>
    Effect.sync(() => {
      const lock = locks.get(key) ?? { semaphore: Effect.unsafeMakeSemaphore(1), users: 0 }
      lock.users += 1
      locks.set(key, lock)
      return lock
    })
  const using = <A, E, R>(key: string, use: (semaphore: Effect.Semaphore) => Effect.Effect<A, E, R>) =>
    Effect.acquireUseRelease(
      enter(key),
      ({ semaphore }) => use(semaphore),
      (lock) =>
        Effect.sync(() => {
          lock.users -= 1
          if (lock.users === 0) locks.delete(key)
        })
    )
  const wait =
    (key: string) =>
    <A, E, R>(self: Effect.Effect<A, E, R>) =>
      using(key, (semaphore) => semaphore.withPermits(1)(self))
  const ifFree =
    (key: string) =>
    <A, E, R>(self: Effect.Effect<A, E, R>) =>
      using(key, (semaphore) => semaphore.withPermitsIfAvailable(1)(self))
  return Object.assign(wait, { ifFree })
}
