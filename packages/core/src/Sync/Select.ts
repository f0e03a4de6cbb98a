/** Which tag becomes which: what an entry takes from each of its repositories, before any image is looked at. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Reference from "../model/Reference.js"
import type { RegistryConfig } from "../RegistryConfig.js"
import type { RegistryError } from "../RegistryError.js"
import { type Issue, ValidationError } from "../ValidationError.js"
import * as Listing from "./Listing.js"
import * as Once from "./Once.js"
import { type Failed, failureOf, maxActions } from "./Plan.js"
import type { Rule } from "./Rule.js"

type Environment = HttpClient.HttpClient | RegistryConfig

/** One tag and what it becomes. */
export interface Pair {
  readonly flow: Flow
  readonly tag: string
  readonly targetTag: string
}

/** What one entry does with one repository. */
export interface Flow {
  readonly rule: Rule
  readonly source: Listing.Repository
  readonly target: Listing.Repository
  /** Everything that the source lists; `undefined` where nothing had to be listed. */
  readonly listed: Listing.Tags | undefined
}

export interface Selection {
  readonly rules: ReadonlyArray<Rule>
  readonly flows: ReadonlyArray<Flow>
  readonly pairs: ReadonlyArray<Pair>
  readonly failed: ReadonlyArray<Failed>
  readonly warnings: ReadonlyArray<string>
  /** Target repositories, or prefixes of them that end in `/`, of sources that could not be listed. */
  readonly unknown: ReadonlyArray<string>
}

/** Fails with `NameConflict` where two sources would get one name, or `TooLarge`. What cannot be listed is in `failed`. */
export const select = (
  rules: ReadonlyArray<Rule>,
  concurrency: number
): Effect.Effect<Selection, ValidationError, Environment> =>
  Effect.gen(function* () {
    const found = yield* Effect.forEach(rules, repositoriesOf, { concurrency })
    // Entries that take from the same repository share its list.
    const once = Once.make<Listing.Tags, RegistryError | ValidationError, Environment>()
    const list: ListTags = (repository, complete) =>
      once(`${repository.name} ${complete}`, Listing.tags(repository, complete))
    const places = found.flatMap(({ sources }) => sources)
    const opened = yield* Effect.forEach(places, (place) => open(place, list), { concurrency })
    const flows = opened.flatMap((each) => (each._tag === "Flow" ? [each] : []))
    const chosen = flows.flatMap(({ flow, names }) => names.map((name) => pairOf(flow, name)))
    const pairs = yield* distinct(chosen.flatMap((each) => (Either.isRight(each) ? [each.right] : [])))
    if (pairs.length > maxActions) {
      return yield* Effect.fail(
        ValidationError.of("TooLarge", "sync", `${pairs.length} tags are more than ${maxActions}`)
      )
    }
    return {
      rules,
      flows: flows.map(({ flow }) => flow),
      pairs,
      failed: [
        ...found.flatMap(({ failed }) => failed),
        ...opened.flatMap((each) => (each._tag === "Failed" ? [each.failed] : [])),
        ...chosen.flatMap((each) => (Either.isLeft(each) ? [each.left] : []))
      ],
      warnings: [
        ...found.flatMap(({ warnings }) => warnings),
        ...flows.flatMap(({ flow, names }) => (names.length === 0 ? [nothing(flow)] : []))
      ],
      unknown: [
        ...found.flatMap(({ unknown }) => unknown),
        ...opened.flatMap((each) => (each._tag === "Failed" ? [each.target] : []))
      ]
    }
  })

// internal

interface Place {
  readonly rule: Rule
  readonly source: Listing.Repository
  readonly target: Listing.Repository
}

type ListTags = typeof Listing.tags

interface Found {
  readonly sources: ReadonlyArray<Place>
  readonly failed: ReadonlyArray<Failed>
  readonly unknown: ReadonlyArray<string>
  readonly warnings: ReadonlyArray<string>
}

