/**
 * Garbage collection: what no manifest needs and nobody touched for a while is removed. It works while clients push and pull:
 * it looks without holding anything up, and looks again, with the repository's changes excluded, before it removes a few
 * hundred things at a time. Cut short at any moment it has removed nothing that is needed.
 */
import { Progress } from "@effect-registry/core"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { BlobStore, type Freed, touchEvery } from "./BlobStore.js"
import * as Expiry from "./Expiry.js"
import * as Plan from "./Gc/Plan.js"
import * as Remove from "./Gc/Remove.js"
import { type Kept, makeReport, type Removed } from "./Gc/Report.js"
import { ManifestStore } from "./ManifestStore.js"
import type { StorageError } from "./StorageError.js"

export interface Options {
  /** Only say what would be removed. Default false. */
  readonly dryRun?: boolean | undefined
  /**
   * Also remove manifests that no tag leads to: none is set on them, and no index, image or referrer that stays names them
   * or is their subject. Default false: every manifest is needed.
   */
  readonly untagged?: boolean | undefined
  /**
   * What was pushed, mounted or asked for within this time stays, and for up to ten minutes more; with 0 also what was asked
   * for just now may go. Default 1 hour.
   */
  readonly grace?: Duration.DurationInput | undefined
  /** Unfinished uploads that got no byte for this time go. Default 1 day. */
  readonly uploadExpiry?: Duration.DurationInput | undefined
}

export type { Kept, Removed } from "./Gc/Report.js"

/** What was removed, or would be. `blobs` are contents that no repository holds any more, manifests among them. */
export interface Collected extends Freed {
  /** Bytes of these blobs and of the uploads. */
  readonly bytes: number
  readonly manifests: number
  readonly uploads: number
  /** How many repositories were looked at. */
  readonly repositories: number
  /** What left each repository, the first thousand; a blob whose content another one holds frees nothing. */
  readonly removed: ReadonlyArray<Removed>
  /** How many there were in all. */
  readonly removedCount: number
  /** Repositories that were left as they are, and why. */
  readonly kept: ReadonlyArray<Kept>
}

/**
 * Removes blobs that no manifest of their repository names, expired uploads, and content that no repository holds any more.
 * A repository with a manifest that cannot be understood keeps all it has, and is told in `kept`, as is one whose files cannot
 * be read. Emits `Looking` events to `Progress`.
 */
export const collect = (options: Options = {}): Effect.Effect<Collected, StorageError, BlobStore | ManifestStore> =>
  Effect.gen(function* () {
    const blobs = yield* BlobStore
    const progress = yield* Progress.Progress
    const dryRun = options.dryRun ?? false
    const grace = Duration.toMillis(options.grace ?? "1 hour")
    // What was asked for may be recorded with a time that is older by as much.
    const before = (yield* Clock.currentTimeMillis) - grace - (grace > 0 ? touchEvery : 0)
    const limits = { before, untagged: options.untagged ?? false }
    const report = makeReport()
    const expired = yield* Expiry.expire({ expiry: options.uploadExpiry ?? "1 day", dryRun })
    for (const upload of expired) report.add({ kind: "upload", ...upload })
    const leaving = Plan.makeLeaving()
    const names = yield* repositories
    for (const [done, repository] of names.entries()) {
      progress.emit({ _tag: "Looking", what: "repositories", done, total: names.length })
      yield* clean(repository, limits, dryRun, leaving, report).pipe(
        Effect.catchAll((error) =>
          Effect.sync(() => report.keep({ repository, digest: undefined, why: error.message }))
        )
      )
    }
    const swept = yield* blobs.sweep({ before, dryRun })
    const more = dryRun ? yield* Plan.freedBy(leaving) : { blobs: 0, bytes: 0 }
    const bytes = swept.bytes + more.bytes + expired.reduce((sum, { size }) => sum + size, 0)
    return { ...report.done(), blobs: swept.blobs + more.blobs, bytes, repositories: names.length }
  }).pipe(Effect.withSpan("registry.collect"))

// internal

const repositories = Effect.gen(function* () {
  const holding = yield* (yield* BlobStore).repositories
  const named = yield* (yield* ManifestStore).repositories
  return [...new Set([...holding, ...named])].sort()
})

/** One repository: a plan, and unless it is only asked for, its execution. */
const clean = (
  repository: string,
  limits: Plan.Limits,
  dryRun: boolean,
  leaving: Plan.Leaving,
  report: ReturnType<typeof makeReport>
) =>
  Effect.gen(function* () {
    const plan = yield* Plan.make(repository, limits)
    if (plan._tag === "Kept") return report.keep({ repository, digest: plan.digest, why: plan.why })
    if (dryRun) {
      for (const [kind, digests] of [
        ["manifest", plan.manifests],
        ["blob", plan.blobs]
      ] as const) {
        for (const digest of digests) {
          const size = plan.sizeOf(digest)
          leaving.add(digest, size)
          report.add({ kind, repository, digest, size })
        }
      }
      return
    }
    yield* Remove.run(plan, limits, (removed) => report.add({ repository, ...removed }))
  })
