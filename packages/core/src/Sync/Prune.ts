/**
 * Which tags of the target go, because what they were made from is gone. Everything that is not certain keeps them: a
 * listing that failed, ended early, was empty or had odd names in it; rules that cannot be undone; another entry that may
 * own the tag; more deletions than `maxDelete` allows.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Reference from "../model/Reference.js"
import { isDigestTag } from "../model/TagFilter.js"
import type { RegistryConfig } from "../RegistryConfig.js"
import type { ValidationError } from "../ValidationError.js"
import { type Connections, headOf } from "./Compare.js"
import * as Listing from "./Listing.js"
import { type Delete, type Failed, failureOf, maxSources } from "./Plan.js"
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

/** A tag of the target and the tag that it was probably made from. */
export interface Orphan {
  readonly targetTag: string
  readonly tag: string
  /** All tags of the source that would become this one, `tag` among them, whether the filter takes them or not. */
  readonly sources: ReadonlyArray<string>
}

export interface Candidates {
  /** Tags of the target that the rule could have made. */
  readonly matching: number
  /** Those of them whose source is gone. */
  readonly orphans: ReadonlyArray<Orphan>
}

/** The tags that become this one and that the filter takes, as far as they can be told. */
export const sourcesOf = ({ matches, tags }: Rule, targetTag: string): ReadonlyArray<string> =>
  isDigestTag(targetTag) ? [] : tags.sources(targetTag).filter((tag) => Reference.isTag(tag) && matches(tag))

/** Whether the rule could have made the target's tag; where that cannot be told, it could. */
export const mayMake = (rule: Rule, targetTag: string): boolean =>
  !rule.tags.isComplete(targetTag) || sourcesOf(rule, targetTag).length > 0

/**
 * The tags that could go, from what source and target list. `owned`: what this sync makes, by any of its entries.
 * `others`: rules of entries with the same source and target.
 */
export const candidates = (
  rule: Rule,
  sourceTags: ReadonlySet<string>,
  targetTags: ReadonlySet<string>,
  owned: (targetTag: string) => boolean,
  others: ReadonlyArray<Rule> = []
): Candidates => {
  const renames = [rule, ...others].map(({ tags }) => tags)
  // A tag that any of the source's tags becomes is not gone, whether the filter takes it or not.
  const made = new Set([...sourceTags].flatMap((tag) => renames.map(({ apply }) => apply(tag))))
  let matching = 0
  const orphans: Array<Orphan> = []
  for (const targetTag of [...targetTags].sort()) {
    const own = sourcesOf(rule, targetTag)
    // The name that a rename turned into it, rather than the very same one, which any rename leaves alone.
    const tag = own.find((source) => source !== targetTag) ?? own[0]
    if (tag === undefined) continue
    matching += 1
    if (made.has(targetTag) || owned(targetTag) || renames.some((each) => !each.isComplete(targetTag))) continue
    const sources = [...new Set(renames.flatMap((each) => each.sources(targetTag).filter(Reference.isTag)))]
    if (sources.length <= maxSources) orphans.push({ targetTag, tag, sources })
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
    const rival = yield* Effect.either(rivalOf(flow, selection))
    if (Either.isLeft(rival)) return kept(flow, rival.left.message)
    if (Option.isSome(rival.right)) return kept(flow, rival.right.value)
    const there = yield* Effect.either(Listing.tagsIfAny(target))
    if (Either.isLeft(there)) {
      const failed: Failed = { action: "failed", from: source.name, to: target.name, error: failureOf(there.left) }
      return { actions: [failed], warnings: [] }
    }
    if (Option.isNone(there.right)) return { actions: [], warnings: [] }
    const others = selection.flows.filter((each) => each.target.name === target.name && each.rule !== rule)
    const sisters = others.filter((each) => each.source.name === source.name).map((each) => each.rule)
    const owned = ownership(flow, selection)
    const { matching, orphans } = candidates(rule, listed.tags, there.right.value.tags, owned, sisters)
    const { maxDelete } = rule.entry
    if (!isAllowed(orphans.length, matching, maxDelete)) {
      const limit = maxDelete ?? defaultMaxDelete
      return kept(flow, `${orphans.length} of ${matching} tags would go, and maxDelete is ${limit}`)
    }
    const looked = yield* Effect.forEach(orphans, (orphan) => deletion(flow, orphan, connections), { concurrency })
    return { actions: looked.flatMap(Option.toArray), warnings: [] }
  })

/**
 * Why another repository, though nothing lists it, may be what the target was made from: a catalog that leaves one out
 * would have its copies taken for this one's.
 */
const rivalOf = (
  { rule, source, target }: Flow,
  { flows, rules }: Selection
): Effect.Effect<Option.Option<string>, ValidationError, RegistryConfig> =>
  Effect.gen(function* () {
    const listed = new Set(flows.flatMap((flow) => (flow.target.name === target.name ? [flow.source.name] : [])))
    for (const other of rules) {
      if (other.source._tag === "Repository" || Option.isNone(other.below)) continue
      if ((yield* Listing.resolve(other.below.value)).host !== target.host) continue
      const { isComplete, paths } = other.reaching(target.path)
      const { host } = other.source
      const names = yield* Effect.forEach(paths, (repository) => Listing.resolve({ host, repository }))
      const rivals = names.map(({ name }) => name).filter((name) => name !== source.name)
      const [rival] = other === rule ? rivals : rivals.filter((name) => !listed.has(name))
      if (rival === undefined && isComplete) continue
      return Option.some(`${other.path} could make it from ${rival ?? "another repository"} as well`)
    }
    return Option.none()
  })

/** What other entries make, or may have made from another repository, in the same target. */
const ownership = ({ source, target }: Flow, { flows, pairs }: Selection): ((targetTag: string) => boolean) => {
  const made = new Set(pairs.filter(({ flow }) => flow.target.name === target.name).map(({ targetTag }) => targetTag))
  const others = flows.filter((other) => other.target.name === target.name && other.source.name !== source.name)
  return (targetTag) => made.has(targetTag) || others.some(({ rule }) => mayMake(rule, targetTag))
}

/** The deletion with the digest that the tag has now; `None` where it went by itself, or the source has what it did not list. */
const deletion = (
  { source, target }: Flow,
  { sources, tag, targetTag }: Orphan,
  connections: Connections
): Effect.Effect<Option.Option<Delete | Failed>, never, Environment> => {
  const names = { from: `${source.name}:${tag}`, to: `${target.name}:${targetTag}` }
  return Effect.gen(function* () {
    for (const each of sources) {
      if (Option.isSome(yield* headOf(connections, source, each))) return Option.none<Delete>()
    }
    const all = sources.map((each) => `${source.name}:${each}`)
    const there = yield* headOf(connections, target, targetTag)
    return Option.map(there, ({ digest }): Delete => ({ action: "delete", ...names, sources: all, digest }))
  }).pipe(
    Effect.catchAll((error) => Effect.succeedSome<Failed>({ action: "failed", ...names, error: failureOf(error) }))
  )
}
