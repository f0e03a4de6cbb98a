/** config.json on disk. What is wrong with it is told by its path and the rule: every other word of it may be a secret. */
import { randomBytes } from "node:crypto"
import { open, readlink, realpath, rename, stat, unlink } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import { Json, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as PrivateFolder from "../PrivateFolder.js"
import * as Entry from "./Entry.js"

/** Longer files are none of Docker's, and reading them would only cost memory. Bytes. */
export const maxSize = 1024 * 1024

const record = <A, I>(value: Schema.Schema<A, I>) =>
  Schema.optional(Schema.NullOr(Schema.Record({ key: Schema.String, value })))

export const Config = Schema.Struct({
  auths: record(Entry.Entry),
  credsStore: Schema.optional(Schema.NullOr(Schema.String)),
  credHelpers: record(Schema.String)
})
export type Config = typeof Config.Type

export interface ConfigFile {
  readonly path: string
  readonly config: Config
  /** The whole document, with the fields that are not ours. */
  readonly document: Readonly<Record<string, unknown>>
  /** As it was read, empty where there is no file. */
  readonly text: string
}

/**
 * The file; one that is empty holds nothing, and one that is missing neither, unless it `mustExist`. Fails with reason
 * `InvalidCredentials`.
 */
export const read = (
  path: string,
  { mustExist = false }: { readonly mustExist?: boolean | undefined } = {}
): Effect.Effect<ConfigFile, ValidationError> =>
  Effect.gen(function* () {
    const found = yield* Effect.tryPromise({
      try: () => readBounded(path),
      catch: (cause) => invalid(path, [{ path: "", message: ioMessage("read", cause) }])
    })
    if (found === undefined && mustExist) {
      const hint = "check its name; `ereg login HOST --authfile FILE` makes it"
      return yield* Effect.fail(ValidationError.of("InvalidCredentials", path, "there is no such file", { hint }))
    }
    const bytes = found ?? Buffer.alloc(0)
    if (bytes.length > maxSize) {
      return yield* Effect.fail(invalid(path, [{ path: "", message: `is larger than ${maxSize} bytes` }]))
    }
    const text = bytes.toString("utf8")
    if (text.trim() === "") return { path, text: "", config: {}, document: {} }
    const parsed = yield* Either.mapLeft(
      Json.parse(bytes, { subject: path, reason: "InvalidCredentials", maxSize }),
      // Not the parser's own error, which quotes the text.
      ({ issues }) => invalid(path, issues)
    )
    const config = yield* Either.mapLeft(Schema.decodeUnknownEither(Config, { errors: "all" })(parsed.value), (error) =>
      invalid(path, issuesOf(error))
    )
    return { path, text, config, document: { ...(parsed.value as object) } }
  })

/**
 * Replaces the file by another document, in one step and for its owner alone; where it is a link, what the link names.
 * Fails with reason `InvalidCredentials`.
 */
export const write = (file: ConfigFile, document: ConfigFile["document"]): Effect.Effect<void, ValidationError> =>
  Effect.uninterruptible(
    Effect.tryPromise({
      try: () => replace(file.path, layOut(document, file.text)),
      catch: (cause) =>
        ValidationError.of("InvalidCredentials", file.path, ioMessage("written", cause), {
          hint: "name another file with --authfile FILE, or another folder with DOCKER_CONFIG"
        })
    })
  )

export const invalid = (path: string, issues: ValidationError["issues"]): ValidationError =>
  new ValidationError({
    reason: "InvalidCredentials",
    subject: path,
    issues,
    hint: "mend or remove it; --authfile and REGISTRY_AUTH_FILE name another file"
  })

// internal

/** `undefined` where there is no file. */
const readBounded = async (path: string): Promise<Buffer | undefined> => {
  const handle = await open(path, "r").catch((cause: unknown) => {
    if (PrivateFolder.codeOf(cause) === "ENOENT" || PrivateFolder.codeOf(cause) === "ENOTDIR") return undefined
    throw cause
  })
  if (handle === undefined) return undefined
  try {
    const chunks: Array<Buffer> = []
    let size = 0
    while (size <= maxSize) {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(64 * 1024))
      if (bytesRead === 0) break
      chunks.push(buffer.subarray(0, bytesRead))
      size += bytesRead
    }
    return Buffer.concat(chunks)
  } finally {
    await handle.close()
  }
}

const replace = async (path: string, text: string): Promise<void> => {
  const target = await followed(path)
  await PrivateFolder.make(dirname(target))
  const temporary = `${target}.${randomBytes(6).toString("hex")}`
  const handle = await open(temporary, "wx", 0o600)
  try {
    try {
      const before = await stat(target).catch(() => undefined)
      // `sudo ereg login` must not take the file away from its owner.
      if (before !== undefined) await handle.chown(before.uid, before.gid).catch(() => {})
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, target)
  } catch (cause) {
    await unlink(temporary).catch(() => {})
    throw cause
  }
}

/** Where a chain of links ends, also where nothing is there yet. */
const followed = async (path: string, hops = 16): Promise<string> => {
  try {
    return await realpath(path)
  } catch (cause) {
    if (PrivateFolder.codeOf(cause) !== "ENOENT" || hops === 0) throw cause
    const link = await readlink(path).catch(() => undefined)
    return link === undefined ? path : followed(resolve(dirname(path), link), hops - 1)
  }
}

/** Indented as before, by a tab where there was nothing, which is what Docker writes. */
const layOut = (document: ConfigFile["document"], before: string): string => {
  const indentation = /^[{[]\r?\n([ \t]+)/.exec(before.trimStart())?.[1] ?? "\t"
  return `${JSON.stringify(document, null, indentation)}${before.endsWith("\n") ? "\n" : ""}`
}

const ioMessage = (what: "read" | "written", cause: unknown): string =>
  cause instanceof PrivateFolder.FolderError
    ? `cannot be ${what}: the folder ${cause.folder} cannot be made: ${wordsOf(cause.cause)}`
    : `cannot be ${what}: ${wordsOf(cause)}`

const wordsOf = (cause: unknown): string => {
  const code = PrivateFolder.codeOf(cause)
  return typeof code === "string" ? (ioWords[code] ?? code) : "unknown error"
}

const ioWords: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of the path is no directory",
  ELOOP: "its links lead in a circle",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left"
}

/** Where, and which rule: what the decoder found there instead is not said. */
const issuesOf = (error: ParseResult.ParseError): ValidationError["issues"] => {
  const paths = new Map(
    ParseResult.ArrayFormatter.formatErrorSync(error).map(({ path }) => [JSON.stringify(path), path.map(String)])
  )
  return [...paths.values()].slice(0, 20).map((path) => {
    const [first, ...keys] = path
    const isObject = first === "auths" ? keys.length <= 1 : keys.length === 0 && first !== "credsStore"
    return {
      path: [first ?? "", ...keys.map((key) => `[${JSON.stringify(key)}]`)].join(""),
      message: isObject ? "must be an object" : "must be a string"
    }
  })
}
