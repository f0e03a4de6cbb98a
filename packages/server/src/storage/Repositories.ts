/** The repositories of a folder, found by their folders: names hold slashes, so they lie in each other. */
import { join } from "node:path"
import * as Files from "./Files.js"
import type { Layout } from "./Layout.js"

/** Every repository that has a folder, also those whose manifests are all gone; each is given to `visit` on the way. */
export const walk = async (
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
      await walk(layout, visit, prefix === "" ? name : `${prefix}/${name}`)
    }
  }
  await Promise.all(Array.from({ length: width }, work))
}

/** Their names, sorted. */
export const names = async (layout: Layout): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  await walk(layout, async (repository) => void found.push(repository))
  return found.sort()
}
