/** Blobs and uploads in memory; nothing touches the disk. */
import { createHash, type Hash, randomUUID } from "node:crypto"
import type { Readable } from "node:stream"
import { Digest } from "@effect-registry/core"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type BlobStore, UploadError } from "../BlobStore.js"
import * as KeyedLock from "../KeyedLock.js"
import * as Limits from "../Limits.js"
import * as Contents from "../storage/Contents.js"
import type { Pace } from "../storage/Pace.js"

export interface Options {
  /** `uploadSize` (default 1 GiB here), `openUploads`, `bodyRate` and `idle`. */
  readonly limits: Limits.Options
  /** Shared with the manifests, which are blobs too. Default: its own. */
  readonly contents?: Contents.Contents | undefined
}

interface Session {
  readonly repository: string
  readonly algorithm: Digest.Algorithm
  readonly hash: Hash
  readonly bytes: Contents.Growing
  touched: number
  /** Whether a body is being taken. */
  busy: boolean
}

export const make = ({ contents = Contents.make(), limits }: Options): Context.Tag.Service<BlobStore> => {
  const { openUploads: mostOpen = 1000, uploadSize = 1 << 30 } = limits
  const pace = Limits.pace(limits)
  const sessions = new Map<string, Session>()
  const lock = KeyedLock.make()

  const sessionOf = (repository: string, id: string) => {
    const session = sessions.get(id)
    return session?.repository === repository ? session : undefined
  }
  const atTime = <A>(f: (now: number) => A) => Effect.map(Clock.currentTimeMillis, f)

  return {
    find: (repository, digest) =>
      atTime((now) => {
        const content = Contents.find(contents, repository, digest)
        if (content === undefined) return Option.none()
        content.touched = now
        return Option.some({ size: content.size, open: (start, end) => Contents.open(content, start, end) })
      }),

    mount: (repository, digest, from) =>
      atTime((now) => {
        const there = from === undefined ? Contents.isHeld(contents, digest) : Contents.find(contents, from, digest)
        const content = there ? contents.all.get(digest) : undefined
        if (content === undefined) return false
        Contents.hold(contents, repository, digest, content, now)
        return true
      }),

    remove: (repository, digest, before) => Effect.sync(() => Contents.release(contents, repository, digest, before)),

    startUpload: (repository, algorithm) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (sessions.size >= mostOpen) return Effect.fail(failure("TooMany"))
        const id = randomUUID()
        const [hash, bytes] = [createHash(algorithm), Contents.growing()]
        sessions.set(id, { repository, algorithm, hash, bytes, touched: now, busy: false })
        return Effect.succeed({ id, size: 0 })
      }),

    findUpload: (repository, id) =>
      Effect.sync(() =>
        Option.map(Option.fromNullable(sessionOf(repository, id)), ({ bytes }) => ({ id, size: bytes.size() }))
      ),

    append: (repository, id, body, start, announced, ready) =>
      lock(id)(
        Effect.gen(function* () {
          const session = sessionOf(repository, id)
          if (session === undefined) return yield* failure("Unknown")
          const size = session.bytes.size()
          if (start !== undefined && start !== size) {
            return yield* new UploadError({ reason: "OutOfOrder", size })
          }
          if (announced !== undefined && size + announced > uploadSize) {
            sessions.delete(id)
            return yield* failure("TooLarge")
          }
          session.busy = true
          ready?.()
          yield* receive(body, session, uploadSize, pace).pipe(
            Effect.tapError(({ reason }) =>
              reason === "TooLarge" ? Effect.sync(() => sessions.delete(id)) : Effect.void
            ),
            Effect.ensuring(
              Effect.sync(() => {
                session.busy = false
              })
            )
          )
          return { id, size: session.bytes.size() }
        })
      ),

    openUpload: (repository, id, start, end) =>
      Contents.open({ blocks: sessionOf(repository, id)?.bytes.blocks() ?? [] }, start, end),

    finish: (repository, id, digest) =>
      lock(id)(
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const session = sessionOf(repository, id)
          if (session === undefined) return Effect.fail(failure("Unknown"))
          sessions.delete(id)
          const blocks = session.bytes.blocks()
          if (digestOf(session, blocks, Digest.algorithm(digest)) !== digest) {
            return Effect.fail(failure("DigestMismatch"))
          }
          Contents.hold(contents, repository, digest, { blocks, size: session.bytes.size() }, now)
          return Effect.void
        })
      ),

    cancel: (repository, id, before) => {
      const cancelled = Effect.sync(() => {
        const session = sessionOf(repository, id)
        if (session === undefined || (before !== undefined && (session.busy || session.touched >= before))) return false
        return sessions.delete(id)
      })
      return before === undefined ? lock(id)(cancelled) : cancelled
    },

    repositories: Effect.sync(() => {
      const names = new Set([...sessions.values()].map(({ repository }) => repository))
      for (const [name, digests] of contents.held) if (digests.size > 0) names.add(name)
      return [...names].sort()
    }),

    list: (repository) =>
      Effect.sync(() =>
        [...(contents.held.get(repository) ?? [])].flatMap((digest) => {
          const content = contents.all.get(digest)
          return content === undefined ? [] : [{ digest, size: content.size, touched: content.touched }]
        })
      ),

    uploads: Effect.sync(() =>
      [...sessions].map(([id, { bytes, repository, touched }]) => ({ id, repository, touched, size: bytes.size() }))
    ),

    openUploads: Effect.sync(() => sessions.size),

    sweep: ({ before, dryRun }) =>
      Effect.sync(() => {
        const free = [...contents.all].filter(
          ([digest, { touched }]) => touched < before && !Contents.isHeld(contents, digest)
        )
        if (!dryRun) for (const [digest] of free) contents.all.delete(digest)
        return { blobs: free.length, bytes: free.reduce((sum, [, { size }]) => sum + size, 0) }
      })
  }
}

