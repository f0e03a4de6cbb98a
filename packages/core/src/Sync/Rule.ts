/** An entry of the configuration, made ready: which repositories and tags it takes, and what they become. */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Pattern from "../model/Pattern.js"
import * as Platform from "../model/Platform.js"
import * as Reference from "../model/Reference.js"
import * as TagFilter from "../model/TagFilter.js"
import { type Issue, ValidationError } from "../ValidationError.js"
import type { Config, Entry } from "./Config.js"
import * as Rename from "./Rename.js"

export interface Rule {
  /** Where it stands: `sync[0]`. */
  readonly path: string
  readonly entry: Entry
  readonly source: Source
  readonly platforms: ReadonlyArray<Platform.Platform>
  /** The tags that have to be there; `undefined` where a filter chooses among those that are. */
  readonly explicit: ReadonlyArray<string> | undefined
  /** Whether it would take the tag, `newest` left aside. */
  readonly matches: (tag: string) => boolean
  readonly select: (tags: Iterable<string>) => ReadonlyArray<string>
  /** Where the pattern's repositories go to, and below which no source is looked for; `None` for a single repository. */
  readonly below: Option.Option<Reference.Reference>
  /** The target of a source's repository path; fails where the rules make a name that no repository can have. */
  readonly target: (repository: string) => Either.Either<Reference.Reference, ValidationError>
  /** Whether a pattern's repositories, listed or not, can become this path: which, and whether these are all. */
  readonly reaching: (path: string) => { readonly paths: ReadonlyArray<string>; readonly isComplete: boolean }
  readonly tags: Rename.Rename
}

export type Source =
  | { readonly _tag: "Repository"; readonly reference: Reference.Reference }
  | {
      readonly _tag: "Pattern"
      /** The path up to the last slash before the first wildcard. */
      readonly prefix: string
      readonly host: Option.Option<string>
      readonly matches: (repository: string) => boolean
    }

/** Every entry, or a ValidationError with all that is wrong. */
export const compileAll = (config: Config, subject: string): Either.Either<ReadonlyArray<Rule>, ValidationError> => {
  const compiled = config.sync.map((entry, index) => compile(entry, `sync[${index}]`))
  const issues = compiled.flatMap((rule) => (Either.isLeft(rule) ? rule.left : []))
  return issues.length > 0
    ? Either.left(new ValidationError({ reason: "InvalidConfig", subject, issues: issues.slice(0, 20) }))
    : Either.right(compiled.flatMap((rule) => (Either.isRight(rule) ? [rule.right] : [])))
}

/** `host/repository` as errors and plans call it. */
export const nameOf = (host: string, repository: string): string =>
  Reference.format({ host: Option.some(host), repository, tag: Option.none(), digest: Option.none() })

// internal

type Compiled<A> = Either.Either<A, ReadonlyArray<Issue>>

const compile = (entry: Entry, path: string): Compiled<Rule> => {
  const at = (name: string) => `${path}.${name}`
  const parts = {
    source: compileSource(entry.from, at("from")),
    to: compileTarget(entry, at("to")),
    filter: compileFilter(entry.tags, at("tags")),
    tags: compileRename(entry.rename?.tags, at("rename.tags")),
    repositories: compileRename(entry.rename?.repositories, at("rename.repositories")),
    platforms: Either.mapLeft(Either.all((entry.platforms ?? []).map(Platform.parse)), (error) =>
      error.issues.map(({ message }) => ({ path: at("platforms"), message }))
    )
  }
  const issues = Object.values<Compiled<unknown>>(parts).flatMap((part) => (Either.isLeft(part) ? part.left : []))
  if (entry.maxDelete !== undefined && entry.prune !== true) {
    issues.push({ path: at("maxDelete"), message: "bounds what prune deletes, and prune is off" })
  }
  return Either.flatMap(Either.all(parts), ({ filter, platforms, repositories, source, tags, to }) =>
    issues.length > 0
      ? Either.left(issues)
      : Either.right({
          path,
          entry,
          source,
          platforms,
          ...filter,
          tags,
          below: Option.liftPredicate(to, () => isPattern(entry.from)),
          target: (repository) => targetOf(to, entry, repositories, repository),
          reaching: (path) => reachingOf(entry, source, repositories, path)
        })
  )
}

/** Wildcards stand in no repository's name. */
const isPattern = (text: string): boolean => /[*?]/.test(text)

