/** JSON from strangers: bounded in size and depth, and without the keys that two parsers would read differently. */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { type Reason, ValidationError } from "../ValidationError.js"

/** Deeper documents exist only to exhaust a recursive decoder's stack. */
export const maxDepth = 64

export interface Limits {
  readonly subject: string
  readonly reason: Reason
  /** Bytes. */
  readonly maxSize: number
}

/** The parsed value, and what parsing loses. */
export interface Parsed {
  readonly value: unknown
  /** In order, repeated ones included. */
  readonly topLevelKeys: ReadonlyArray<string>
  /** A key that stands twice in one object, at any depth. */
  readonly repeatedKey: string | undefined
}

/** Fails with the given reason, or `TooLarge`. */
export const parse = (bytes: Uint8Array, limits: Limits): Either.Either<Parsed, ValidationError> => {
  const fail = (message: string, cause?: unknown) =>
    Either.left(ValidationError.of(limits.reason, limits.subject, message, { cause }))
  const size = checkSize(bytes, limits)
  if (Either.isLeft(size)) return Either.left(size.left)
  try {
    // Go's decoder, which registries use, takes no byte order mark: `ignoreBOM` leaves it there for JSON.parse to refuse.
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
    const shape = scan(text)
    if (shape.depth > maxDepth) return fail(`nested more than ${maxDepth} levels deep`)
    const value: unknown = JSON.parse(text)
    // Copied into another object this key would become its prototype, and fields appear that are not in the document.
    if (shape.prototype) return fail('has a key "__proto__"')
    return Either.right({ value, topLevelKeys: shape.keys, repeatedKey: shape.repeated })
  } catch (cause) {
    return fail(bytes.length === 0 ? "is empty, expected JSON" : "is not JSON", cause)
  }
}

/** Fails with `TooLarge`. */
export const checkSize = (bytes: Uint8Array, limits: Limits): Either.Either<void, ValidationError> =>
  bytes.length <= limits.maxSize
    ? Either.void
    : Either.left(
        ValidationError.of("TooLarge", limits.subject, `${bytes.length} bytes, at most ${limits.maxSize} are accepted`)
      )

/** Decodes with the schema, keeping fields it does not know; every mismatch becomes an issue with its path. */
export const decode = <A, I>(
  schema: Schema.Schema<A, I>,
  value: unknown,
  limits: Pick<Limits, "subject" | "reason">
): Either.Either<A, ValidationError> =>
  Either.mapLeft(
    Schema.decodeUnknownEither(schema, { errors: "all", onExcessProperty: "preserve" })(value),
    (error) =>
      new ValidationError({
        reason: limits.reason,
        subject: limits.subject,
        issues: ParseResult.ArrayFormatter.formatErrorSync(error)
          .slice(0, 20)
          .map((issue) => ({ path: formatPath(issue.path), message: issue.message })),
        cause: error
      })
  )

/** The JSON text of a value, as UTF-8 bytes. */
export const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

// internal

const formatPath = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`),
    ""
  )

interface Shape {
  readonly depth: number
  readonly keys: ReadonlyArray<string>
  readonly repeated: string | undefined
  readonly prototype: boolean
}

/** Depth and keys, without building values and without recursion. Stops below `maxDepth`; throws where a key is malformed. */
const scan = (text: string): Shape => {
  const top: Array<string> = []
  /** The keys of every object that is open; nothing for an array. */
  const open: Array<Set<string> | undefined> = []
  let depth = 0
  let repeated: string | undefined
  let prototype = false
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === "{" || char === "[") {
      open.push(char === "{" ? new Set() : undefined)
      depth = Math.max(depth, open.length)
      if (depth > maxDepth) break
    } else if (char === "}" || char === "]") open.pop()
    else if (char === '"') {
      const end = endOfString(text, at)
      const keys = open.at(-1)
      if (keys !== undefined && isKey(text, end + 1)) {
        const key = unquote(text.slice(at, end + 1))
        if (open.length === 1) top.push(key)
        if (key === "__proto__") prototype = true
        if (keys.has(key)) repeated ??= key
        keys.add(key)
      }
      at = end
    }
  }
  return { depth, keys: top, repeated, prototype }
}

/** Escapes included: `"la\u0079ers"` is the key `layers`. */
const unquote = (quoted: string): string => (quoted.includes("\\") ? String(JSON.parse(quoted)) : quoted.slice(1, -1))

/** Whether a colon follows, after any amount of white space. */
const isKey = (text: string, start: number): boolean => {
  let at = start
  while (text[at] === " " || text[at] === "\n" || text[at] === "\t" || text[at] === "\r") at++
  return text[at] === ":"
}

const endOfString = (text: string, start: number): number => {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++
    else if (text[at] === '"') return at
  }
  return text.length
}
