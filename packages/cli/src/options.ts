/** The options that every command has, and the arguments that several have. */

import * as Args from "@effect/cli/Args"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import { Platform, RegistryConfig } from "@effect-registry/core"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { everyHost } from "./argv.js"
import { UsageError } from "./exit.js"
import type { Format } from "./output.js"

/** What the options of every command say. */
export interface Global {
  readonly output: Format
  readonly platform: ReadonlyArray<Platform.Platform>
  readonly concurrency: Option.Option<number>
  readonly timeout: Option.Option<Duration.Duration>
  readonly quiet: boolean
  readonly registry: Option.Option<string>
  /** Hosts to speak plain HTTP to; `*` is every one that the command names. */
  readonly plainHttp: ReadonlyArray<string>
  /** Hosts whose certificates are not verified; `*` is every one that the command names. */
  readonly insecureSkipTlsVerify: ReadonlyArray<string>
  readonly certDir: Option.Option<string>
  readonly authfile: Option.Option<string>
  readonly mirror: ReadonlyArray<Mirror>
  readonly noResume: boolean
  readonly noCache: boolean
}

/** What means nothing to commands that move no blob, for their help. */
export const forBlobs: ReadonlyArray<keyof Global> = ["platform", "concurrency", "mirror", "noResume", "noCache"]

/** What means nothing to commands that call no registry, for their help. */
export const forRegistries: ReadonlyArray<keyof Global> = [...forBlobs, "plainHttp", "insecureSkipTlsVerify", "certDir"]

/** Where images of a host are read from first. */
export interface Mirror {
  readonly host: string
  readonly url: string
}

/** One of a few words; the first is the default. */
export const choice = <const A extends string>(
  name: string,
  [fallback, ...others]: readonly [A, ...ReadonlyArray<A>],
  description: string
): Options.Options<A> => {
  const values = [fallback, ...others]
  return Options.text(name).pipe(
    Options.withPseudoName(values.join("|")),
    Options.withDescription(`${description} (default: ${fallback})`),
    Options.mapEffect((text) => oneOf(name, values, text)),
    Options.withDefault(fallback)
  )
}

/** One of a few words, or nothing. */
export const optionalChoice = <const A extends string>(
  name: string,
  values: ReadonlyArray<A>,
  description: string
): Options.Options<Option.Option<A>> =>
  Options.text(name).pipe(
    Options.withPseudoName(values.join("|")),
    Options.withDescription(description),
    Options.mapEffect((text) => oneOf(name, values, text)),
    Options.optional
  )

/** A whole number within bounds. */
export const integer = (
  name: string,
  { description, from, to }: { readonly from: number; readonly to: number; readonly description: string }
): Options.Options<number> =>
  Options.text(name).pipe(
    Options.withPseudoName("N"),
    Options.withDescription(description),
    Options.mapEffect((text) => {
      const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
      return value >= from && value <= to
        ? Effect.succeed(value)
        : Effect.fail(invalid(`--${name} is a number from ${from} to ${to}, not ${JSON.stringify(text)}`))
    })
  )

/** A length of time, by `parse`; `examples` are for those who write another one. */
export const time = (
  name: string,
  description: string,
  examples: string,
  parse = (text: string): Option.Option<Duration.Duration> => duration(text)
): Options.Options<Option.Option<Duration.Duration>> =>
  Options.text(name).pipe(
    Options.withPseudoName("TIME"),
    Options.withDescription(description),
    Options.mapEffect((text) =>
      Option.match(parse(text), {
        onNone: () => Effect.fail(invalid(`--${name}: ${JSON.stringify(text)} is no time such as ${examples}`)),
        onSome: Effect.succeed
      })
    ),
    Options.optional
  )

const oneOf = <A extends string>(name: string, values: ReadonlyArray<A>, text: string) => {
  const value = values.find((each) => each === text)
  return value === undefined
    ? Effect.fail(invalid(`--${name} is ${values.join(" or ")}, not ${JSON.stringify(text)}`))
    : Effect.succeed(value)
}

const invalid = (message: string) => ValidationError.invalidValue(HelpDoc.p(message))

