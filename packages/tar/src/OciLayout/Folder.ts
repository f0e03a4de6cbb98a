/**
 * The folder of a layout while it is written to. A mark in it says that its layout was begun by us and is not complete:
 * then it is ours to go on with, and ours to remove.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import { type Digest, ProcessLock } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Io from "../Io.js"
import * as Resume from "../Resume.js"
import { TarReadError } from "../TarReadError.js"
import * as Blob from "./Blob.js"
import * as Symlinks from "./Symlinks.js"

export interface Folder {
  /** This run writes the blob; what it leaves of it goes with a failure for good. */
  readonly tries: (digest: Digest.Digest) => void
  /** Whether writers can own what others must not touch meanwhile. */
  readonly hasLocks: boolean
  /** The layout is complete. */
  readonly committed: Effect.Effect<void>
}

/**
 * Made where it is missing. When the scope ends without a layout in it, what was put there is removed, unless a later
 * run can go on with it or somebody else writes to it.
 */
export const open = (
  fs: FileSystem.FileSystem,
  path: string,
  resume: boolean
): Effect.Effect<Folder, TarReadError, Scope.Scope> =>
  Effect.gen(function* () {
    const failed = Io.writeError(path)
    const lock = yield* ProcessLock.ProcessLock
    const existed = yield* Effect.mapError(fs.exists(path), failed)
    const isNew = !existed || (yield* check(fs, path))
    const presence = yield* Scope.make()
    const tried = new Set<Digest.Digest>()
    let committed = false
    yield* Effect.addFinalizer((exit) =>
      Effect.gen(function* () {
        yield* Scope.close(presence, Exit.void)
        const isFinished = committed || (yield* Effect.orElseSucceed(fs.exists(`${path}/index.json`), () => true))
        if (resume && !committed && Resume.canGoOn(exit) && (!isNew || (yield* holdsBytes(fs, path)))) return
        const isOurs = (name: string) => [...tried].some((each) => name === Blob.partialName(each))
        yield* sweep(fs, lock, path, committed || isNew || !resume ? () => true : isOurs)
        if (isFinished) yield* Resume.remove(fs, `${path}/${mark}`)
        else if (isNew && !(yield* isInUse(fs, path))) {
          for (const each of existed ? [`${path}/blobs`, `${path}/oci-layout`] : [path]) {
            yield* Effect.ignore(fs.remove(each, { recursive: true, force: true }))
          }
        }
      })
    )
    yield* Effect.mapError(fs.makeDirectory(`${path}/blobs/sha256`, { recursive: true }), failed)
    yield* Symlinks.refuse(fs, path, ["blobs", "blobs/sha256", "index.json", "oci-layout"])
    if (isNew) yield* Effect.mapError(fs.writeFile(`${path}/${mark}`, new Uint8Array(0)), failed)
    // Seen by everybody who would remove the folder.
    const writer = `${path}/blobs/.writer-${crypto.randomUUID()}${Resume.suffix}`
    const hasLocks = yield* Scope.extend(lock.acquire(writer), presence)
    return {
      hasLocks,
      tries: (digest) => void tried.add(digest),
      committed: Effect.sync(() => {
        committed = true
      })
    }
  })

// internal

const mark = `blobs/${Resume.suffix}`
/** What only one process at a time may have, and the lock that says who has it. */
const owned = /^(\.(?:sha256|sha512|writer)-[0-9a-f-]+\.ereg-partial)(?:\.lock)?$/

/** What is there must be a layout, or empty, or one that was begun by us: whether it is no layout yet. */
const check = (fs: FileSystem.FileSystem, path: string): Effect.Effect<boolean, TarReadError> =>
  Effect.gen(function* () {
    const info = yield* Effect.mapError(fs.stat(path), Io.readError(path))
    if (info.type !== "Directory") {
      return yield* Effect.fail(new TarReadError({ reason: "NotADirectory", path, detail: "exists and is no folder" }))
    }
    const entries = yield* Effect.mapError(fs.readDirectory(path), Io.readError(path))
    if (entries.length === 0) return true
    if (entries.includes("index.json")) return false
    yield* Symlinks.refuse(fs, path, ["blobs", mark])
    const isBegun = entries.includes("blobs") && entries.every((name) => name === "blobs" || name === "oci-layout")
    if (isBegun && ((yield* isBare(fs, path)) || (yield* namesIn(fs, `${path}/blobs`)).includes(Resume.suffix)))
      return true
    if (entries.includes("oci-layout")) return false
    const detail = "exists, is not empty and is no OCI layout"
    return yield* Effect.fail(
      new TarReadError({ reason: "TargetExists", path, detail, hint: "name a new or empty folder" })
    )
  })

/** Whether somebody is about to begin in it: the mark comes next. */
const isBare = (fs: FileSystem.FileSystem, path: string): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const names = yield* namesIn(fs, `${path}/blobs`)
    return names.every((name) => name === "sha256") && (yield* namesIn(fs, `${path}/blobs/sha256`)).length === 0
  })

/** The names in a folder below the layout; none where it cannot be read. */
const namesIn = (fs: FileSystem.FileSystem, folder: string) =>
  Effect.orElseSucceed(fs.readDirectory(folder), (): ReadonlyArray<string> => [])

/** Removes what earlier runs left and nobody owns. */
const sweep = (
  fs: FileSystem.FileSystem,
  lock: ProcessLock.Service,
  path: string,
  isMeant: (name: string) => boolean
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const names = new Set((yield* namesIn(fs, `${path}/blobs`)).flatMap((name) => owned.exec(name)?.[1] ?? []))
    for (const name of names) {
      if (!isMeant(name)) continue
      const full = `${path}/blobs/${name}`
      yield* Effect.scoped(
        Effect.flatMap(lock.acquire(full), (isOwner) => (isOwner ? Resume.remove(fs, full) : Effect.void))
      )
    }
  })

/** Whether somebody else is in the middle of writing a blob, or about to. */
const isInUse = (fs: FileSystem.FileSystem, path: string): Effect.Effect<boolean> =>
  Effect.map(namesIn(fs, `${path}/blobs`), (names) =>
    names.some((name) => name !== Resume.suffix && /\.(?:ereg-partial|lock)(?:\.|$)/.test(name))
  )

/** Whether there is a blob, or a part of one, for a later run. */
const holdsBytes = (fs: FileSystem.FileSystem, path: string): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    for (const algorithm of ["sha256", "sha512"]) {
      if ((yield* namesIn(fs, `${path}/blobs/${algorithm}`)).length > 0) return true
    }
    const parts = (yield* namesIn(fs, `${path}/blobs`)).filter((name) => /^\.sha.*\.ereg-partial$/.test(name))
    const sizes = yield* Effect.forEach(parts, (name) =>
      Effect.orElseSucceed(
        Effect.map(fs.stat(`${path}/blobs/${name}`), ({ size }) => Number(size)),
        () => 0
      )
    )
    return sizes.some((size) => size > 0)
  })
