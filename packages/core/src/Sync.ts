/**
 * Keeping repositories of one registry like those of another: a configuration says what goes where, a plan what that
 * comes to now, and applying it copies and deletes. A plan is a value: show it, keep it, apply it later.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Progress from "./Progress.js"
import * as RegistryConfig from "./RegistryConfig.js"
import { type ApplyOptions, applyPlan, type Report } from "./Sync/Apply.js"
import * as Compare from "./Sync/Compare.js"
import type { Config } from "./Sync/Config.js"
import type { Plan } from "./Sync/Plan.js"
import * as Prune from "./Sync/Prune.js"
import * as Rule from "./Sync/Rule.js"
import * as Select from "./Sync/Select.js"
import * as Sizes from "./Sync/Sizes.js"
import type { ValidationError } from "./ValidationError.js"

export type { Applied, ApplyOptions, Report } from "./Sync/Apply.js"
export { Config, Entry, Rename, RenameRule } from "./Sync/Config.js"
export { type DecodeOptions, decode } from "./Sync/Decode.js"
export { Action, Delete, decodePlan, Equal, Failed, Failure, Plan, Transfer } from "./Sync/Plan.js"

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig

/** Images in flight where the configuration does not say. */
export const defaultImages = 4

/**
 * What a configuration comes to now; nothing is changed. Costs a listing of each source, and at most one request for each
 * tag to each registry; with `referrers` one more for each image, and what there is to copy has its manifests read.
 *
 * What cannot be listed or read is an action `failed` of the plan. Fails with a ValidationError: `NameConflict` where two
 * sources would get one name, `InvalidConfig`, `TooLarge`.
 *
 * @example
 * ```ts
 * import { Sync } from "@effect-registry/core"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const plan = yield* Sync.plan({
 *     sync: [{ from: "docker.io/library/alpine", to: "localhost:15000/mirror/", tags: { semver: ">=3.18" } }]
 *   })
 *   return plan.bytes > 1e9 ? undefined : yield* Sync.apply(plan)
 * })
 * ```
 * @since 0.1.0
 */
export const plan = (config: Config): Effect.Effect<Plan, ValidationError, Environment> =>
  Effect.gen(function* () {
    const settings = yield* RegistryConfig.RegistryConfig
    const concurrency = config.concurrency ?? settings.concurrency
    const rules = yield* Rule.compileAll(config, "sync")
    const selection = yield* Select.select(rules, concurrency)
    const connections = Compare.makeConnections()
    const compared = yield* lookAtAll(selection.pairs, Compare.make(connections), concurrency)
    const measured = yield* Sizes.measure(compared, connections, concurrency)
    const pruning = yield* Prune.prune(selection, connections, concurrency)
    const actions = [...selection.failed, ...measured, ...pruning.actions]
    return {
      version: 1 as const,
      concurrency: config.concurrency ?? null,
      images: config.images ?? defaultImages,
      bytes: actions.reduce((sum, each) => sum + ("bytes" in each ? each.bytes : 0), 0),
      actions,
      warnings: [...selection.warnings, ...pruning.warnings]
    }
  }).pipe(Effect.withSpan("effect-registry.sync.plan"))

/**
 * Does what the plan says, and nothing else: images side by side, each blob once, deletions last. Every source and target
 * is looked at again, and what is not as the plan saw it is skipped. Never fails: the report says what became of each
 * action. Interrupted and planned anew, it goes on where it was.
 *
 * A tag is deleted only where everything that was to be copied to its repository is there.
 *
 * @example
 * ```ts
 * import { Sync } from "@effect-registry/core"
 * import * as Effect from "effect/Effect"
 *
 * const program = Effect.gen(function* () {
 *   const plan = yield* Sync.decodePlan(JSON.parse("{}"))
 *   const report = yield* Sync.apply(plan, { concurrency: 10 })
 *   return report.actions.filter(({ outcome }) => outcome === "failed")
 * })
 * ```
 * @since 0.1.0
 */
export const apply = (plan: Plan, options: ApplyOptions = {}): Effect.Effect<Report, never, Environment> =>
  applyPlan(plan, options).pipe(Effect.withSpan("effect-registry.sync.apply"))

// internal

/** What each pair comes to, with a word about how far it is. */
const lookAtAll = <A, B, E, R>(
  pairs: ReadonlyArray<A>,
  look: (pair: A) => Effect.Effect<B, E, R>,
  concurrency: number
) =>
  Effect.gen(function* () {
    const progress = yield* Progress.Progress
    const tell = (done: number) => progress.emit({ _tag: "Looking", what: "tags", done, total: pairs.length })
    let done = 0
    tell(done)
    return yield* Effect.forEach(pairs, (pair) => Effect.tap(look(pair), () => tell(++done)), { concurrency })
  })
