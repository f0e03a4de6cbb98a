/** `ereg delete --keep-last 10 --older-than 30d --match 'pr-*' REPO`: the tags that nobody needs any more. */

import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as CliError from "@effect/cli/ValidationError"
import { type RegistryError, Retention, TagFilter, type ValidationError } from "@effect-registry/core"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Exit from "./exit.js"
import { duration, integer } from "./options.js"
import { count, Output } from "./output.js"
import type { Services } from "./perform.js"
import * as PlanView from "./planView.js"
import * as Prompt from "./prompt.js"
import * as RetentionView from "./retentionView.js"
import { type Attempts, attemptEach } from "./several.js"
import { type Service, Stdio, type StdoutClosed } from "./stdio.js"

const invalid = (message: string) => CliError.invalidValue(HelpDoc.p(message))

/** Seconds would be a slip, and `6m` could be meant as months. */
const age = (text: string) =>
  Option.filter(duration(text), () => !/^[\d.\s]+$/.test(text) && !/\d\s*m(?![a-z])/.test(text))

export const options = {
  match: Options.text("match").pipe(
    Options.withPseudoName("GLOB"),
    Options.repeated,
    Options.withDescription("Of a repository, the tags that match this or another --match; may be repeated")
  ),
  regex: Options.text("regex").pipe(
    Options.withPseudoName("PATTERN"),
    Options.withDescription("Of a repository, the tags that match as a whole; Go's syntax"),
    Options.optional
  ),
  semver: Options.text("semver").pipe(
    Options.withPseudoName("RANGE"),
    Options.withDescription("Of a repository, the versions within a range such as '>=1.2 <2' or 1.x"),
    Options.optional
  ),
  exclude: Options.text("exclude").pipe(
    Options.withPseudoName("GLOB"),
    Options.repeated,
    Options.withDescription("Of a repository, never the tags that match this; may be repeated")
  ),
  keepLast: integer("keep-last", {
    from: 1,
    to: 999_999_999,
    description: "Of those tags, all but the newest N by the age of their image"
  }).pipe(Options.optional),
  olderThan: Options.text("older-than").pipe(
    Options.withPseudoName("TIME"),
    Options.withDescription("Of those tags, the ones whose image is older: 30d, 12h, 90min"),
    Options.mapEffect((text) =>
      Option.match(age(text), {
        onNone: () =>
          Effect.fail(invalid(`--older-than: ${JSON.stringify(text)} is no time such as 30d, 12h or 90min`)),
        onSome: Effect.succeed
      })
    ),
    Options.optional
  ),
  plan: Options.boolean("plan").pipe(Options.withDescription("Only show which tags of a repository would go, and why")),
  yes: Options.boolean("yes").pipe(
    Options.withDescription("Do not ask at a terminal before the tags of a repository go")
  )
}

export const examples: ReadonlyArray<readonly [command: string, description: string]> = [
  ["ereg delete --match 'pr-*' --older-than 30d --plan localhost:15000/team/app", "Which tags would go, and why"],
  ["ereg delete --match 'pr-*' --older-than 30d --keep-last 10 localhost:15000/team/app", "All but the newest ten"]
]

export const notes: ReadonlyArray<string> = [
  "With --match, --regex, --semver, --keep-last or --older-than a repository is named, and a tag goes only where all of",
  "them say so. What has no age that can be believed stays. With --manifest the images go too, with their referrers,",
  "where no other tag needs them. At a terminal it asks before it deletes: what goes is on standard error, and so is the",
  "question, so where that goes elsewhere (2>log) --yes is needed. Elsewhere, as in CI, it goes ahead."
]

/** What the options of `delete` say about this. */
export interface Input {
  readonly match: ReadonlyArray<string>
  readonly regex: Option.Option<string>
  readonly semver: Option.Option<string>
  readonly exclude: ReadonlyArray<string>
  readonly keepLast: Option.Option<number>
  readonly olderThan: Option.Option<Duration.Duration>
  readonly plan: boolean
  readonly yes: boolean
  readonly manifest: boolean
}

/** Whether the options ask for a retention, rather than for the references to be deleted. */
export const isWanted = (input: Input): boolean =>
  saysWhat(input) || input.plan || input.yes || input.exclude.length > 0

