/** The whole command: finds the subcommand, parses, and turns every end into an exit code. */

import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import type * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import { canonical, commandIndex, has, type Misuse, nearest, type OptionKind, wantsJson } from "./argv.js"
import * as Blob from "./blob.js"
import * as Copy from "./copy.js"
import * as Delete from "./delete.js"
import * as Diff from "./diff.js"
import * as Digest from "./digest.js"
import * as Exit from "./exit.js"
import * as Files from "./files.js"
import * as Gc from "./gc.js"
import * as Help from "./help.js"
import * as Inspect from "./inspect.js"
import * as List from "./list.js"
import * as Login from "./login.js"
import * as Logout from "./logout.js"
import * as Manifest from "./manifest.js"
import { global } from "./options.js"
import * as Output from "./output.js"
import * as Ping from "./ping.js"
import * as Pull from "./pull.js"
import * as Push from "./push.js"
import * as Referrers from "./referrers.js"
import * as Serve from "./serve.js"
import { Stdio, type StdoutClosed } from "./stdio.js"
import * as Sync from "./sync.js"
import * as Tag from "./tag.js"
import * as Tags from "./tags.js"
import * as Validate from "./validate.js"
import { version } from "./version.js"

/** In the order of the help. */
const modules = [
  Push,
  Pull,
  Copy,
  Sync,
  Tag,
  List,
  Tags,
  Inspect,
  Files,
  Diff,
  Manifest,
  Digest,
  Referrers,
  Blob,
  Delete,
  Validate,
  Ping,
  Login,
  Logout,
  Serve,
  Gc
] as const

const pages: ReadonlyArray<Help.Page> = modules.map(({ page }) => page)

const root = Command.make("ereg").pipe(
  Command.withSubcommands([
    Push.command,
    Pull.command,
    Copy.command,
    Sync.command,
    Tag.command,
    List.command,
    Tags.command,
    Inspect.command,
    Files.command,
    Diff.command,
    Manifest.command,
    Digest.command,
    Referrers.command,
    Blob.command,
    Delete.command,
    Validate.command,
    Ping.command,
    Login.command,
    Logout.command,
    Serve.command,
    Gc.command
  ])
)

/** Runs `ereg` with these words and returns the exit code. */
export const run = (words: ReadonlyArray<string>): Effect.Effect<number, never, Stdio> =>
  dispatch(words).pipe(
    Effect.as(Exit.code.done),
    Effect.catchTag("UsageError", (error) => tellUsage(error, wantsJson(words))),
    Effect.catchTag("Failed", ({ code }) => Effect.succeed(code)),
    // Whoever read our output has seen enough.
    Effect.catchTag("StdoutClosed", () => Effect.succeed(Exit.code.done))
  )

// internal

type Ended = Exit.Failed | Exit.UsageError | StdoutClosed

const dispatch = (argv: ReadonlyArray<string>): Effect.Effect<void, Ended, Stdio> => {
  const at = commandIndex(argv)
  const name = at < 0 ? undefined : argv[at]
  if (name === undefined) {
    if (has(argv, "--version")) return say(`${version}\n`)
    if (argv.length === 0 || has(argv, "--help", "-h")) return say(Help.overview(pages, global))
    const option = argv[0] ?? ""
    return Effect.fail(usage(undefined, `no command given, only ${option}`))
  }
  if (name === "help") {
    const wanted = argv[at + 1]
    return wanted === undefined ? say(Help.overview(pages, global)) : showPage(wanted)
  }
  if (has(argv, "--help", "-h")) return showPage(name)
  return Effect.flatMap(find(name), (page) => parse(page, [...argv.slice(at + 1), ...argv.slice(0, at)]))
}

const showPage = (name: string) => Effect.flatMap(find(name), (page) => say(Help.page(page, globalOf(page))))

/** The options of every command, without those that mean nothing to this one. */
const globalOf = (page: Help.Page): Help.Page["options"] =>
  Object.fromEntries(Object.entries(global).filter(([name]) => page.without?.some((other) => other === name) !== true))

const say = (text: string) => Effect.flatMap(Stdio, (stdio) => stdio.write(text))

const find = (name: string): Effect.Effect<Help.Page, Exit.UsageError> => {
  const page = pages.find((each) => each.name === name)
  if (page !== undefined) return Effect.succeed(page)
  const names = pages.map((each) => each.name)
  return Effect.fail(
    new Exit.UsageError({
      what: `ereg ${name}`,
      why: `there is no command ${JSON.stringify(name)}`,
      hint: Option.match(nearest(name, names), {
        onNone: () => `one of ${names.join(", ")}; \`ereg --help\` says what they do`,
        onSome: (near) => `did you mean \`ereg ${near}\`?`
      })
    })
  )
}

