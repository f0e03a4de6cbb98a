/** An OCI image layout folder. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md */
import * as FileSystem from "@effect/platform/FileSystem"
import type {
  BlobWrite,
  BlobWritten,
  Descriptor as DescriptorNs,
  FileContent,
  ImageSource,
  ImageTarget
} from "@effect-registry/core"
import { Digest, Hasher, Json, Manifest, MediaType, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BlobFile from "./BlobFile.js"
import * as Load from "./DockerArchive/Load.js"
import * as Io from "./Io.js"
import * as LayoutGraph from "./LayoutGraph.js"
import * as LayoutReader from "./LayoutReader.js"
import { TarReadError } from "./TarReadError.js"

type Failure = TarReadError | ValidationError

/**
 * A layout folder that exists. Nothing outside it is ever read: a symlink in it fails with `UnsafePath` before a byte is
 * moved. Fails also with `NotFound`, `NotADirectory`, `MissingMember`, and the ValidationErrors of `OciArchive.file`.
 * @since 0.1.0
 */
export const folder = (
  path: string,
  options: LayoutReader.SourceOptions = {}
): ImageSource<Failure, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.gen(function* () {
    const opened = yield* files(path)
    const before = yield* opened.bytes("index.json", LayoutGraph.maxIndexSize)
    const unchanged = Effect.flatMap(opened.bytes("index.json", LayoutGraph.maxIndexSize), (after) =>
      Digest.fromBytes(after) === Digest.fromBytes(before)
        ? Effect.void
        : Effect.fail(
            new TarReadError({
              reason: "SourceChanged",
              path,
              entry: "index.json",
              detail: "changed while it was read"
            })
          )
    )
    return yield* LayoutReader.make(opened, unchanged, options)
  })
})

/** The files of a layout folder, checked as `folder` says; open until the scope ends. */
export const files = (
  path: string
): Effect.Effect<LayoutGraph.LayoutFiles, Failure, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    yield* checkFolder(fs, path)
    return yield* filesOf(fs, path)
  })

/**
 * A layout folder to write to, made where it is missing; images are added to one that exists. index.json is replaced
 * last, in one step. Fails with a TarReadError (`NotADirectory`, `UnsafePath`, `Permission`, `ReadOnly`, `NoSpace`, `Io`)
 * or a ValidationError (`DigestMismatch`, `LayerMismatch`, `InvalidManifest` for a broken index.json).
 * @since 0.1.0
 */
export const target = (path: string): ImageTarget<Failure, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const failed = Io.writeError(path)
    const isNew = !(yield* Effect.mapError(fs.exists(path), failed))
    let committed = false
    if (isNew) {
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          // An index is there where we have finished, or another process has in the same folder.
          const isFinished = committed || (yield* Effect.orElseSucceed(fs.exists(`${path}/index.json`), () => true))
          if (!isFinished) yield* Effect.catchAll(fs.remove(path, { recursive: true, force: true }), () => Effect.void)
        })
      )
    } else yield* checkTarget(fs, path)
    yield* Effect.mapError(fs.makeDirectory(`${path}/blobs/sha256`, { recursive: true }), failed)
    yield* refuseSymlinks(fs, path, ["blobs", "blobs/sha256", "index.json", "oci-layout"])
    const manifests = new Map<Digest.Digest, Manifest.Manifest>()
    const written: Array<Load.Written> = []

    const put = (digest: Digest.Digest, bytes: Uint8Array) =>
      writeBlob(fs, path, {
        descriptor: Option.some({ mediaType: MediaType.octetStream, digest, size: bytes.length }),
        mediaType: MediaType.octetStream,
        content: Effect.succeed({ _tag: "Bytes" as const, bytes }),
        alsoIn: []
      })

    return {
      // A layout may hold a manifest without its blobs, so those are looked at one by one.
      hasManifest: () => Effect.succeed(false),
      writeBlob: (write) => writeBlob(fs, path, write),
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
        const index = yield* merge(fs, path, Load.layoutEntries(roots))
        yield* replace(fs, `${path}/oci-layout`, Json.encode({ imageLayoutVersion: "1.0.0" }))
        yield* replace(fs, `${path}/index.json`, Json.encode(index))
        committed = true
      })
    }
  })
})

// internal

const checkFolder = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void, Failure> =>
  Effect.gen(function* () {
    const info = yield* Effect.mapError(fs.stat(path), Io.readError(path))
    if (info.type !== "Directory") {
      return yield* Effect.fail(new TarReadError({ reason: "NotADirectory", path, detail: "is no folder" }))
    }
    if (!(yield* Effect.mapError(fs.exists(`${path}/index.json`), Io.readError(path)))) {
      const message = "is no OCI layout: it has no index.json"
      return yield* Effect.fail(ValidationError.of("InvalidArchive", path, message))
    }
    yield* refuseSymlinks(fs, path, ["index.json", "oci-layout", "blobs"])
  })

