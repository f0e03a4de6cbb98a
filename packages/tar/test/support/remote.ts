/** A registry's image without a registry: it counts what is asked of it, and stops where it is told to. */
import { createHash } from "node:crypto"
import { existsSync, rmSync, writeFileSync } from "node:fs"
import {
  copy,
  type Digest,
  type ImageSource,
  type ImageTarget,
  ProcessLock,
  RegistryError,
  type RemoteContent
} from "@effect-registry/core"
import type { Fixture } from "@effect-registry/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** Bytes of one piece of a body. */
export const step = 4096

export interface Remote {
  readonly source: ImageSource<RegistryError>
  /** Every request for a blob: the first byte asked for. */
  readonly asked: Array<{ readonly digest: Digest.Digest; readonly from: number }>
  /** Bytes that were sent, in all. */
  readonly sent: () => number
}

/** Before each piece of a body that is sent. */
export type Before = (digest: Digest.Digest, at: number) => Effect.Effect<void, RegistryError>

export const make = (image: Fixture.ImageFixture, before: Before = () => Effect.void, tag = "1"): Remote => {
  const asked: Array<{ digest: Digest.Digest; from: number }> = []
  let sent = 0

  const content = (digest: Digest.Digest): RemoteContent<RegistryError> => {
    const bytes = image.blobs.get(digest) ?? new Uint8Array(0)
    return {
      _tag: "Remote",
      origin: "https://registry.example",
      repository: "team/app",
      digest,
      size: bytes.length,
      stream: Stream.suspend(() => {
        asked.push({ digest, from: 0 })
        const starts = Array.from({ length: Math.ceil(bytes.length / step) }, (_, at) => at * step)
        return Stream.mapEffect(Stream.fromIterable(starts), (at) =>
          Effect.map(before(digest, at), () => {
            const piece = bytes.subarray(at, at + step)
            sent += piece.length
            return piece
          })
        )
      }),
      streamFrom: () => Stream.die("nobody goes on with a stream"),
      save: (sink) =>
        Effect.gen(function* () {
          const attempt = (skipped: number, hash: ReturnType<typeof createHash>) =>
            Effect.gen(function* () {
              asked.push({ digest, from: skipped })
              for (let at = skipped; at < bytes.length; at += step) {
                yield* before(digest, at)
                const piece = bytes.subarray(at, at + step)
                yield* sink.write(piece, sink.offset + at)
                hash.update(piece)
                sent += piece.length
                sink.onWritten?.(at + piece.length)
              }
              return `sha256:${hash.digest("hex")}` === digest
            })
          const hash = createHash("sha256")
          if (sink.earlier !== undefined) {
            yield* Stream.runForEach(sink.earlier.stream, (chunk) => Effect.sync(() => hash.update(chunk)))
          }
          if (yield* attempt(sink.earlier?.size ?? 0, hash)) return
          sink.onWritten?.(0)
          if (!(yield* attempt(0, createHash("sha256")))) yield* Effect.die("a fixture's blob is not its digest's")
        })
    }
  }

  return {
    asked,
    sent: () => sent,
    source: {
      name: `registry.example/team/app:${tag}`,
      open: Effect.succeed({
        images: Effect.succeed([
          {
            root: { _tag: "Manifest", descriptor: image.descriptor },
            names: [{ repository: Option.some("registry.example/team/app"), tag: Option.some(tag) }],
            missingPlatforms: []
          }
        ]),
        manifest: () => Effect.succeed(image.manifest),
        blob: ({ digest }) => Effect.succeed(content(digest))
      })
    }
  }
}

export const failure = (reason: RegistryError["reason"]): RegistryError =>
  new RegistryError({ reason, operation: "get blob", method: "GET", url: "https://registry.example", codes: [] })

/** The locks of one process: what another one owned that died is taken over. */
export const locks = (): ProcessLock.Service => {
  const owned = new Set<string>()
  alive.push(owned)
  return {
    acquire: (path) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            if (alive.some((each) => each.has(path))) return false
            owned.add(path)
            writeFileSync(`${path}.lock`, "")
            return true
          }),
          (taken) =>
            Effect.sync(() => {
              if (!taken) return
              owned.delete(path)
              if (existsSync(`${path}.lock`)) rmSync(`${path}.lock`)
            })
        ),
        (taken) => taken
      )
  }
}

/** Of all processes of the test that live. */
const alive: Array<Set<string>> = []

/** One blob at a time, the largest first, so that it is known what lies where. */
export const pull = <E, R>(remote: Remote, target: ImageTarget<E, R>, lock: ProcessLock.Service = locks()) =>
  copy(remote.source, target, { concurrency: 1 }).pipe(Effect.provideService(ProcessLock.ProcessLock, lock))

/** A remote that stops for ever at a byte of a blob, and how to wait until it has. */
export const stopping = (image: Fixture.ImageFixture, digest: Digest.Digest, byte: number) =>
  Effect.map(Deferred.make<void>(), (reached) => ({
    reached: Deferred.await(reached),
    remote: make(image, (which, at) =>
      which === digest && at >= byte ? Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never) : Effect.void
    )
  }))

/** Pulls until the byte, and is interrupted there. */
export const interrupted = <E, R>(
  image: Fixture.ImageFixture,
  digest: Digest.Digest,
  byte: number,
  target: ImageTarget<E, R>
) =>
  Effect.gen(function* () {
    const { reached, remote } = yield* stopping(image, digest, byte)
    yield* Effect.raceFirst(Effect.orDie(pull(remote, target)), reached)
    return remote
  })
