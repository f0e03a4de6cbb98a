/** Keeps every `index.json` up to date, a little behind the changes: many changes of a repository cost one writing. */

import * as Index from "./Index.js"
import type { Layout } from "./Layout.js"

export interface IndexWriter {
  /** Something in the repository changes or has changed; with `now` it did so long ago, and nobody has to be awaited. */
  readonly touch: (repository: string, now?: "now") => void
  /** Writes what is outstanding now; ends when that is done. */
  readonly flush: () => Promise<void>
  /** Writes what can be written within two seconds, and then no more; the next start makes up for the rest. */
  readonly close: () => Promise<void>
}

export interface Options {
  readonly layout: Layout
  readonly read: (repository: string) => Promise<Index.Content>
  /** Gets what goes wrong; the repository is tried again at its next change, or the next start. */
  readonly onFailure: (repository: string, cause: unknown) => void
}

/** Written when the repository was left alone for this long, in milliseconds, … */
const quiet = 300
/** … and while it is not, this long after the first change, … */
const most = 3000
/** … or when twenty times as long as the last writing took has passed, so that it stays a twentieth of the work. */
const share = 20

export const make = ({ layout, onFailure, read }: Options): IndexWriter => {
  const due = new Map<string, { readonly latest: number; at: number }>()
  /** How long the last writing took, of those that take long. */
  const costs = new Map<string, number>()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let closed = false
  /** When a writing that began before must stop. */
  let deadline = Number.POSITIVE_INFINITY

  const touch: IndexWriter["touch"] = (repository, when) => {
    if (closed) return
    const now = Date.now()
    const cost = costs.get(repository) ?? 0
    const entry = due.get(repository) ?? { latest: now + Math.max(most, share * cost), at: 0 }
    entry.at = when === "now" ? now : Math.min(entry.latest, now + Math.max(quiet, share * cost))
    due.set(repository, entry)
    schedule()
  }

  const schedule = () => {
    if (timer !== undefined || running !== undefined || closed || due.size === 0) return
    timer = setTimeout(() => {
      timer = undefined
      run(Date.now())
    }, quiet / 3)
    // Nobody waits for it: a program that is done ends, and the next start makes up for it.
    timer.unref()
  }

  /** Writes what is due by then, one after the other. */
  const run = (until: number): Promise<void> => {
    running ??= writeAll(until).finally(() => {
      running = undefined
      schedule()
    })
    return running
  }

  const writeAll = async (until: number) => {
    for (const [repository, { at }] of [...due]) {
      if (at > until || Date.now() > deadline) continue
      due.delete(repository)
      const start = Date.now()
      try {
        await Index.write(layout, repository, () => read(repository))
      } catch (cause) {
        onFailure(repository, cause)
      }
      const cost = Date.now() - start
      if (cost > quiet / share) costs.set(repository, cost)
      else costs.delete(repository)
    }
  }

  const flush = async () => {
    await running
    await run(Number.POSITIVE_INFINITY)
  }

  return {
    touch,
    flush,
    close: async () => {
      deadline = Date.now() + 2000
      await flush()
      closed = true
      clearTimeout(timer)
    }
  }
}
