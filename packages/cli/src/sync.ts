/** `ereg sync`: makes repositories like those of other registries, as a file says. */

import { createReadStream } from "node:fs"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Json, Sync, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Exit from "./exit.js"
import type { Page } from "./help.js"
import { type Global, global, requireHosts } from "./options.js"
import { count, Output, size } from "./output.js"
import { perform } from "./perform.js"
import * as PlanView from "./planView.js"
import { Stdio } from "./stdio.js"
import * as Yaml from "./yaml.js"

const options = {
  plan: Options.boolean("plan").pipe(
    Options.withDescription("Only show what would be done; --output json can be kept")
  ),
  apply: Options.text("apply").pipe(
    Options.withPseudoName("PLAN.json"),
    Options.withDescription("Do what a kept plan says, but for what has changed since"),
    Options.optional
  )
}

export const page: Page = {
  name: "sync",
  summary: "Copy what a file says from registry to registry, and delete what is gone",
  synopsis: "FILE.yaml",
  arguments: [["FILE.yaml", "What goes where, in YAML or JSON, - for standard input: docs/sync.md; not with --apply"]],
  options,
  without: ["platform"],
  notes: [
    "A second run does nothing. Interrupted, it goes on where it stopped when it is run again.",
    "A failed image does not stop the others; the exit code is 1 if any failed, or was skipped because it changed.",
    "Nothing is deleted unless the file says `prune: true`.",
    "--plain-http and --insecure-skip-tls-verify have to name their host here: --plain-http=HOST."
  ],
  examples: [
    ["ereg sync mirror.yaml --plan", "What would be done, and how many bytes that is at most"],
    ["ereg sync mirror.yaml --plan --output json > plan.json", "Keep the plan for somebody to look at"],
    ["ereg sync --apply plan.json", "Do exactly that"]
  ]
}

export const command = Command.make(
  "sync",
  { file: Args.text({ name: "file" }).pipe(Args.optional), ...options, global },
  ({ apply, file, global, plan }) =>
    perform(
      { name: "sync", global, done: plan ? undefined : "copied" },
      Effect.gen(function* () {
        yield* requireHosts("sync", global)
        const planned = yield* Effect.tapErrorTag(planOf(file, apply), "ValidationError", tellAll)
        const output = yield* Output
        for (const warning of planned.warnings) yield* output.warn(warning)
        return yield* plan ? show(planned) : carryOut(planned, global)
      })
    )
)

// internal

const planOf = (file: Option.Option<string>, apply: Option.Option<string>) =>
  Effect.gen(function* () {
    if (Option.isSome(file) === Option.isSome(apply))
      return yield* Effect.fail(misuse("one of FILE.yaml and --apply PLAN.json"))
    if (Option.isSome(apply)) {
      const bytes = yield* read(apply.value, maxPlan)
      const limits = { subject: apply.value, reason: "InvalidConfig", maxSize: maxPlan } as const
      const { value } = yield* Either.mapLeft(Json.parse(bytes, limits), noPlan)
      return yield* Either.mapLeft(Sync.decodePlan(value, { subject: apply.value }), noPlan)
    }
    const subject = Option.getOrElse(file, () => "")
    const text = new TextDecoder().decode(yield* read(subject, Yaml.maxSize))
    return yield* Sync.plan(yield* Sync.decode(yield* Yaml.parse(text, subject), { subject }))
  })

const noPlan = ({ issues, reason, subject }: ValidationError) =>
  new ValidationError({
    reason,
    subject,
    issues,
    hint: "--apply takes what `--plan --output json` printed; the configuration goes without it: `ereg sync FILE.yaml`"
  })

/** An error says its first issue; who mends a file wants to see all of them, the first as the error. */
const tellAll = ({ issues, subject }: ValidationError) =>
  Effect.gen(function* () {
    const output = yield* Output
    if (issues.length < 2) return
    for (const { message, path } of issues.slice(1))
      yield* output.warn(`${subject}: ${path === "" ? message : `${path}: ${message}`}`)
  })

/** Of a plan with as many actions as there can be. */
const maxPlan = 256 * 1024 * 1024

const read = (path: string, maxSize: number) =>
  Effect.gen(function* () {
    const { input } = yield* Stdio
    const bytes = yield* Effect.tryPromise({
      // Read as it comes: a pipe has no size and no places in it.
      try: () => upTo(path === "-" ? input() : createReadStream(path), maxSize),
      catch: (cause) => {
        const isMissing = Predicate.hasProperty(cause, "code") && cause.code === "ENOENT"
        const message = cause instanceof Error ? cause.message : String(cause)
        return unreadable(path, isMissing ? "there is no such file" : message, cause)
      }
    })
    if (bytes.length <= maxSize) return bytes
    return yield* Effect.fail(ValidationError.of("TooLarge", path, `has more than ${maxSize} bytes`))
  })

/** All bytes; of more than `maxSize` those that came until then. Leaving the loop closes the stream. */
const upTo = async (stream: NodeJS.ReadableStream, maxSize: number): Promise<Uint8Array> => {
  const chunks: Array<Buffer> = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    chunks.push(bytes)
    size += bytes.length
    if (size > maxSize) break
  }
  return Buffer.concat(chunks)
}

const unreadable = (path: string, message: string, cause: unknown) =>
  ValidationError.of("InvalidConfig", path, message, { cause, hint: "check the path; docs/sync.md has an example" })

