/**
 * A tar that is an OCI layout and what `docker load` reads at once. It is written beside the target under a name of its
 * own and renamed when it is complete.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import type { BlobWrite, BlobWritten, ImageTarget, ImageWriter } from "@effect-registry/core"
import {
  Compressor,
  type Digest,
  Json,
  Manifest,
  MediaType,
  Platform,
  Progress,
  type ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BlobFile from "../BlobFile.js"
import * as Io from "../Io.js"
import { blobPath } from "../LayoutGraph.js"
import { TarReadError } from "../TarReadError.js"
import * as Header from "./Header.js"
import * as Load from "./Load.js"

export interface TargetOptions {
  /** Replace a file that exists. Default false: it is refused with `TargetExists`. */
  readonly force?: boolean | undefined
  /** The platform whose image of an index `docker load` gets. Default: Linux on this machine's architecture. */
  readonly platform?: Platform.Platform | undefined
}

type Failure = TarReadError | ValidationError

/**
 * A new archive; gzipped where the name ends in `.gz` or `.tgz`. It appears under its name only when it is complete and
 * verified. Fails with a TarReadError (`TargetExists`, `IsDirectory`, `NotFound`, `Permission`, `ReadOnly`, `NoSpace`,
 * `Io`) or a ValidationError (`DigestMismatch`, `LayerMismatch`).
 * @since 0.1.0
 */
export const target = (path: string, options: TargetOptions = {}): ImageTarget<Failure, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    if (path.endsWith(".zst")) {
      const detail = "archives compressed with zstd are not written yet"
      return yield* Effect.fail(
        new TarReadError({ reason: "UnsupportedFormat", path, detail, hint: "name it .tar or .tar.gz" })
      )
    }
    yield* refuseExisting(fs, path, options)
    const partial = yield* openPartial(fs, path)
    const file = yield* BlobFile.make(partial.file, partial.path)
    return yield* writer(file, options, (size) => publish(fs, partial, size, path, options))
  })
})

// internal

interface Partial {
  readonly path: string
  readonly file: FileSystem.File
}

/** `<target>.<random>.ereg-partial`, removed with the scope unless it was renamed. */
const openPartial = (fs: FileSystem.FileSystem, path: string) =>
  Effect.gen(function* () {
    const name = `${path}.${crypto.randomUUID().slice(0, 8)}.ereg-partial`
    yield* Effect.addFinalizer(() => Effect.catchAll(fs.remove(name, { force: true }), () => Effect.void))
    const file = yield* Effect.mapError(fs.open(name, { flag: "wx+" }), Io.writeError(path))
    return { path: name, file }
  })

const refuseExisting = (fs: FileSystem.FileSystem, path: string, options: TargetOptions) =>
  Effect.gen(function* () {
    const info = yield* Effect.option(fs.stat(path))
    if (Option.isNone(info)) return
    const fail = (reason: TarReadError["reason"], detail: string, hint: string) =>
      Effect.fail(new TarReadError({ reason, path, detail, hint }))
    if (info.value.type === "Directory") {
      return yield* fail("IsDirectory", "is a folder", `name a file in it, or write a layout folder with oci:${path}`)
    }
    if (options.force !== true) return yield* fail("TargetExists", "exists already", "--force replaces it")
  })

