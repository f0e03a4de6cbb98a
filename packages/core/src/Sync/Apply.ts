/** Carrying out a plan: images side by side, each blob once, deletions last. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Memo from "../Copy/Memo.js"
import { type BlobCounts, type CopyResult, sum, transfer } from "../Copy/Transfer.js"
import { only } from "../Copy.js"
import { deleteTag } from "../Delete.js"
import type { ImageEntry } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import * as MediaType from "../model/MediaType.js"
import * as Platform from "../model/Platform.js"
import * as Reference from "../model/Reference.js"
import * as Registry from "../Registry.js"
import * as RegistryConfig from "../RegistryConfig.js"
import { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import { type Connections, headOf, makeConnections } from "./Compare.js"
import { type Repository, resolve } from "./Listing.js"
import type { Action, Delete, Failure, Plan, Transfer } from "./Plan.js"
import { failureOf } from "./Plan.js"

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig
type Failing = RegistryError | ValidationError

export interface ApplyOptions {
  /** Blobs in flight, of all images together. Default: what the plan says, else the registry settings. */
  readonly concurrency?: number | undefined
  /** Images in flight. Default: what the plan says. */
  readonly images?: number | undefined
}

/** What became of an action of the plan. */
export interface Applied {
  readonly action: Action["action"]
  /**
   * `done`; `unchanged`: there was nothing to do; `skipped`: source or target are not what the plan saw, or something else
   * went wrong that a deletion depends on; `failed`.
   */
  readonly outcome: "done" | "unchanged" | "skipped" | "failed"
  readonly from: string
  readonly to: string | null
  /** What the target's tag names, or named before it was deleted; `null` where it is not known. */
  readonly digest: Digest | null
  /** Why it was skipped. */
  readonly note: string | null
  readonly error: Failure | null
}

export interface Report {
  /** One entry for each action, in the plan's order. */
  readonly actions: ReadonlyArray<Applied>
  readonly blobs: BlobCounts
  /** Signatures, SBOMs and the like that went with the images. */
  readonly referrers: number
}

export const applyPlan = (plan: Plan, options: ApplyOptions): Effect.Effect<Report, never, Environment> =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    const concurrency = options.concurrency ?? plan.concurrency ?? config.concurrency
    const images = options.images ?? plan.images
    const run: Run = {
      connections: makeConnections(),
      concurrency,
      permits: yield* Effect.makeSemaphore(concurrency),
      memos: new Map()
    }
    const applied = new Map<Action, Applied>()
    for (const action of plan.actions) {
      if (action.action === "equal") applied.set(action, outcomeOf(action, "unchanged", { digest: action.digest }))
      if (action.action === "failed") applied.set(action, outcomeOf(action, "failed", { error: action.error }))
    }
    const groups = groupImages(plan.actions)
    const moved = yield* Effect.forEach(groups, (group) => copyGroup(run, group), { concurrency: images })
    for (const [action, result] of moved.flatMap(({ applied }) => applied)) applied.set(action, result)
    // What is skipped has changed since the plan, which then knows too little to delete anything there.
    const broken = new Set(
      [...applied.values()].flatMap(({ outcome, to }) =>
        (outcome === "failed" || outcome === "skipped") && to !== null ? [repositoryOf(to)] : []
      )
    )
    const deletes = groupDeletes(plan.actions)
    const gone = yield* Effect.forEach(deletes, (group) => Effect.forEach(group, (each) => remove(run, each, broken)), {
      concurrency: images
    })
    for (const [action, result] of gone.flat()) applied.set(action, result)
    const { blobs, referrers } = sum(moved.flatMap(({ results }) => results))
    return { actions: plan.actions.flatMap((action) => applied.get(action) ?? []), blobs, referrers }
  })

// internal

interface Run {
  readonly connections: Connections
  readonly concurrency: number
  readonly permits: Effect.Semaphore
  /** What is known of each target registry, by its host: blobs are mounted between its repositories. */
  readonly memos: Map<string, Memo.Memo>
}

type Result = readonly [Action, Applied]

