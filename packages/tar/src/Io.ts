/** Files by position, and the platform's errors in our words. */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ReadAt } from "./TarIndex.js"
import { TarReadError } from "./TarReadError.js"

/** What a failure to read says about the archive. */
export const readError =
  (path: string, entry?: string) =>
  (cause: unknown): TarReadError =>
    cause instanceof TarReadError ? cause : fromCode(path, codeOf(cause), cause, entry)

/** What a failure to write says about the place written to. */
export const writeError = readError

/** Positioned reads over one handle: the handle has a single position, so they take turns. */
export const readAt =
  (file: FileSystem.File, path: string, turn: Effect.Semaphore): ReadAt =>
  (offset, length) => {
    const buffer = new Uint8Array(length)
    const fill = (filled: number): Effect.Effect<Uint8Array, TarReadError> =>
      filled === length
        ? Effect.succeed(buffer)
        : Effect.mapError(file.read(buffer.subarray(filled)), readError(path)).pipe(
            Effect.flatMap((read) =>
              read === 0n ? Effect.succeed(buffer.subarray(0, filled)) : fill(filled + Number(read))
            )
          )
    return turn.withPermits(1)(Effect.zipRight(file.seek(offset, "start"), fill(0)))
  }

/** Writes all bytes where the handle stands. No bytes are no write: the platform takes an empty one for a full disk. */
export const writeAll = (file: FileSystem.File, bytes: Uint8Array, path: string): Effect.Effect<void, TarReadError> =>
  bytes.length === 0 ? Effect.void : Effect.mapError(file.writeAll(bytes), writeError(path))

/** `size` bytes from `offset` in pieces of 1 MiB; fails with `SourceChanged` where the file became shorter. */
export const streamAt = (
  read: ReadAt,
  offset: number,
  size: number,
  path: string
): Stream.Stream<Uint8Array, TarReadError> =>
  Stream.unfoldEffect(0, (done) => {
    if (done >= size) return Effect.succeed(Option.none())
    const length = Math.min(chunkSize, size - done)
    return Effect.flatMap(read(offset + done, length), (bytes) =>
      bytes.length < length
        ? Effect.fail(new TarReadError({ reason: "SourceChanged", path, detail: "became shorter while it was read" }))
        : Effect.succeed(Option.some([bytes, done + length] as const))
    )
  })

// internal

const chunkSize = 1024 * 1024

/** The system's code, `ENOENT`, wherever the platform put it. */
const codeOf = (cause: unknown): string => {
  let at: unknown = cause
  for (let depth = 0; depth < 4 && typeof at === "object" && at !== null; depth++) {
    if ("code" in at && typeof at.code === "string") return at.code
    if ("reason" in at && at.reason === "NotFound") return "ENOENT"
    at = "cause" in at ? at.cause : undefined
  }
  return ""
}

const fromCode = (path: string, code: string, cause: unknown, entry: string | undefined): TarReadError => {
  const [reason, detail, hint] = codes[code] ?? (["Io", `the system says ${code || String(cause)}`] as const)
  return new TarReadError({ reason, path, detail, entry, hint, cause })
}

const codes: Record<string, readonly [TarReadError["reason"], string, string?]> = {
  ENOENT: ["NotFound", "no such file or folder", "check the path"],
  ENOTDIR: ["NotADirectory", "a part of the path is no folder"],
  EISDIR: ["IsDirectory", "is a folder"],
  EACCES: ["Permission", "permission denied", "check who may read and write there"],
  EPERM: ["Permission", "the operation is not permitted"],
  EEXIST: ["TargetExists", "exists already"],
  ENOSPC: ["NoSpace", "no space is left on the disk", "free some space and try again"],
  EDQUOT: ["NoSpace", "the disk quota is used up"],
  EROFS: ["ReadOnly", "the file system is read-only", "write to another place"],
  EFBIG: ["TooLarge", "the file system cannot hold a file of this size"]
}
