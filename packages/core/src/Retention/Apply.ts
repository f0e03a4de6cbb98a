/** Carrying out a plan: every tag is looked at again before it goes. */
import * as Array from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Digest } from "../model/Digest.js"
import * as Referrer from "../model/Referrer.js"
import type { Connection } from "../Registry/Connection.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Graph from "./Graph.js"
import type { Deletion, ManifestDeletion, Plan } from "./Plan.js"
import * as Reach from "./Reach.js"
import * as Read from "./Read.js"
import * as Removal from "./Removal.js"

type Outcome = Removal.Outcome

type Failure = RegistryError | ValidationError

export interface Report {
  /** `HOST/REPOSITORY`. */
  readonly repository: string
  /** In the order of the plan. */
  readonly tags: ReadonlyArray<{ readonly tag: string; readonly digest: Digest; readonly outcome: Outcome }>
  readonly manifests: ReadonlyArray<{ readonly digest: Digest; readonly outcome: Outcome }>
  /** Something failed. */
  readonly failed: boolean
}

/** Fails only before anything is deleted. */
export const apply = (connection: Connection, plan: Plan, now: number): Effect.Effect<Report, Failure> =>
  Effect.gen(function* () {
    const needed = plan.manifests.length === 0 ? new Set<Digest>() : yield* neededNow(connection, plan, now)
    const removal = yield* Removal.make(connection)
    const { concurrency } = connection.client.config
    const manifests = new Map<Digest, Outcome>()
    const tags = new Map<string, Outcome>()
    const isDone = (digest: Digest) => isGone(manifests.get(digest))
    const own = Array.groupBy(plan.delete, ({ digest }) => digest)
    for (const level of levels(plan.manifests)) {
      const removeManifest = ({ after, digest }: ManifestDeletion) =>
        Effect.gen(function* () {
          if (needed.has(digest) || !after.every(isDone)) return manifests.set(digest, { _tag: "Kept" })
          // They go with the digest: those that moved since the plan was made are a reason to leave it.
          const before = yield* Effect.forEach(own[digest] ?? [], (deletion) => lookAgain(connection, deletion))
          for (const { outcome, tag } of before) if (outcome !== undefined) tags.set(tag, outcome)
          const isDue = before.every(({ outcome }) => outcome === undefined || isGone(outcome))
          return manifests.set(digest, isDue ? yield* removal.manifest(digest) : { _tag: "Kept" })
        })
      yield* Effect.forEach(level, removeManifest, { concurrency, discard: true })
    }
    const subjects = new Set(
      plan.manifests.flatMap(({ digest }) => (isDone(digest) ? [Referrer.fallbackTag(digest)] : []))
    )
    const removeTag = (deletion: Deletion) =>
      Effect.gen(function* () {
        const { digest, reason, tag } = deletion
        if (reason === "BelongsToDeleted" && !subjects.has(Reach.keyOf(tag))) return tags.set(tag, { _tag: "Kept" })
        const { outcome } = yield* lookAgain(connection, deletion)
        if (outcome === undefined) return tags.set(tag, yield* removal.tag(tag))
        // Its manifest took it along.
        return tags.set(tag, isGone(outcome) && isDone(digest) ? { _tag: "Deleted" } : outcome)
      })
    const left = plan.delete.filter(({ tag }) => !tags.has(tag))
    yield* Effect.forEach(left, removeTag, { concurrency, discard: true })
    return report(plan, tags, manifests)
  })

// internal

const isGone = (outcome: Outcome | undefined): boolean => outcome?._tag === "Deleted" || outcome?._tag === "Gone"

/** What the tags lead to that came or moved since the plan was made. */
const neededNow = (connection: Connection, plan: Plan, now: number): Effect.Effect<ReadonlySet<Digest>, Failure> =>
  Effect.gen(function* () {
    const named = yield* Read.digests(connection, yield* Read.tags(connection))
    const planned = new Map([...plan.delete, ...plan.keep].map(({ digest, tag }) => [tag, digest]))
    const roots = [...named].flatMap(([tag, digest]) => (planned.get(tag) === digest ? [] : [digest]))
    return yield* Reach.neededBy(connection, yield* Graph.make(connection, now), roots)
  })

/** No outcome: the tag names what it named. */
const lookAgain = (connection: Connection, { digest, tag }: Deletion) =>
  Effect.map(Effect.either(Read.digest(connection, tag)), (found): { tag: string; outcome: Outcome | undefined } => {
    if (Either.isLeft(found)) return { tag, outcome: { _tag: "Failed", error: found.left } }
    if (Option.isNone(found.right)) return { tag, outcome: { _tag: "Gone" } }
    const now = found.right.value
    return { tag, outcome: now === digest ? undefined : { _tag: "Changed", digest: now } }
  })

/** Each manifest in a later level than all that lead to it. */
const levels = (manifests: ReadonlyArray<ManifestDeletion>): ReadonlyArray<ReadonlyArray<ManifestDeletion>> => {
  const depths = new Map<Digest, number>()
  for (const { after, digest } of manifests) {
    depths.set(
      digest,
      after.reduce((depth, before) => Math.max(depth, (depths.get(before) ?? 0) + 1), 0)
    )
  }
  // Numbers as keys come in ascending order.
  return Object.values(Array.groupBy(manifests, ({ digest }) => String(depths.get(digest) ?? 0)))
}

const report = (plan: Plan, tags: ReadonlyMap<string, Outcome>, manifests: ReadonlyMap<Digest, Outcome>): Report => ({
  repository: plan.repository,
  tags: plan.delete.map(({ digest, tag }) => ({ tag, digest, outcome: tags.get(tag) ?? { _tag: "Kept" } })),
  manifests: plan.manifests.map(({ digest }) => ({ digest, outcome: manifests.get(digest) ?? { _tag: "Kept" } })),
  failed: [...tags.values(), ...manifests.values()].some(({ _tag }) => _tag === "Failed")
})