/** What is there must be a layout, or empty. */
const checkTarget = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void, TarReadError> =>
  Effect.gen(function* () {
    const info = yield* Effect.mapError(fs.stat(path), Io.readError(path))
    if (info.type !== "Directory") {
      return yield* Effect.fail(new TarReadError({ reason: "NotADirectory", path, detail: "exists and is no folder" }))
    }
    const entries = yield* Effect.mapError(fs.readDirectory(path), Io.readError(path))
    if (entries.length > 0 && !entries.includes("oci-layout") && !entries.includes("index.json")) {
      const detail = "exists, is not empty and is no OCI layout"
      return yield* Effect.fail(
        new TarReadError({ reason: "TargetExists", path, detail, hint: "name a new or empty folder" })
      )
    }
  })

/** readLink succeeds for symlinks alone. */
const refuseSymlinks = (
  fs: FileSystem.FileSystem,
  path: string,
  entries: ReadonlyArray<string>
): Effect.Effect<void, TarReadError> =>
  Effect.forEach(
    entries,
    (entry) =>
      Effect.flatMap(Effect.option(fs.readLink(`${path}/${entry}`)), (link) =>
        Option.isNone(link)
          ? Effect.void
          : Effect.fail(
              new TarReadError({ reason: "UnsafePath", path, entry, detail: "is a symlink; a layout has none" })
            )
      ),
    { discard: true }
  )

const filesOf = (fs: FileSystem.FileSystem, path: string): Effect.Effect<LayoutGraph.LayoutFiles, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    /** Opened once a run: what is checked is what is sent. */
    const open = (entry: string) =>
      Effect.gen(function* () {
        const full = `${path}/${entry}`
        yield* refuseSymlinks(fs, path, [entry.split("/").slice(0, 2).join("/"), entry])
        const info = yield* Effect.mapError(fs.stat(full), Io.readError(path, entry))
        if (info.type !== "File") {
          return yield* Effect.fail(
            new TarReadError({ reason: "UnsafePath", path, entry, detail: "is no regular file" })
          )
        }
        const file = yield* Effect.mapError(fs.open(full, { flag: "r" }), Io.readError(path, entry))
        const readAt = Io.readAt(file, full, yield* Effect.makeSemaphore(1))
        return { file, readAt, size: Number(info.size) }
      })
    return {
      name: path,
      has: (entry) => Effect.mapError(fs.exists(`${path}/${entry}`), Io.readError(path, entry)),
      bytes: (entry, limit) =>
        Effect.scoped(
          Effect.gen(function* () {
            const { readAt, size } = yield* open(entry)
            if (size > limit) {
              const detail = `has ${size} bytes, at most ${limit} are read`
              return yield* Effect.fail(new TarReadError({ reason: "TooLarge", path, entry, detail }))
            }
            return yield* readAt(0, size)
          })
        ),
      content: (entry) =>
        Scope.extend(
          Effect.map(
            open(entry),
            ({ file, readAt, size }): FileContent<TarReadError> => ({
              _tag: "File",
              fd: file.fd,
              path: `${path}/${entry}`,
              offset: 0,
              size,
              stream: Io.streamAt(readAt, 0, size, path),
              readError: Io.readError(path, entry)
            })
          ),
          scope
        )
    }
  })

/** Through a temporary name in the same folder, so that a name of a digest always holds its bytes. */
const writeBlob = <E, R>(
  fs: FileSystem.FileSystem,
  path: string,
  write: BlobWrite<E, R>
): Effect.Effect<BlobWritten, Failure | E, R> =>
  Effect.gen(function* () {
    const known = Option.getOrUndefined(write.descriptor)
    if (known !== undefined && (yield* isThere(fs, path, known)))
      return { descriptor: known, outcome: "Exists" as const }
    const temporary = `${path}/blobs/.${crypto.randomUUID()}.ereg-partial`
    yield* Effect.addFinalizer(() => Effect.catchAll(fs.remove(temporary, { force: true }), () => Effect.void))
    const failed = Io.writeError(path)
    const handle = yield* Effect.mapError(fs.open(temporary, { flag: "wx+" }), failed)
    const file = yield* BlobFile.make(handle, path)
    const result = yield* BlobFile.write(file, 0, write, yield* write.content)
    const final = `${path}/${LayoutGraph.blobPath(result.descriptor.digest)}`
    yield* Effect.mapError(fs.makeDirectory(final.slice(0, final.lastIndexOf("/")), { recursive: true }), failed)
    yield* Effect.mapError(fs.rename(temporary, final), failed)
    return result
  }).pipe(Effect.scoped)

const isThere = (fs: FileSystem.FileSystem, path: string, { digest, size }: DescriptorNs.Descriptor) =>
  Effect.gen(function* () {
    const entry = LayoutGraph.blobPath(digest)
    yield* refuseSymlinks(fs, path, [entry.slice(0, entry.lastIndexOf("/")), entry])
    const info = yield* Effect.option(fs.stat(`${path}/${entry}`))
    if (Option.isNone(info) || info.value.type !== "File" || Number(info.value.size) !== size) return false
    // A name is no proof: a disk that was full, or a hand, may have left other bytes there.
    const hash = (yield* Hasher.Hasher).make(Digest.algorithm(digest))
    const file = yield* Effect.mapError(fs.open(`${path}/${entry}`, { flag: "r" }), Io.readError(path, entry))
    const readAt = Io.readAt(file, path, yield* Effect.makeSemaphore(1))
    yield* Stream.runForEach(Io.streamAt(readAt, 0, size, path), (chunk) => Effect.sync(() => hash.update(chunk)))
    return hash.digest() === digest
  })

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
