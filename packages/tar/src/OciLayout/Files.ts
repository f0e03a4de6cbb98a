/** The files of a layout folder. Nothing outside of it is ever read. */
import * as FileSystem from "@effect/platform/FileSystem"
import type { FileContent } from "@effect-registry/core"
import { ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Io from "../Io.js"
import type * as LayoutGraph from "../LayoutGraph.js"
import { TarReadError } from "../TarReadError.js"
import * as Symlinks from "./Symlinks.js"

type Failure = TarReadError | ValidationError

/**
 * Of a folder that has an index.json; open until the scope ends. Fails with `NotFound`, `NotADirectory`, `UnsafePath`, or
 * `InvalidArchive`.
 */
export const open = (
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
    /** What is there must be a regular file, in folders that are none of somebody else's. */
    const size = (entry: string): Effect.Effect<Option.Option<number>, TarReadError> =>
      Effect.gen(function* () {
        yield* Symlinks.refuse(fs, path, [entry.split("/").slice(0, 2).join("/"), entry])
        const info = yield* Effect.either(Effect.mapError(fs.stat(`${path}/${entry}`), Io.readError(path, entry)))
        if (Either.isLeft(info)) return info.left.reason === "NotFound" ? Option.none() : yield* Effect.fail(info.left)
        if (info.right.type === "File") return Option.some(Number(info.right.size))
        return yield* Effect.fail(new TarReadError({ reason: "UnsafePath", path, entry, detail: "is no regular file" }))
      })
    /** The size is that of the handle: what is checked is what is sent. */
    const open = (entry: string) =>
      Effect.gen(function* () {
        const full = `${path}/${entry}`
        yield* size(entry)
        const file = yield* Effect.mapError(fs.open(full, { flag: "r" }), Io.readError(path, entry))
        const info = yield* Effect.mapError(file.stat, Io.readError(path, entry))
        const readAt = Io.readAt(file, full, yield* Effect.makeSemaphore(1))
        return { file, readAt, size: Number(info.size) }
      })
    return {
      name: path,
      size,
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