/** The repositories of a rule and where they go; a name that the rules break is a failure of that repository. */
const repositoriesOf = (rule: Rule): Effect.Effect<Found, ValidationError, Environment> =>
  Effect.gen(function* () {
    const { entry } = rule
    const sources = yield* Effect.either(Listing.sources(rule))
    if (Either.isLeft(sources)) {
      const unknown = yield* Effect.forEach(Option.toArray(rule.below), Listing.resolve)
      return {
        sources: [],
        failed: [{ action: "failed", from: entry.from, to: null, error: failureOf(sources.left) }],
        unknown: unknown.map(({ name }) => name.slice(0, -1)),
        warnings: []
      }
    }
    const placed = yield* Effect.forEach(sources.right, (source) =>
      Effect.either(
        Effect.gen(function* () {
          const target = yield* Listing.resolve(yield* rule.target(source.path))
          return { rule, source, target }
        }).pipe(
          Effect.mapError(
            (error): Failed => ({ action: "failed", from: source.name, to: null, error: failureOf(error) })
          )
        )
      )
    )
    return {
      sources: placed.flatMap((each) => (Either.isRight(each) ? [each.right] : [])),
      failed: placed.flatMap((each) => (Either.isLeft(each) ? [each.left] : [])),
      unknown: [],
      warnings: sources.right.length === 0 ? [`${rule.path}: no repository matches ${entry.from}`] : []
    }
  })

type Opened =
  | { readonly _tag: "Flow"; readonly flow: Flow; readonly names: ReadonlyArray<string> }
  | { readonly _tag: "Failed"; readonly failed: Failed; readonly target: string }

/** Lists the source's tags where that is needed, and chooses among them. */
const open = ({ rule, source, target }: Place, list: ListTags): Effect.Effect<Opened, never, Environment> => {
  const { entry, explicit, select } = rule
  const prunes = entry.prune === true
  if (explicit !== undefined && !prunes && entry.digestTags !== true) {
    return Effect.succeed({ _tag: "Flow", flow: { rule, source, target, listed: undefined }, names: explicit })
  }
  return list(source, prunes).pipe(
    Effect.map((listed): Opened => {
      // With prune, a tag of the list that is gone is one to delete, not one to miss.
      const names = explicit === undefined || prunes ? select([...listed.tags].sort()) : explicit
      return { _tag: "Flow", flow: { rule, source, target, listed }, names }
    }),
    Effect.catchAll((error: RegistryError | ValidationError) => {
      const failed: Failed = { action: "failed", from: source.name, to: target.name, error: failureOf(error) }
      return Effect.succeed<Opened>({ _tag: "Failed", failed, target: target.name })
    })
  )
}

const pairOf = (flow: Flow, tag: string): Either.Either<Pair, Failed> => {
  const targetTag = flow.rule.tags.apply(tag)
  if (Reference.isTag(targetTag)) return Either.right({ flow, tag, targetTag })
  const from = `${flow.source.name}:${tag}`
  const error = ValidationError.of(
    "InvalidReference",
    from,
    `would become ${JSON.stringify(targetTag)}, which is no tag`
  )
  return Either.left({ action: "failed", from, to: null, error: failureOf(error) })
}

const nothing = ({ listed, rule, source }: Flow): string =>
  listed === undefined || listed.tags.size === 0
    ? `${rule.path}: ${source.name} lists no tags`
    : `${rule.path}: none of the ${listed.tags.size} tags of ${source.name} is chosen`

/** Each target once: an entry that overlaps another in the very same thing adds nothing, anything else is a conflict. */
const distinct = (pairs: ReadonlyArray<Pair>): Effect.Effect<ReadonlyArray<Pair>, ValidationError> => {
  const owners = new Map<string, Pair>()
  const issues: Array<Issue> = []
  for (const pair of pairs) {
    const name = `${pair.flow.target.name}:${pair.targetTag}`
    const owner = owners.get(name)
    if (owner === undefined) owners.set(name, pair)
    else if (wayOf(owner) !== wayOf(pair)) {
      const both = [owner, pair].map(({ flow, tag }) => `${flow.source.name}:${tag} (${flow.rule.path})`).join(" and ")
      issues.push({ path: "", message: `both ${both} would become ${name}` })
    }
  }
  return issues.length === 0
    ? Effect.succeed([...owners.values()])
    : Effect.fail(
        new ValidationError({
          reason: "NameConflict",
          subject: "sync",
          issues: issues.slice(0, 20),
          hint: "narrow the tags of one of them, or rename"
        })
      )
}

/** Source and how it is copied, as one text. */
const wayOf = ({ flow: { rule, source }, tag }: Pair): string => {
  const { digestTags = false, platforms = [], referrers = false } = rule.entry
  return JSON.stringify([source.name, tag, digestTags, platforms, referrers])
}
