/**
 * File operations that the stores are made of. A write is complete under its final name or not there at all; with `fsync` it
 * is also on the disk before the answer goes out. "Not there" is a value here, never an error.
 */
import { randomUUID } from "node:crypto"
import { constants, type Dirent } from "node:fs"
import * as Fs from "node:fs/promises"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import { StorageError } from "../StorageError.js"

export interface Files {
  /** A small file, replaced as a whole. */
  readonly write: (path: string, data: string | Uint8Array) => Promise<void>
  /** Another name for a complete file; what is already there under that name stays. */
  readonly link: (from: string, to: string) => Promise<void>
  /** Forces a file's bytes to the disk; nothing where `fsync` is off. */
  readonly sync: (path: string) => Promise<void>
}

export const make = (tmp: string, fsync: boolean): Files => {
  const sync = async (path: string) => {
    if (!fsync) return
    const handle = await Fs.open(path, constants.O_RDONLY)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
  // Windows cannot open a folder, and needs no such call.
  const syncFolder = (path: string) => (process.platform === "win32" ? Promise.resolve() : sync(path))
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
  return {
    sync,
    write: (path, data) => through(path, (temporary) => Fs.writeFile(temporary, data)),
    link: async (from, to) => {
      try {
        await inFolder(to, () => Fs.link(from, to))
        await syncFolder(dirname(to))
      } catch (cause) {
        const code = codeOf(cause)
        if (code === "EEXIST") return
        if (code === undefined || !noLinks.has(code)) throw cause
        await through(to, (temporary) => Fs.copyFile(from, temporary))
      }
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

/** The entries of a folder; none where there is no folder. */
export const list = async (path: string): Promise<ReadonlyArray<Dirent>> =>
  (await ifThere(Fs.readdir(path, { withFileTypes: true }))) ?? []

/** A small text file. */
export const readText = (path: string): Promise<string | undefined> => ifThere(Fs.readFile(path, "utf8"))

/** The size of a file in bytes. */
export const sizeOf = async (path: string): Promise<number | undefined> => (await ifThere(Fs.stat(path)))?.size

// internal

const codeOf = (cause: unknown): string | undefined =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined

// No hard links here (FAT, some network shares), another device, or too many links to one file.
const noLinks: ReadonlySet<string> = new Set(["EPERM", "EXDEV", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"])

// Folders are made when they turn out to be missing: they nearly always exist.
const inFolder = async (to: string, run: () => Promise<void>): Promise<void> => {
  try {
    await run()
  } catch (cause) {
    if (codeOf(cause) !== "ENOENT") throw cause
    await Fs.mkdir(dirname(to), { recursive: true })
    await run()
  }
}
