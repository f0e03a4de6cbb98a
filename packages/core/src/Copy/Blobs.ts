/** One blob of a plan, moved by the cheapest way the target has. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BlobInfoCache from "../BlobInfoCache.js"
import type { BlobWrite, BlobWritten, ImageReader, ImageWriter } from "../ImageStore.js"
import * as MediaType from "../model/MediaType.js"
import * as Progress from "../Progress.js"
import { ValidationError } from "../ValidationError.js"
import { contentOf } from "./Content.js"
import type * as Memo from "./Memo.js"
import * as Plan from "./Plan.js"

export interface Move<E, R, E2, R2> {
  readonly subject: string
  readonly reader: ImageReader<E, R>
  readonly writer: ImageWriter<E2, R2>
  readonly memo: Memo.Memo
  /** The target's repository, as the memo calls it. */
  readonly repository: string | undefined
  readonly permits: Effect.Semaphore | undefined
  /** Send it also where the target says that it is there. */
  readonly force: boolean
}

export interface Moved {
  readonly blob: Plan.PlannedBlob
  readonly result: BlobWritten
}

/** Moves the blob, unless another copy of the run does so at this moment, and remembers what became of it. */
export const move =
  <E, R, E2, R2>(run: Move<E, R, E2, R2>) =>
  (blob: Plan.PlannedBlob): Effect.Effect<Moved, ValidationError | E | E2, R | R2> => {
    const { memo, permits, repository, subject } = run
    const { source } = blob
    const carryOut = Effect.gen(function* () {
      const progress = yield* Progress.Progress
      const digest = Option.match(blob.recode, { onNone: () => source.digest, onSome: ({ diffId }) => diffId })
      progress.emit({ _tag: "BlobStarted", digest, size: source.size })
      const result = yield* Effect.catchAll(write(run, blob), (error) => withoutForeign(run, blob, error)).pipe(
        Effect.mapError((error) => blame(subject, error))
      )
      if (Option.isSome(blob.recode)) {
        const { diffId, to } = blob.recode.value
        memo.recordCompressed(diffId, to, result.descriptor)
        // What was sent was compressed here, and its plain bytes had the digest: nobody else vouches for the pair.
        if (result.outcome === "Sent")
          yield* (yield* BlobInfoCache.BlobInfoCache).recordCompressed(diffId, to, result.descriptor)
      }
      if (repository !== undefined) memo.recordRepository(result.descriptor.digest, repository)
      progress.emit({ _tag: "BlobDone", digest, outcome: result.outcome })
      return { blob, result }
    })
    return memo.inTurn(Plan.keyOf(blob))(permits === undefined ? carryOut : permits.withPermits(1)(carryOut))
  }

// internal

const write = <E, R, E2, R2>(
  { force, memo, reader, repository, writer }: Move<E, R, E2, R2>,
  blob: Plan.PlannedBlob
): Effect.Effect<BlobWritten, ValidationError | E | E2, R | R2> =>
  Effect.suspend(() => {
    // Another copy of the run may have compressed it while this one waited for its turn.
    const now = Option.flatMap(blob.recode, ({ diffId, to }) => Option.fromNullable(memo.compressed(diffId, to)))
    const target = Option.orElse(blob.target, () => now)
    const holders = Option.match(target, {
      onNone: (): ReadonlyArray<string> => [],
      onSome: ({ digest }) => [...memo.repositories(digest)]
    })
    if (!force && repository !== undefined && Option.isSome(target) && holders.includes(repository)) {
      return Effect.succeed({ descriptor: target.value, outcome: "Exists" as const })
    }
    const mediaType = Option.match(blob.recode, {
      onNone: () => blob.source.mediaType,
      onSome: (recode) => recode.mediaType
    })
    const write: BlobWrite<E | ValidationError, R> = {
      descriptor: target,
      before: Option.fromNullable(blob.before),
      mediaType,
      content: contentOf(reader, blob),
      force,
      alsoIn: holders.filter((name) => name !== repository)
    }
    return writer.writeBlob(write)
  })

/** A layer that is meant to be had elsewhere may well not be in the source; the manifest says where it is. */
const withoutForeign = <E, R, E2, R2, E3>(
  { reader }: Move<E, R, E2, R2>,
  { source }: Plan.PlannedBlob,
  error: E3
): Effect.Effect<BlobWritten, E3> =>
  Effect.gen(function* () {
    if (!MediaType.isForeignLayer(source.mediaType) || reader.isMissing?.(error) !== true)
      return yield* Effect.fail(error)
    const message = `the foreign layer ${source.digest} is not in the source, and is left where it is`
    ;(yield* Progress.Progress).emit({ _tag: "Warning", message })
    return { descriptor: source, outcome: "Exists" }
  })

/** A target finds out that bytes are not what was promised; it is the source that is wrong. */
const blame = <E>(subject: string, error: E): E | ValidationError =>
  error instanceof ValidationError && (error.reason === "LayerMismatch" || error.reason === "DigestMismatch")
    ? new ValidationError({ ...error, subject })
    : error