const outcomeOf = (
  action: Action,
  outcome: Applied["outcome"],
  more: Partial<Pick<Applied, "digest" | "note" | "error">> = {}
): Applied => ({
  action: action.action,
  outcome,
  from: action.from,
  to: action.to,
  digest: null,
  note: null,
  error: null,
  ...more
})

const repositoryOf = (name: string): string =>
  name.slice(0, name.includes(":", name.lastIndexOf("/")) ? name.lastIndexOf(":") : undefined)

/** Tags of one target repository that get the same image from the same place are written by one copy. */
const groupImages = (actions: ReadonlyArray<Action>): ReadonlyArray<ReadonlyArray<Transfer>> => {
  const groups = new Map<string, Array<Transfer>>()
  for (const action of actions) {
    if (action.action !== "copy" && action.action !== "update") continue
    const source = repositoryOf(action.from.slice(0, action.from.indexOf("@")))
    const { digest, digestTags, platforms, referrers } = action
    const key = JSON.stringify([repositoryOf(action.to), source, digest, platforms, referrers, digestTags])
    const group = groups.get(key) ?? []
    group.push(action)
    groups.set(key, group)
  }
  return [...groups.values()]
}

/** One repository after the other: a registry that deletes by digest alone moves the tag first. */
const groupDeletes = (actions: ReadonlyArray<Action>): ReadonlyArray<ReadonlyArray<Delete>> => {
  const groups = new Map<string, Array<Delete>>()
  for (const action of actions) {
    if (action.action !== "delete") continue
    const group = groups.get(repositoryOf(action.to)) ?? []
    group.push(action)
    groups.set(repositoryOf(action.to), group)
  }
  return [...groups.values()]
}

interface Moved {
  readonly applied: ReadonlyArray<Result>
  readonly results: ReadonlyArray<CopyResult>
}

const copyGroup = (run: Run, group: ReadonlyArray<Transfer>): Effect.Effect<Moved, never, Environment> =>
  Effect.gen(function* () {
    const checked = yield* Effect.forEach(
      group,
      (action) =>
        check(run, action).pipe(
          Effect.catchAll((error) => Effect.succeedSome(outcomeOf(action, "failed", { error: failureOf(error) }))),
          Effect.map((applied) => ({ action, applied }))
        ),
      { concurrency: run.concurrency }
    )
    const settled = checked.flatMap(({ action, applied }) =>
      Option.toArray(applied).map((each): Result => [action, each])
    )
    const wanted = checked.flatMap(({ action, applied }) => (Option.isNone(applied) ? [action] : []))
    if (wanted.length === 0) return { applied: settled, results: [] }
    const together = yield* Effect.either(copyTo(run, wanted))
    if (together._tag === "Right") {
      return { applied: [...settled, ...wanted.map(done)], results: [together.right] }
    }
    // A registry that refuses one tag, such as an immutable one, may take the others.
    if (wanted.length === 1 || !isRefusal(together.left)) {
      return { applied: [...settled, ...wanted.map((action) => failedBy(action, together.left))], results: [] }
    }
    const one = yield* Effect.forEach(wanted, (action) =>
      Effect.match(copyTo(run, [action]), {
        onFailure: (error) => ({ applied: failedBy(action, error), results: [] }),
        onSuccess: (result) => ({ applied: done(action), results: [result] })
      })
    )
    return {
      applied: [...settled, ...one.map(({ applied }) => applied)],
      results: one.flatMap(({ results }) => results)
    }
  })

const done = (action: Transfer): Result => [action, outcomeOf(action, "done", { digest: action.digest })]

const failedBy = (action: Action, error: Failing): Result => [
  action,
  outcomeOf(action, "failed", { error: failureOf(error) })
]

const isRefusal = (error: Failing): boolean =>
  error instanceof RegistryError && (error.reason === "Rejected" || error.reason === "Denied")

