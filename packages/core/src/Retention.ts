/**
 * Deleting the tags that nobody needs any more: old ones, all but the newest, those of a pattern. A plan says what goes
 * and what stays and why; applying it deletes exactly that, and nothing that has changed since.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Digest } from "./model/Digest.js"
import * as Reference from "./model/Reference.js"
import * as TagFilter from "./model/TagFilter.js"
import * as Client from "./Registry/Client.js"
import { type Connection, connect } from "./Registry/Connection.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import * as Apply from "./Retention/Apply.js"
import * as Choose from "./Retention/Choose.js"
import * as Graph from "./Retention/Graph.js"
import type { Kept, Plan, Rules } from "./Retention/Plan.js"
import * as Reach from "./Retention/Reach.js"
import * as Read from "./Retention/Read.js"
import { ValidationError } from "./ValidationError.js"

export type { Report } from "./Retention/Apply.js"
export { DeleteReason, Deletion, KeepReason, Kept, ManifestDeletion, Plan, Rules } from "./Retention/Plan.js"
export type { Outcome } from "./Retention/Removal.js"

type Environment = HttpClient.HttpClient | RegistryConfig

/** What goes: a tag for which all that is given here says so. At least one of the fields but `exclude` is needed. */
export interface Policy {
  /** Tags that match any of these globs. */
  readonly match?: string | ReadonlyArray<string> | undefined
  /** Tags that match as a whole; the syntax is Go's (RE2). */
  readonly regex?: string | undefined
  /** Tags that are versions within the range. */
  readonly semver?: string | undefined
  readonly includePrerelease?: boolean | undefined
  /** Tags that match any of these globs stay. */
  readonly exclude?: string | ReadonlyArray<string> | undefined
  /** All but the newest so many of the tags that match; 1 or more. Of the same age the higher tag counts as newer. */
  readonly keepLast?: number | undefined
  /** Tags whose image is older than this. */
  readonly olderThan?: Duration.DurationInput | undefined
  /**
   * Deletes the manifests too, where no tag that stays leads to them: with the children of an index, their referrers and
   * signatures. Default false: tags alone.
   */
  readonly manifests?: boolean | undefined
}

/**
 * What a policy comes to in a repository, without changing anything. An image is as old as its annotation
 * `org.opencontainers.image.created` says, else its config; an index without the annotation as its newest child. Where
 * `keepLast` or `olderThan` is given, a tag whose age is not known stays and is not counted among the newest: where none
 * is said, or a placeholder from before 1981, or a time in the future. Tags that are made of a digest (`sha256-…`) stay;
 * with `manifests` they go with the manifest they are about.
 *
 * Fails with a ValidationError: `InvalidConfig` with the fields that are wrong, `InvalidOption` where nothing says what
 * goes, a malformed repository; or with a RegistryError, also where the list of tags ends early.
 *
 * @example
 * ```ts
 * import { Retention } from "@effect-registry/core"
 * import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
 *
 * const program = Retention.plan("localhost:15000/team/app", { match: "pr-*", keepLast: 10, olderThan: "30 days" }).pipe(
 *   Effect.flatMap((plan) => Retention.apply(plan))
 * )
 * ```
 * @since 0.1.0
 */
export const plan = (
  repository: string | Reference.Reference,
  policy: Policy
): Effect.Effect<Plan, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const { filter, rules } = yield* rulesOf(policy)
    const connection = yield* connect(repository, Reference.parseRepository, "pull")
    const now = yield* Clock.currentTimeMillis
    const graph = yield* Graph.make(connection, now)
    const tags = yield* Read.tags(connection)
    const chosen = tags.filter(filter.matches)
    // Without manifests to delete it does not matter what the others name.
    const named = yield* Read.digests(connection, rules.manifests ? tags : chosen)
    const choice = Choose.choose(yield* candidates(connection, graph, chosen, named), rules, now)
    const others = tags.flatMap((tag) => (filter.matches(tag) || (rules.manifests && !named.has(tag)) ? [] : [tag]))
    const spared = others.map((tag) => ({
      tag,
      digest: named.get(tag) ?? null,
      created: null,
      reason: TagFilter.isDigestTag(tag) ? ("DigestTag" as const) : ("NotChosen" as const)
    }))
    const { manifests, ...rest } = yield* withManifests(connection, graph, rules, choice, spared)
    return {
      repository: Client.nameOf(connection.client, connection.repository),
      made: new Date(now).toISOString(),
      rules,
      ...rest,
      manifests
    }
  }).pipe(Effect.withSpan("effect-registry.Retention.plan"))

/**
 * Deletes what a plan says, and tells what became of each tag and manifest. A tag that names another digest by now stays
 * (`Changed`); one deletion that fails does not stop the others. A manifest stays where a tag has come to need it, or
 * where one that leads to it is still there.
 *
 * Fails with a RegistryError or ValidationError only before anything is deleted; later failures are in the report.
 *
 * @since 0.1.0
 */
