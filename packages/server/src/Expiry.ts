/** Unfinished uploads that nobody goes on with. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { BlobStore } from "./BlobStore.js"
import type { StorageError } from "./StorageError.js"

export interface Options {
  /** When an upload that gets no byte is removed. */
  readonly expiry: Duration.DurationInput
  /** Only say which. Default false. */
  readonly dryRun?: boolean | undefined
}

export interface Expired {
  readonly repository: string
  readonly id: string
  /** Bytes. */
  readonly size: number
}

/** Removes the uploads that got no byte for the time given, never one that somebody is writing to; says which. */
export const expire = (options: Options): Effect.Effect<ReadonlyArray<Expired>, StorageError, BlobStore> =>
  Effect.gen(function* () {
    const store = yield* BlobStore
    const before = (yield* Clock.currentTimeMillis) - Duration.toMillis(options.expiry)
    const old = (yield* store.uploads).filter(({ touched }) => touched < before)
    const gone = yield* Effect.filter(old, ({ id, repository }) =>
      options.dryRun === true ? Effect.succeed(true) : store.cancel(repository, id, before)
    )
    return gone.map(({ id, repository, size }) => ({ repository, id, size }))
  })

/**
 * Expires uploads for as long as the scope is open: now, and then so often that none stays for more than a tenth longer than
 * it may. A storage that fails is told in the log, and tried again the next time.
 */
export const run = (options: Pick<Options, "expiry">): Effect.Effect<void, never, BlobStore | Scope.Scope> => {
  const pause = Duration.clamp(Duration.times(Duration.decode(options.expiry), 0.1), {
    minimum: "1 second",
    maximum: "1 hour"
  })
  return expire(options).pipe(
    Effect.tap(({ length }) => (length === 0 ? Effect.void : Effect.logInfo(`removed ${length} unfinished uploads`))),
    Effect.catchAll((error) => Effect.logError(`cannot remove unfinished uploads: ${error.message}`)),
    Effect.repeat(Schedule.spaced(pause)),
    Effect.forkScoped,
    Effect.asVoid
  )
}