/** Plans for every repository, shows it, asks, and deletes. */
export const run = (
  input: Input,
  repositories: ReadonlyArray<string>
): Effect.Effect<void, RegistryError | ValidationError | Exit.Failed | Exit.UsageError | StdoutClosed, Services> =>
  Effect.gen(function* () {
    const misused = misuseOf(input, yield* Stdio)
    if (misused !== undefined) return yield* Effect.fail(misused)
    const output = yield* Output
    const planned = yield* attemptEach("delete", repositories, (name) => Retention.plan(name, policyOf(input)))
    const lines = planned.done.flatMap((plan) => PlanView.lines(RetentionView.of(plan)))
    if (input.plan) {
      yield* output.print(lines, { plans: planned.done, ...planned.failed.json })
      return yield* planned.failed.any ? Effect.fail(failed) : Effect.void
    }
    for (const line of lines) yield* output.note(line)
    const all = planned.done.reduce((sum, plan) => sum + plan.delete.length, 0)
    if (all > 0 && !input.yes && !(yield* confirmed(planned.done))) {
      yield* output.note("nothing was deleted")
      yield* output.print([], { plans: planned.done, reports: [], ...planned.failed.json })
      return yield* Effect.fail(failed)
    }
    const plans = new Map(planned.done.map((plan) => [plan.repository, plan]))
    const applied = yield* attemptEach("delete", [...plans.keys()], (name) => {
      const plan = plans.get(name)
      return plan === undefined ? Effect.dieMessage(`no plan of ${name}`) : Retention.apply(plan)
    })
    yield* report(planned, applied)
  })

// internal

const saysWhat = ({ keepLast, match, olderThan, regex, semver }: Input): boolean =>
  match.length > 0 ||
  Option.isSome(regex) ||
  Option.isSome(semver) ||
  Option.isSome(keepLast) ||
  Option.isSome(olderThan)

const failed = new Exit.Failed({ code: Exit.code.failed })

const misuse = (why: string, hint: string) => new Exit.UsageError({ what: "ereg delete", why, hint })

/** What is wrong with the options, before any registry is asked. */
const misuseOf = (input: Input, stdio: Service): Exit.UsageError | undefined => {
  if (!saysWhat(input)) {
    const hint = "one of --match, --regex, --semver, --keep-last and --older-than; --match '*' is every tag"
    return misuse("nothing says which tags of the repository go", hint)
  }
  const wrong = patternsOf(input).flatMap(({ filter, form, option, value }) =>
    Either.match(TagFilter.compile(filter), {
      onLeft: ({ issues }) => [misuse(`${option} '${value}': ${issues[0]?.message}`, form)],
      onRight: () => []
    })
  )
  if (wrong[0] !== undefined) return wrong[0]
  if (!input.plan && !input.yes && stdio.inputIsTerminal && !stdio.errorIsTerminal) {
    return misuse(
      "it asks before it deletes, and the question would not be seen: standard error is no terminal",
      "--yes deletes without a question; --plan only shows what would go"
    )
  }
  return undefined
}

const patternsOf = ({ exclude, match, regex, semver }: Input) => [
  ...match.map((value) => ({ option: "--match", value, filter: { glob: value }, form: globForm })),
  ...exclude.map((value) => ({ option: "--exclude", value, filter: { exclude: value }, form: globForm })),
  ...Option.toArray(regex).map((value) => ({ option: "--regex", value, filter: { regex: value }, form: regexForm })),
  ...Option.toArray(semver).map((value) => ({ option: "--semver", value, filter: { semver: value }, form: rangeForm }))
]

const globForm = "as in 'pr-*': * is any characters, ? is one, [a-z] one of a set, {a,b} one of several"
const regexForm = "as in --regex 'pr-[0-9]+': Go's syntax, for the whole tag"
const rangeForm = "as in --semver '>=1.2 <2': npm's syntax"

