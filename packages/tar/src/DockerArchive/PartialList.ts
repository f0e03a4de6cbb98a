/**
 * What lies in an unfinished archive, beside it as lines of JSON: a line where a blob's place is reserved, and lines that
 * say how far it is written. It only grows, so that a process may die at any byte of it.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Io from "../Io.js"
import * as Resume from "../Resume.js"
import type { TarReadError } from "../TarReadError.js"

export interface Entry {
  readonly digest: Digest.Digest
  /** Of the data, in bytes. */
  readonly size: number
  /** Where the member begins with its header. */
  readonly offset: number
  /** Bytes of the data that are written, from the first one on. */
  readonly written: number
}

export interface PartialList {
  readonly entries: () => ReadonlyArray<Entry>
  readonly find: (digest: Digest.Digest) => Entry | undefined
  /** A place is taken, and the list says so before this ends. */
  readonly reserve: (entry: Entry) => Effect.Effect<void, TarReadError>
  /** So many bytes are written. Only remembered, until `flush` or `reserve`. */
  readonly wrote: (digest: Digest.Digest, bytes: number) => void
  readonly flush: Effect.Effect<void, TarReadError>
}

/** A list of this size was made by nobody who means well: ours is written anew long before. */
export const maxSize = 16 * 1024 * 1024

/** The entries of a list; a last line without its end is ignored. `None` where anything else is odd. */
export const parse = (text: string): Option.Option<ReadonlyArray<Entry>> => {
  const lines = text.split("\n").slice(0, -1)
  const entries = new Map<Digest.Digest, Entry>()
  for (const text of lines) {
    const line = Option.getOrUndefined(decodeLine(text))
    if (line === undefined) return Option.none()
    const known = entries.get(line.digest)
    if ("written" in line) {
      if (known === undefined || line.written > known.size) return Option.none()
      entries.set(line.digest, { ...known, written: line.written })
    } else {
      if (known !== undefined) return Option.none()
      entries.set(line.digest, { ...line, written: 0 })
    }
  }
  return Option.some([...entries.values()])
}

/** The entries of the list at `path`, none where there is no list that can be believed. */
export const read = (fs: FileSystem.FileSystem, path: string): Effect.Effect<ReadonlyArray<Entry>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const opened = yield* Resume.reopen(fs, path, Option.none())
      if (Option.isNone(opened) || opened.value.size > maxSize) return []
      const { file, size } = opened.value
      const bytes = yield* Io.readAt(file, path, yield* Effect.makeSemaphore(1))(0, size)
      return Option.getOrElse(parse(new TextDecoder().decode(bytes)), () => [])
    })
  ).pipe(Effect.orElseSucceed(() => []))

/** A list at `path` that starts with these entries, in place of whatever is there. */
export const make = (
  fs: FileSystem.FileSystem,
  path: string,
  start: ReadonlyArray<Entry>
): Effect.Effect<PartialList, TarReadError> =>
  Effect.gen(function* () {
    const { entries, find, wrote } = state(start)
    /** How far each is by the file. */
    const told = new Map<Digest.Digest, number>()
    const turn = yield* Effect.makeSemaphore(1)
    const failed = Io.writeError(path)
    let length = 0

    const lines = (from: ReadonlyMap<Digest.Digest, number>): string =>
      [...entries.values()]
        .flatMap(({ digest, offset, size, written }) => [
          ...(from.has(digest) ? [] : [{ digest, size, offset }]),
          ...((from.get(digest) ?? 0) === written ? [] : [{ digest, written }])
        ])
        .map((line) => `${JSON.stringify(line)}\n`)
        .join("")

    const store = (text: string, write: Effect.Effect<void, TarReadError>, before: number) => {
      const now = [...entries.values()]
      return Effect.tap(write, () =>
        Effect.sync(() => {
          for (const { digest, written } of now) told.set(digest, written)
          length = before + text.length
        })
      )
    }
    const rewrite = Effect.suspend(() => {
      const text = lines(new Map())
      const fresh = `${path}.new`
      const write = Resume.remove(fs, fresh).pipe(
        Effect.zipRight(fs.writeFileString(fresh, text, { flag: "wx", mode: 0o600 })),
        Effect.zipRight(fs.rename(fresh, path)),
        Effect.mapError(failed)
      )
      return store(text, write, 0)
    })
    const append = Effect.suspend(() => {
      const text = lines(told)
      if (text === "") return Effect.void
      if (length + text.length > maxGrown) return rewrite
      return store(text, Effect.mapError(fs.writeFileString(path, text, { flag: "a", mode: 0o600 }), failed), length)
    })
    const flush = turn.withPermits(1)(Effect.uninterruptible(append))

    yield* Effect.uninterruptible(rewrite)
    return {
      entries: () => [...entries.values()],
      find,
      reserve: (entry) =>
        Effect.suspend(() => {
          entries.set(entry.digest, entry)
          told.delete(entry.digest)
          return flush
        }),
      wrote,
      flush
    }
  })

/** Keeps the entries in memory alone. */
export const makeMemory = (): PartialList => {
  const { entries, find, wrote } = state([])
  return {
    entries: () => [...entries.values()],
    find,
    reserve: (entry) => Effect.sync(() => void entries.set(entry.digest, entry)),
    wrote,
    flush: Effect.void
  }
}

/** Removes the list. */
export const remove = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void> =>
  Effect.zipRight(Resume.remove(fs, path), Resume.remove(fs, `${path}.new`))

// internal

const state = (start: ReadonlyArray<Entry>) => {
  const entries = new Map<Digest.Digest, Entry>(start.map((entry) => [entry.digest, entry]))
  return {
    entries,
    find: (digest: Digest.Digest) => entries.get(digest),
    wrote: (digest: Digest.Digest, bytes: number): void => {
      const entry = entries.get(digest)
      if (entry !== undefined) entries.set(digest, { ...entry, written: Math.min(bytes, entry.size) })
    }
  }
}

/** A day of progress lines is written anew at this size, as the few lines it comes to. */
const maxGrown = 4 * 1024 * 1024

const Bytes = Schema.Number.pipe(Schema.int(), Schema.between(0, Number.MAX_SAFE_INTEGER))
const Line = Schema.Union(
  Schema.Struct({ digest: Digest.Digest, written: Bytes }),
  Schema.Struct({ digest: Digest.Digest, size: Bytes, offset: Bytes })
)
const decodeLine = Schema.decodeUnknownOption(Schema.parseJson(Line))
