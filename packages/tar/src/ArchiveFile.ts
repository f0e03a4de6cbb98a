/** A tar on disk, opened once and read through that handle, decompressed to a spool file where needed. */
import * as FileSystem from "@effect/platform/FileSystem"
import { Compressor, type FileContent } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { decompress } from "./Decompress.js"
import * as Io from "./Io.js"
import * as TarIndex from "./TarIndex.js"
import { TarReadError } from "./TarReadError.js"

export interface ArchiveFile {
  /** As the user named it. */
  readonly path: string
  readonly index: TarIndex.TarIndex
  /** The data of a member, through links; the whole is read, so `limit` bounds it. */
  readonly bytes: (name: string, limit: number) => Effect.Effect<Uint8Array, TarReadError>
  /** The first bytes of a member, through links; fewer where it is shorter. */
  readonly head: (name: string, length: number) => Effect.Effect<Uint8Array, TarReadError>
  /** Where a member's data lies, through links. */
  readonly content: (name: string) => Effect.Effect<FileContent<TarReadError>, TarReadError>
  /** Fails with `SourceChanged` where size or modification time are not those of the opening. */
  readonly unchanged: Effect.Effect<void, TarReadError>
}

/** Opens a file; closed with the scope. A pipe is no archive file: see `ArchiveStream`. */
export const open = (path: string): Effect.Effect<ArchiveFile, TarReadError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const info = yield* Effect.mapError(fs.stat(path), Io.readError(path))
    if (info.type === "Directory") {
      const hint = `a layout folder is addressed as oci:${path}`
      return yield* Effect.fail(
        new TarReadError({ reason: "IsDirectory", path, detail: "is a folder, not an archive", hint })
      )
    }
    if (info.type !== "File") {
      const detail = "is a pipe, which cannot be read by position"
      const hint = "hand its content over as a stream: DockerArchive.stream, or - on the command line"
      return yield* Effect.fail(new TarReadError({ reason: "NotSeekable", path, detail, hint }))
    }
    const file = yield* Effect.mapError(fs.open(path, { flag: "r" }), Io.readError(path))
    return yield* ofFile(path, file)
  })

/** Over a file that is open and stays as it is; `path` is what the user calls it. */
export const ofFile = (
  path: string,
  file: FileSystem.File
): Effect.Effect<ArchiveFile, TarReadError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.flatMap(fromHandle(path, file), (opened) => make(path, opened))

// internal

const make = (
  path: string,
  given: Opened
): Effect.Effect<ArchiveFile, TarReadError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    if (given.size === 0) return yield* Effect.fail(new TarReadError({ reason: "Empty", path, detail: "is empty" }))
    const plain = yield* plainOf(path, given, yield* given.readAt(0, Compressor.Decompress.headSize))
    const index = yield* TarIndex.read(plain.readAt, { path, size: plain.size })
    const content = (name: string) =>
      Effect.map(TarIndex.resolve(index, name, path), ({ offset, size }) => segment(path, plain, offset, size))
    return {
      path,
      index,
      content,
      bytes: (name, limit) =>
        Effect.gen(function* () {
          const { offset, size } = yield* TarIndex.resolve(index, name, path)
          if (size > limit) {
            const detail = `has ${size} bytes, at most ${limit} are read`
            return yield* Effect.fail(new TarReadError({ reason: "TooLarge", path, entry: name, detail }))
          }
          const bytes = yield* plain.readAt(offset, size)
          if (bytes.length === size) return bytes
          const detail = "became shorter while it was read"
          return yield* Effect.fail(new TarReadError({ reason: "SourceChanged", path, detail }))
        }),
      head: (name, length) =>
        Effect.flatMap(TarIndex.resolve(index, name, path), ({ offset, size }) =>
          plain.readAt(offset, Math.min(size, length))
        ),
      unchanged: given.unchanged
    }
  })

interface Opened {
  readonly file: FileSystem.File
  readonly size: number
  readonly readAt: TarIndex.ReadAt
  readonly unchanged: Effect.Effect<void, TarReadError>
}

const fromHandle = (path: string, file: FileSystem.File): Effect.Effect<Opened, TarReadError> =>
  Effect.gen(function* () {
    const readAt = Io.readAt(file, path, yield* Effect.makeSemaphore(1))
    const stat = Effect.mapError(file.stat, Io.readError(path))
    const before = yield* stat
    const unchanged = Effect.flatMap(stat, (after) =>
      after.size === before.size && sameTime(after.mtime, before.mtime)
        ? Effect.void
        : Effect.fail(
            new TarReadError({
              reason: "SourceChanged",
              path,
              detail: "changed while it was read",
              hint: "wait until whoever writes it is done, and try again"
            })
          )
    )
    return { file, size: Number(before.size), readAt, unchanged }
  })

const sameTime = (a: Option.Option<Date>, b: Option.Option<Date>): boolean =>
  Option.getOrUndefined(a)?.getTime() === Option.getOrUndefined(b)?.getTime()

/** The stream in a temporary file that goes with the scope. */
const spool = <R>(
  path: string,
  stream: Stream.Stream<Uint8Array, TarReadError, R>
): Effect.Effect<Opened, TarReadError, FileSystem.FileSystem | Scope.Scope | R> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const temporary = yield* Effect.mapError(
      fs.makeTempFileScoped({ prefix: "ereg-" }),
      Io.writeError("the temporary folder")
    )
    const file = yield* Effect.mapError(fs.open(temporary, { flag: "r+" }), Io.writeError(temporary))
    yield* Stream.runForEach(stream, (chunk) => Io.writeAll(file, chunk, temporary))
    return yield* fromHandle(path, file)
  })

const plainOf = (path: string, opened: Opened, head: Uint8Array) => {
  const algorithm = Compressor.Decompress.detect(head)
  if (algorithm === undefined) return Effect.succeed(opened)
  return spool(path, decompress(algorithm, segment(path, opened, 0, opened.size).stream, { path }))
}

const segment = (path: string, { file, readAt }: Opened, offset: number, size: number): FileContent<TarReadError> => ({
  _tag: "File",
  fd: file.fd,
  path,
  offset,
  size,
  stream: Io.streamAt(readAt, offset, size, path),
  readError: Io.readError(path)
})
