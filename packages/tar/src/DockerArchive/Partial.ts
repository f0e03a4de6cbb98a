/**
 * The file that an archive is written to before it gets its name. `<target>.ereg-partial`, with its list beside it, where
 * this process owns that name: then a run that is cut off leaves it for the next one. Else a file of this run alone.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import { ProcessLock } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Io from "../Io.js"
import * as Resume from "../Resume.js"
import type { TarReadError } from "../TarReadError.js"
import * as Members from "./Members.js"
import * as PartialList from "./PartialList.js"

export interface Partial {
  readonly path: string
  readonly file: FileSystem.File
  /** What lies in it, kept up to date for a later run where there may be one. */
  readonly list: PartialList.PartialList
  /** The permissions a new file gets here, where this one was made with fewer. */
  readonly mode: Option.Option<number>
  /** Says that the archive got its name: nothing is left for a later run, whatever comes. */
  readonly done: Effect.Effect<void>
}

type Opened<A = Partial> = Effect.Effect<A, TarReadError, Scope.Scope>

/** For the archive `target`. Without `resume`, what an earlier run left is removed, and nothing is left. */
export const open = (fs: FileSystem.FileSystem, target: string, resume: boolean): Opened =>
  Effect.gen(function* () {
    const name = `${target}${Resume.suffix}`
    const lock = yield* ProcessLock.ProcessLock
    if (!resume) {
      yield* Effect.scoped(Effect.flatMap(lock.acquire(name), (owned) => (owned ? discard(fs, name) : Effect.void)))
      return yield* fresh(fs, target)
    }
    if (!(yield* lock.acquire(name))) return yield* fresh(fs, target)
    // Somebody else's file may have one of the names.
    return yield* Effect.catchAll(lasting(fs, target, name), () => fresh(fs, target))
  })

/** `<target>.<random>.ereg-partial`, removed with the scope unless it was renamed. */
export const fresh = (fs: FileSystem.FileSystem, target: string): Opened =>
  Effect.gen(function* () {
    const path = `${target}.${crypto.randomUUID().slice(0, 8)}${Resume.suffix}`
    yield* Effect.addFinalizer(() => Resume.remove(fs, path))
    const file = yield* Effect.mapError(fs.open(path, { flag: "wx+" }), Io.writeError(target))
    return { path, file, list: PartialList.makeMemory(), mode: Option.none(), done: Effect.void }
  })

// internal

/** Progress is told to the list this often: what a killed process loses of a blob. */
const flushEvery = "50 millis"

/** What an earlier run left under the name, or a new file, open until the scope ends, which then keeps or removes it. */
const lasting = (fs: FileSystem.FileSystem, target: string, path: string): Opened =>
  Effect.gen(function* () {
    let list = PartialList.makeMemory()
    let isDone = false
    yield* Effect.addFinalizer((exit) => {
      const hasBytes = list.entries().some(({ written }) => written > 0)
      return !isDone && hasBytes && Resume.canGoOn(exit) ? Effect.ignore(list.flush) : discard(fs, path)
    })
    const { mode, uid } = yield* newFile(fs, target)
    const left = yield* takeOver(fs, path, uid)
    const file = Option.isSome(left) ? left.value.file : yield* renew(fs, target, path)
    const entries = Option.match(left, { onNone: () => [], onSome: (found) => found.entries })
    list = yield* PartialList.make(fs, listOf(path), entries)
    yield* Effect.forkScoped(Effect.interruptible(Effect.forever(Effect.delay(Effect.ignore(list.flush), flushEvery))))
    return {
      path,
      file,
      list,
      mode: Option.some(mode),
      done: Effect.sync(() => {
        isDone = true
      })
    }
  })

const listOf = (path: string): string => `${path}.json`

const discard = (fs: FileSystem.FileSystem, path: string): Effect.Effect<void> =>
  Effect.zipRight(PartialList.remove(fs, listOf(path)), Resume.remove(fs, path))

const renew = (fs: FileSystem.FileSystem, target: string, path: string) =>
  Effect.zipRight(
    discard(fs, path),
    Effect.mapError(fs.open(path, { flag: "wx+", mode: 0o600 }), Io.writeError(target))
  )

/** What is believed of what is there: the list says where things are, and the file must be that long. */
const takeOver = (fs: FileSystem.FileSystem, path: string, owner: Option.Option<number>) =>
  Effect.gen(function* () {
    const entries = yield* PartialList.read(fs, listOf(path))
    if (entries.length === 0 || !(yield* Members.areInLine(entries))) return Option.none()
    const opened = yield* Resume.reopen(fs, path, owner)
    if (Option.isNone(opened)) return Option.none()
    const { file, size } = opened.value
    const held = yield* Effect.forEach(entries, (entry) =>
      Effect.map(Members.dataOf(entry), (data) => ({
        ...entry,
        written: Math.min(entry.written, Math.max(0, size - data))
      }))
    )
    return Option.some({ file, entries: held })
  })

/** The permissions and the owner that a new file gets here; no other way tells them on every platform. */
const newFile = (fs: FileSystem.FileSystem, target: string) =>
  Effect.gen(function* () {
    const { file } = yield* fresh(fs, target)
    const { mode, uid } = yield* Effect.mapError(file.stat, Io.writeError(target))
    return { mode: mode & 0o777, uid }
  }).pipe(Effect.scoped)
