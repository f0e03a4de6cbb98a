/** An OCI image layout folder. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md */
import * as FileSystem from "@effect/platform/FileSystem"
import type { FileContent, ImageSource } from "@effect-registry/core"
import { Digest, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Io from "./Io.js"
import * as LayoutGraph from "./LayoutGraph.js"
import * as LayoutReader from "./LayoutReader.js"
import * as Symlinks from "./OciLayout/Symlinks.js"
import { TarReadError } from "./TarReadError.js"

export { type TargetOptions, target } from "./OciLayout/Writer.js"

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
    yield* Symlinks.refuse(fs, path, ["index.json", "oci-layout", "blobs"])
  })

const filesOf = (fs: FileSystem.FileSystem, path: string): Effect.Effect<LayoutGraph.LayoutFiles, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    /** Opened once a run: what is checked is what is sent. */
    const open = (entry: string) =>
      Effect.gen(function* () {
        const full = `${path}/${entry}`
        yield* Symlinks.refuse(fs, path, [entry.split("/").slice(0, 2).join("/"), entry])
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
