/**
 * Who owns a folder: whoever wrote the file with the highest number in its `control` folder. That file is never removed, only
 * replaced by one with the next number, which a single process can make; so two that both find the owner gone cannot both become
 * the next one. An owner that ends says so in its file.
 */
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import * as Files from "../storage/Files.js"
import type { Record } from "./Owner.js"

/** A record with its number. */
export interface Latest extends Record {
  readonly number: number
}

export const folderOf = (root: string): string => join(root, "control")

const pathOf = (root: string, number: number): string => join(folderOf(root), `${number}.json`)

/** Who may own the folder now. */
export const latest = async (root: string): Promise<Latest | undefined> => {
  for (;;) {
    const number = Math.max(0, ...(await numbers(root)))
    if (number === 0) return undefined
    const path = pathOf(root, number)
    const found = await Files.ifThere(Promise.all([Fs.readFile(path, "utf8"), Fs.stat(path)]))
    // Otherwise the next owner has just cleared it away.
    if (found !== undefined) return { number, text: found[0], beatAt: found[1].mtimeMs }
  }
}

/** Makes the record with that number; `false` where another process was faster. */
export const claim = async (root: string, number: number, text: string): Promise<boolean> => {
  await Fs.mkdir(folderOf(root), { recursive: true, mode: 0o700 })
  const path = pathOf(root, number)
  const made = await withDraft(root, text, (draft) => place(draft, path, text))
  if (!made) return false
  // A process that slept since it looked may find the number free again, though others came and went.
  if (Math.max(...(await numbers(root))) !== number) {
    await Files.remove(path)
    return false
  }
  for (const { name } of await Files.list(folderOf(root))) {
    if (name !== `${number}.json` && (numberOf(name) ?? 0) < number) await Files.remove(join(folderOf(root), name))
  }
  return true
}

/** Replaces the record. */
export const rewrite = (root: string, number: number, text: string): Promise<void> =>
  withDraft(root, text, (draft) => Fs.rename(draft, pathOf(root, number)))

/** Shows that the owner is alive; `false` where the folder has another owner. */
export const beat = async (root: string, number: number): Promise<boolean> => {
  const now = new Date()
  await Files.ifThere(Fs.utimes(pathOf(root, number), now, now))
  return Math.max(0, ...(await numbers(root))) <= number
}

// internal

const numberOf = (name: string): number | undefined => {
  const found = /^([1-9][0-9]{0,14})\.json$/.exec(name)?.[1]
  return found === undefined ? undefined : Number(found)
}

const numbers = async (root: string): Promise<ReadonlyArray<number>> =>
  (await Files.list(folderOf(root))).flatMap(({ name }) => numberOf(name) ?? [])

/** A complete file that only its owner can read: it holds the secret. */
const withDraft = async <A>(root: string, text: string, use: (draft: string) => Promise<A>): Promise<A> => {
  const draft = join(folderOf(root), `${randomUUID()}.draft`)
  const handle = await Fs.open(draft, "wx", 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  try {
    await asOwnerOf(root, folderOf(root), draft)
    return await use(draft)
  } finally {
    await Fs.rm(draft, { force: true })
  }
}

const place = async (draft: string, path: string, text: string): Promise<boolean> => {
  try {
    await Fs.link(draft, path)
    return true
  } catch (cause) {
    // A draft that is gone was cleared away by the new owner.
    if (isCode(cause, "EEXIST", "ENOENT")) return false
  }
  // No hard links here. For a moment others find a file that says nothing, and wait to see what comes of it.
  try {
    await Fs.writeFile(path, text, { flag: "wx", mode: 0o600 })
    return true
  } catch (cause) {
    if (isCode(cause, "EEXIST")) return false
    throw cause
  }
}

/** What the administrator makes in somebody's folder would lock that one out. */
const asOwnerOf = async (root: string, ...paths: ReadonlyArray<string>): Promise<void> => {
  if (process.getuid?.() !== 0) return
  const { gid, uid } = await Fs.stat(root)
  for (const path of paths) await Fs.chown(path, uid, gid)
}

const isCode = (cause: unknown, ...codes: ReadonlyArray<string>): boolean =>
  cause instanceof Error && "code" in cause && codes.some((code) => code === cause.code)
