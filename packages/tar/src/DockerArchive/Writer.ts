/**
 * A tar that is an OCI layout and what `docker load` reads at once. It is written beside the target under a name of its
 * own and renamed when it is complete.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type {
  Algorithm,
  BlobWrite,
  BlobWritten,
  Descriptor as DescriptorNs,
  ImageTarget,
  ImageWriter
} from "@effect-registry/core"
import { Compressor, type Digest, Manifest, type Platform, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BlobFile from "../BlobFile.js"
import * as Io from "../Io.js"
import * as Roots from "../Roots.js"
import { TarReadError } from "../TarReadError.js"
import * as Header from "./Header.js"
import * as Listing from "./Listing.js"
import * as Members from "./Members.js"
import * as Partial from "./Partial.js"

export interface TargetOptions {
  /** Replace a regular file that exists. Default false: it is refused with `TargetExists`. */
  readonly force?: boolean | undefined
  /** The platform whose image of an index `docker load` gets. Default: Linux on this machine's architecture. */
  readonly platform?: Platform.Platform | undefined
  /**
   * Go on where an earlier run to the same target was cut off, and leave what the next one needs if this one is:
   * `<target>.ereg-partial`. Default true; false removes what is there. Takes core's `ProcessLock`.
   */
  readonly resume?: boolean | undefined
}

type Failure = TarReadError | ValidationError

/**
 * A new archive; compressed where the name ends in `.gz`, `.tgz` or `.zst`. It appears under its name only when it is complete and
 * verified. Blobs that a run got before it was interrupted, or before the network or the registry gave way, are not read
 * from the source again by the next one. Fails with a TarReadError (`TargetExists`, `IsDirectory`, `NotSeekable`
 * for a pipe or device, `NotFound`, `Permission`, `ReadOnly`, `NoSpace`, `Io`) or a ValidationError (`DigestMismatch`, `LayerMismatch`).
 * @since 0.1.0
 */
export const target = (path: string, options: TargetOptions = {}): ImageTarget<Failure, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    yield* refuseExisting(fs, path, options)
    const partial = yield* Partial.open(fs, path, options.resume !== false)
    const members = yield* Members.make(yield* BlobFile.make(partial.file, path), partial.list)
    return yield* writer(members, options, (digests, finish) =>
      Effect.scoped(
        Effect.gen(function* () {
          const isWhole = yield* Members.hasOnly(members, digests)
          const archive = isWhole ? { partial, members } : yield* withoutOrphans(fs, members, path, digests)
          yield* finish(archive.members)
          yield* publish(fs, archive.partial, archive.members, path, options)
          yield* partial.done
        })
      )
    )
  })
})

// internal

const refuseExisting = (fs: FileSystem.FileSystem, path: string, options: TargetOptions) =>
  Effect.gen(function* () {
    const info = yield* Effect.option(fs.stat(path))
    if (Option.isNone(info)) return
    const fail = (reason: TarReadError["reason"], detail: string, hint: string) =>
      Effect.fail(new TarReadError({ reason, path, detail, hint }))
    if (info.value.type === "Directory") {
      return yield* fail("IsDirectory", "is a folder", `name a file in it, or write a layout folder with oci:${path}`)
    }
    // A rename would put a file in the place of the device or pipe, which nobody wants who names one.
    if (info.value.type !== "File") {
      return yield* fail("NotSeekable", "is no regular file and is not replaced", "- writes to standard output")
    }
    if (options.force !== true) return yield* fail("TargetExists", "exists already", "--force replaces it")
  })

const writer = (
  members: Members.Members,
  options: TargetOptions,
  complete: Complete
): Effect.Effect<ImageWriter<Failure>> =>
  Effect.gen(function* () {
    const { file, list } = members
    const blobs = new Map<Digest.Digest, BlobWritten>()
    const roots = Roots.make()
    const turns = new Map<Digest.Digest, Effect.Semaphore>()

    const once = (digest: Digest.Digest) =>
      Effect.flatMap(Effect.makeSemaphore(1), (fresh) =>
        Effect.sync(() => {
          const turn = turns.get(digest) ?? fresh
          turns.set(digest, turn)
          return turn
        })
      )

    /** A blob of unknown size has the end of the file to itself, and gets its header when the size is known. */
    const addLast = <E, R>(write: BlobWrite<E, R>) =>
      Effect.gen(function* () {
        const content = yield* write.content
        const { isNew, written } = yield* members.last(
          (at) => Effect.map(BlobFile.write(file, at, write, content), ({ descriptor }) => descriptor),
          (descriptor) => (blobs.has(descriptor.digest) ? Effect.succeed(true) : isThere(members, descriptor))
        )
        const result: BlobWritten = { descriptor: written, outcome: isNew ? "Sent" : "Exists" }
        blobs.set(written.digest, result)
        return result
      })

    const add = <E, R>(write: BlobWrite<E, R>, descriptor: DescriptorNs.Descriptor) =>
      Effect.gen(function* () {
        const { digest } = descriptor
        const known = blobs.get(digest)
        if (known !== undefined) return { ...known, outcome: "Exists" as const }
        const result: BlobWritten = (yield* isThere(members, descriptor))
          ? { descriptor, outcome: "Exists" }
          : yield* fill(members, write, descriptor)
        blobs.set(digest, result)
        return result
      })

    return {
      hasManifest: ({ digest }) => Effect.sync(() => roots.find(digest) !== undefined),
      writeBlob: <E, R>(write: BlobWrite<E, R>): Effect.Effect<BlobWritten, Failure | E, R> => {
        if (Option.isNone(write.descriptor)) return addLast(write)
        const descriptor = write.descriptor.value
        return Effect.flatMap(once(descriptor.digest), (turn) => turn.withPermits(1)(add(write, descriptor)))
      },
      writeManifest: (descriptor, bytes, names) =>
        Effect.gen(function* () {
          const { digest, mediaType } = descriptor
          const manifest = yield* Manifest.decode(bytes, { subject: `${file.path} ${digest}`, mediaType, digest })
          if (roots.find(digest) === undefined) {
            const { data } = yield* members.place(digest, bytes.length)
            yield* file.write(bytes, data)
            list.wrote(digest, bytes.length)
          }
          roots.add(manifest, names)
        }),
      commit: Effect.gen(function* () {
        const last = yield* Listing.make(roots, (digest) => blobs.has(digest), options.platform)
        yield* complete(new Set([...blobs.keys(), ...roots.digests()]), ({ append }) =>
          Effect.forEach(last, ({ bytes, name }) => append(name, bytes), { discard: true })
        )
      })
    }
  })

