/** Which tags go, from what is known of each. Nothing is read here. */
import * as Option from "effect/Option"
import * as Order from "effect/Order"
import type { Digest } from "../model/Digest.js"
import * as TagVersion from "../model/TagVersion.js"
import type { Deletion, KeepReason, Kept, Rules } from "./Plan.js"

/** A tag that the rules are about. */
export interface Candidate {
  readonly tag: string
  readonly digest: Digest
  readonly created: Option.Option<number>
  readonly isThrowaway: boolean
}

export interface Choice {
  readonly delete: ReadonlyArray<Deletion>
  readonly keep: ReadonlyArray<Kept>
}

/** A tag goes only where every rule says so; the first that does not is its reason to stay. */
export const choose = (candidates: ReadonlyArray<Candidate>, rules: Rules, now: number): Choice => {
  const newest = new Set(newestFirst(candidates).slice(0, rules.keepLast ?? 0))
  const decided = candidates.map((candidate) => ({ candidate, kept: keepReason(candidate, rules, newest, now) }))
  return {
    delete: decided
      .flatMap(({ candidate, kept }) => (kept === undefined ? [candidate] : []))
      .sort(Order.mapInput(Order.number, ({ created }) => Option.getOrElse(created, () => 0)))
      .map((candidate) => ({ ...described(candidate), reason: candidate.isThrowaway ? "Unfinished" : "Rules" })),
    keep: decided.flatMap(({ candidate, kept }) =>
      kept === undefined ? [] : [{ ...described(candidate), reason: kept }]
    )
  }
}

// internal

const keepReason = (
  candidate: Candidate,
  { keepLast, olderThan }: Rules,
  newest: ReadonlySet<Candidate>,
  now: number
): KeepReason | undefined => {
  if (candidate.isThrowaway) return undefined
  if (keepLast === undefined && olderThan === undefined) return undefined
  if (Option.isNone(candidate.created)) return "UnknownAge"
  if (newest.has(candidate)) return "KeepLast"
  return olderThan !== undefined && now - candidate.created.value <= olderThan ? "TooYoung" : undefined
}

/** Without those whose age is unknown: they stay anyway, and take nobody's place. Of the same age, the higher tag first. */
const newestFirst = (candidates: ReadonlyArray<Candidate>): ReadonlyArray<Candidate> => {
  const place = new Map(TagVersion.highestFirst(candidates.map(({ tag }) => tag)).map((tag, index) => [tag, index]))
  return candidates
    .flatMap((candidate) =>
      Option.isSome(candidate.created) && !candidate.isThrowaway
        ? [{ candidate, created: candidate.created.value, place: place.get(candidate.tag) ?? 0 }]
        : []
    )
    .sort((a, b) => b.created - a.created || a.place - b.place)
    .map(({ candidate }) => candidate)
}

const described = ({ created, digest, tag }: Candidate) => ({
  tag,
  digest,
  created: Option.getOrNull(Option.map(created, (milliseconds) => new Date(milliseconds).toISOString()))
})
