/**
 * Which tags of the target go, because what they were made from is gone. Everything that is not certain keeps them: a
 * listing that failed, ended early, was empty or had odd names in it; rules that cannot be undone; another entry that may
 * own the tag; more deletions than `maxDelete` allows.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { isDigestTag } from "../model/TagFilter.js"
import type { RegistryConfig } from "../RegistryConfig.js"
import { type Connections, headOf } from "./Compare.js"
import * as Listing from "./Listing.js"
import { type Delete, type Failed, failureOf } from "./Plan.js"
import type { Rule } from "./Rule.js"
import type { Flow, Selection } from "./Select.js"

type Environment = HttpClient.HttpClient | RegistryConfig

export interface Pruning {
  readonly actions: ReadonlyArray<Delete | Failed>
  readonly warnings: ReadonlyArray<string>
}

/** What the entries with `prune` delete. A target that cannot be listed is a failure; what is kept for safety a warning. */
export const prune = (
  selection: Selection,
  connections: Connections,
  concurrency: number
): Effect.Effect<Pruning, never, Environment> =>
  Effect.gen(function* () {
    const flows = selection.flows.filter(({ rule }) => rule.entry.prune === true)
    const all = yield* Effect.forEach(flows, (flow) => pruneFlow(flow, selection, connections, concurrency))
    // Entries that overlap find the same tag.
    const actions = new Map(all.flatMap(({ actions }) => actions).map((action) => [action.to ?? action.from, action]))
    return { actions: [...actions.values()], warnings: all.flatMap(({ warnings }) => warnings) }
  })

/** A tag of the target and the tag that it was made from. */
export interface Orphan {
  readonly targetTag: string
  readonly tag: string
}

export interface Candidates {
  /** Tags of the target that the rule could have made. */
  readonly matching: number
  /** Those of them whose source is gone. */
  readonly orphans: ReadonlyArray<Orphan>
}

/** Whether the rule makes this target tag of some tag, and which those are. */
export const sourcesOf = ({ matches, tags }: Rule, targetTag: string): ReadonlyArray<string> =>
  isDigestTag(targetTag) ? [] : tags.sources(targetTag).filter(matches)

/** The tags that could go, from what source and target list. `owned`: what this sync makes, by any of its entries. */
export const candidates = (
  rule: Rule,
  sourceTags: ReadonlySet<string>,
  targetTags: ReadonlySet<string>,
  owned: (targetTag: string) => boolean
): Candidates => {
  // A tag that any of the source's tags becomes is not gone, whether the filter takes it or not.
  const made = new Set([...sourceTags].map(rule.tags.apply))
  let matching = 0
  const orphans: Array<Orphan> = []
  for (const targetTag of [...targetTags].sort()) {
    const sources = sourcesOf(rule, targetTag)
    const [tag] = sources
    if (tag === undefined) continue
    matching += 1
    if (made.has(targetTag) || owned(targetTag) || sources.some((source) => sourceTags.has(source))) continue
    orphans.push({ targetTag, tag })
  }
  return { matching, orphans }
}

/** Whether so many may go of so many. */
export const isAllowed = (orphans: number, matching: number, maxDelete: number | string | undefined): boolean =>
  typeof maxDelete === "number"
    ? orphans <= maxDelete
    : orphans * 100 <= matching * Number.parseInt(maxDelete ?? defaultMaxDelete, 10)

// internal

const defaultMaxDelete = "50%"

const kept = (flow: Flow, why: string): Pruning => ({
  actions: [],
  warnings: [`${flow.rule.path}: nothing is pruned in ${flow.target.name}: ${why}`]
})

const pruneFlow = (
  flow: Flow,
  selection: Selection,
  connections: Connections,
  concurrency: number
): Effect.Effect<Pruning, never, Environment> =>
  Effect.gen(function* () {
    const { listed, rule, source, target } = flow
    if (listed === undefined || listed.tags.size === 0) return kept(flow, `${source.name} lists no tags`)
    if (!listed.sound) return kept(flow, `${source.name} lists names that are no tags`)
    if (
      selection.unknown.some((place) => (place.endsWith("/") ? target.name.startsWith(place) : target.name === place))
    ) {
      return kept(flow, "another source of it could not be listed")
    }
    const there = yield* Effect.either(Listing.tagsIfAny(target))
    if (Either.isLeft(there)) {
      const failed: Failed = { action: "failed", from: source.name, to: target.name, error: failureOf(there.left) }
      return { actions: [failed], warnings: [] }
    }
    if (Option.isNone(there.right)) return { actions: [], warnings: [] }
    const { matching, orphans } = candidates(rule, listed.tags, there.right.value.tags, ownership(flow, selection))
    const { maxDelete } = rule.entry
    if (!isAllowed(orphans.length, matching, maxDelete)) {
      const limit = maxDelete ?? defaultMaxDelete
      return kept(flow, `${orphans.length} of ${matching} tags would go, and maxDelete is ${limit}`)
    }
    const looked = yield* Effect.forEach(orphans, (orphan) => deletion(flow, orphan, connections), { concurrency })
    return { actions: looked.flatMap(Option.toArray), warnings: [] }
  })

/** What other entries make, or may have made from another repository, in the same target. */
const ownership = ({ source, target }: Flow, { flows, pairs }: Selection): ((targetTag: string) => boolean) => {
  const made = new Set(pairs.filter(({ flow }) => flow.target.name === target.name).map(({ targetTag }) => targetTag))
  const others = flows.filter((other) => other.target.name === target.name && other.source.name !== source.name)
  return (targetTag) => made.has(targetTag) || others.some(({ rule }) => sourcesOf(rule, targetTag).length > 0)
}

/** The deletion with the digest that the tag has now; `None` where it went by itself. */
const deletion = (
  { source, target }: Flow,
  { tag, targetTag }: Orphan,
  connections: Connections
): Effect.Effect<Option.Option<Delete | Failed>, never, Environment> => {
  const names = { from: `${source.name}:${tag}`, to: `${target.name}:${targetTag}` }
  return headOf(connections, target, targetTag).pipe(
    Effect.map(Option.map(({ digest }): Delete => ({ action: "delete", ...names, digest }))),
    Effect.catchAll((error) => Effect.succeedSome<Failed>({ action: "failed", ...names, error: failureOf(error) }))
  )
}
