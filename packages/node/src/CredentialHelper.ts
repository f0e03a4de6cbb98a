/**
 * Programs that keep credentials in a keychain, `docker-credential-NAME`: started for one question each, asked on standard
 * input, answering on standard output. https://github.com/docker/docker-credential-helpers/tree/v0.9.3#development
 */
import { type ChildProcess, spawn } from "node:child_process"
import { constants } from "node:fs"
import { access, stat } from "node:fs/promises"
import { delimiter, isAbsolute, join } from "node:path"
import { Credentials, ValidationError } from "@effect-registry/core"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/** The variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What a helper can keep. */
export type Credential = Credentials.Password | Credentials.IdentityToken

export interface Options {
  /** Where PATH comes from, and what the helper gets. Default: the environment of this process. */
  readonly environment?: Environment | undefined
  /** How long one question may take; people may have to unlock a keychain. Default 30 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/** A helper that never stops talking would fill our memory. Bytes, both outputs together. */
export const maxOutput = 1024 * 1024

/**
 * What the helper keeps for a server, `None` where it has nothing. `serverUrl` is what it was stored under:
 * `host[:port]`, `https://index.docker.io/v1/` for Docker Hub.
 *
 * Fails with a ValidationError, reason `InvalidCredentials`: no such program on PATH, a name that is no helper's, an exit
 * code other than 0, an answer that is none, or none in time.
 * @since 0.1.0
 */
export const get = (
  name: string,
  serverUrl: string,
  options: Options = {}
): Effect.Effect<Option.Option<Credential>, ValidationError> =>
  Effect.gen(function* () {
    const ended = yield* run(name, "get", serverUrl, options)
    if (isNotFound(ended)) return Option.none()
    yield* checkEnd(name, "get", ended, undefined)
    const answer = Schema.decodeUnknownOption(Answer)(ended.stdout)
    // Neither the answer nor what the decoder says of it may be repeated: both hold the secret.
    if (Option.isNone(answer)) return yield* failure(name, "answered `get` with something other than credentials")
    const { Secret, Username } = answer.value
    if (Secret === "") return Option.none()
    return Option.some(fromPair(Username, Redacted.make(Secret)))
  })

/** Keeps the credential under the server, in place of what was there. Fails as `get`. @since 0.1.0 */
export const store = (
  name: string,
  serverUrl: string,
  credential: Credential,
  options: Options = {}
): Effect.Effect<void, ValidationError> => {
  const [username, secret] =
    credential._tag === "Password" ? [credential.username, credential.password] : [tokenUser, credential.token]
  const input = JSON.stringify({ ServerURL: serverUrl, Username: username, Secret: Redacted.value(secret) })
  return Effect.flatMap(run(name, "store", input, options), (ended) => checkEnd(name, "store", ended, secret))
}

/** Forgets what it keeps for the server; to have had nothing is no error. Fails as `get`. @since 0.1.0 */
export const erase = (name: string, serverUrl: string, options: Options = {}): Effect.Effect<void, ValidationError> =>
  Effect.flatMap(run(name, "erase", serverUrl, options), (ended) =>
    isNotFound(ended) ? Effect.void : checkEnd(name, "erase", ended, undefined)
  )

/** A user name and a secret as Docker writes them: the user `<token>` says that the secret is an identity token. */
export const fromPair = (username: string, secret: Redacted.Redacted): Credential =>
  username === tokenUser ? { _tag: "IdentityToken", token: secret } : Credentials.password(username, secret)

// internal

const tokenUser = "<token>"

const Answer = Schema.parseJson(Schema.Struct({ Username: Schema.String, Secret: Schema.String }))

type Verb = "get" | "store" | "erase"

interface Ended {
  /** `null` where a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const failure = (name: string, message: string, hint?: string) =>
  Effect.fail(
    ValidationError.of("InvalidCredentials", `docker-credential-${name}`, message, {
      hint: hint ?? `try it by hand: echo HOST | docker-credential-${name} get`
    })
  )

const run = (name: string, verb: Verb, input: string, options: Options): Effect.Effect<Ended, ValidationError> =>
  Effect.gen(function* () {
    const configured = "credsStore and credHelpers in Docker's config.json name the helpers"
    if (!/^[a-z0-9-]+$/.test(name)) {
      return yield* failure(name, "the name of a credential helper has letters a-z, digits and dashes only", configured)
    }
    const environment = options.environment ?? process.env
    const file = yield* Effect.promise(() => locate(`docker-credential-${name}`, environment))
    if (file === undefined) return yield* failure(name, "is not on PATH", `install it; ${configured}`)
    const limit = Duration.decode(options.timeout ?? "30 seconds")
    return yield* Effect.timeoutFail(converse(name, file, verb, input, environment), {
      duration: limit,
      onTimeout: () =>
        ValidationError.of(
          "InvalidCredentials",
          `docker-credential-${name}`,
          `did not answer \`${verb}\` within ${Duration.format(limit)}`,
          { hint: "is the keychain locked, and does it ask for something?" }
        )
    })
  })

/** Only absolute folders of PATH count: a program of that name in the current folder is somebody else's. */
const locate = async (program: string, environment: Environment): Promise<string | undefined> => {
  const file = process.platform === "win32" ? `${program}.exe` : program
  for (const folder of (environment.PATH ?? environment.Path ?? "").split(delimiter).filter(isAbsolute)) {
    const path = join(folder, file)
    const isProgram = await access(path, constants.X_OK).then(
      async () => (await stat(path)).isFile(),
      () => false
    )
    if (isProgram) return path
  }
  return undefined
}

/** Without a shell. The child is gone when this ends, in whichever way. */
const converse = (
  name: string,
  file: string,
  verb: Verb,
  input: string,
  environment: Environment
): Effect.Effect<Ended, ValidationError> =>
  Effect.async((resume) => {
    const child = spawn(file, [verb], { env: environment, stdio: "pipe", shell: false, windowsHide: true })
    const out: Array<Buffer> = []
    const err: Array<Buffer> = []
    let size = 0
    const collect = (into: Array<Buffer>) => (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxOutput) return void into.push(chunk)
      kill(child)
      resume(failure(name, `answered \`${verb}\` with more than ${maxOutput} bytes`))
    }
    child.stdout.on("data", collect(out))
    child.stderr.on("data", collect(err))
    // A helper that reads nothing closes its end; its exit code tells the rest.
    child.stdin.on("error", () => {})
    child.on("error", (cause: NodeJS.ErrnoException) =>
      resume(failure(name, `cannot be started (${cause.code ?? "unknown error"})`))
    )
    child.on("close", (code) =>
      resume(
        Effect.succeed({
          code,
          stdout: Buffer.concat(out).toString("utf8"),
          stderr: Buffer.concat(err).toString("utf8")
        })
      )
    )
    child.stdin.end(input)
    return Effect.sync(() => kill(child))
  })

const kill = (child: ChildProcess): void => {
  child.kill("SIGKILL")
  // What the helper itself has started may still hold the other ends.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
}

/** The one sentence that all helpers share; Docker's own write it to standard output. */
const isNotFound = ({ code, stderr, stdout }: Ended): boolean =>
  code !== 0 && `${stdout}\n${stderr}`.includes("credentials not found in native keychain")

const checkEnd = (
  name: string,
  verb: Verb,
  ended: Ended,
  secret: Redacted.Redacted | undefined
): Effect.Effect<void, ValidationError> => {
  if (ended.code === 0) return Effect.void
  const how = ended.code === null ? "was killed" : `ended with code ${ended.code}`
  const said = [ended.stdout, ended.stderr].map((text) => tellable(text, secret)).filter((text) => text !== "")
  return failure(name, `\`${verb}\` ${how}${said.length === 0 ? "" : `: ${said.join("; ")}`}`)
}

/** Characters of a helper's words that are shown. */
const maxShown = 300

/**
 * What a helper said, fit to be shown: without the secret that it got, lines of JSON or of `password=…`, and anything that
 * is long enough to be a token.
 */
const tellable = (text: string, secret: Redacted.Redacted | undefined): string => {
  const known = secret === undefined ? [] : spellings(Redacted.value(secret))
  const lines = text.split(/\r?\n/).map((line) => {
    if (/[{}]|(?:secret|passw\w*|token)["']?\s*[:=]/i.test(line)) return "(a line left out that may hold a secret)"
    const shown = known.reduce((kept, spelling) => kept.replaceAll(spelling, "***"), line)
    // A path starts with a slash, a token does not.
    return shown.replace(/(?<![\w+/=.-])[\w+=.-][\w+/=.-]{31,}/g, "***").trim()
  })
  return [...new Set(lines)]
    .filter((line) => line !== "")
    .join(" ")
    .slice(0, maxShown)
}

const spellings = (secret: string): ReadonlyArray<string> =>
  secret === ""
    ? []
    : [secret, JSON.stringify(secret).slice(1, -1), Buffer.from(secret).toString("base64"), encodeURIComponent(secret)]