export const global = {
  output: choice("output", ["text", "json"], "What to print on standard output"),
  platform: Options.text("platform").pipe(
    Options.withPseudoName("OS/ARCH"),
    Options.repeated,
    Options.withDescription("Of an image for several platforms this one, os/architecture[/variant]; may be repeated"),
    Options.mapEffect((values) =>
      Effect.mapError(platforms(values), (error) => invalid(`--platform: ${error.message}`))
    )
  ),
  concurrency: integer("concurrency", { from: 1, to: 100, description: "Blobs in flight (default: 5)" }).pipe(
    Options.optional
  ),
  timeout: time(
    "timeout",
    "Longest time for all of it: 90s, 5m, 1h30m; a number alone is seconds (default: none; EREG_TIMEOUT)",
    "90s, 5m or 1h30m"
  ),
  quiet: Options.boolean("quiet").pipe(Options.withDescription("Only warnings and errors on standard error")),
  registry: Options.text("registry").pipe(
    Options.withPseudoName("URL"),
    Options.withDescription("The registry of references without a host (EREG_REGISTRY, REGISTRY_URL)"),
    Options.optional
  ),
  plainHttp: Options.text("plain-http").pipe(
    Options.withPseudoName("HOST"),
    Options.repeated,
    Options.withDescription("Speak HTTP, not HTTPS: to this HOST[:PORT], or to every registry named")
  ),
  insecureSkipTlsVerify: Options.text("insecure-skip-tls-verify").pipe(
    Options.withPseudoName("HOST"),
    Options.repeated,
    Options.withDescription("Take any certificate: of this HOST[:PORT], or of every registry named")
  ),
  certDir: Options.text("cert-dir").pipe(
    Options.withPseudoName("DIR"),
    Options.withDescription("A folder of *.crt, *.cert and *.key (default: certs.d/HOST[:PORT] of Docker and Podman)"),
    Options.optional
  ),
  authfile: Options.text("authfile").pipe(
    Options.withPseudoName("FILE"),
    Options.withDescription("Credentials (REGISTRY_AUTH_FILE; default: Docker's config.json, Podman's auth.json)"),
    Options.optional
  ),
  mirror: Options.text("mirror").pipe(
    Options.withPseudoName("HOST=URL"),
    Options.repeated,
    Options.withDescription("Read images of HOST[:PORT] from the registry at URL first; may be repeated"),
    Options.mapEffect((values) => Effect.forEach(values, mirror))
  ),
  noResume: Options.boolean("no-resume").pipe(
    Options.withDescription("Start anew, and leave nothing behind for another try to go on with")
  ),
  noCache: Options.boolean("no-cache").pipe(
    Options.withDescription("Neither use nor remember what other pushes learned about layers")
  )
}

/** `90s`, `5m`, `1h30m`, `250ms`, `5 minutes`; a number alone counts seconds. */
export const duration = (text: string): Option.Option<Duration.Duration> => {
  const compact = text.trim().replaceAll(/\s+/g, "")
  if (/^\d+(?:\.\d+)?$/.test(compact)) return positive(Number(compact) * 1000)
  const parts = [...compact.matchAll(/(\d+(?:\.\d+)?)([a-z]+)/g)]
  if (parts.length === 0 || parts.map(([part]) => part).join("") !== compact) return Option.none()
  let milliseconds = 0
  for (const [, number, unit] of parts) {
    const factor = units[unit ?? ""]
    if (factor === undefined) return Option.none()
    milliseconds += Number(number) * factor
  }
  return positive(milliseconds)
}

/** Where a command names several registries, what makes one less safe has to say which. */
export const requireHosts = (
  command: string,
  { insecureSkipTlsVerify, plainHttp }: Pick<Global, "plainHttp" | "insecureSkipTlsVerify">
): Effect.Effect<void, UsageError> => {
  const option = plainHttp.includes(everyHost)
    ? "--plain-http"
    : insecureSkipTlsVerify.includes(everyHost)
      ? "--insecure-skip-tls-verify"
      : undefined
  if (option === undefined) return Effect.void
  const why = `${option} does not say which registry it means`
  return Effect.fail(new UsageError({ what: `ereg ${command}`, why, hint: `${option}=HOST[:PORT]` }))
}

/** One argument. */
export const argument = (name: string): Args.Args<string> => Args.text({ name })

/** Any number of arguments, at least `least`. */
export const argumentList = (name: string, least: number): Args.Args<ReadonlyArray<string>> =>
  least === 0 ? Args.repeated(Args.text({ name })) : Args.atLeast(Args.text({ name }), least)

/** The platforms of an option's values, which may hold several with commas between. */
const platforms = (values: ReadonlyArray<string>) =>
  Effect.forEach(
    values.flatMap((value) => value.split(",")).filter((value) => value !== ""),
    (value) => Platform.parse(value)
  )

// internal

const mirror = (text: string) => {
  const at = text.indexOf("=")
  const host = RegistryConfig.hostName(text.slice(0, Math.max(0, at)))
  const url = text.slice(at + 1)
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  // A password would stand in the process list; `ereg login` is for those. The text is not repeated for the same reason.
  const isPlain = /^https?:$/.test(parsed?.protocol ?? "") && parsed?.username === "" && parsed.password === ""
  return Option.isSome(host) && isPlain
    ? Effect.succeed<Mirror>({ host: host.value, url })
    : Effect.fail(invalid("--mirror is HOST[:PORT]=URL, for example docker.io=https://mirror.example"))
}

const positive = (milliseconds: number) =>
  milliseconds > 0 ? Option.some(Duration.millis(milliseconds)) : Option.none()

const units: Readonly<Record<string, number>> = {
  ms: 1,
  millis: 1,
  milliseconds: 1,
  s: 1000,
  sec: 1000,
  second: 1000,
  seconds: 1000,
  m: 60_000,
  min: 60_000,
  minute: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  hours: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  days: 86_400_000
}
