/** What is in the folder of the blobs, read from it: who holds what, and what nobody holds. */
import type { Dirent, Stats } from "node:fs"
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import { Digest } from "@effect-registry/core"
import type { Freed, Held, UnfinishedUpload } from "../BlobStore.js"
import * as Files from "../storage/Files.js"
import { algorithms, type Layout } from "../storage/Layout.js"
import * as Repositories from "../storage/Repositories.js"

/** Blobs of one repository. */
export const held = async (layout: Layout, repository: string): Promise<ReadonlyArray<Held>> => {
  const found: Array<Held> = []
  for (const algorithm of algorithms) {
    await forEachFile(layout.blobs(repository, algorithm), async (name, path) => {
      const digest = `${algorithm}:${name}`
      const stat = Digest.is(digest) ? await Files.ifThere(Fs.stat(path)) : undefined
      if (stat !== undefined && Digest.is(digest)) found.push({ digest, size: stat.size, touched: stat.mtimeMs })
    })
  }
  return found
}

/** Unfinished uploads of all repositories. */
export const uploads = async (layout: Layout): Promise<ReadonlyArray<UnfinishedUpload>> => {
  const found: Array<UnfinishedUpload> = []
  for (const repository of await Repositories.names(layout)) {
    await forEachFile(layout.uploads(repository), async (id, path) => {
      const stat = await Files.ifThere(Fs.stat(path))
      if (stat?.isFile() === true) found.push({ id, repository, size: stat.size, touched: stat.mtimeMs })
    })
  }
  return found
}

/** Repositories with a blob or an unfinished upload, sorted. */
export const repositories = async (layout: Layout): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const repository of await Repositories.names(layout)) {
    const own = [...algorithms.map((algorithm) => layout.blobs(repository, algorithm)), layout.uploads(repository)]
    for (const folder of own) {
      if ((await Files.list(folder)).length === 0) continue
      found.push(repository)
      break
    }
  }
  return found
}

/**
 * Frees shared files that have no other name and were not touched since `before`. A file that got another name meanwhile comes
 * back, so whoever takes a blob over at the same time keeps it.
 */
export const sweep = async (
  files: Files.Files,
  layout: Layout,
  { before, dryRun }: { readonly before: number; readonly dryRun: boolean }
): Promise<Freed> => {
  let [blobs, bytes] = [0, 0]
  for (const algorithm of algorithms) {
    await forEachFile(layout.contents(algorithm), async (_, path) => {
      const isFree = ({ mtimeMs, nlink }: Stats) => nlink === 1 && mtimeMs < before
      const stat = await Files.ifThere(Fs.stat(path))
      if (stat === undefined || !isFree(stat)) return
      if (!dryRun && !(await files.removeIf(path, isFree))) return
      blobs += 1
      bytes += stat.size
    })
  }
  return { blobs, bytes }
}

// internal

/** Some at a time, and never all names of a large folder in memory. */
const forEachFile = async (folder: string, run: (name: string, path: string) => Promise<void>): Promise<void> => {
  const entries = await Files.ifThere(Fs.opendir(folder, { bufferSize: 256 }))
  if (entries === undefined) return
  let some: Array<Dirent> = []
  const flush = async () => {
    await Promise.all(some.map(({ name }) => run(name, join(folder, name))))
    some = []
  }
  for await (const entry of entries) {
    some.push(entry)
    if (some.length === 16) await flush()
  }
  await flush()
}