const parser = Command.run(root, { name: "ereg", version, executable: "ereg" })

/** `words` are those behind the command's name, with the options in front of it at their end. */
const parse = (page: Help.Page, words: ReadonlyArray<string>): Effect.Effect<void, Ended, Stdio> =>
  Effect.gen(function* () {
    const kinds = Help.optionKinds(page.options, global)
    const line = yield* Either.mapLeft(canonical(page.name, words, kinds), (misuse) => explain(page, misuse, kinds))
    const level = yield* logLevel(page, line.logLevel)
    const console = yield* Console.consoleWith(Effect.succeed)
    return yield* parser(["node", "ereg", ...line.words]).pipe(
      Effect.catchIf(ValidationError.isValidationError, ({ error }) => Effect.fail(usage(page, sentence(error)))),
      Logger.withMinimumLogLevel(level),
      // The parser prints its errors itself, with colours; they are told here.
      Effect.withConsole({ ...console, error: () => Effect.void })
    )
  }).pipe(Effect.provide(environment))

const environment = Layer.mergeAll(
  NodeFileSystem.layer,
  NodePath.layer,
  NodeTerminal.layer,
  CliConfig.layer({ isCaseSensitive: true, showBuiltIns: false })
)

const levels = ["All", "Trace", "Debug", "Info", "Warning", "Error", "Fatal", "None"] as const

/** `--log-level`, else EREG_LOG_LEVEL, else info. */
const logLevel = (page: Help.Page, option: Option.Option<string>): Effect.Effect<LogLevel.LogLevel, Exit.UsageError> =>
  Effect.gen(function* () {
    const variable = Option.filter(yield* Config.option(Config.string("EREG_LOG_LEVEL")), (text) => text.trim() !== "")
    const text = Option.getOrElse(
      Option.orElse(option, () => variable),
      () => "info"
    ).trim()
    const level = levels.find((each) => each.toLowerCase() === text.toLowerCase())
    if (level !== undefined) return LogLevel.fromLiteral(level)
    const name = Option.isSome(option) ? "--log-level" : "EREG_LOG_LEVEL"
    const names = levels.map((each) => each.toLowerCase()).join(", ")
    return yield* Effect.fail(usage(page, `${name} is one of ${names}, not ${JSON.stringify(text)}`))
  }).pipe(Effect.catchTag("ConfigError", (error) => Effect.fail(usage(page, error.message))))

const usage = (page: Help.Page | undefined, why: string): Exit.UsageError =>
  new Exit.UsageError({
    what: page === undefined ? "ereg" : `ereg ${page.name}`,
    why,
    hint:
      page === undefined
        ? "`ereg --help`"
        : `\`ereg ${`${page.name} ${page.synopsis}`.trim()}\`; \`ereg ${page.name} --help\` says more`
  })

/** What is wrong with the words, and what was probably meant. */
const explain = (page: Help.Page, misuse: Misuse, kinds: Readonly<Record<string, OptionKind>>): Exit.UsageError =>
  misuse._tag === "Other"
    ? usage(page, misuse.why)
    : new Exit.UsageError({
        what: `ereg ${page.name}`,
        why: `there is no option ${misuse.name}`,
        hint: Option.match(nearest(misuse.name, Object.keys(kinds)), {
          onNone: () => `\`ereg ${page.name} --help\` lists the options`,
          onSome: (option) => `did you mean ${option}?`
        })
      })

/** What the parser found, as the second half of a sentence. */
const sentence = (error: HelpDoc.HelpDoc): string => {
  const text = Help.plain(error)
  return text === "" ? "the words cannot be understood" : text.charAt(0).toLowerCase() + text.slice(1)
}

const tellUsage = (error: Exit.UsageError, asJson: boolean): Effect.Effect<number, StdoutClosed, Stdio> =>
  Effect.gen(function* () {
    const stdio = yield* Stdio
    const failure = Exit.describe(error, "ereg")
    if (asJson) yield* stdio.write(Output.json(Exit.toJson(failure), stdio.outputIsTerminal))
    else stdio.error.write(`${Output.render(failure).join("\n")}\n`)
    return Exit.code.usage
  })