const writer = (
  file: BlobFile.BlobFile,
  options: TargetOptions,
  publish: (size: number) => Effect.Effect<void, Failure>
): Effect.Effect<ImageWriter<Failure>> =>
  Effect.gen(function* () {
    const blobs = new Map<Digest.Digest, BlobWritten>()
    const manifests = new Map<Digest.Digest, Manifest.Manifest>()
    const written: Array<Load.Written> = []
    const turns = new Map<Digest.Digest, Effect.Semaphore>()
    const tail = yield* Effect.makeSemaphore(1)
    let end = 0

    /** Room for a member of known size; the data may then be written while others are. */
    const reserve = (name: string, size: number) =>
      Effect.gen(function* () {
        const header = yield* Header.header(name, size)
        const at = end
        end += header.length + Header.padded(size)
        yield* file.write(header, at)
        return at + header.length
      })

    const add = (name: string, bytes: Uint8Array) =>
      Effect.flatMap(tail.withPermits(1)(reserve(name, bytes.length)), (at) => file.write(bytes, at))

    /** A blob of unknown size has the end of the file to itself, and gets its header when the size is known. */
    const addLast = <E, R>(write: BlobWrite<E, R>) =>
      tail.withPermits(1)(
        Effect.gen(function* () {
          const content = yield* write.content
          const result = yield* BlobFile.write(file, end + 512, write, content)
          const { digest, size } = result.descriptor
          if (blobs.has(digest)) return { ...result, outcome: "Exists" as const }
          yield* file.write(yield* Header.header(blobPath(digest), size), end)
          end += 512 + Header.padded(size)
          return result
        })
      )

    const once = (digest: Digest.Digest) =>
      Effect.flatMap(Effect.makeSemaphore(1), (fresh) =>
        Effect.sync(() => {
          const turn = turns.get(digest) ?? fresh
          turns.set(digest, turn)
          return turn
        })
      )

    return {
      hasManifest: ({ digest }) => Effect.sync(() => manifests.has(digest)),
      writeBlob: <E, R>(write: BlobWrite<E, R>): Effect.Effect<BlobWritten, Failure | E, R> =>
        Effect.gen(function* () {
          if (Option.isNone(write.descriptor)) {
            const result = yield* addLast(write)
            blobs.set(result.descriptor.digest, result)
            return result
          }
          const { digest, size } = write.descriptor.value
          const turn = yield* once(digest)
          return yield* turn.withPermits(1)(
            Effect.gen(function* () {
              const known = blobs.get(digest)
              if (known !== undefined) return { ...known, outcome: "Exists" as const }
              const content = yield* write.content
              const at = yield* tail.withPermits(1)(reserve(blobPath(digest), size))
              const result = yield* BlobFile.write(file, at, write, content)
              blobs.set(digest, result)
              return result
            })
          )
        }),
      writeManifest: (descriptor, bytes, names) =>
        Effect.gen(function* () {
          const { digest, mediaType } = descriptor
          const manifest = yield* Manifest.decode(bytes, { subject: `${file.path} ${digest}`, mediaType, digest })
          if (!manifests.has(digest)) yield* add(blobPath(digest), bytes)
          manifests.set(digest, manifest)
          if (names.length > 0 || !isChild(digest, manifests)) written.push({ root: manifest, names })
        }),
      commit: Effect.gen(function* () {
        const progress = yield* Progress.Progress
        const roots = written.filter(
          ({ names, root }) => names.length > 0 || !isChild(root.descriptor.digest, manifests)
        )
        const machine = options.platform ?? Platform.machine()
        const { entries, unloadable } = Load.dockerManifest(roots, (digest) => manifests.get(digest), machine)
        for (const name of unloadable) {
          const message = `docker load will not find ${name} in the archive: it has no image for ${Platform.format(machine)} that docker can load`
          progress.emit({ _tag: "Warning", message })
        }
        yield* add("oci-layout", Json.encode({ imageLayoutVersion: "1.0.0" }))
        yield* add("index.json", Manifest.assembleIndex(MediaType.ociIndex, Load.layoutEntries(roots)).bytes)
        // An empty list would say that the archive holds no image; without the file it is read as an OCI archive.
        if (entries.length > 0) yield* add("manifest.json", Json.encode(entries))
        yield* file.write(Header.endOfArchive, end)
        yield* publish(end + Header.endOfArchive.length)
      })
    }
  })

/** Whether an index of the archive names it: then it is no image of its own. */
const isChild = (digest: Digest.Digest, manifests: ReadonlyMap<Digest.Digest, Manifest.Manifest>): boolean =>
  [...manifests.values()].some((manifest) => Manifest.children(manifest).some((child) => child.digest === digest))

/** Compresses where the name asks for it, and gives the finished file its name. */
const publish = (
  fs: FileSystem.FileSystem,
  partial: Partial,
  size: number,
  path: string,
  options: TargetOptions
): Effect.Effect<void, Failure> =>
  Effect.gen(function* () {
    const failed = Io.writeError(path)
    const finished = /\.(?:gz|tgz)$/.test(path) ? yield* gzip(fs, partial, size, path) : partial
    yield* Effect.mapError(finished.file.sync, failed)
    yield* refuseExisting(fs, path, options)
    const rename = Effect.mapError(fs.rename(finished.path, path), failed)
    if (options.force === true) return yield* rename
    // A link, unlike a rename, takes no name that somebody made in the meantime; some file systems have none.
    yield* Effect.catchAll(fs.link(finished.path, path), (cause) => {
      const error = failed(cause)
      return error.reason === "TargetExists" ? Effect.fail(error) : rename
    })
  }).pipe(Effect.scoped)

const gzip = (
  fs: FileSystem.FileSystem,
  partial: Partial,
  size: number,
  path: string
): Effect.Effect<Partial, Failure, Scope.Scope> =>
  Effect.gen(function* () {
    const compressor = yield* Compressor.Compressor
    const readAt = Io.readAt(partial.file, path, yield* Effect.makeSemaphore(1))
    const compressed = yield* openPartial(fs, path)
    const { stream } = compressor.gzip(
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
