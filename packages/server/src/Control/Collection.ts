/** A garbage collection as it is asked for and answered between two processes: one JSON document a line. */
import { Digest, Progress } from "@effect-registry/core"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Gc from "../Gc.js"
import { StorageError } from "../StorageError.js"
import * as Channel from "./Channel.js"

export const path = "/collect"

export const encodeOptions = ({ dryRun, grace, untagged, uploadExpiry }: Gc.Options): string =>
  JSON.stringify({
    dryRun,
    untagged,
    grace: grace === undefined ? undefined : Duration.toMillis(grace),
    uploadExpiry: uploadExpiry === undefined ? undefined : Duration.toMillis(uploadExpiry)
  })

export const decodeOptions: (text: string) => Option.Option<Gc.Options> = Schema.decodeOption(
  Schema.parseJson(
    Schema.Struct({
      dryRun: Schema.optional(Schema.Boolean),
      untagged: Schema.optional(Schema.Boolean),
      grace: Schema.optional(Schema.NonNegative),
      uploadExpiry: Schema.optional(Schema.NonNegative)
    })
  )
)

/** Runs it and tells how far it is, and the end. */
export const answer = (
  collect: Effect.Effect<Gc.Collected, StorageError>,
  write: (line: string) => void
): Effect.Effect<void> => {
  const tell = (line: typeof Line.Encoded) => write(`${JSON.stringify(line)}\n`)
  return collect.pipe(
    Effect.provideService(Progress.Progress, {
      emit: (event) => {
        if (event._tag === "Looking") tell({ what: event.what, done: event.done, total: event.total })
      }
    }),
    Effect.match({
      onSuccess: (collected) => tell({ collected: encodeCollected(collected) }),
      onFailure: ({ message }) => tell({ failed: message })
    })
  )
}

/** Has it done by the process that owns the folder, telling its progress as that of this one. */
export const ask = (peer: Channel.Peer, options: Gc.Options): Effect.Effect<Gc.Collected, StorageError> =>
  Effect.gen(function* () {
    const progress = yield* Progress.Progress
    let end: Effect.Effect<Gc.Collected, StorageError> = Effect.fail(failure("it did not say what came of it"))
    const onLine = (text: string) => {
      const line = Option.getOrUndefined(decodeLine(text))
      if (line === undefined) return
      if ("failed" in line) end = Effect.fail(failure(line.failed))
      else if ("collected" in line) end = Effect.succeed(line.collected)
      else progress.emit({ _tag: "Looking", ...line })
    }
    yield* Effect.mapError(Channel.ask(peer, path, encodeOptions(options), onLine), ({ message }) => failure(message))
    return yield* end
  })

// internal

const failure = (why: string) =>
  new StorageError({ operation: "collect garbage in the running registry", cause: new Error(why) })

const Count = Schema.NonNegative

const Collected = Schema.Struct({
  blobs: Count,
  bytes: Count,
  manifests: Count,
  uploads: Count,
  repositories: Count,
  removed: Schema.Array(
    Schema.Union(
      Schema.Struct({
        kind: Schema.Literal("manifest", "blob"),
        repository: Schema.String,
        digest: Digest.Digest,
        size: Count
      }),
      Schema.Struct({ kind: Schema.Literal("upload"), repository: Schema.String, id: Schema.String, size: Count })
    )
  ),
  removedCount: Count,
  kept: Schema.Array(
    Schema.Struct({
      repository: Schema.String,
      digest: Schema.UndefinedOr(Digest.Digest).pipe(Schema.optional),
      why: Schema.String
    })
  )
})

const Line = Schema.Union(
  Schema.Struct({ what: Schema.String, done: Count, total: Count }),
  Schema.Struct({ collected: Collected }),
  Schema.Struct({ failed: Schema.String })
)

const decodeLine = Schema.decodeOption(Schema.parseJson(Line))
const encodeCollected = Schema.encodeSync(Collected)
