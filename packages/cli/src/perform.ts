/** Around every command: the services it needs, `--timeout`, and what is said and returned when it fails. */

import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import { BlobInfoCache, Credentials, Progress, Reference, RegistryConfig, UploadJournal } from "@effect-registry/core"
import { DockerConfig, NodeRegistry } from "@effect-registry/node"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberRef from "effect/FiberRef"
import { identity } from "effect/Function"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import { everyHost } from "./argv.js"
import * as Exit from "./exit.js"
import { duration, type Global, type Mirror } from "./options.js"
import * as Output from "./output.js"
import * as ProgressDisplay from "./progress.js"
import { Stdio, StdoutClosed } from "./stdio.js"

export interface Invocation {
  /** The command's name, for messages. */
  readonly name: string
  readonly global: Global
  /** The references among the arguments: `--plain-http` and `--insecure-skip-tls-verify` mean their hosts. */
  readonly references?: ReadonlyArray<string> | undefined
  /** What happens to blobs: `pushed`, `pulled`, `copied`. */
  readonly done?: string | undefined
  /** Standard output carries bytes, so a failure is told on standard error even with `--output json`. */
  readonly carriesBytes?: boolean | undefined
}

/** What a command may ask for. */
export type Services =
  | HttpClient.HttpClient
  | RegistryConfig.RegistryConfig
  | FileSystem.FileSystem
  | Output.Output
  | Stdio

/**
 * Runs a command. Whatever goes wrong is told to the user here, and is a `Failed` with the exit code from then on.
 */
export const perform = <E>(
  invocation: Invocation,
  command: Effect.Effect<void, E, Services>
): Effect.Effect<void, Exit.Failed | StdoutClosed, Stdio> =>
  Effect.gen(function* () {
    const stdio = yield* Stdio
    const { global, name } = invocation
    const display = yield* ProgressDisplay.make(stdio, { quiet: global.quiet, done: invocation.done })
    const output = Output.make(stdio, { format: global.output, quiet: global.quiet, line: display.line })
    const settings = yield* configuration(invocation)
    const bounded = Option.match(settings.timeout, {
      onNone: () => command,
      onSome: (limit) =>
        Effect.timeoutFail(command, {
          duration: limit,
          onTimeout: () => new Exit.TimedOut({ operation: `ereg ${name}`, limit: Duration.format(limit) })
        })
    })
    return yield* bounded.pipe(
      global.noResume ? Effect.provideService(UploadJournal.UploadJournal, UploadJournal.none) : identity,
      global.noCache ? Effect.provideService(BlobInfoCache.BlobInfoCache, BlobInfoCache.none) : identity,
      Effect.provide(NodeRegistry.layer(settings.registry)),
      Effect.provideService(Output.Output, output),
      Effect.provideService(Progress.Progress, { emit: display.emit }),
      Effect.provide(logger(display.line)),
      global.quiet ? quietly : identity,
      Effect.onInterrupt(() => Effect.sync(() => goesOn(invocation) && display.line(interrupted)))
    )
  }).pipe(
    Effect.scoped,
    Effect.catchAllCause((cause) => report(invocation, cause))
  )

