/** Choosing among the tags of a repository: what `sync` takes along and what `delete` may take away. */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { ValidationError } from "../ValidationError.js"
import * as Glob from "./Glob.js"
import * as Pattern from "./Pattern.js"
import * as TagVersion from "./TagVersion.js"

const Globs = Schema.Union(Schema.String, Schema.Array(Schema.String))

/** All that is given must agree; without a field every tag is chosen but those that are made of digests. */
export const TagFilter = Schema.Struct({
  glob: Schema.optional(
    Globs.annotations({
      description: "Any of these matches the whole tag: * is any characters, ? is one, [a-z] a set, {a,b} alternatives"
    })
  ),
  regex: Schema.optional(
    Schema.String.annotations({ description: "Matches the whole tag; the syntax is Go's (RE2), without lookaheads" })
  ),
  semver: Schema.optional(
    Schema.String.annotations({
      description: "A range such as >=1.2 <2, 1.x or ^3; v1.2 and 3.20 count as 1.2.0 and 3.20.0"
    })
  ),
  includePrerelease: Schema.optional(
    Schema.Boolean.annotations({
      description:
        "Pre-releases (1.3.0-rc.1) are within the range too; else only where it names one of the same version"
    })
  ),
  exclude: Schema.optional(
    Globs.annotations({ description: "What matches any of these globs is left out, whatever else says" })
  ),
  newest: Schema.optional(
    Schema.Int.pipe(Schema.positive()).annotations({
      description: "Of what is left the N highest: versions by version, then other tags in natural order"
    })
  )
}).annotations({ identifier: "TagFilter" })
export type TagFilter = typeof TagFilter.Type

/** A filter ready to be asked. */
export interface Compiled {
  /** Whether the tag passes, `newest` left aside: that is a question about all tags together. */
  readonly matches: (tag: string) => boolean
  /** Those of the tags that pass, each once, in the order they came in. */
  readonly select: (tags: Iterable<string>) => ReadonlyArray<string>
}

export interface CompileOptions {
  /** What errors call the filter. Default "tag filter". */
  readonly subject?: string | undefined
  /** Where the filter stands in a larger document, "sources[0].tags". Default: it is the document. */
  readonly path?: string | undefined
}

/**
 * Checks the patterns and makes them ready. Fails with a ValidationError, reason `InvalidConfig`, whose issues name every
 * field that is wrong.
 *
 * @example
 * ```ts
 * import { TagFilter } from "@effect-registry/core"
 * import * as Either from "effect/Either"
 *
 * const stable = TagFilter.compile({ semver: ">=1.2 <2", exclude: "*-debug", newest: 3 })
 * const tags = Either.map(stable, (filter) => filter.select(["1.1", "1.2", "1.3.1", "1.4-debug", "latest"]))
 * ```
 * @since 0.1.0
 */
export const compile = (filter: TagFilter, options: CompileOptions = {}): Either.Either<Compiled, ValidationError> => {
  const fields = {
    glob: each(filter.glob, Glob.compile),
    regex: each(filter.regex, Pattern.compile),
    semver: each(filter.semver, (text) => TagVersion.within(text, filter.includePrerelease === true)),
    exclude: each(filter.exclude, Glob.compile)
  }
  const { newest } = filter
  const issues = [
    ...Object.entries(fields).flatMap(([name, field]) =>
      field.wrong.map(({ at, message }) => ({ path: `${name}${at === undefined ? "" : `[${at}]`}`, message }))
    ),
    ...(filter.includePrerelease !== undefined && filter.semver === undefined
      ? [{ path: "includePrerelease", message: "says something about a semver range, and there is none" }]
      : []),
    ...(newest === undefined || (Number.isInteger(newest) && newest > 0)
      ? []
      : [{ path: "newest", message: "is a whole number from 1" }])
  ]
  if (issues.length > 0) {
    const { path, subject = "tag filter" } = options
    return Either.left(
      new ValidationError({
        reason: "InvalidConfig",
        subject,
        issues: issues.map((issue) => (path === undefined ? issue : { ...issue, path: `${path}.${issue.path}` }))
      })
    )
  }
  const { exclude, glob, regex, semver } = fields
  const wanted = [glob, regex, semver].flatMap(({ tests }) => (tests === undefined ? [] : [tests]))
  const matches = (tag: string) =>
    !isDigestTag(tag) &&
    wanted.every((tests) => tests.some((test) => test(tag))) &&
    exclude.tests?.some((test) => test(tag)) !== true
  const select = (tags: Iterable<string>) => {
    const passed = [...new Set(tags)].filter(matches)
    if (newest === undefined || passed.length <= newest) return passed
    const highest = new Set(TagVersion.highestFirst(passed).slice(0, newest))
    return passed.filter((tag) => highest.has(tag))
  }
  return Either.right({ matches, select })
}

/** Whether the tag is made of a digest: a list of referrers (`sha256-<hex>`), or what cosign keeps under `.sig` and the like. */
export const isDigestTag = (tag: string): boolean => /^sha(?:256|512)-[0-9a-f]{64}/.test(tag)

// internal

type Test = (tag: string) => boolean

interface Field {
  /** One for each pattern; `undefined` where the field is not given. */
  readonly tests: ReadonlyArray<Test> | undefined
  readonly wrong: ReadonlyArray<{ readonly at: number | undefined; readonly message: string }>
}

const each = (
  patterns: string | ReadonlyArray<string> | undefined,
  compilePattern: (text: string) => Either.Either<Test, string>
): Field => {
  if (patterns === undefined) return { tests: undefined, wrong: [] }
  const several = typeof patterns !== "string"
  const list = typeof patterns === "string" ? [patterns] : patterns
  if (list.length === 0) return { tests: [], wrong: [{ at: undefined, message: "the list is empty" }] }
  const compiled = list.map(compilePattern)
  return {
    tests: compiled.flatMap((test) => (Either.isRight(test) ? [test.right] : [])),
    wrong: compiled.flatMap((test, index) =>
      Either.isLeft(test) ? [{ at: several ? index : undefined, message: test.left }] : []
    )
  }
}
