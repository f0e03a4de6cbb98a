/** A layout folder that images are added to. */
import * as FileSystem from "@effect/platform/FileSystem"
import type { BlobWrite, BlobWritten, Descriptor as DescriptorNs, ImageTarget } from "@effect-registry/core"
import { type Digest, Json, Manifest, MediaType, ProcessLock, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Load from "../DockerArchive/Load.js"
import * as Io from "../Io.js"
import * as Roots from "../Roots.js"
import { TarReadError } from "../TarReadError.js"
import * as Blob from "./Blob.js"
import * as Existing from "./Existing.js"
import * as Folder from "./Folder.js"

export interface TargetOptions {
  /**
   * Go on where an earlier run into the same folder was cut off, and leave the blobs and the parts of blobs that the
   * next one needs if this one is. Default true; false removes parts that are there. Takes core's `ProcessLock`.
   */
  readonly resume?: boolean | undefined
}

type Failure = TarReadError | ValidationError

/**
 * A layout folder to write to, made where it is missing; images are added to one that exists. index.json is replaced
 * last, in one step. Fails with a TarReadError (`NotADirectory`, `UnsafePath`, `Permission`, `ReadOnly`, `NoSpace`, `Io`)
 * or a ValidationError (`DigestMismatch`, `LayerMismatch`, `InvalidManifest` for a broken index.json).
 * @since 0.1.0
 */
export const target = (path: string, options: TargetOptions = {}): ImageTarget<Failure, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const resume = options.resume !== false
    const folder = yield* Folder.open(fs, path, resume)
    const before = yield* Effect.cached(
      Effect.provide(Existing.read(path), yield* Effect.context<FileSystem.FileSystem | Scope.Scope>())
    )
    const roots = Roots.make()
    // What this run wrote, or found and hashed.
    const verified = new Set<Digest.Digest>()

    const writeBlob = <E, R>(write: BlobWrite<E, R>, goesOn: boolean): Effect.Effect<BlobWritten, Failure | E, R> => {
      const known = Option.getOrUndefined(write.descriptor)
      if (known !== undefined && verified.has(known.digest)) {
        return Effect.succeed({ descriptor: known, outcome: "Exists" })
      }
      return Effect.tap(Blob.write(fs, path, write, goesOn), ({ descriptor }) =>
        Effect.sync(() => void verified.add(descriptor.digest))
      )
    }
    const put = (digest: Digest.Digest, bytes: Uint8Array) => {
      const descriptor = { mediaType: MediaType.octetStream, digest, size: bytes.length }
      const content = Effect.succeed({ _tag: "Bytes" as const, bytes })
      return writeBlob({ ...descriptor, descriptor: Option.some(descriptor), content, alsoIn: [] }, false)
    }

    return {
      // A layout may hold a manifest without its blobs, so those are looked at one by one.
      hasManifest: () => Effect.succeed(false),
      isTagged: (descriptor, name) => Effect.flatMap(before, (existing) => existing.isTagged(descriptor, name)),
      referrers: (descriptor) => Effect.flatMap(before, (existing) => existing.referrers(descriptor)),
      writeBlob: (write) => {
        if (Option.isSome(write.descriptor)) folder.tries(write.descriptor.value.digest)
        return writeBlob(write, resume)
      },
      writeManifest: (descriptor, bytes, names) =>
        Effect.gen(function* () {
          const { digest, mediaType } = descriptor
          const manifest = yield* Manifest.decode(bytes, { subject: `${path} ${digest}`, mediaType, digest })
          yield* put(digest, bytes)
          roots.add(manifest, names)
        }),
      commit: Effect.scoped(
        Effect.gen(function* () {
          const added = roots.list()
          if (added.length === 0 && (yield* hasIndex(fs, path))) return yield* folder.committed
          yield* ownIndex(path, folder)
          const index = yield* merge(fs, path, added)
          yield* replace(fs, `${path}/oci-layout`, Json.encode({ imageLayoutVersion: "1.0.0" }))
          yield* Effect.uninterruptible(
            Effect.zipRight(replace(fs, `${path}/index.json`, Json.encode(index)), folder.committed)
          )
        })
      )
    }
  })
})

// internal

/** Waits until nobody else adds to the index. Where there are no locks there is nobody to be seen. */
const ownIndex = (path: string, { hasLocks }: Folder.Folder): Effect.Effect<void, TarReadError, Scope.Scope> =>
  Effect.gen(function* () {
    if (!hasLocks) return
    const lock = yield* ProcessLock.ProcessLock
    for (let tries = 0; tries < patience; tries++) {
      if (yield* lock.acquire(`${path}/index.json`)) return
      yield* Effect.sleep("20 millis")
    }
    const detail = "somebody else has been adding to it for 10 seconds"
    return yield* Effect.fail(new TarReadError({ reason: "Io", path, entry: "index.json", detail }))
  })

/** Times 20 milliseconds; adding takes one of them. */
const patience = 500

const hasIndex = (fs: FileSystem.FileSystem, path: string): Effect.Effect<boolean, TarReadError> =>
  Effect.mapError(fs.exists(`${path}/index.json`), Io.readError(path, "index.json"))

/** The index with the new entries; an entry of the same name gives way, and so does one of the same image that says nothing else. */
const merge = (fs: FileSystem.FileSystem, path: string, added: ReadonlyArray<Roots.Root>) =>
  Effect.gen(function* () {
    if (!(yield* hasIndex(fs, path))) {
      return Manifest.assembleIndex(MediaType.ociIndex, Load.layoutEntries(added)).value
    }
    const bytes = yield* Effect.mapError(fs.readFile(`${path}/index.json`), Io.readError(path, "index.json"))
    const index = yield* Manifest.decode(bytes, { subject: `${path} index.json`, mediaType: MediaType.ociIndex })
    if (index._tag !== "Index") {
      return yield* Effect.fail(ValidationError.of("InvalidManifest", `${path} index.json`, "is no index"))
    }
    const before = index.value.manifests
    const fresh = new Set(Load.layoutEntries(added).flatMap((entry) => Load.nameOf(entry) ?? []))
    const again = new Set(added.map(({ manifest }) => manifest.descriptor.digest))
    const kept = before.filter((entry) => {
      const name = Load.nameOf(entry)
      return name === undefined ? !again.has(entry.digest) || !isBare(entry) : !fresh.has(name)
    })
    const there = new Set(kept.map(({ digest }) => digest))
    const entries = Load.layoutEntries(added, kept).filter(
      (entry) => Load.nameOf(entry) !== undefined || !there.has(entry.digest)
    )
    return { ...index.value, manifests: [...kept, ...entries] }
  })

/** Other tools write annotations of their own to entries that have no name. */
const isBare = ({ annotations }: DescriptorNs.Descriptor): boolean => Object.keys(annotations ?? {}).length === 0

const replace = (fs: FileSystem.FileSystem, path: string, bytes: Uint8Array): Effect.Effect<void, TarReadError> => {
  const temporary = `${path}.${crypto.randomUUID()}.ereg-partial`
  return Effect.mapError(fs.writeFile(temporary, bytes), Io.writeError(path)).pipe(
    Effect.zipRight(Effect.mapError(fs.rename(temporary, path), Io.writeError(path))),
    Effect.tapError(() => Effect.catchAll(fs.remove(temporary, { force: true }), () => Effect.void))
  )
}
