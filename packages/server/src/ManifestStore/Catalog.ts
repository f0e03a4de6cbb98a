/** Which repositories hold a manifest: the folders are walked once, then changes are followed. */
import { opendir } from "node:fs/promises"
import { join } from "node:path"
import * as Files from "../storage/Files.js"
import { algorithms, type Layout } from "../storage/Layout.js"
import { byCodeUnit, including } from "./Records.js"

export interface Catalog {
  /** Sorted by code unit. */
  readonly repositories: () => Promise<ReadonlyArray<string>>
  /** Says whether a repository holds a manifest now. */
  readonly note: (repository: string, holds: boolean) => void
}

/** `visit` gets every repository that has a folder, as the folders are walked. */
export const make = (layout: Layout, visit: (repository: string) => Promise<void> = async () => {}): Catalog => {
  let known: ReadonlyArray<string> | undefined
  let walking: Promise<ReadonlyArray<string>> | undefined
  /** What was said while the folders are walked. */
  let said = new Map<string, boolean>()

  const apply = (names: ReadonlyArray<string>, repository: string, holds: boolean) => {
    return holds ? including(names, repository) : names.filter((name) => name !== repository)
  }
  const start = async () => {
    said = new Map()
    try {
      let names: ReadonlyArray<string> = [...(await walk(layout, visit))].sort(byCodeUnit)
      for (const [repository, holds] of said) names = apply(names, repository, holds)
      known = names
      return names
    } finally {
      walking = undefined
    }
  }
  return {
    repositories: async () => {
      if (known !== undefined) return known
      walking ??= start()
      return walking
    },
    note: (repository, holds) => {
      if (walking !== undefined) said.set(repository, holds)
      if (known !== undefined) known = apply(known, repository, holds)
    }
  }
}

/** Whether a repository holds a manifest: one entry is enough to know. */
export const holdsManifest = async (layout: Layout, repository: string): Promise<boolean> => {
  for (const algorithm of algorithms) {
    const folder = await Files.ifThere(opendir(layout.manifests(repository, algorithm), { bufferSize: 1 }))
    if (folder === undefined) continue
    try {
      if ((await folder.read()) !== null) return true
    } finally {
      await folder.close()
    }
  }
  return false
}

// internal

/** Every repository that has a folder, also those whose manifests are all gone; each is given to `visit` on the way. */
const walkFolders = async (
  layout: Layout,
  visit: (repository: string) => Promise<void>,
  prefix = ""
): Promise<void> => {
  const folders = (await Files.list(join(layout.repositories, prefix))).filter((entry) => entry.isDirectory())
  if (folders.some(({ name }) => name.startsWith("_"))) await visit(prefix)
  const inside = folders.filter(({ name }) => !name.startsWith("_"))
  // The names of a level are shared out among a few workers; below them it goes on one by one.
  const width = prefix === "" ? 8 : 1
  let next = 0
  const work = async () => {
    for (let at = next++; at < inside.length; at = next++) {
      const name = inside[at]?.name ?? ""
      await walkFolders(layout, visit, prefix === "" ? name : `${prefix}/${name}`)
    }
  }
  await Promise.all(Array.from({ length: width }, work))
}

const walk = async (layout: Layout, visit: (repository: string) => Promise<void>) => {
  const found: Array<string> = []
  await walkFolders(layout, async (repository) => {
    if (await holdsManifest(layout, repository)) found.push(repository)
    await visit(repository)
  })
  return found
}
