/** When manifests were last asked for: whoever was told that one is there can rely on it for a while. */
import * as Fs from "node:fs/promises"
import type { Digest } from "@effect-registry/core"
import { touchEvery } from "../BlobStore.js"
import * as Files from "../storage/Files.js"
import type { Layout } from "../storage/Layout.js"

export interface Asked {
  /** Notes that somebody asks now. What comes back has to be awaited first: the manifest is just being removed. */
  readonly note: (repository: string, digest: Digest.Digest) => Promise<unknown> | undefined
  /** Removes unless the manifest was pushed or asked for at `before` or later; `false` then. */
  readonly remove: (
    repository: string,
    digest: Digest.Digest,
    before: number | undefined,
    remove: () => Promise<boolean>
  ) => Promise<boolean>
}

/** As many are remembered; of the others the file knows it. */
const most = 20_000

interface Times {
  asked: number
  readonly written: number
}

export const make = (layout: Layout): Asked => {
  const known = new Map<string, Times>()
  const removing = new Map<string, Promise<unknown>>()

  return {
    note: (repository, digest) => {
      const key = `${repository}@${digest}`
      const now = Date.now()
      const times = known.get(key)
      if (times !== undefined && now - times.written < touchEvery) times.asked = now
      else {
        if (known.size >= most) known.clear()
        known.set(key, { asked: now, written: now })
        // Nobody waits for it: until it is there we remember.
        void Files.touch(layout.blob(repository, digest))
      }
      return removing.get(key)
    },

    remove: async (repository, digest, before, remove) => {
      if (before === undefined) return remove()
      const stat = await Files.ifThere(Fs.stat(layout.blob(repository, digest)))
      const key = `${repository}@${digest}`
      if (Math.max(stat?.mtimeMs ?? 0, known.get(key)?.asked ?? 0) >= before) return false
      // From here on whoever asks waits, without a moment in between.
      const removed = remove().finally(() => removing.delete(key))
      removing.set(
        key,
        removed.catch(() => {})
      )
      return removed
    }
  }
}
