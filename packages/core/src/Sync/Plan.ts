/** What a sync is going to do, as a value that can be shown, kept as JSON and applied later. */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { Digest } from "../model/Digest.js"
import * as Json from "../model/Json.js"
import * as Platform from "../model/Platform.js"
import * as Reference from "../model/Reference.js"
import { isDigestTag } from "../model/TagFilter.js"
import { type Issue, ValidationError } from "../ValidationError.js"

/** A plan can have this many actions; more have to be several syncs. */
export const maxActions = 100_000

/** A deletion with more tags to look for is none. */
export const maxSources = 256

const Bytes = Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER))

/** What went wrong, in the fields that an error of the library has. */
export const Failure = Schema.Struct({
  tag: Schema.String,
  reason: Schema.String,
  message: Schema.String,
  hint: Schema.NullOr(Schema.String)
})
export type Failure = typeof Failure.Type

/** An image goes to a tag that is not there (`copy`), or that names something else or lacks referrers (`update`). */
export const Transfer = Schema.Struct({
  action: Schema.Literal("copy", "update"),
  /** `HOST/REPOSITORY:TAG@DIGEST`. */
  from: Schema.String,
  /** `HOST/REPOSITORY:TAG`. */
  to: Schema.String,
  /** Of what the target gets: that of the source, but where several platforms are selected. */
  digest: Digest,
  /** What the target's tag names now; `null` for a `copy`. */
  replaces: Schema.NullOr(Digest),
  /** Blobs to be moved, at most: those that no image known to be in the target's repository names. Without referrers. */
  bytes: Bytes,
  platforms: Schema.Array(Schema.String),
  referrers: Schema.Boolean,
  digestTags: Schema.Boolean
})
export type Transfer = typeof Transfer.Type

/** The target has it. */
export const Equal = Schema.Struct({
  action: Schema.Literal("equal"),
  from: Schema.String,
  to: Schema.String,
  digest: Digest
})
export type Equal = typeof Equal.Type

/** A tag of the target goes, because the source's tag is gone. */
export const Delete = Schema.Struct({
  action: Schema.Literal("delete"),
  /** The tag that is gone, `HOST/REPOSITORY:TAG`. */
  from: Schema.String,
  /** Every tag that the target's may have been made from, `from` among them: it goes only if none of them is there. */
  sources: Schema.Array(Schema.String).pipe(Schema.maxItems(maxSources)),
  to: Schema.String,
  /** What the target's tag names. */
  digest: Digest
})
export type Delete = typeof Delete.Type

/** What cannot be done, already known. `from` is a repository or pattern where it could not be listed. */
export const Failed = Schema.Struct({
  action: Schema.Literal("failed"),
  from: Schema.String,
  to: Schema.NullOr(Schema.String),
  error: Failure
})
export type Failed = typeof Failed.Type

export const Action = Schema.Union(Transfer, Equal, Delete, Failed)
export type Action = typeof Action.Type

export const Plan = Schema.Struct({
  version: Schema.Literal(1),
  /** Blobs in flight; `null`: as the registry settings say. */
  concurrency: Schema.NullOr(Schema.Int.pipe(Schema.between(1, 100))),
  /** Images in flight. */
  images: Schema.Int.pipe(Schema.between(1, 100)),
  /** Bytes of blobs to be moved, at most. */
  bytes: Bytes,
  actions: Schema.Array(Action).pipe(Schema.maxItems(maxActions)),
  warnings: Schema.Array(Schema.String)
})
export type Plan = typeof Plan.Type

/**
 * A plan from outside, such as parsed JSON; its JSON is the value itself. Fails with a ValidationError, reason
 * `InvalidConfig`: a field that is missing, unknown or wrong, or a name that is none.
 *
 * @since 0.1.0
 */
export const decodePlan = (
  value: unknown,
  { subject = "plan" }: { readonly subject?: string | undefined } = {}
): Either.Either<Plan, ValidationError> =>
  Either.gen(function* () {
    const plan = yield* Json.decode(Plan, value, { subject, reason: "InvalidConfig" })
    const issues = [
      ...unknownIn(value, Plan.fields, ""),
      ...plan.actions.flatMap((action, index) => actionIssues(action, `actions[${index}]`)),
      ...repeated(plan.actions)
    ]
    return issues.length === 0
      ? plan
      : yield* Either.left(new ValidationError({ reason: "InvalidConfig", subject, issues: issues.slice(0, 20) }))
  })

