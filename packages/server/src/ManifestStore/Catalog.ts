/** Which repositories hold a manifest: the folders are walked once, then changes are followed. */
import { opendir } from "node:fs/promises"
import { byCodeUnit } from "../ManifestStore.js"
import * as Files from "../storage/Files.js"
import { algorithms, type Layout } from "../storage/Layout.js"
import * as Repositories from "../storage/Repositories.js"
import { including } from "./Records.js"

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

const walk = async (layout: Layout, visit: (repository: string) => Promise<void>) => {
  const found: Array<string> = []
  await Repositories.walk(layout, async (repository) => {
    if (await holdsManifest(layout, repository)) found.push(repository)
    await visit(repository)
  })
  return found
}
