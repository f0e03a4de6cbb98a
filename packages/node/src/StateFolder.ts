/**
 * Folders and small files that outlive the process. They say where uploads are and what was learned, so they are
 * private: mode 700 and 600, and what somebody else could have written is treated as not there. Nothing here fails:
 * what cannot be read is `undefined`, what cannot be written is `false`.
 */
import * as Crypto from "node:crypto"
import type { Stats } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PrivateFolder from "./PrivateFolder.js"

export interface Options {
  /** Made on demand. Default: `effect-registry` in the user's folder for this, as the XDG variables say. */
  readonly folder?: string | undefined
}

export interface SmallFile {
  readonly text: string
  readonly stats: Stats
}

/**
 * `$XDG_STATE_HOME/effect-registry`, by default in `~/.local/state`. Without a home folder it is relative, and
 * `privateFolder` refuses it. https://specifications.freedesktop.org/basedir-spec/0.8/
 */
export const stateHome: Effect.Effect<string> = Effect.suspend(() => home("XDG_STATE_HOME", ".local/state"))

/** `$XDG_CACHE_HOME/effect-registry`, by default in `~/.cache`; else as `stateHome`. */
export const cacheHome: Effect.Effect<string> = Effect.suspend(() => home("XDG_CACHE_HOME", ".cache"))

/**
 * The folder `name` in `root`, both made with mode 700 where they are missing. `undefined` where one of them is no
 * folder, belongs to somebody else, is reached by somebody else's symlink, may be written by others, or not by us.
 */
export const privateFolder = async (root: string, name: string): Promise<string | undefined> => {
  const folder = Path.join(root, name)
  return Path.isAbsolute(root) && (await isPrivate(root)) && (await isPrivate(folder)) ? folder : undefined
}

/** A regular file of at most `limit` bytes. Symlinks are not followed, and a FIFO does not block. */
export const read = async (path: string, limit: number): Promise<SmallFile | undefined> => {
  try {
    const file = await Fs.open(path, Fs.constants.O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      const stats = await file.stat()
      if (!stats.isFile() || stats.size > limit) return undefined
      // The size may grow after the check.
      const bytes = Buffer.alloc(stats.size)
      const { bytesRead } = await file.read(bytes, 0, stats.size, 0)
      return { text: bytes.toString("utf8", 0, bytesRead), stats }
    } finally {
      await file.close()
    }
  } catch {
    return undefined
  }
}

/** Makes a file, with mode 600, that must not exist. `durable`: it survives a power failure too. */
export const create = async (path: string, text: string, durable: boolean): Promise<boolean> => {
  try {
    const file = await Fs.open(path, "wx", 0o600)
    try {
      await file.writeFile(text)
      if (durable) await file.sync()
    } finally {
      await file.close()
    }
    return true
  } catch (error) {
    if (!isCode(error, "EEXIST")) await remove(path)
    return false
  }
}

/** Replaces a file, or leaves it as it was: whoever reads it finds the old or the new, whole. */
export const write = async (path: string, text: string, durable: boolean): Promise<boolean> => {
  const temporary = `${path}.${Crypto.randomUUID()}${temporarySuffix}`
  if (!(await create(temporary, text, durable))) return false
  if (await rename(temporary, path)) return true
  await remove(temporary)
  return false
}

/** A process that is killed may leave files with this end. */
export const temporarySuffix = ".tmp"

/** Removes those that are older than an hour: nobody writes at one file for so long. */
export const removeTemporary = async (folder: string): Promise<void> => {
  for (const name of await Fs.readdir(folder).catch((): Array<string> => [])) {
    const file = Path.join(folder, name)
    if (!name.endsWith(temporarySuffix)) continue
    const stats = await Fs.lstat(file).catch(() => undefined)
    if (stats !== undefined && Date.now() - stats.mtimeMs > 3_600_000) await remove(file)
  }
}

export const rename = (from: string, to: string): Promise<boolean> =>
  Fs.rename(from, to).then(
    () => true,
    () => false
  )

/** No matter whether it was there. */
export const remove = (path: string): Promise<void> => Fs.rm(path, { force: true }).catch(() => {})

/** Whether it is the error of a system call with this name. */
export const isCode = (error: unknown, code: string): boolean => PrivateFolder.codeOf(error) === code

// internal

// Windows has neither.
const O_NOFOLLOW = Fs.constants.O_NOFOLLOW ?? 0
const O_NONBLOCK = Fs.constants.O_NONBLOCK ?? 0

const home = (variable: string, otherwise: string): Effect.Effect<string> =>
  Effect.map(Effect.option(Config.string(variable)), (value) =>
    Path.join(
      Option.getOrElse(Option.filter(value, Path.isAbsolute), () => Path.join(homeFolder(), otherwise)),
      "effect-registry"
    )
  )

/** Empty for a user without one. */
const homeFolder = (): string => {
  try {
    return Os.homedir()
  } catch {
    return ""
  }
}

const isPrivate = async (folder: string): Promise<boolean> => {
  try {
    await PrivateFolder.make(folder)
    const link = await Fs.lstat(folder)
    if (link.isSymbolicLink() && !isOurs(link)) return false
    const stats = await Fs.stat(folder)
    if (!stats.isDirectory() || !isOurs(stats) || isWritableByOthers(stats)) return false
    await Fs.access(folder, Fs.constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Windows has no such owners; there the profile's access lists keep others out. */
const isOurs = ({ uid }: Stats): boolean => process.getuid === undefined || process.getuid() === uid

const isWritableByOthers = ({ mode }: Stats): boolean => process.getuid !== undefined && (mode & 0o022) !== 0
