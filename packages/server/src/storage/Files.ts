/**
 * File operations that the stores are made of. A write is complete under its final name or not there at all; with `fsync` it
 * is also on the disk before the answer goes out. "Not there" is a value here, never an error.
 */
import { randomUUID } from "node:crypto"
import { constants, type Dirent, type Stats } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import * as Fs from "node:fs/promises"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import { StorageError } from "../StorageError.js"

export interface Files {
  /** A small file, replaced as a whole. */
  readonly write: (path: string, data: string | Uint8Array) => Promise<void>
  /** Another name for a complete file; what is already there under that name stays. */
  readonly link: (from: string, to: string) => Promise<void>
  /** The same, but the folder is not forced to the disk. `false` where something was there under that name. */
  readonly name: (from: string, to: string) => Promise<boolean>
  /**
   * Removes a file that is free, as it is once nobody reaches it under its name any more; else it comes back, so whoever takes it
   * in that moment keeps it. `false` where it is not free or not there. The folder is not forced to the disk.
   */
  readonly removeIf: (path: string, isFree: (stat: Stats) => boolean) => Promise<boolean>
  /** Forces a file or folder to the disk; nothing where `fsync` is off. Calls for one path that come together share the wait. */
  readonly sync: (path: string) => Promise<void>
  /** Forces the entries of a folder to the disk, where the system has such a call. */
  readonly syncFolder: (path: string) => Promise<void>
  /**
   * Begins to force what was written to an open file to the disk, so that `sync` has less to wait for. `undefined` where `fsync`
   * is off or another file is being forced: the disk does one thing at a time, and other work needs threads too.
   */
  readonly ahead: (handle: FileHandle) => Promise<void> | undefined
}

export const make = (tmp: string, fsync: boolean): Files => {
  const sync = fsync ? together(forceFile) : () => Promise.resolve()
  // Windows cannot open a folder, and needs no such call.
  const syncFolder = process.platform === "win32" ? () => Promise.resolve() : sync
  let isAhead = false

  // Folders are made when they turn out to be missing: they nearly always exist.
  const inFolder = async (to: string, run: () => Promise<void>): Promise<void> => {
    try {
      await run()
    } catch (cause) {
      if (codeOf(cause) !== "ENOENT") throw cause
      const changed = await makeFolder(dirname(to))
      await run()
      for (const folder of changed) await syncFolder(folder)
    }
  }
  const through = async (to: string, fill: (temporary: string) => Promise<void>) => {
    const temporary = join(tmp, randomUUID())
    try {
      await fill(temporary)
      await sync(temporary)
      await inFolder(to, () => Fs.rename(temporary, to))
      await syncFolder(dirname(to))
    } catch (cause) {
      await Fs.rm(temporary, { force: true })
      throw cause
    }
  }
  const name = async (from: string, to: string): Promise<boolean> => {
    try {
      await inFolder(to, () => Fs.link(from, to))
      return true
    } catch (cause) {
      const code = codeOf(cause)
      if (code === "EEXIST") return false
      if (code === undefined || !noLinks.has(code)) throw cause
      if ((await sizeOf(to)) !== undefined) return false
      await through(to, (temporary) => Fs.copyFile(from, temporary))
      return true
    }
  }
  return {
    sync,
    syncFolder,
    name,
    removeIf: async (path, isFree) => {
      const aside = join(tmp, randomUUID())
      if ((await ifThere(Fs.rename(path, aside).then(() => true))) === undefined) return false
      const gone = isFree(await Fs.stat(aside))
      if (!gone) await name(aside, path)
      await Fs.unlink(aside)
      return gone
    },
    write: (path, data) => through(path, (temporary) => Fs.writeFile(temporary, data)),
    link: async (from, to) => {
      await name(from, to)
      // Also where another one made it: that it is on the disk is not said before.
      await syncFolder(dirname(to))
    },
    ahead: (handle) => {
      if (!fsync || isAhead) return undefined
      isAhead = true
      return handle.datasync().finally(() => {
        isAhead = false
      })
    }
  }
}

/** An effect over promises. It cannot be interrupted halfway, so a client that leaves never stops a commit. */
export const attempt = <A>(operation: string, run: () => Promise<A>): Effect.Effect<A, StorageError> =>
  Effect.uninterruptible(Effect.tryPromise({ try: run, catch: (cause) => new StorageError({ operation, cause }) }))

/** The result, or `undefined` where the path does not exist. */
export const ifThere = async <A>(run: Promise<A>): Promise<A | undefined> => {
  try {
    return await run
  } catch (cause) {
    const code = codeOf(cause)
    if (code === "ENOENT" || code === "ENOTDIR") return undefined
    throw cause
  }
}

/** Whether there was something to remove. */
export const remove = async (path: string): Promise<boolean> =>
  (await ifThere(Fs.unlink(path).then(() => true))) ?? false

/** Says that a file is in use; `false` where it is not there. That the time cannot be set is no reason to fail. */
export const touch = async (path: string): Promise<boolean> => {
  const now = new Date()
  try {
    await Fs.utimes(path, now, now)
    return true
  } catch (cause) {
    return codeOf(cause) !== "ENOENT"
  }
}

/** The entries of a folder; none where there is no folder. */
export const list = async (path: string): Promise<ReadonlyArray<Dirent>> =>
  (await ifThere(Fs.readdir(path, { withFileTypes: true }))) ?? []

/** Makes a folder where it is missing; gives the folders whose entries changed by that. */
export const makeFolder = async (path: string): Promise<ReadonlyArray<string>> => {
  const first = await Fs.mkdir(path, { recursive: true })
  if (first === undefined) return []
  const changed: Array<string> = []
  for (let at = path; at.length >= first.length; at = dirname(at)) changed.push(dirname(at))
  return changed
}

/** A small text file. */
export const readText = (path: string): Promise<string | undefined> => ifThere(Fs.readFile(path, "utf8"))

/** The system's own code of an error, such as ENOENT. */
export const codeOf = (cause: unknown): string | undefined =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined

/** The size of a file in bytes. */
export const sizeOf = async (path: string): Promise<number | undefined> => (await ifThere(Fs.stat(path)))?.size

// internal

// No hard links here (FAT, some network shares), another device, or too many links to one file.
const noLinks: ReadonlySet<string> = new Set(["EPERM", "EXDEV", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"])

const forceFile = async (path: string): Promise<void> => {
  const handle = await Fs.open(path, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Whoever asks while it runs waits for one more run, and all of them for the same: what they did before is covered by it. */
const together = (run: (path: string) => Promise<void>): ((path: string) => Promise<void>) => {
  const running = new Map<string, { readonly now: Promise<void>; next: Promise<void> | undefined }>()
  const begin = (path: string): Promise<void> => {
    const now = run(path).finally(() => {
      if (running.get(path)?.next === undefined) running.delete(path)
    })
    running.set(path, { now, next: undefined })
    return now
  }
  return (path) => {
    const current = running.get(path)
    if (current === undefined) return begin(path)
    current.next ??= current.now.then(
      () => begin(path),
      () => begin(path)
    )
    return current.next
  }
}
