/** `ereg login`: checks credentials with the registry and keeps them. */

import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { Credentials, ping, RegistryConfig, RegistryError } from "@effect-registry/core"
import { DockerConfig } from "@effect-registry/node"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { UsageError } from "./exit.js"
import type { Page } from "./help.js"
import { argument, forBlobs, type Global, global } from "./options.js"
import { Output } from "./output.js"
import { hostReferences, perform } from "./perform.js"
import * as Prompt from "./prompt.js"
import { type Service, Stdio } from "./stdio.js"

const options = {
  username: Options.text("username").pipe(
    Options.withPseudoName("USER"),
    Options.withDescription("The user name; without it you are asked"),
    Options.optional
  ),
  passwordStdin: Options.boolean("password-stdin").pipe(
    Options.withDescription("Read the password or token from standard input; without it you are asked")
  )
}

export const page: Page = {
  name: "login",
  summary: "Check credentials with a registry and keep them for later commands",
  synopsis: "[HOST]",
  arguments: [["HOST", "HOST[:PORT] or a URL; without one the configured registry, else docker.io"]],
  options,
  without: forBlobs,
  notes: [
    "They are kept where docker keeps them: in the credential helper that its config.json names, else in that file.",
    "Nothing is kept that the registry refuses. EREG_USERNAME and EREG_PASSWORD need no login."
  ],
  examples: [
    ["ereg login registry.example:5000", "Asks for user and password"],
    ["ereg login ghcr.io --username me --password-stdin < token.txt", "Without a terminal"]
  ]
}

export const command = Command.make(
  "login",
  { host: Args.optional(argument("host")), ...options, global },
  ({ global, host: named, passwordStdin, username }) =>
    perform(
      { name: "login", global, references: hostReferences(named) },
      Effect.gen(function* () {
        const output = yield* Output
        const stdio = yield* Stdio
        const { host } = yield* RegistryConfig.find(Option.getOrUndefined(named))
        const where = files(stdio, global)
        const credential = yield* passwordStdin
          ? readPair(stdio, host, username)
          : askPair(stdio, host, username, where)
        yield* check(Option.getOrUndefined(named), host, credential)
        const place = yield* DockerConfig.store(host, credential, where)
        if (place._tag === "File") {
          yield* output.warn(
            `the password lies in ${place.path} as plain text; a credential helper, named there by credsStore, would keep it safe`
          )
        }
        yield* output.note(`logged in to ${host} as ${credential.username}`)
        yield* output.print([], {
          host,
          username: credential.username,
          helper: place._tag === "Helper" ? place.name : null,
          file: place._tag === "File" ? place.path : null
        })
      })
    )
)

/** Where credentials are kept. */
export const files = (stdio: Service, global: Global): DockerConfig.Options => ({
  authFile: Option.getOrUndefined(global.authfile),
  environment: stdio.environment
})

// internal

/** Passwords are shorter, and tokens too; something else was piped in by mistake. Bytes. */
const maxInput = 64 * 1024

const usage = (host: string, why: string) =>
  Effect.fail(
    new UsageError({
      what: "ereg login",
      why,
      hint: `\`ereg login ${host} --username USER --password-stdin < FILE\`, or run it in a terminal`
    })
  )

const readPair = (stdio: Service, host: string, username: Option.Option<string>) =>
  Effect.gen(function* () {
    if (Option.isNone(username)) return yield* usage(host, "--password-stdin needs --username")
    if (stdio.inputIsTerminal) return yield* usage(host, "standard input is a terminal; leave --password-stdin out")
    const chunks: Array<Uint8Array> = []
    let size = 0
    yield* Effect.tryPromise({
      try: async () => {
        for await (const chunk of stdio.input()) {
          chunks.push(Buffer.from(chunk))
          size += chunk.length
          if (size > maxInput) break
        }
      },
      catch: () =>
        new UsageError({ what: "ereg login", why: "standard input cannot be read", hint: "pipe the password into it" })
    })
    if (size > maxInput)
      return yield* usage(host, `standard input has more than ${maxInput} bytes, and a password less`)
    const secret = Buffer.concat(chunks)
      .toString("utf8")
      .replace(/\r?\n$/, "")
    if (secret === "") return yield* usage(host, "standard input holds no password")
    return Credentials.password(username.value, Redacted.make(secret))
  })

const askPair = (stdio: Service, host: string, username: Option.Option<string>, where: DockerConfig.Options) =>
  Effect.gen(function* () {
    if (!stdio.inputIsTerminal) {
      return yield* usage(host, "standard input is no terminal to ask at, and --password-stdin is not given")
    }
    const prompt = yield* Prompt.make(stdio)
    const name = yield* Option.match(username, {
      onNone: () => askName(prompt, host, where),
      onSome: Effect.succeed
    })
    if (name === "") return yield* usage(host, "no user name was given")
    const secret = yield* prompt.secret(`Password or token of ${name} at ${host}: `)
    if (secret === "") return yield* usage(host, "no password was given")
    return Credentials.password(name, Redacted.make(secret))
  }).pipe(Effect.scoped)

/** An empty answer means the user of the last login. */
const askName = (prompt: Prompt.Prompt, host: string, where: DockerConfig.Options) =>
  Effect.gen(function* () {
    const before = yield* Effect.option(DockerConfig.service(where).find(host, Option.none()))
    const last = Option.filterMap(Option.flatten(before), (credential) =>
      credential._tag === "Password" ? Option.some(credential.username) : Option.none()
    )
    const shown = Option.match(last, { onNone: () => "", onSome: (name) => ` (${name})` })
    const typed = (yield* prompt.text(`User name at ${host}${shown}: `)).trim()
    return typed === "" ? Option.getOrElse(last, () => "") : typed
  })

/** Asks the registry; one that lets everybody in cannot say whether they are right. */
const check = (named: string | undefined, host: string, credential: Credentials.Credential) =>
  Effect.gen(function* () {
    let asked = false
    const service: Credentials.Service = {
      find: (at) =>
        Effect.sync(() => {
          if (at !== host) return Option.none()
          asked = true
          return Option.some(credential)
        })
    }
    yield* ping(named).pipe(
      Effect.provideService(Credentials.Credentials, service),
      Effect.mapError((error) => (error._tag === "RegistryError" ? told(host, error, asked) : error))
    )
    if (!asked) {
      const output = yield* Output
      yield* output.warn(`${host} asks nobody for credentials, so these are not checked`)
    }
  })

/** A failed check as one of the login: the hint of a ping would be to log in. */
const told = (host: string, error: RegistryError, asked: boolean): RegistryError | Refused => {
  const operation = `log in to ${host}`
  const isRefusal = asked && (error.reason === "Unauthorized" || error.reason === "Denied")
  if (isRefusal && error.reason === "Unauthorized") {
    return new Refused({ operation, status: error.status, codes: error.codes })
  }
  return new RegistryError({ ...error, operation, hint: isRefusal ? checkThem : error.hint })
}

const checkThem = "check them; many registries want a personal access token in the place of the password"

/** The registry's error in the words of a login; in JSON it is the same. */
class Refused extends Data.TaggedError("RegistryError")<{
  readonly operation: string
  readonly status: number | undefined
  readonly codes: RegistryError["codes"]
}> {
  readonly reason = "Unauthorized"
  readonly hint = checkThem
  override get message(): string {
    const said = this.codes.map(({ code, message }) => (message === "" ? code : `${code}: ${message}`)).join("; ")
    return `${this.operation}: the registry refuses user name or password${said === "" ? "" : `: ${said}`}`
  }
}