/** What there is to say of an action whose source or target are not what the plan saw; `None`: go on. */
const check = (run: Run, action: Transfer): Effect.Effect<Option.Option<Applied>, Failing, Environment> =>
  Effect.gen(function* () {
    const [source, target] = yield* Effect.all([lookAt(run, action.from), lookAt(run, action.to)], { concurrency: 2 })
    const planned = action.from.slice(action.from.indexOf("@") + 1)
    const named = (found: Option.Option<Descriptor>) =>
      Option.match(found, { onNone: () => null, onSome: ({ digest }) => digest })
    const there = named(target)
    if (there === action.digest && action.replaces !== action.digest) {
      return Option.some(outcomeOf(action, "unchanged", { digest: there, note: "the target has it already" }))
    }
    if (there !== action.replaces) {
      const note = `the target names ${there ?? "nothing"} now, not ${action.replaces ?? "nothing"}`
      return Option.some(outcomeOf(action, "skipped", { digest: there, note }))
    }
    const now = named(source)
    if (now === planned) return Option.none()
    return Option.some(
      outcomeOf(action, "skipped", { digest: there, note: `the source names ${now ?? "nothing"} now` })
    )
  })

/** What a name's tag names at this moment. */
const lookAt = ({ connections }: Run, name: string): Effect.Effect<Option.Option<Descriptor>, Failing, Environment> =>
  Effect.gen(function* () {
    const { repository, tag } = yield* placeOf(name)
    return yield* headOf(connections, repository, tag)
  })

const placeOf = (
  name: string
): Effect.Effect<
  { readonly repository: Repository; readonly tag: string },
  ValidationError,
  RegistryConfig.RegistryConfig
> =>
  Effect.gen(function* () {
    const reference = yield* Reference.parse(name)
    const repository = yield* resolve(reference)
    return { repository, tag: Option.getOrElse(reference.tag, () => "latest") }
  })

/** Copies the image of the actions, which share it, to all their tags. */
const copyTo = (run: Run, actions: ReadonlyArray<Transfer>): Effect.Effect<CopyResult, Failing, Environment> =>
  Effect.gen(function* () {
    const [first] = actions
    if (first === undefined) return yield* Effect.die(new Error("a group has at least one action"))
    const places = yield* Effect.forEach(actions, ({ to }) => placeOf(to))
    const target = (yield* placeOf(first.to)).repository
    const source = Registry.image(first.from)
    const reader = yield* source.open
    const entry = yield* only(source.name, yield* reader.images)
    const writer = yield* Registry.repository(target.name).open
    const memo = run.memos.get(target.host) ?? Memo.make()
    run.memos.set(target.host, memo)
    const result = yield* transfer(source.name, reader, writer, entry, {
      concurrency: run.concurrency,
      permits: run.permits,
      memo,
      repository: target.path,
      names: places.map(({ tag }) => ({ repository: Option.some(target.path), tag: Option.some(tag) })),
      expected: first.digest,
      // They choose among the images of an index; an image for itself goes whole.
      platforms: isIndex(entry) ? yield* Effect.forEach(first.platforms, (text) => Platform.parse(text)) : [],
      referrers: first.referrers,
      digestTags: first.digestTags
    })
    yield* writer.commit ?? Effect.void
    return result
  }).pipe(
    Effect.scoped,
    Effect.withSpan("effect-registry.sync.copy", { attributes: { from: actions[0]?.from, to: actions[0]?.to } })
  )

const isIndex = ({ root }: ImageEntry): boolean => root._tag !== "Draft" && MediaType.isIndex(root.descriptor.mediaType)

/** Deletes the tag if it still names what the plan saw and none of its sources is there. */
const remove = (run: Run, action: Delete, broken: ReadonlySet<string>): Effect.Effect<Result, never, Environment> =>
  Effect.gen(function* () {
    const { digest } = action
    const skipped = (note: string): Result => [action, outcomeOf(action, "skipped", { digest, note })]
    if (broken.has(repositoryOf(action.to))) return skipped("an image of this repository failed or was skipped")
    for (const name of action.sources) {
      if (Option.isSome(yield* lookAt(run, name))) return skipped(`the source has ${name}`)
    }
    const there = yield* lookAt(run, action.to)
    if (Option.isNone(there)) {
      const result: Result = [action, outcomeOf(action, "unchanged", { note: "the tag is gone already" })]
      return result
    }
    if (there.value.digest !== digest) return skipped(`the tag names ${there.value.digest} now`)
    yield* deleteTag(action.to)
    const result: Result = [action, outcomeOf(action, "done", { digest })]
    return result
  }).pipe(Effect.catchAll((error) => Effect.succeed(failedBy(action, error))))