/** The hosts that `--plain-http` and the like mean without a value: those that the command names, and the configured registry. */
export const hostsOf = (references: ReadonlyArray<string>, registry: Option.Option<string>): ReadonlyArray<string> => [
  ...new Set([
    ...references.flatMap((text) =>
      Either.match(Reference.parse(text.replace(/^docker:\/\//, "")), {
        onLeft: () => [],
        onRight: ({ host }) => Option.toArray(host)
      })
    ),
    ...Option.toArray(registry).map((url) => url.replace(/^[a-z]+:\/\//i, "").replace(/\/.*$/, ""))
  ])
]

/** A registry's host as a reference, for `hostsOf`. */
export const hostReferences = (host: Option.Option<string>): ReadonlyArray<string> =>
  Option.toArray(Option.map(host, (text) => `${text.replace(/^[a-z]+:\/\//i, "")}/x`))

// internal

const interrupted = "interrupted: the same command goes on from here"

/** Whether a command that moves blobs leaves something to go on from. */
const goesOn = ({ carriesBytes, done, global }: Invocation): boolean =>
  done !== undefined && carriesBytes !== true && !global.noResume && !global.quiet

const environment = Config.all({
  registry: Config.option(Config.orElse(Config.string("EREG_REGISTRY"), () => Config.string("REGISTRY_URL"))),
  timeout: Config.option(Config.string("EREG_TIMEOUT"))
})

/** Options decide, then the environment. */
const configuration = ({ global, name, references = [] }: Invocation) =>
  Effect.gen(function* () {
    const fromEnvironment = yield* environment
    const registry = Option.orElse(global.registry, () =>
      Option.filter(fromEnvironment.registry, (url) => url.trim() !== "")
    )
    const timeout = Option.isSome(global.timeout)
      ? global.timeout
      : yield* Option.match(
          Option.filter(fromEnvironment.timeout, (text) => text.trim() !== ""),
          {
            onNone: () => Effect.succeedNone,
            onSome: (text) => Effect.asSome(parseTimeout(name, text))
          }
        )
    const stdio = yield* Stdio
    const named = hostsOf(references, registry)
    const expand = (hosts: ReadonlyArray<string>) =>
      hosts.flatMap((host) => (host === everyHost ? named : [host.toLowerCase()]))
    const config: RegistryConfig.Options = {
      url: Option.getOrUndefined(registry),
      hosts: hostOptions(expand(global.plainHttp), global.mirror),
      concurrency: Option.getOrUndefined(global.concurrency),
      userAgent: "ereg"
    }
    const fromVariables = yield* Credentials.fromEnvironment(RegistryConfig.make(config))
    const fromFiles = DockerConfig.service({
      authFile: Option.getOrUndefined(global.authfile),
      environment: stdio.environment
    })
    const options: NodeRegistry.Options = {
      ...config,
      credentials: Credentials.orElse(fromVariables, fromFiles),
      tls: {
        certDir: Option.getOrUndefined(global.certDir),
        skipVerify: expand(global.insecureSkipTlsVerify)
      },
      environment: stdio.environment
    }
    return { registry: options, timeout }
  })

/** The settings of each host that an option names. */
const hostOptions = (
  plain: ReadonlyArray<string>,
  mirrors: ReadonlyArray<Mirror>
): Readonly<Record<string, RegistryConfig.HostOptions>> =>
  Object.fromEntries(
    [...plain, ...mirrors.map(({ host }) => host)].map((host) => [
      host,
      {
        plainHttp: plain.includes(host) ? true : undefined,
        mirrors: mirrors.flatMap((mirror) => (mirror.host === host ? [mirror.url] : []))
      }
    ])
  )

const parseTimeout = (name: string, text: string) =>
  Option.match(duration(text), {
    onNone: () =>
      Effect.fail(
        new Exit.UsageError({
          what: `ereg ${name}`,
          why: `EREG_TIMEOUT is ${JSON.stringify(text)}, which is no time`,
          hint: "for example EREG_TIMEOUT=5m"
        })
      ),
    onSome: Effect.succeed
  })

/** Log entries as lines of standard error: standard output is data. */
const logger = (line: (text: string) => void) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ cause, logLevel, message }) => {
      const words = Array.isArray(message) ? message : [message]
      const text = words.map((word) => (typeof word === "string" ? word : JSON.stringify(word))).join(" ")
      const why = Cause.isEmpty(cause) ? "" : ` ${Cause.pretty(cause)}`
      line(`${logLevel.label.toLowerCase()}: ${Output.escape(`${text}${why}`)}`)
    })
  )

const quietly = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(FiberRef.get(FiberRef.currentMinimumLogLevel), (level) =>
    Logger.withMinimumLogLevel(self, LogLevel.greaterThan(level, LogLevel.Warning) ? level : LogLevel.Warning)
  )

/** Says what went wrong, once, and leaves the exit code. */
const report = <E>(
  { carriesBytes, global, name }: Invocation,
  cause: Cause.Cause<E>
): Effect.Effect<never, Exit.Failed | StdoutClosed, Stdio> =>
  Effect.gen(function* () {
    if (Cause.isInterruptedOnly(cause)) return yield* Effect.interrupt
    const error = Option.getOrUndefined(Cause.failureOption(cause))
    if (error instanceof Exit.Failed || error instanceof StdoutClosed) return yield* Effect.fail(error)
    const stdio = yield* Stdio
    const failure = Exit.fromCause(cause, name)
    const debug = LogLevel.lessThanEqual(yield* FiberRef.get(FiberRef.currentMinimumLogLevel), LogLevel.Debug)
    if (debug) stdio.error.write(`${Output.lines(Cause.pretty(cause, { renderErrorCause: true }))}\n`)
    if (global.output === "json") {
      const document = Output.json(Exit.toJson(failure), stdio.outputIsTerminal && carriesBytes !== true)
      if (carriesBytes === true) stdio.error.write(document)
      else yield* stdio.write(document)
    } else {
      stdio.error.write(`${Output.render(failure).join("\n")}\n`)
    }
    return yield* Effect.fail(
      new Exit.Failed({ code: error instanceof Exit.UsageError ? Exit.code.usage : Exit.code.failed })
    )
  })