const compileSource = (text: string, path: string): Compiled<Source> => {
  if (!isPattern(text))
    return Either.mapBoth(parseRepository(text, path), {
      onLeft: (issue) => issue,
      onRight: (reference) => ({ _tag: "Repository", reference })
    })
  const glob = pathOf(text)
  const first = text.slice(0, text.length - glob.length)
  const odd = /[^a-z0-9._/*?-]/.exec(glob)
  if (odd !== null) return Either.left([{ path, message: `${JSON.stringify(odd[0])} stands in no repository's name` }])
  return Either.gen(function* () {
    const { host } = first === "" ? { host: Option.none<string>() } : yield* parseRepository(`${first}x`, path)
    const matches = yield* Either.mapLeft(Pattern.compile(expressionOf(glob)), (message) => [{ path, message }])
    return { _tag: "Pattern" as const, prefix: prefixOf(glob), host, matches }
  })
}

/** `**` is anything, `*` anything without a slash, `?` one character without. */
const expressionOf = (glob: string): string =>
  glob.replace(/\*\*|[*?.]/g, (part) => (part === "**" ? ".*" : part === "*" ? "[^/]*" : part === "?" ? "[^/]" : "\\."))

const parseRepository = (text: string, path: string): Compiled<Reference.Reference> =>
  Either.mapLeft(Reference.parseRepository(text), ({ issues }) => issues.map(({ message }) => ({ path, message })))

/** The reference, or for a prefix that of a repository below it. */
const compileTarget = ({ from, to }: Entry, path: string): Compiled<Reference.Reference> => {
  if (to.endsWith("/")) return parseRepository(`${to}x`, path)
  return isPattern(from)
    ? Either.left([{ path, message: `has to end in /: ${from} may be several repositories` }])
    : parseRepository(to, path)
}

const targetOf = (
  to: Reference.Reference,
  entry: Entry,
  renames: Rename.Rename,
  repository: string
): Either.Either<Reference.Reference, ValidationError> => {
  const mapped = entry.to.endsWith("/")
    ? pathOf(entry.to) + repository.slice(kept(entry.from, repository))
    : to.repository
  const path = renames.apply(mapped)
  if (Reference.isRepository(path)) return Either.right({ ...to, repository: path })
  const message = `would become ${JSON.stringify(path)}, which is no repository's name`
  return Either.left(ValidationError.of("InvalidReference", repository, message))
}

/** The other way round: paths below the target's prefix, as sources that the pattern takes. */
const reachingOf = (
  { to }: Entry,
  source: Source,
  renames: Rename.Rename,
  path: string
): ReturnType<Rule["reaching"]> => {
  if (source._tag === "Repository") return { paths: [], isComplete: true }
  const below = pathOf(to)
  const paths = renames.sources(path).flatMap((mapped) => {
    const from = source.prefix + mapped.slice(below.length)
    return mapped.startsWith(below) && Reference.isRepository(from) && source.matches(from) ? [from] : []
  })
  return { paths, isComplete: renames.isComplete(path) }
}

/** Where the part of a source's path begins that is kept: behind the last slash before the first wildcard. */
const kept = (from: string, repository: string): number => {
  return isPattern(from) ? prefixOf(pathOf(from)).length : repository.lastIndexOf("/") + 1
}

/** Up to the last slash before the first wildcard. */
const prefixOf = (glob: string): string => glob.replace(/[^/]*[*?].*$/s, "")

/** Without the host, where there is one in front. */
const pathOf = (text: string): string => {
  const slash = text.indexOf("/")
  return slash > 0 && Reference.isHost(text.slice(0, slash)) ? text.slice(slash + 1) : text
}

const compileFilter = (tags: Entry["tags"], path: string): Compiled<Pick<Rule, "explicit" | "matches" | "select">> => {
  if (isList(tags)) {
    const explicit = [...new Set(tags)]
    const wanted = new Set(explicit)
    const select = (all: Iterable<string>) => [...all].filter((tag) => wanted.has(tag))
    return Either.right({ explicit, matches: (tag) => wanted.has(tag), select })
  }
  return Either.mapBoth(TagFilter.compile(tags ?? {}, { path }), {
    onLeft: ({ issues }) => issues,
    onRight: (compiled) => ({ explicit: undefined, ...compiled })
  })
}

const isList = (tags: Entry["tags"]): tags is ReadonlyArray<string> => Array.isArray(tags)

const compileRename = (rules: NonNullable<Entry["rename"]>["tags"], path: string): Compiled<Rename.Rename> =>
  Either.mapLeft(Rename.compile(rules ?? []), ({ field, index, message }) => [
    { path: `${path}[${index}].${field}`, message }
  ])
