/** What is done to the words of the command line before the parser sees them. */
import * as Array from "effect/Array"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

/** Stands for `--plain-http` and the like without a value: every registry that the command names. */
export const everyHost = "*"

/** Options whose value may be left out; it stands behind `=` only. */
export const optionalValues: ReadonlyArray<string> = ["--plain-http", "--insecure-skip-tls-verify"]

/** Options of every command that take a value; they may stand before the command's name. */
const valued = new Set([
  "--output",
  "--platform",
  "--concurrency",
  "--timeout",
  "--registry",
  "--mirror",
  "--authfile",
  "--cert-dir",
  "--log-level"
])

/** What follows an option: nothing, a value, or a value with `=` only. */
export type OptionKind = "flag" | "value" | "optional"

/** The words in the one order that the parser always understands. */
export interface Canonical {
  /** The command's name, its options, `--`, its arguments. */
  readonly words: ReadonlyArray<string>
  readonly logLevel: Option.Option<string>
}

/** Why words make no command line. */
export type Misuse =
  | { readonly _tag: "UnknownOption"; readonly name: string }
  | { readonly _tag: "Other"; readonly why: string }

/**
 * Sorts the words behind the command's name. The parser alone takes an unknown option for an argument, an argument `1`
 * behind `--quiet` for its value, finds `--log-level` in front only, and `--platform=VALUE` not at all.
 */
export const canonical = (
  command: string,
  words: ReadonlyArray<string>,
  kinds: Readonly<Record<string, OptionKind>>
): Either.Either<Canonical, Misuse> => {
  const [own, rest] = Array.span(words, (word) => word !== "--")
  const options = new Map<string, ReadonlyArray<string>>()
  const arguments_: Array<string> = []
  const other = (why: string) => Either.left<Misuse>({ _tag: "Other", why })
  for (let index = 0; index < own.length; index++) {
    const word = own[index] ?? ""
    if (!isOption(word)) {
      arguments_.push(word)
      continue
    }
    const equals = word.indexOf("=")
    const name = equals < 0 ? word : word.slice(0, equals)
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined
    if (kind === undefined) return Either.left({ _tag: "UnknownOption", name })
    let value = equals < 0 ? undefined : word.slice(equals + 1)
    if (kind === "flag") {
      if (value !== undefined) return other(`${name} takes no value`)
      options.set(name, [])
      continue
    }
    if (kind === "optional") value ??= everyHost
    if (value === undefined) {
      index += 1
      value = own[index]
    }
    if (value === undefined || value === "") return other(`${name} wants a value`)
    const before = options.get(name) ?? []
    if (before.length > 0 && !repeatable.has(name)) return other(`${name} is given twice`)
    options.set(name, [...before, value])
  }
  const logLevel = Option.fromNullable(options.get("--log-level")?.[0])
  options.delete("--log-level")
  const flat = [...options].flatMap(([name, values]) =>
    values.length === 0 ? [name] : values.flatMap((value) => [name, value])
  )
  return Either.right({ words: [command, ...flat, "--", ...arguments_, ...rest.slice(1)], logLevel })
}

/** Where the command's name stands: the first word that is neither an option nor the value of one; -1 where there is none. */
export const commandIndex = (words: ReadonlyArray<string>): number => {
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? ""
    if (word === "--") return -1
    if (!isOption(word)) return index
    if (valued.has(word)) index += 1
  }
  return -1
}

/** Whether a word is an option; `-` alone is an address. */
export const isOption = (word: string): boolean => word.length > 1 && word.startsWith("-")

/** Whether one of the words, up to `--`, is one of these. */
export const has = (words: ReadonlyArray<string>, ...wanted: ReadonlyArray<string>): boolean =>
  Array.takeWhile(words, (word) => word !== "--").some((word) => wanted.includes(word))

/** Whether `--output json` is asked for; needed where the parser failed before it could say. */
export const wantsJson = (words: ReadonlyArray<string>): boolean =>
  has(words, "--output=json") || words.some((word, index) => word === "--output" && words[index + 1] === "json")

/** The candidate that was probably meant: one to three letters away, depending on the length. */
export const nearest = (word: string, candidates: ReadonlyArray<string>): Option.Option<string> => {
  const limit = Math.max(1, Math.min(3, Math.floor(word.length / 2)))
  let found: { readonly candidate: string; readonly distance: number } | undefined
  for (const candidate of candidates) {
    const far = candidate.startsWith(word) && word.length > 1 ? 0 : distance(word, candidate)
    if (far <= limit && (found === undefined || far < found.distance)) found = { candidate, distance: far }
  }
  return Option.map(Option.fromNullable(found), ({ candidate }) => candidate)
}

// internal

const repeatable = new Set(["--platform", "--mirror", "--match", "--exclude", ...optionalValues])

/** Letters to insert, delete, replace or swap with their neighbour. */
const distance = (a: string, b: string): number => {
  const rows: Array<Array<number>> = [Array.makeBy(b.length + 1, (column) => column)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      row[j] = Math.min(
        (rows[i - 1]?.[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (rows[i - 1]?.[j - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (rows[i - 2]?.[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
      )
    }
    rows[i] = row
  }
  return rows[a.length]?.[b.length] ?? Number.POSITIVE_INFINITY
}
