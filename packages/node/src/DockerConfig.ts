/**
 * Credentials where Docker and Podman keep them: config.json, auth.json, and the credential helpers that those name.
 * A file that is missing is no error unless an option names it; one that cannot be read or understood is, and its
 * contents are never repeated.
 */
import { join } from "node:path"
import { type Credentials, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as CredentialHelper from "./CredentialHelper.js"
import * as ConfigFile from "./DockerConfig/ConfigFile.js"
import * as Entry from "./DockerConfig/Entry.js"

export interface Options {
  /** The one file to use; to read from it, it has to be there. Default: REGISTRY_AUTH_FILE, else the files of `paths`. */
  readonly authFile?: string | undefined
  /** Names the folders, and goes to credential helpers. Default: the environment of this process. */
  readonly environment?: CredentialHelper.Environment | undefined
}

/** Where a credential went: to a program, or as plain text into a file. */
export type Place =
  | { readonly _tag: "Helper"; readonly name: string }
  | { readonly _tag: "File"; readonly path: string }

/**
 * The files that are looked into, in this order: `authFile` or REGISTRY_AUTH_FILE alone; else `$DOCKER_CONFIG/config.json`
 * (`~/.docker`), `$XDG_RUNTIME_DIR/containers/auth.json` and `$XDG_CONFIG_HOME/containers/auth.json` (`~/.config`). The
 * first is the one that is written to.
 */
export const paths = ({ authFile, environment = process.env }: Options = {}): ReadonlyArray<string> => {
  const only = [authFile, environment.REGISTRY_AUTH_FILE].find((path) => path !== undefined && path !== "")
  if (only !== undefined) return [only]
  const home = environment.HOME ?? environment.USERPROFILE
  const folder = (variable: string, ...inHome: ReadonlyArray<string>) => {
    const named = environment[variable]
    if (named !== undefined && named !== "") return [named]
    return home === undefined || inHome.length === 0 ? [] : [join(home, ...inHome)]
  }
  return [
    ...folder("DOCKER_CONFIG", ".docker").map((path) => join(path, "config.json")),
    ...folder("XDG_RUNTIME_DIR").map((path) => join(path, "containers/auth.json")),
    ...folder("XDG_CONFIG_HOME", ".config").map((path) => join(path, "containers/auth.json"))
  ]
}

/**
 * The credentials of these files. Nothing is read before the first `find`, and everything anew at each: of the first file
 * that has any, `credHelpers` come before `credsStore` before `auths`, and the longest `host/namespace` decides. Fails
 * where `authFile` names a file that is not there.
 * @since 0.1.0
 */
export const service = (options: Options = {}): Credentials.Service => ({
  find: (host, repository) =>
    Effect.gen(function* () {
      const mustExist = options.authFile !== undefined && options.authFile !== ""
      for (const path of paths(options)) {
        const found = yield* findIn(yield* ConfigFile.read(path, { mustExist }), host, repository, options)
        if (Option.isSome(found)) return found
      }
      return Option.none()
    })
})

/**
 * Keeps the credential of a host, `host[:port]`: in the helper that is configured for it, else in `auths`. Other fields of
 * the file and their order stay. Fails with a ValidationError, reason `InvalidCredentials`.
 * @since 0.1.0
 */
export const store = (
  host: string,
  credential: CredentialHelper.Credential,
  options: Options = {}
): Effect.Effect<Place, ValidationError> =>
  Effect.gen(function* () {
    const file = yield* writable(options)
    const helper = helperFor(file.config, host, Option.none())
    if (helper === undefined) {
      yield* checkUser(host, credential)
      const key = keyOf(file.config, host)
      yield* writeAuths(file, (auths) => ({
        ...auths,
        [key]: { ...Entry.fromCredential(credential), ...Entry.withoutSecret(asRecord(auths[key])) }
      }))
      return { _tag: "File", path: file.path }
    }
    yield* CredentialHelper.store(helper.name, helper.serverUrl, credential, options)
    // What stood there in plain text would outlive the change, and a logout too.
    if (hasSecret(file.config, host)) {
      yield* writeAuths(file, (auths) =>
        mapKeys(auths, (key, entry) => (Entry.normalize(key) === host ? Entry.withoutSecret(asRecord(entry)) : entry))
      )
    }
    return { _tag: "Helper", name: helper.name }
  })

/**
 * Forgets the credential of a host: in each of the files of `paths`, and in the helper that is configured there. Comes
 * back with the files that had one. All are read before any is changed. Fails with a ValidationError, reason
 * `InvalidCredentials`.
 * @since 0.1.0
 */
export const erase = (host: string, options: Options = {}): Effect.Effect<ReadonlyArray<string>, ValidationError> =>
  Effect.gen(function* () {
    const files = yield* Effect.forEach(new Set(paths(options)), (path) => ConfigFile.read(path))
    const had = yield* Effect.filter(files, (file) => eraseIn(file, host, options))
    return had.map(({ path }) => path)
  })

// internal

interface Helper {
  readonly name: string
  readonly serverUrl: string
}

/** The helper that is responsible; an empty name in `credHelpers` means the file, as Docker reads it. */
const helperFor = (
  { credHelpers, credsStore }: ConfigFile.Config,
  host: string,
  repository: Option.Option<string>
): Helper | undefined => {
  const own = Entry.best(Object.keys(credHelpers ?? {}), host, repository)
  const name = Option.isSome(own) ? credHelpers?.[own.value] : credsStore
  if (name === undefined || name === null || name === "") return undefined
  return { name, serverUrl: Entry.serverUrl(Option.isSome(own) ? Entry.normalize(own.value) : host) }
}

const findIn = (
  { config, path }: ConfigFile.ConfigFile,
  host: string,
  repository: Option.Option<string>,
  options: Options
): Effect.Effect<Option.Option<Credentials.Credential>, ValidationError> =>
  Effect.gen(function* () {
    const helper = helperFor(config, host, repository)
    if (helper !== undefined) {
      const kept = yield* CredentialHelper.get(helper.name, helper.serverUrl, options)
      if (Option.isSome(kept)) return kept
    }
    const auths = config.auths ?? {}
    const filled = Object.keys(auths).filter((key) => !Entry.isEmpty(auths[key] ?? {}))
    const key = Option.getOrUndefined(Entry.best(filled, host, repository))
    if (key === undefined) return Option.none()
    return yield* Either.match(Entry.toCredential(auths[key] ?? {}), {
      onLeft: (message) => Effect.fail(ConfigFile.invalid(path, [{ path: `auths[${JSON.stringify(key)}]`, message }])),
      onRight: Effect.succeedSome
    })
  })

/** Whether there was one. */
const eraseIn = (
  file: ConfigFile.ConfigFile,
  host: string,
  options: Options
): Effect.Effect<boolean, ValidationError> =>
  Effect.gen(function* () {
    const helper = helperFor(file.config, host, Option.none())
    // Asked first: most helpers erase nothing without saying so.
    const kept =
      helper === undefined ? Option.none() : yield* CredentialHelper.get(helper.name, helper.serverUrl, options)
    if (helper !== undefined && Option.isSome(kept)) {
      yield* CredentialHelper.erase(helper.name, helper.serverUrl, options)
    }
    const stood = hasSecret(file.config, host)
    if (Object.keys(file.config.auths ?? {}).some((key) => Entry.normalize(key) === host)) {
      yield* writeAuths(file, (auths) =>
        Object.fromEntries(Object.entries(auths).filter(([key]) => Entry.normalize(key) !== host))
      )
    }
    return Option.isSome(kept) || stood
  })

const writable = (options: Options): Effect.Effect<ConfigFile.ConfigFile, ValidationError> => {
  const path = paths(options)[0]
  return path === undefined
    ? Effect.fail(
        ValidationError.of("InvalidCredentials", "config.json", "there is no home folder to keep it in", {
          hint: "set HOME or DOCKER_CONFIG, or name a file with --authfile"
        })
      )
    : ConfigFile.read(path)
}

/** The key under which the host stands already, else the one that Docker would write. */
const keyOf = ({ auths }: ConfigFile.Config, host: string): string =>
  Option.getOrElse(Entry.best(Object.keys(auths ?? {}), host, Option.none()), () => Entry.serverUrl(host))

const hasSecret = ({ auths }: ConfigFile.Config, host: string): boolean =>
  Object.entries(auths ?? {}).some(([key, entry]) => Entry.normalize(key) === host && !Entry.isEmpty(entry))

const checkUser = (host: string, credential: CredentialHelper.Credential): Effect.Effect<void, ValidationError> =>
  credential._tag === "Password" && (credential.username === "" || credential.username.includes(":"))
    ? Effect.fail(
        ValidationError.of("InvalidCredentials", host, "a user name has at least one character and no colon", {
          hint: "what follows the colon is the password"
        })
      )
    : Effect.void

const writeAuths = (
  file: ConfigFile.ConfigFile,
  change: (auths: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>
): Effect.Effect<void, ValidationError> =>
  ConfigFile.write(file, { ...file.document, auths: change(asRecord(file.document.auths)) })

const mapKeys = (
  record: Readonly<Record<string, unknown>>,
  change: (key: string, value: unknown) => unknown
): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(key, value)]))

const asRecord = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {}