// internal

const failure = (reason: UploadError["reason"]) => new UploadError({ reason })

const digestOf = (session: Session, blocks: ReadonlyArray<Uint8Array>, algorithm: Digest.Algorithm) => {
  if (algorithm === session.algorithm) return `${algorithm}:${session.hash.digest("hex")}`
  const hash = createHash(algorithm)
  for (const block of blocks) hash.update(block)
  return `${algorithm}:${hash.digest("hex")}`
}

/** Takes all of `body`. What came stays in the session however this ends. */
const receive = (body: Readable, session: Session, limit: number, pace: Pace): Effect.Effect<void, UploadError> =>
  Effect.clockWith((clock) =>
    Effect.raceFirst(
      Effect.async<void, UploadError>((resume) => {
        const leave = () => {
          body.off("data", onData).off("end", onEnd).off("close", onLost).pause()
        }
        const end = (how: Effect.Effect<void, UploadError>) => {
          leave()
          resume(how)
        }
        const onData = (chunk: Uint8Array) => {
          if (session.bytes.size() + chunk.length > limit) return end(Effect.fail(failure("TooLarge")))
          session.hash.update(chunk)
          session.bytes.add(chunk)
          session.touched = clock.unsafeCurrentTimeMillis()
        }
        const onEnd = () => end(Effect.void)
        const onLost = () => end(Effect.fail(failure("ConnectionLost")))
        // A stream that errors also closes; without a listener the error would end the process.
        body.on("error", ignore)
        if (body.readableEnded) return onEnd()
        if (body.destroyed) return onLost()
        body.on("data", onData).on("end", onEnd).on("close", onLost)
        return Effect.sync(leave)
      }),
      tooSlow(session, clock, pace)
    )
  )

/** Fails when nothing came for `idle`, or less than `rate` on average over a minute. */
const tooSlow = (session: Session, clock: Clock.Clock, { idle, rate }: Pace): Effect.Effect<never, UploadError> =>
  Effect.gen(function* () {
    const began = clock.unsafeCurrentTimeMillis()
    let minute = { began, size: session.bytes.size() }
    for (;;) {
      const silent = Math.max(began, session.touched) + idle
      const end = minute.began + 60_000
      const now = clock.unsafeCurrentTimeMillis()
      const size = session.bytes.size()
      if (now >= silent || (now >= end && size - minute.size < rate * 60)) return yield* failure("ConnectionLost")
      if (now >= end) minute = { began: now, size }
      else yield* Effect.sleep(Math.min(silent, end) - now)
    }
  })

const ignore = () => {}