export const apply = (plan: Plan): Effect.Effect<Apply.Report, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const connection = yield* connect(plan.repository, Reference.parseRepository, "pull", "push", "delete")
    return yield* Apply.apply(connection, plan, yield* Clock.currentTimeMillis)
  }).pipe(Effect.withSpan("effect-registry.Retention.apply"))

// internal

const rulesOf = (policy: Policy) =>
  Effect.gen(function* () {
    const { exclude, includePrerelease, keepLast, match, regex, semver } = policy
    const subject = "retention policy"
    const tags = {
      ...(match === undefined ? {} : { glob: match }),
      ...(regex === undefined ? {} : { regex }),
      ...(semver === undefined ? {} : { semver }),
      ...(includePrerelease === undefined ? {} : { includePrerelease }),
      ...(exclude === undefined ? {} : { exclude })
    }
    const olderThan = policy.olderThan === undefined ? undefined : Duration.toMillis(policy.olderThan)
    if ([match, regex, semver, keepLast, olderThan].every((field) => field === undefined)) {
      const hint = 'give at least one of match, regex, semver, keepLast and olderThan; match: "*" means every tag'
      return yield* Effect.fail(ValidationError.of("InvalidOption", subject, "nothing says which tags go", { hint }))
    }
    if (keepLast !== undefined && !(Number.isInteger(keepLast) && keepLast >= 1)) {
      return yield* Effect.fail(
        ValidationError.of("InvalidConfig", subject, "is a whole number from 1", { path: "keepLast" })
      )
    }
    if (olderThan !== undefined && !(Number.isFinite(olderThan) && olderThan > 0)) {
      return yield* Effect.fail(
        ValidationError.of("InvalidConfig", subject, "is no length of time", { path: "olderThan" })
      )
    }
    const rules: Rules = {
      ...(Object.keys(tags).length === 0 ? {} : { tags }),
      ...(keepLast === undefined ? {} : { keepLast }),
      ...(olderThan === undefined ? {} : { olderThan }),
      manifests: policy.manifests === true
    }
    return { filter: yield* Either.mapLeft(TagFilter.compile(tags, { subject }), asOfPolicy), rules }
  })

/** A policy calls its globs `match`. */
const asOfPolicy = ({ issues, reason, subject }: ValidationError): ValidationError =>
  new ValidationError({
    reason,
    subject,
    issues: issues.map(({ message, path }) => ({ path: path.replace(/^glob\b/, "match"), message }))
  })

/** The tags that are there, with their ages. */
const candidates = (
  { client }: Connection,
  graph: Graph.Graph,
  chosen: ReadonlyArray<string>,
  named: ReadonlyMap<string, Digest>
): Effect.Effect<ReadonlyArray<Choose.Candidate>, RegistryError> =>
  Effect.forEach(
    chosen.flatMap((tag) => {
      const digest = named.get(tag)
      return digest === undefined ? [] : [{ tag, digest }]
    }),
    ({ digest, tag }) =>
      Effect.gen(function* () {
        const created = yield* graph.created(digest)
        const node = yield* Effect.catchTag(graph.look(digest), "ValidationError", () => Effect.succeedNone)
        return { tag, digest, created, isThrowaway: Option.exists(node, ({ isThrowaway }) => isThrowaway) }
      }),
    { concurrency: client.config.concurrency }
  )

const withManifests = (
  connection: Connection,
  graph: Graph.Graph,
  rules: Rules,
  choice: Choose.Choice,
  spared: ReadonlyArray<Kept>
): Effect.Effect<Pick<Plan, "delete" | "keep" | "manifests">, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const keep = [...choice.keep, ...spared]
    if (!rules.manifests || choice.delete.length === 0) return { delete: choice.delete, keep, manifests: [] }
    const digestTags = new Map(
      spared.flatMap(({ digest, reason, tag }) => (reason === "DigestTag" && digest !== null ? [[tag, digest]] : []))
    )
    const kept = keep.flatMap(({ digest, tag }) => (digest === null || digestTags.has(tag) ? [] : [digest]))
    const going = choice.delete.map(({ digest }) => digest)
    const reached = yield* Reach.reach(connection, graph, { kept, going, digestTags })
    const alsoGoing = new Set(reached.digestTags)
    return {
      delete: [
        ...choice.delete,
        ...[...alsoGoing].flatMap((tag) => {
          const digest = digestTags.get(tag)
          return digest === undefined ? [] : [{ tag, digest, created: null, reason: "BelongsToDeleted" as const }]
        })
      ],
      keep: keep.filter(({ tag }) => !alsoGoing.has(tag)),
      manifests: reached.manifests
    }
  })