/** The parts of `HOST/REPOSITORY:TAG@DIGEST`, as this module writes them. */
export const parseName = Reference.parse

/** The error as a plan keeps it. */
export const failureOf = (error: unknown): Failure => {
  const text = (name: string) =>
    Predicate.hasProperty(error, name) && typeof error[name] === "string" ? error[name] : undefined
  const tag = text("_tag") ?? "Error"
  return { tag, reason: text("reason") ?? tag, message: text("message") ?? String(error), hint: text("hint") ?? null }
}

// internal

/** Two actions for one tag would be in each other's way: what the one makes, the other may delete. */
const repeated = (actions: ReadonlyArray<Action>): ReadonlyArray<Issue> => {
  const seen = new Set<string>()
  return actions.flatMap(({ action, to }, index) => {
    if (action === "failed" || to === null) return []
    const name = Either.match(Reference.parse(to), { onLeft: () => to, onRight: canonical })
    if (seen.has(name)) return [{ path: `actions[${index}].to`, message: `another action has ${name} already` }]
    seen.add(name)
    return []
  })
}

const canonical = (reference: Reference.Reference): string => {
  const isHub = Option.contains(reference.host, Reference.dockerHub)
  const { repository } = reference
  return Reference.format({ ...reference, repository: isHub ? Reference.hubRepository(repository) : repository })
}

const actionIssues = (action: Action, path: string): ReadonlyArray<Issue> => {
  const fields =
    action.action === "failed"
      ? Failed
      : action.action === "delete"
        ? Delete
        : action.action === "equal"
          ? Equal
          : Transfer
  const unknown = unknownIn(action, fields.fields, path)
  if (action.action === "failed") return unknown
  const isTransfer = action.action === "copy" || action.action === "update"
  const names = [
    ...nameIssues(action.from, `${path}.from`, action.action !== "delete"),
    ...nameIssues(action.to, `${path}.to`, false)
  ]
  const wrongDelete =
    action.action === "delete" &&
    Either.match(Reference.parse(action.to), {
      onLeft: () => false,
      onRight: ({ tag }) => Option.exists(tag, isDigestTag)
    })
  return [
    ...unknown,
    ...names,
    ...(action.action === "delete" ? sourcesIssues(action, path) : []),
    ...(wrongDelete ? [{ path: `${path}.to`, message: "a tag made of a digest is never deleted" }] : []),
    ...(isTransfer && (action.action === "update") !== (action.replaces !== null)
      ? [{ path: `${path}.replaces`, message: "expected a digest for an update, null for a copy" }]
      : []),
    ...(isTransfer && !action.platforms.every((text) => Either.isRight(Platform.parse(text)))
      ? [{ path: `${path}.platforms`, message: "expected os/architecture[/variant]" }]
      : [])
  ]
}

const sourcesIssues = ({ from, sources }: Delete, path: string): ReadonlyArray<Issue> => [
  ...sources.flatMap((name, index) => nameIssues(name, `${path}.sources[${index}]`, false)),
  ...(sources.includes(from) ? [] : [{ path: `${path}.sources`, message: "expected what from says among them" }])
]

const nameIssues = (text: string, path: string, pinned: boolean): ReadonlyArray<Issue> => {
  const isRight = Either.match(Reference.parse(text), {
    onLeft: () => false,
    onRight: ({ digest, host, tag }) => Option.isSome(host) && Option.isSome(tag) && Option.isSome(digest) === pinned
  })
  return isRight ? [] : [{ path, message: `expected HOST/REPOSITORY:TAG${pinned ? "@DIGEST" : ""}` }]
}

const unknownIn = (value: unknown, fields: Readonly<Record<string, unknown>>, path: string): ReadonlyArray<Issue> =>
  !Predicate.isRecord(value)
    ? []
    : Object.keys(value)
        .filter((name) => !Object.hasOwn(fields, name))
        .map((name) => ({ path: path === "" ? name : `${path}.${name}`, message: "there is no such field" }))