const misuse = (why: string) =>
  new Exit.UsageError({
    what: "ereg sync",
    why: `wants ${why}`,
    hint: "`ereg sync FILE.yaml`; `ereg sync --help` says more"
  })

const failed = new Exit.Failed({ code: Exit.code.failed })

/** The plan alone; what cannot be done is told like any failure. */
const show = (plan: Sync.Plan) =>
  Effect.gen(function* () {
    const output = yield* Output
    yield* output.print(PlanView.lines(viewOf(plan)), plan)
    const broken = plan.actions.flatMap((each) => (each.action === "failed" ? [each] : []))
    for (const { error, from, to } of broken) yield* output.error(failureOf(from, to, error))
    if (broken.length > 0) yield* Effect.fail(failed)
  })

const viewOf = (plan: Sync.Plan): PlanView.View => {
  const rows = plan.actions.flatMap((each): ReadonlyArray<PlanView.Row> => {
    if (each.action === "equal") return []
    const name = each.to ?? ""
    if (each.action === "failed")
      return [{ action: "failed", name, detail: [`from ${each.from}`, "", each.error.reason] }]
    if (each.action === "delete")
      return [{ action: "delete", name, detail: [`${each.from} is gone`, "", short(each.digest)] }]
    return [
      {
        action: each.action,
        name,
        detail: [`from ${each.from.replace(/@.*$/, "")}`, size(each.bytes), short(each.digest)]
      }
    ]
  })
  const equal = plan.actions.filter(({ action }) => action === "equal").length
  const sums = PlanView.countReasons(rows.map(({ action }) => action)).map(({ count, reason }) => `${reason} ${count}`)
  const moved = plan.bytes === 0 ? "" : `; at most ${size(plan.bytes)} to move`
  return {
    rows,
    unchanged: equal === 0 ? [] : [{ reason: "the target has it", count: equal }],
    verb: "leave",
    noun: "tag",
    summary: rows.length === 0 ? "nothing to do" : `${sums.join(", ")}${moved}`
  }
}

const short = (digest: string): string => digest.slice(digest.indexOf(":") + 1).slice(0, 12)

const carryOut = (plan: Sync.Plan, { concurrency }: Pick<Global, "concurrency">) =>
  Effect.gen(function* () {
    const output = yield* Output
    const transfers = plan.actions.filter(({ action }) => action === "copy" || action === "update")
    if (transfers.length > 0)
      yield* output.note(`${count(transfers.length, "tag")} to copy, at most ${size(plan.bytes)}`)
    const report = yield* Sync.apply(plan, { concurrency: Option.getOrUndefined(concurrency) })
    const made = report.actions.filter(({ action, outcome }) => outcome === "done" && action !== "delete")
    const broken = report.actions.flatMap((each) => (each.error === null ? [] : [{ ...each, error: each.error }]))
    const skipped = report.actions.filter(({ outcome }) => outcome === "skipped")
    for (const { action, outcome, to } of report.actions) {
      if (action === "delete" && outcome === "done") yield* output.note(`deleted ${to}`)
    }
    for (const { action, note, to } of skipped) yield* output.warn(`${action} of ${to} is skipped: ${note}`)
    for (const { error, from, to } of broken) yield* output.error(failureOf(from, to, error))
    yield* output.note(summaryOf(report))
    const [first] = broken
    yield* output.print(
      made.map(({ digest, to }) => `${to}@${digest}`),
      {
        ...report,
        warnings: plan.warnings,
        ...(first === undefined ? {} : Exit.toJson(failureOf(first.from, first.to, first.error)))
      }
    )
    if (broken.length > 0 || skipped.length > 0) yield* Effect.fail(failed)
  })

const failureOf = (from: string, to: string | null, { hint, message, reason, tag }: Sync.Failure): Exit.Failure => {
  const error = { _tag: tag, reason, message, ...(hint === null ? {} : { hint }) }
  const what = to === null ? `sync ${from}` : `sync ${from} to ${to}`
  return { ...Exit.describe(error, "sync"), what, why: message }
}

/** `copied 3 tags, updated 1, 196 as they were; 12 blobs (3.4 MB), 2 mounted`. */
const summaryOf = ({ actions, blobs, referrers }: Sync.Report): string => {
  const counts = (["copy", "update", "delete"] as const).map(
    (action) => actions.filter((each) => each.action === action && each.outcome === "done").length
  )
  const [copied = 0, updated = 0, deleted = 0] = counts
  const outcome = (wanted: Sync.Applied["outcome"]) => actions.filter((each) => each.outcome === wanted).length
  const parts = [
    [copied, "copied"],
    [updated, "updated"],
    [deleted, "deleted"],
    [outcome("unchanged"), "as before"],
    [outcome("skipped"), "skipped"],
    [outcome("failed"), "failed"]
  ] as const
  const tags = parts.flatMap(([number, what]) => (number === 0 ? [] : [`${number} ${what}`]))
  const moved = [
    blobs.sent === 0 ? "" : `${count(blobs.sent, "blob")} (${size(blobs.bytesSent)}) sent`,
    blobs.mounted === 0 ? "" : `${blobs.mounted} mounted`,
    referrers === 0 ? "" : count(referrers, "referrer")
  ].filter((part) => part !== "")
  return [tags.length === 0 ? "no tags" : `tags: ${tags.join(", ")}`, ...moved].join("; ")
}