const policyOf = (input: Input): Retention.Policy => ({
  match: input.match.length === 0 ? undefined : input.match,
  regex: Option.getOrUndefined(input.regex),
  semver: Option.getOrUndefined(input.semver),
  exclude: input.exclude.length === 0 ? undefined : input.exclude,
  keepLast: Option.getOrUndefined(input.keepLast),
  olderThan: Option.getOrUndefined(input.olderThan),
  manifests: input.manifest
})

/** Only somebody at a terminal is asked. */
const confirmed = (plans: ReadonlyArray<Retention.Plan>) =>
  Effect.gen(function* () {
    const stdio = yield* Stdio
    if (!stdio.inputIsTerminal) return true
    const due = plans.filter((plan) => plan.delete.length > 0)
    const where = due.length === 1 ? due[0]?.repository : count(due.length, "repository", "repositories")
    const prompt = yield* Prompt.make(stdio)
    return /^y(es)?$/i.test((yield* prompt.text(`Delete ${RetentionView.sum(due)} of ${where}? [y/N] `)).trim())
  }).pipe(Effect.scoped)

/** What went is data; what did not is told. */
const report = (planned: Attempts<Retention.Plan>, applied: Attempts<Retention.Report>) =>
  Effect.gen(function* () {
    const output = yield* Output
    for (const { manifests, repository, tags } of applied.done) {
      const named = [
        ...tags.map(({ outcome, tag }) => ({ name: `${repository}:${tag}`, outcome })),
        ...manifests.map(({ digest, outcome }) => ({ name: `${repository}@${digest}`, outcome }))
      ]
      for (const { name, outcome } of named) {
        if (outcome._tag === "Failed") yield* output.error(Exit.describe(outcome.error, "delete"))
        if (outcome._tag === "Changed") yield* output.warn(`${name} was moved in the meantime, and stays`)
        if (outcome._tag === "Kept") yield* output.warn(`${name} is needed after all, and stays`)
      }
      // The plan has said that there is nothing to do.
      if (named.length === 0) continue
      const sum = (tag: Retention.Outcome["_tag"]) => tags.filter(({ outcome }) => outcome._tag === tag).length
      const images = manifests.filter(({ outcome }) => outcome._tag === "Deleted").length
      const parts = [
        `deleted ${count(sum("Deleted"), "tag")}${images > 0 ? ` and ${count(images, "manifest")}` : ""}`,
        ...(sum("Gone") > 0 ? [`${sum("Gone")} already gone`] : []),
        ...(sum("Changed") > 0 ? [`${sum("Changed")} changed`] : []),
        ...(sum("Failed") > 0 ? [`${sum("Failed")} failed`] : [])
      ]
      yield* output.note(`${repository}: ${parts.join(", ")}`)
    }
    if (applied.done.some(({ manifests }) => manifests.some(({ outcome }) => outcome._tag === "Deleted"))) {
      yield* output.note("the space is freed when the registry collects its garbage")
    }
    const any = planned.failed.any || applied.failed.any || applied.done.some((each) => each.failed)
    yield* output.print(applied.done.flatMap(goneOf), {
      plans: planned.done,
      reports: applied.done.map(reportJson),
      ...applied.failed.json,
      ...planned.failed.json
    })
    if (any) yield* Effect.fail(failed)
  })

const goneOf = ({ manifests, repository, tags }: Retention.Report): ReadonlyArray<string> => [
  ...tags.flatMap(({ outcome, tag }) => (outcome._tag === "Deleted" ? [`${repository}:${tag}`] : [])),
  ...manifests.flatMap(({ digest, outcome }) => (outcome._tag === "Deleted" ? [`${repository}@${digest}`] : []))
]

const reportJson = ({ manifests, repository, tags }: Retention.Report) => ({
  repository,
  tags: tags.map(({ digest, outcome, tag }) => ({ tag, digest, ...outcomeJson(outcome) })),
  manifests: manifests.map(({ digest, outcome }) => ({ digest, ...outcomeJson(outcome) }))
})

const outcomeJson = (outcome: Retention.Outcome) => ({
  outcome: outcome._tag,
  ...(outcome._tag === "Failed" ? Exit.toJson(Exit.describe(outcome.error, "delete")) : {}),
  ...(outcome._tag === "Changed" ? { now: outcome.digest } : {})
})