/** Gives the archive its name, with these blobs and what `finish` adds. */
type Complete = (
  digests: ReadonlySet<Digest.Digest>,
  finish: (members: Members.Members) => Effect.Effect<void, Failure>
) => Effect.Effect<void, Failure>

/** Whether an earlier run wrote all of it. What its list says is no proof, so the bytes are hashed. */
const isThere = (members: Members.Members, { digest, size }: Members.Sized): Effect.Effect<boolean, TarReadError> =>
  Effect.gen(function* () {
    const entry = members.list.find(digest)
    if (entry === undefined || entry.size !== size || entry.written < size) return false
    const { data } = yield* members.place(digest, size)
    if (yield* BlobFile.holds(members.file, data, { digest, size })) return true
    members.list.wrote(digest, 0)
    return false
  })

/** Writes the blob to its place, from where an earlier attempt stopped. */
const fill = <E, R>(members: Members.Members, write: BlobWrite<E, R>, { digest, size }: Members.Sized) =>
  Effect.gen(function* () {
    const { file, list } = members
    const content = yield* write.content
    const { data, written } = yield* members.place(digest, size)
    const onWritten = (bytes: number) => list.wrote(digest, bytes)
    const result = yield* BlobFile.write(file, data, write, content, {
      earlier: written < size ? written : 0,
      onWritten
    })
    list.wrote(digest, size)
    yield* list.flush
    return result
  })

/** A copy with these blobs alone: what an earlier run got of an image that its tag has left is no part of this one. */
const withoutOrphans = (
  fs: FileSystem.FileSystem,
  members: Members.Members,
  path: string,
  digests: ReadonlySet<Digest.Digest>
) =>
  Effect.gen(function* () {
    const partial = yield* Partial.fresh(fs, path)
    const copied = yield* Members.make(yield* BlobFile.make(partial.file, path), partial.list)
    yield* Members.copy(members, copied, digests)
    return { partial, members: copied }
  })

/** Ends the archive, compresses it where the name asks for it, and gives the finished file its name. */
const publish = (
  fs: FileSystem.FileSystem,
  partial: Partial.Partial,
  members: Members.Members,
  path: string,
  options: TargetOptions
): Effect.Effect<void, Failure, Scope.Scope> =>
  Effect.gen(function* () {
    const failed = Io.writeError(path)
    const size = members.end() + Header.endOfArchive.length
    yield* members.file.write(Header.endOfArchive, members.end())
    // An earlier run may have come further.
    yield* Effect.mapError(partial.file.truncate(size), failed)
    const algorithm = algorithmOf(path)
    const finished = algorithm === undefined ? partial : yield* compress(fs, algorithm, partial, size, path)
    yield* Effect.mapError(finished.file.sync, failed)
    // Where a file system knows no permissions, there is nothing to widen.
    if (Option.isSome(finished.mode)) yield* Effect.ignore(fs.chmod(finished.path, finished.mode.value))
    yield* refuseExisting(fs, path, options)
    const rename = Effect.mapError(fs.rename(finished.path, path), failed)
    // A link, unlike a rename, takes no name that somebody made in the meantime; some file systems have none.
    const link = Effect.catchAll(fs.link(finished.path, path), (cause) => {
      const error = failed(cause)
      return error.reason === "TargetExists" ? Effect.fail(error) : rename
    })
    yield* Effect.uninterruptible(Effect.zipRight(options.force === true ? rename : link, finished.done))
  })

const algorithmOf = (path: string): Algorithm | undefined => {
  if (/\.(?:gz|tgz)$/.test(path)) return "gzip"
  return path.endsWith(".zst") ? "zstd" : undefined
}

const compress = (
  fs: FileSystem.FileSystem,
  algorithm: Algorithm,
  partial: Partial.Partial,
  size: number,
  path: string
): Effect.Effect<Partial.Partial, Failure, Scope.Scope> =>
  Effect.gen(function* () {
    const compressor = yield* Compressor.Compressor
    const readAt = Io.readAt(partial.file, path, yield* Effect.makeSemaphore(1))
    const compressed = yield* Partial.fresh(fs, path)
    const { stream } = compressor.compress(
      algorithm,
      {
        _tag: "File",
        fd: partial.file.fd,
        path,
        offset: 0,
        size,
        stream: Io.streamAt(readAt, 0, size, path),
        readError: Io.readError(path)
      },
      () => {}
    )
    yield* Stream.runForEach(stream, (chunk) => Io.writeAll(compressed.file, chunk, path))
    return compressed
  })
