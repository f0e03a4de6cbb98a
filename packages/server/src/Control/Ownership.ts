/**
 * Whether the folder still belongs to the registry that claimed it. One that was stopped for a while (a signal, a machine put to
 * sleep, a storage that hangs) may find that another one has taken the folder over: it must not write to it any more.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type { BlobStore } from "../BlobStore.js"
import type * as Gc from "../Gc.js"
import type { Edit, ManifestStore } from "../ManifestStore.js"
import { StorageError } from "../StorageError.js"
import * as Owner from "./Owner.js"

/** Why the folder may be another one's; `undefined` while it is not. */
export type Lost = Effect.Effect<string | undefined>

/** Nobody else can own it. */
export const certain: Lost = Effect.succeed(undefined)

/**
 * Shows every two seconds that the owner is alive, until the scope ends or `beat` says that the folder has another owner. Gives
 * what became of it: whoever watches waits for `Owner.patience`, so without a sign of life for so long the folder may be lost.
 */
export const keep = (root: string, beat: () => Promise<boolean>): Effect.Effect<Lost, never, Scope.Scope> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime<never>()
    const log = (text: string) => void Runtime.runFork(runtime)(Effect.logError(text))
    let shown = times()
    let isTaken = false
    let beating: Promise<void> | undefined
    const one = async () => {
      // A beat counts from its begin: when it arrives is not known.
      const began = times()
      try {
        if (await beat()) shown = began
        else if (!isTaken) {
          isTaken = true
          log(`another registry has taken ${root} over, while this one was stopped: end one of them`)
        }
      } catch (cause) {
        log(`cannot write to ${root}: ${cause instanceof Error ? cause.message : String(cause)}`)
      } finally {
        beating = undefined
      }
    }
    const next = () => {
      if (!isTaken) beating ??= one()
      return beating
    }
    const timer = setInterval(next, Owner.beat)
    yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(timer)))
    // It keeps no process alive.
    timer.unref()
    const state = () => (isTaken ? taken : isRecent(shown) ? undefined : unsure)
    return Effect.suspend(() => {
      if (state() !== unsure) return Effect.succeed(state())
      // After a stop requests may come before the next beat: it is due now.
      return Effect.map(
        Effect.promise(() => Promise.race([next(), pause(Owner.beat / 2)])),
        state
      )
    })
  })

type Manifests = Context.Tag.Service<ManifestStore>
type Blobs = Context.Tag.Service<BlobStore>

/** Changes nothing once the folder may be lost, also for requests that began before. */
export const guardManifests =
  (lost: Lost) =>
  (store: Manifests): Manifests => {
    const owns = ensure(lost, "change a repository")
    const guarded = ({ put, remove, untag }: Edit): Edit => ({
      put: (manifest) => Effect.zipRight(owns, put(manifest)),
      remove: (digest, before) => Effect.zipRight(owns, remove(digest, before)),
      untag: (tag) => Effect.zipRight(owns, untag(tag))
    })
    return { ...store, change: (repository, f) => store.change(repository, (edit) => f(guarded(edit))) }
  }

/** The same: gives nothing to a repository, and removes nothing. */
export const guardBlobs =
  (lost: Lost) =>
  (store: Blobs): Blobs => {
    const owns = ensure(lost, "change blobs")
    return {
      ...store,
      mount: (...how) => Effect.zipRight(owns, store.mount(...how)),
      finish: (...how) => Effect.zipRight(owns, store.finish(...how)),
      cancel: (...how) => Effect.zipRight(owns, store.cancel(...how)),
      remove: (...how) => Effect.zipRight(owns, store.remove(...how)),
      sweep: (how) => Effect.zipRight(owns, store.sweep(how))
    }
  }

/** Fails where the folder may be lost, before it begins or while it works; over guarded stores it removes no more then. */
export const collecting = <R>(
  lost: Lost,
  collect: Effect.Effect<Gc.Collected, StorageError, R>
): Effect.Effect<Gc.Collected, StorageError, R> => {
  const owns = ensure(lost, "collect garbage")
  return Effect.zipRight(owns, Effect.zipLeft(collect, owns))
}

// internal

const taken = "another registry owns the folder"
const unsure = "another registry may own the folder: this one could not show that it is alive"

const ensure = (lost: Lost, operation: string): Effect.Effect<void, StorageError> =>
  Effect.flatMap(lost, (why) =>
    why === undefined ? Effect.void : Effect.fail(new StorageError({ operation, cause: new Error(why) }))
  )

/** Two clocks: one stands still while the machine sleeps, the other one may be set back. */
const times = () => ({ steady: performance.now(), wall: Date.now() })

const isRecent = ({ steady, wall }: ReturnType<typeof times>): boolean => {
  const now = times()
  return Math.max(now.steady - steady, now.wall - wall) < Owner.patience
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds).unref())
