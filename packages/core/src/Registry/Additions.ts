/**
 * What a run adds to the lists of referrers that clients keep. A list is replaced as a whole, so what a run writes waits,
 * and each list is written once: before a tag becomes visible, and when the run is done. A run that is cut off in between
 * leaves manifests that are not listed; the next one writes every referrer again, also those that are there.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import type { Manifest } from "../model/Manifest.js"
import * as Referrer from "../model/Referrer.js"
import * as Progress from "../Progress.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Client from "./Client.js"
import type { Listed } from "./Manifest.js"
import * as Referrers from "./Referrers.js"
import * as ReferrersTag from "./ReferrersTag.js"

const maxSettleTime = 5000

export interface Additions {
  /**
   * Has a manifest that was just written listed among the referrers of its subject, unless the registry does that.
   * `listed` is what the registry said of each write.
   */
  readonly add: (manifest: Manifest, listed: ReadonlyArray<Listed>) => Effect.Effect<void>
  /**
   * Writes the lists that lack something. Fails with a ValidationError where a list should be under a tag, and the tag has
   * something else.
   */
  readonly write: Effect.Effect<void, RegistryError | ValidationError>
}

/**
 * The additions of a run that is about to begin. Closing its scope after a success writes what is left, and looks at the lists
 * again, a while after the last write, for what another process has overwritten. What cannot be confirmed was written all
 * the same, so that is a warning and no failure.
 */
export const make = (client: Client.Client, repository: string): Effect.Effect<Additions, never, Scope.Scope> =>
  Effect.gen(function* () {
    const waiting = new Map<Digest, Waiting>()
    const written = new Map<Digest, Map<Digest, Descriptor>>()
    let lastWrite = 0
    let settle = ReferrersTag.settleTime
    const { concurrency } = client.config

    const writeList = (subject: Digest, entries: Waiting) =>
      Effect.gen(function* () {
        const all = [...entries.values()]
        const isOurs = all.some(({ unlisted }) => unlisted) || !(yield* Referrers.isKept(client, repository, subject))
        if (isOurs) {
          const wanted = all.map(({ descriptor }) => descriptor)
          const [took] = yield* Effect.timed(ReferrersTag.add(client, repository, subject, wanted))
          lastWrite = yield* Clock.currentTimeMillis
          settle = Math.max(settle, Math.min(maxSettleTime, 2 * Duration.toMillis(took)))
          const before = written.get(subject) ?? new Map<Digest, Descriptor>()
          for (const descriptor of wanted) before.set(descriptor.digest, descriptor)
          written.set(subject, before)
        }
        for (const { descriptor } of all) entries.delete(descriptor.digest)
        if (entries.size === 0) waiting.delete(subject)
      })
    const write = Effect.suspend(() =>
      Effect.forEach([...waiting], ([subject, entries]) => writeList(subject, entries), { concurrency, discard: true })
    )
    const confirm = Effect.gen(function* () {
      if (written.size === 0) return
      yield* Effect.sleep(Math.max(0, lastWrite + settle - (yield* Clock.currentTimeMillis)))
      yield* Effect.forEach(
        written,
        ([subject, entries]) => ReferrersTag.confirm(client, repository, subject, [...entries.values()], settle),
        { concurrency, discard: true }
      )
    })
    const warn = (error: RegistryError | ValidationError) =>
      Effect.map(Progress.Progress, (progress) => {
        const message = `the lists of referrers in ${Client.nameOf(client, repository)} may lack some: ${error.message}`
        progress.emit({ _tag: "Warning", message })
      })
    yield* Effect.addFinalizer((exit) =>
      Exit.isFailure(exit) ? Effect.void : Effect.catchAll(Effect.interruptible(Effect.zipRight(write, confirm)), warn)
    )
    return {
      add: (manifest, listed) =>
        Effect.sync(() => {
          const subject = Referrer.subjectOf(manifest)
          if (subject === undefined || listed.includes("yes")) return
          const entries: Waiting = waiting.get(subject.digest) ?? new Map()
          const descriptor = Referrer.describe(manifest)
          waiting.set(subject.digest, entries.set(descriptor.digest, { descriptor, unlisted: listed.includes("no") }))
        }),
      write
    }
  })

// internal

/**
 * Entries that have to be on a list. `unlisted`: the registry has said that it does not keep the list; it says nothing where
 * nothing was written, or the answer was lost, and has to be asked then.
 */
type Waiting = Map<Digest, { readonly descriptor: Descriptor; readonly unlisted: boolean }>
