/**
 * Several files that appear in a certain order and cost few waits for the disk: all are written and forced to it at once, then
 * renamed one after the other, then the folders are forced to it at once.
 */
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs/promises"
import { dirname, join } from "node:path"
import * as Files from "./Files.js"

export type Entry =
  /** A small file, replaced as a whole. */
  | { readonly _tag: "Write"; readonly path: string; readonly data: string | Uint8Array }
  /** Another name for a complete file, perhaps one that is written before; what is already there stays. */
  | { readonly _tag: "Link"; readonly from: string; readonly path: string }

export const write = (path: string, data: string | Uint8Array): Entry => ({ _tag: "Write", path, data })

export const link = (from: string, path: string): Entry => ({ _tag: "Link", from, path })

/**
 * Within a step the files appear in the order given, so that a killed process leaves some of the first. A step appears only
 * once the one before it is on the disk, so that a power cut leaves no later one without it.
 */
export const commit = async (
  files: Files.Files,
  tmp: string,
  steps: ReadonlyArray<ReadonlyArray<Entry>>
): Promise<void> => {
  const staged = new Map<Entry, string>()
  try {
    await all(steps.flat(), async (entry) => {
      if (entry._tag === "Link") return
      const temporary = join(tmp, randomUUID())
      staged.set(entry, temporary)
      await Fs.writeFile(temporary, entry.data)
      await files.sync(temporary)
    })
    for (const step of steps) {
      const folders = new Set<string>()
      for (const entry of step) {
        for (const folder of await Files.makeFolder(dirname(entry.path))) folders.add(folder)
        const temporary = staged.get(entry)
        if (entry._tag === "Link") await files.name(entry.from, entry.path)
        else if (temporary !== undefined) await Fs.rename(temporary, entry.path)
        staged.delete(entry)
        folders.add(dirname(entry.path))
      }
      await syncFolders(files, [...folders])
    }
  } finally {
    await all([...staged.values()], (temporary) => Fs.rm(temporary, { force: true }))
  }
}

/** Removes files in this order, each gone from the disk before the next. Says of each whether it was there. */
export const remove = async (files: Files.Files, paths: ReadonlyArray<string>): Promise<ReadonlyArray<boolean>> => {
  const removed: Array<boolean> = []
  for (const [at, path] of paths.entries()) {
    removed.push(await Files.remove(path))
    const last = dirname(path) !== dirname(paths[at + 1] ?? "")
    if (last) await syncFolders(files, [dirname(path)])
  }
  return removed
}

/** Forces what was written by another to the disk; nothing that has to be waited for where it is there already. */
export const confirm = (files: Files.Files, paths: ReadonlyArray<string>): Promise<void> =>
  all(paths, (path) => Files.ifThere(files.sync(path))).then(() =>
    syncFolders(files, [...new Set(paths.map((path) => dirname(path)))])
  )

// internal

/** Unlike `Promise.all` it waits for every one also where one fails. */
const all = async <A>(items: ReadonlyArray<A>, run: (item: A) => Promise<unknown>): Promise<void> => {
  const results = await Promise.allSettled(items.map(run))
  for (const result of results) if (result.status === "rejected") throw result.reason
}

const syncFolders = (files: Files.Files, folders: ReadonlyArray<string>) =>
  all(folders, (folder) => Files.ifThere(files.syncFolder(folder)))
