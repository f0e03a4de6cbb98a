/** Blobs of a cache: those it has, and those that are on their way. */
import type { Digest } from "@effect-registry/core"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type { Blob, BlobStore, UploadError } from "../BlobStore.js"
import { StorageError } from "../StorageError.js"
import type { Upstream, UpstreamBlob, UpstreamError } from "../Upstream.js"
import { type Ask, toStorageError } from "./Ask.js"
import * as Transfer from "./Transfer.js"

type Service = Context.Tag.Service<BlobStore>

interface Running {
  readonly transfer: Transfer.Transfer
  readonly fiber: Fiber.RuntimeFiber<void, StorageError>
  /** The repositories that are known to have it. */
  readonly remotes: Map<string, UpstreamBlob>
  /** Clients that read it. */
  readers: number
  idle: NodeJS.Timeout | undefined
}

export const make = (
  local: Service,
  upstream: Upstream,
  ask: Ask,
  linger: Duration.DurationInput
): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const lingering = Duration.toMillis(linger)
    const running = new Map<Digest.Digest, Running>()
    const lookUps = ask.shared<Option.Option<UpstreamBlob>>()

    /** The transfer of this blob, which begins here where there is none. */
    const join = (runtime: Runtime.Runtime<never>, repository: string, digest: Digest.Digest, remote: UpstreamBlob) => {
      const there = running.get(digest)
      if (there !== undefined) {
        there.remotes.set(repository, remote)
        return there
      }
      const transfer = Transfer.make(repository, digest)
      const work = Transfer.run(local, transfer, remote).pipe(
        Effect.mapError(failing(`fetch the blob ${repository}@${digest}`)),
        Effect.tapError((error) => Effect.logWarning(error.message)),
        Effect.ensuring(Effect.sync(() => leave(digest, transfer)))
      )
      const entry: Running = {
        transfer,
        fiber: Runtime.runFork(runtime)(work, { scope }),
        remotes: new Map([[repository, remote]]),
        readers: 0,
        idle: undefined
      }
      running.set(digest, entry)
      return entry
    }
    const leave = (digest: Digest.Digest, transfer: Transfer.Transfer) => {
      const entry = running.get(digest)
      if (entry?.transfer !== transfer) return
      clearTimeout(entry.idle)
      running.delete(digest)
    }
    /** What nobody waits for any more goes on for a while: clients come back. */
    const count = (entry: Running, more: 1 | -1) => {
      entry.readers += more
      clearTimeout(entry.idle)
      if (entry.readers > 0 || entry.transfer.state !== "Running") return
      entry.idle = setTimeout(() => entry.fiber.unsafeInterruptAsFork(FiberId.none), lingering)
    }

    const remoteBlob = (repository: string, digest: Digest.Digest) =>
      Effect.suspend(() => {
        const known = running.get(digest)?.remotes.get(repository)
        return known !== undefined
          ? Effect.succeedSome(known)
          : lookUps(
              `${repository}@${digest}`,
              ask.now(`look for the blob ${repository}@${digest}`, upstream.blob(repository, digest))
            )
      })

    /** What the store has, for a repository of which the other registry said that it has it too. */
    const take = (repository: string, digest: Digest.Digest) =>
      Effect.gen(function* () {
        const here = yield* local.find(repository, digest)
        if (Option.isSome(here) || !(yield* local.mount(repository, digest, undefined))) return here
        return yield* local.find(repository, digest)
      })

    const find: Service["find"] = (repository, digest) =>
      Effect.gen(function* () {
        const here = yield* local.find(repository, digest)
        if (Option.isSome(here)) return here
        const remote = yield* remoteBlob(repository, digest)
        if (Option.isNone(remote)) return Option.none<Blob>()
        const elsewhere = yield* take(repository, digest)
        if (Option.isSome(elsewhere)) return elsewhere
        // Not that of the effect that built the layer: a request has its own clock and log.
        const runtime = yield* Effect.runtime<never>()
        const { size } = remote.value
        if (size === undefined) {
          const entry = join(runtime, repository, digest, remote.value)
          yield* Effect.acquireUseRelease(
            Effect.sync(() => count(entry, 1)),
            () => Fiber.join(entry.fiber),
            () => Effect.sync(() => count(entry, -1))
          )
          return yield* take(repository, digest)
        }
        const open = (start: number, end: number) => {
          const entry = join(runtime, repository, digest, remote.value)
          const stored = () => Runtime.runPromise(runtime)(Effect.map(take(repository, digest), Option.getOrUndefined))
          count(entry, 1)
          return new Transfer.Follower(entry.transfer, local.openUpload, stored, start, end).once("close", () =>
            count(entry, -1)
          )
        }
        return Option.some({ size, open })
      })

    return { ...local, find }
  })

// internal

const failing =
  (operation: string) =>
  (error: UpstreamError | StorageError | UploadError): StorageError => {
    if (error._tag === "StorageError") return error
    return error._tag === "UpstreamError"
      ? toStorageError(operation, error)
      : new StorageError({ operation: `cannot ${operation}`, cause: new Error(`the store says ${error.reason}`) })
  }
