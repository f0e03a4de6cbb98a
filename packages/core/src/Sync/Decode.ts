/** The strict reading of a configuration: a field that is not known is a mistake, never ignored. */
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as Json from "../model/Json.js"
import * as TagFilter from "../model/TagFilter.js"
import { type Issue, ValidationError } from "../ValidationError.js"
import { Config, Entry, maxEntries, Rename, RenameRule } from "./Config.js"
import { plain } from "./Messages.js"
import { nearest } from "./Nearest.js"
import * as Rule from "./Rule.js"

export interface DecodeOptions {
  /** What errors call the value: the name of its file. Default "sync". */
  readonly subject?: string | undefined
}

/**
 * The configuration in a value from outside, a parsed YAML or JSON file. Fails with a ValidationError, reason
 * `InvalidConfig`, that has an issue with its path (`sync[0].tags.semver`) for everything that is wrong, 20 at most.
 *
 * @example
 * ```ts
 * import { Sync } from "@effect-registry/core"
 *
 * const config = Sync.decode({
 *   sync: [{ from: "docker.io/library/alpine", to: "localhost:15000/mirror/", tags: { semver: ">=3.18", newest: 3 } }]
 * })
 * ```
 * @since 0.1.0
 */
export const decode = (
  value: unknown,
  { subject = "sync" }: DecodeOptions = {}
): Either.Either<Config, ValidationError> =>
  Either.gen(function* () {
    if (value === undefined || value === null) return yield* invalid(subject, [{ path: "", message: "is empty" }])
    const unknown = unknownFields(value)
    const decoded = Json.decode(Config, textual(value), { subject, reason: "InvalidConfig" })
    const wrong = [...unknown, ...Either.match(decoded, { onLeft: ({ issues }) => plain(issues), onRight: () => [] })]
    if (wrong.length > 0) return yield* invalid(subject, wrong)
    const config = yield* decoded
    const rules = Rule.compileAll(config, subject)
    return Either.isLeft(rules) ? yield* invalid(subject, rules.left.issues) : config
  })

// internal

const invalid = (subject: string, issues: ReadonlyArray<Issue>) =>
  Either.left(new ValidationError({ reason: "InvalidConfig", subject, issues: issues.slice(0, 20), hint }))

const hint = "docs/sync.md describes every field"
const patterns = ["glob", "regex", "semver", "exclude"]

/** The value with numbers as texts where a filter has patterns: `semver: 1.2` is a range. */
const textual = (value: unknown): unknown =>
  mapField(value, "sync", (sync) =>
    mapEach(sync, (entry) =>
      mapField(entry, "tags", (tags) =>
        patterns.reduce((filter, name) => mapField(filter, name, (pattern) => mapEach(pattern, textOf)), tags)
      )
    )
  )

const textOf = (value: unknown): unknown => (typeof value === "number" ? String(value) : value)

const mapEach = (value: unknown, change: (one: unknown) => unknown): unknown =>
  Array.isArray(value) ? value.map(change) : change(value)

const mapField = (value: unknown, name: string, change: (field: unknown) => unknown): unknown =>
  Predicate.isRecord(value) && Object.hasOwn(value, name) ? { ...value, [name]: change(value[name]) } : value

/** Every field that no schema names, with what was probably meant. */
const unknownFields = (value: unknown): ReadonlyArray<Issue> => [
  ...unknownIn(Config, value, ""),
  ...each(fieldOf(value, "sync"), "sync").flatMap(({ path, value: entry }) => [
    ...unknownIn(Entry, entry, path),
    ...unknownIn(TagFilter.TagFilter, fieldOf(entry, "tags"), `${path}.tags`),
    ...unknownIn(Rename, fieldOf(entry, "rename"), `${path}.rename`),
    ...["tags", "repositories"].flatMap((name) =>
      each(fieldOf(fieldOf(entry, "rename"), name), `${path}.rename.${name}`).flatMap((rule) =>
        unknownIn(RenameRule, rule.value, rule.path)
      )
    )
  ])
]

const fieldOf = (value: unknown, name: string): unknown =>
  Predicate.isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined

const each = (value: unknown, path: string) =>
  Array.isArray(value)
    ? value.slice(0, maxEntries).map((one: unknown, index) => ({ path: `${path}[${index}]`, value: one }))
    : []

const unknownIn = (
  schema: { readonly fields: Readonly<Record<string, unknown>> },
  value: unknown,
  path: string
): ReadonlyArray<Issue> => {
  if (!Predicate.isRecord(value) || Array.isArray(value)) return []
  const known = Object.keys(schema.fields)
  return Object.keys(value)
    .filter((name) => !known.includes(name))
    .map((name) => {
      const near = nearest(name, known)
      const help = near === undefined ? `there are ${known.join(", ")}` : `did you mean ${near}?`
      return { path: path === "" ? name : `${path}.${name}`, message: `there is no such field; ${help}` }
    })
}
