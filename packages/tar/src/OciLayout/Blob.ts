/** Blobs of a layout, each written under a name of its own first, so that a name of a digest always holds its bytes. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type { BlobWrite, BlobWritten, Descriptor as DescriptorNs, ValidationError } from "@effect-registry/core"
import { Digest, ProcessLock } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as BlobFile from "../BlobFile.js"
import * as Io from "../Io.js"
import { blobPath } from "../LayoutGraph.js"
import * as Resume from "../Resume.js"
import type { TarReadError } from "../TarReadError.js"
import * as Symlinks from "./Symlinks.js"

/**
 * Makes the blob present in the layout at `path`. With `resume` it goes on where an earlier run was cut off, and leaves
 * what the next one needs if this one is.
 */
export const write = <E, R>(
  fs: FileSystem.FileSystem,
  path: string,
  blob: BlobWrite<E, R>,
  resume: boolean
): Effect.Effect<BlobWritten, TarReadError | ValidationError | E, R> =>
  Effect.gen(function* () {
    const known = Option.getOrUndefined(blob.descriptor)
    if (known !== undefined && (yield* isThere(fs, path, known))) {
      return { descriptor: known, outcome: "Exists" as const }
    }
    const partial = known !== undefined && resume ? yield* openPartial(fs, path, known) : yield* openFresh(fs, path)
    const file = yield* BlobFile.make(partial.handle, path)
    const isWhole =
      known !== undefined && partial.size > 0 && partial.size === known.size && (yield* BlobFile.holds(file, 0, known))
    const result = isWhole
      ? { descriptor: known, outcome: "Exists" as const }
      : yield* fill(file, partial, blob, known?.size ?? 0)
    const failed = Io.writeError(path)
    const final = `${path}/${blobPath(result.descriptor.digest)}`
    yield* Effect.mapError(fs.makeDirectory(final.slice(0, final.lastIndexOf("/")), { recursive: true }), failed)
    yield* Effect.mapError(fs.rename(partial.name, final), failed)
    return result
  }).pipe(Effect.scoped)

/** The place in `blobs/` of a blob that is not finished. */
export const partialName = (digest: Digest.Digest): string =>
  `.${Digest.algorithm(digest)}-${Digest.hex(digest)}${Resume.suffix}`

// internal

interface Partial {
  readonly name: string
  readonly handle: FileSystem.File
  /** Bytes that an earlier run left. */
  readonly size: number
}
type Opened = Effect.Effect<Partial, TarReadError, Scope.Scope>

const fill = <E, R>(file: BlobFile.BlobFile, { handle, size }: Partial, blob: BlobWrite<E, R>, whole: number) =>
  Effect.gen(function* () {
    const content = yield* blob.content
    // Only a registry's blob can be gone on with.
    const earlier = content._tag === "Remote" && size < whole ? size : 0
    if (earlier < size) yield* Effect.mapError(handle.truncate(earlier), Io.writeError(file.path))
    return yield* BlobFile.write(file, 0, blob, content, { earlier, onWritten: () => {} })
  })

/** Under the blob's own name, where no other process or fiber has it; kept where the scope ends with what can go on. */
const openPartial = (
  fs: FileSystem.FileSystem,
  path: string,
  { digest }: Pick<DescriptorNs.Descriptor, "digest">
): Opened =>
  Effect.gen(function* () {
    const lock = yield* ProcessLock.ProcessLock
    const name = `${path}/blobs/${partialName(digest)}`
    if (!(yield* lock.acquire(name))) return yield* openFresh(fs, path)
    yield* Effect.addFinalizer((exit) =>
      Effect.gen(function* () {
        const info = Resume.canGoOn(exit) ? yield* Effect.option(fs.stat(name)) : Option.none()
        if (!Option.exists(info, ({ size }) => size > 0n)) yield* Resume.remove(fs, name)
      })
    )
    const left = yield* Resume.reopen(fs, name, Option.none())
    if (Option.isSome(left)) return { name, handle: left.value.file, size: left.value.size }
    yield* Resume.remove(fs, name)
    return { name, handle: yield* create(fs, path, name), size: 0 }
  })

const openFresh = (fs: FileSystem.FileSystem, path: string): Opened =>
  Effect.gen(function* () {
    const name = `${path}/blobs/.${crypto.randomUUID()}${Resume.suffix}`
    yield* Effect.addFinalizer(() => Resume.remove(fs, name))
    return { name, handle: yield* create(fs, path, name), size: 0 }
  })

const create = (fs: FileSystem.FileSystem, path: string, name: string) =>
  Effect.mapError(fs.open(name, { flag: "wx+" }), Io.writeError(path))

const isThere = (fs: FileSystem.FileSystem, path: string, { digest, size }: DescriptorNs.Descriptor) =>
  Effect.scoped(
    Effect.gen(function* () {
      const entry = blobPath(digest)
      yield* Symlinks.refuse(fs, path, [entry.slice(0, entry.lastIndexOf("/")), entry])
      const info = yield* Effect.option(fs.stat(`${path}/${entry}`))
      if (Option.isNone(info) || info.value.type !== "File" || Number(info.value.size) !== size) return false
      // A name is no proof: a disk that was full, or a hand, may have left other bytes there.
      const handle = yield* Effect.mapError(fs.open(`${path}/${entry}`, { flag: "r" }), Io.readError(path, entry))
      return yield* BlobFile.holds(yield* BlobFile.make(handle, path), 0, { digest, size })
    })
  )
