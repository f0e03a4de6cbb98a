/** A layout folder that images are added to. */
import * as FileSystem from "@effect/platform/FileSystem"
import type { Descriptor as DescriptorNs, ImageTarget } from "@effect-registry/core"
import { type Digest, Json, Manifest, MediaType, ProcessLock, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Load from "../DockerArchive/Load.js"
import * as Io from "../Io.js"
import { TarReadError } from "../TarReadError.js"
import * as Blob from "./Blob.js"
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
    const manifests = new Map<Digest.Digest, Manifest.Manifest>()
    const written: Array<Load.Written> = []

    const put = (digest: Digest.Digest, bytes: Uint8Array) =>
      Blob.write(
        fs,
        path,
        {
          descriptor: Option.some({ mediaType: MediaType.octetStream, digest, size: bytes.length }),
          mediaType: MediaType.octetStream,
          content: Effect.succeed({ _tag: "Bytes" as const, bytes }),
          alsoIn: []
        },
        false
      )

    return {
      // A layout may hold a manifest without its blobs, so those are looked at one by one.
      hasManifest: () => Effect.succeed(false),
      writeBlob: (write) => {
        if (Option.isSome(write.descriptor)) folder.tries(write.descriptor.value.digest)
        return Blob.write(fs, path, write, resume)
      },
      writeManifest: (descriptor, bytes, names) =>
        Effect.gen(function* () {
          const { digest, mediaType } = descriptor
          const manifest = yield* Manifest.decode(bytes, { subject: `${path} ${digest}`, mediaType, digest })
          yield* put(digest, bytes)
          manifests.set(digest, manifest)
          written.push({ root: manifest, names })
        }),
      commit: Effect.gen(function* () {
        const children = new Set([...manifests.values()].flatMap(Manifest.children).map(({ digest }) => digest))
        const roots = written.filter(({ names, root }) => names.length > 0 || !children.has(root.descriptor.digest))
        yield* ownIndex(fs, path)
        const index = yield* merge(fs, path, Load.layoutEntries(roots))
        yield* replace(fs, `${path}/oci-layout`, Json.encode({ imageLayoutVersion: "1.0.0" }))
        yield* Effect.uninterruptible(
          Effect.zipRight(replace(fs, `${path}/index.json`, Json.encode(index)), folder.committed)
        )
      }).pipe(Effect.scoped)
    }
  })
})

// internal

/** Waits until nobody else adds to the index. Where there are no locks there is nobody to be seen. */
const ownIndex = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void, TarReadError, Scope.Scope> =>
  Effect.gen(function* () {
    const lock = yield* ProcessLock.ProcessLock
    const file = `${path}/index.json`
    const isTaken = Effect.orElseSucceed(fs.exists(`${file}.lock`), () => false)
    for (let tries = 0; tries < patience; tries++) {
      if (yield* lock.acquire(file)) return
      // Whoever had it may have let it go in between.
      if (!(yield* isTaken) && ((yield* lock.acquire(file)) || !(yield* isTaken))) return
      yield* Effect.sleep("20 millis")
    }
    const detail = "somebody else has been adding to it for 10 seconds"
    return yield* Effect.fail(new TarReadError({ reason: "Io", path, entry: "index.json", detail }))
  })

/** Times 20 milliseconds; adding takes one of them. */
const patience = 500

/** The index with the new entries; an entry of the same name gives way. */
const merge = (fs: FileSystem.FileSystem, path: string, added: ReadonlyArray<DescriptorNs.Descriptor>) =>
  Effect.gen(function* () {
    const file = `${path}/index.json`
    if (!(yield* Effect.mapError(fs.exists(file), Io.readError(path)))) {
      return Manifest.assembleIndex(MediaType.ociIndex, added).value
    }
    const bytes = yield* Effect.mapError(fs.readFile(file), Io.readError(path, "index.json"))
    const index = yield* Manifest.decode(bytes, { subject: `${path} index.json`, mediaType: MediaType.ociIndex })
    if (index._tag !== "Index") {
      return yield* Effect.fail(ValidationError.of("InvalidManifest", `${path} index.json`, "is no index"))
    }
    const kept = index.value.manifests.filter((old) => !added.some((entry) => replaces(entry, old)))
    return { ...index.value, manifests: [...kept, ...added] }
  })

const replaces = (entry: DescriptorNs.Descriptor, old: DescriptorNs.Descriptor): boolean => {
  const name = (descriptor: DescriptorNs.Descriptor) =>
    descriptor.annotations?.["io.containerd.image.name"] ??
    descriptor.annotations?.["org.opencontainers.image.ref.name"]
  return name(entry) === undefined ? name(old) === undefined && entry.digest === old.digest : name(entry) === name(old)
}

const replace = (fs: FileSystem.FileSystem, path: string, bytes: Uint8Array): Effect.Effect<void, TarReadError> => {
  const temporary = `${path}.${crypto.randomUUID()}.ereg-partial`
  return Effect.mapError(fs.writeFile(temporary, bytes), Io.writeError(path)).pipe(
    Effect.zipRight(Effect.mapError(fs.rename(temporary, path), Io.writeError(path))),
    Effect.tapError(() => Effect.catchAll(fs.remove(temporary, { force: true }), () => Effect.void))
  )
}
