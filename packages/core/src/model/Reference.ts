/**
 * `[host[:port]/]repository[:tag][@digest]`, parsed once at the edge.
 * Grammar: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { ValidationError } from "../ValidationError.js"
import * as Digest from "./Digest.js"

export interface Reference {
  /** `host[:port]` as written, `docker.io` for Docker Hub under any of its names; `None`: the configured registry. */
  readonly host: Option.Option<string>
  readonly repository: string
  readonly tag: Option.Option<string>
  /** Decides where it stands beside a tag. */
  readonly digest: Option.Option<Digest.Digest>
}

export const maxRepositoryLength = 255
export const maxTagLength = 128

const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/

/** Whether it is a tag. */
export const isTag = (text: string): boolean => tagPattern.test(text)

/** Whether it is a repository name (without host): slash-separated components, 255 characters at most. */
export const isRepository = (text: string): boolean =>
  text.length <= maxRepositoryLength && text.split("/").every((part) => component.test(part))

/** Fails with reason `InvalidReference`; the message says which character breaks which rule. */
export const parse = (text: string): Either.Either<Reference, ValidationError> =>
  Either.gen(function* () {
    if (text === "")
      return yield* invalid(text, undefined, "a reference is [HOST/]REPOSITORY[:TAG][@DIGEST], this is empty")
    const at = text.indexOf("@")
    const digest = at < 0 ? Option.none<Digest.Digest>() : Option.some(yield* parseDigest(text, at + 1))
    const named = at < 0 ? text : text.slice(0, at)
    const slash = named.indexOf("/")
    const first = slash < 0 ? "" : named.slice(0, slash)
    const hasHost = slash >= 0 && isHost(first)
    if (hasHost) yield* checkHost(text, first)
    const start = hasHost ? slash + 1 : 0
    const colon = named.indexOf(":", named.lastIndexOf("/") + 1)
    const written = named.slice(start, colon < 0 ? undefined : colon)
    const tag = colon < 0 ? Option.none<string>() : Option.some(named.slice(colon + 1))
    yield* checkRepository(text, written, start)
    if (Option.isSome(tag)) yield* checkTag(text, tag.value, colon + 1)
    const host = hasHost ? Option.some(canonicalHost(first)) : Option.none<string>()
    const repository = Option.contains(host, dockerHub) ? hubRepository(written) : written
    if (repository.length > maxRepositoryLength) return yield* tooLong(text, start, repository)
    return { host, repository, tag, digest }
  })

/** A repository without tag and digest; else as `parse`. */
export const parseRepository = (text: string): Either.Either<Reference, ValidationError> =>
  Either.flatMap(parse(text), (reference) =>
    Option.isSome(reference.tag)
      ? invalid(
          text,
          text.indexOf(":", text.split("@", 1)[0]?.lastIndexOf("/")),
          "a repository is wanted, without a tag"
        )
      : Option.isSome(reference.digest)
        ? invalid(text, text.indexOf("@"), "a repository is wanted, without a digest")
        : Either.right(reference)
  )

/** The tag, or a ValidationError with reason `InvalidReference`. */
export const parseTag = (text: string): Either.Either<string, ValidationError> =>
  Either.map(checkTag(text, text, 0), () => text)

export const format = (reference: Reference): string =>
  // A host that was told by a capital alone needs one again.
  Option.match(reference.host, { onNone: () => "", onSome: (host) => `${isHost(host) ? host : host.toUpperCase()}/` }) +
  reference.repository +
  Option.match(reference.tag, { onNone: () => "", onSome: (tag) => `:${tag}` }) +
  Option.match(reference.digest, { onNone: () => "", onSome: (digest) => `@${digest}` })

/** What a manifest request names: the digest where there is one, else the tag, else `latest`. */
export const identifier = (reference: Reference): string =>
  Option.getOrElse(reference.digest, () => Option.getOrElse(reference.tag, () => "latest"))

/** Docker Hub's name in references; its API lives on `registry-1.docker.io`. */
export const dockerHub = "docker.io"

/** On Docker Hub a name of one component belongs to `library`. */
export const hubRepository = (repository: string): string =>
  repository.includes("/") ? repository : `library/${repository}`

/** Whether the part before the first slash is a host: a dot, a colon, a capital, `localhost` or an IPv6 address. */
export const isHost = (part: string): boolean => /[.:A-Z[]/.test(part) || part === "localhost"

// internal

const canonicalHost = (host: string): string => {
  const lower = host.toLowerCase()
  return lower === "index.docker.io" || lower === "registry-1.docker.io" ? dockerHub : lower
}

/** `at`: the index of the character at fault, `undefined` where the whole is. */
const invalid = (text: string, at: number | undefined, rule: string): Either.Either<never, ValidationError> =>
  Either.left(
    ValidationError.of(
      "InvalidReference",
      JSON.stringify(masked(text.length > maxShown ? `${text.slice(0, maxShown)}…` : text)),
      at === undefined ? rule : `character ${at + 1}: ${rule}`
    )
  )

/** Without a password that was typed in front of a host; an `@` before a digest is none of that kind. */
export const masked = (text: string): string =>
  text.replace(/^((?:[a-z][a-z0-9+.-]*:\/\/)?)[^/@]*:[^/@]*@(?!sha\d+:)/i, "$1***@")

/** Longer than any reference can be; what else is given by mistake is not repeated whole. */
const maxShown = 1000

const parseDigest = (text: string, start: number): Either.Either<Digest.Digest, ValidationError> => {
  const digest = text.slice(start)
  if (Digest.is(digest)) return Either.right(digest)
  const { at, rule } = Digest.fault(digest)
  return invalid(text, start + at, rule)
}

const hostLabel = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/

const checkHost = (text: string, host: string): Either.Either<void, ValidationError> => {
  if (/^[A-Za-z]+:$/.test(host) && text[host.length + 1] === "/") {
    return invalid(text, 0, `a reference starts with the host, without ${host}//`)
  }
  const bracket = host.startsWith("[") ? host.indexOf("]") : 0
  const colon = host.indexOf(":", bracket)
  const name = colon < 0 ? host : host.slice(0, colon)
  if (bracket !== 0) {
    if (bracket > 0 && name.length > bracket + 1) return invalid(text, bracket + 1, "only a port may follow the host")
    if (bracket < 0 || !URL.canParse(`http://${name}`)) return invalid(text, 0, "this is no IPv6 address in brackets")
  } else {
    let at = 0
    for (const label of name.split(".")) {
      if (!hostLabel.test(label)) {
        return invalid(
          text,
          at + wrongInLabel(label),
          `${JSON.stringify(host)} is not a host name with an optional port`
        )
      }
      at += label.length + 1
    }
  }
  const port = colon < 0 ? "1" : host.slice(colon + 1)
  return /^[0-9]{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65535
    ? Either.void
    : invalid(text, colon + 1, `${JSON.stringify(port)} is no port, a number from 1 to 65535`)
}

/** Where a label that is no host name's goes wrong: its first odd character, else the dash at an end. */
const wrongInLabel = (label: string): number => {
  const odd = label.search(/[^A-Za-z0-9-]/)
  return odd >= 0 ? odd : label.startsWith("-") ? 0 : Math.max(0, label.length - 1)
}

const checkRepository = (text: string, repository: string, start: number): Either.Either<void, ValidationError> => {
  if (isRepository(repository)) return Either.void
  if (repository === "") return invalid(text, start, "the repository name is missing")
  if (repository.length > maxRepositoryLength) return tooLong(text, start, repository)
  const wrong = /[^a-z0-9._/-]/u.exec(repository)
  if (wrong !== null) {
    const what = /[A-Z]/.test(wrong[0])
      ? "repository names are lower case"
      : `${JSON.stringify(wrong[0])} is not allowed in a repository name`
    return invalid(text, start + wrong.index, what)
  }
  let offset = start
  for (const part of repository.split("/")) {
    if (part === "") return invalid(text, offset, "a repository name has no empty component")
    if (!component.test(part)) {
      return invalid(
        text,
        offset + separatorAtFault(part),
        `${JSON.stringify(part)} must start and end with a letter or digit, with single '.', '_', '__' or dashes between`
      )
    }
    offset += part.length + 1
  }
  return Either.void
}

/** Where the first run of separators stands that is at an end, or is neither '.', '_', '__' nor dashes. */
const separatorAtFault = (part: string): number => {
  for (const { 0: run, index } of part.matchAll(/[._-]+/g)) {
    if (index === 0 || index + run.length === part.length || !/^(?:\.|__?|-+)$/.test(run)) return index
  }
  return 0
}

const tooLong = (text: string, start: number, repository: string) =>
  invalid(
    text,
    start + maxRepositoryLength,
    `a repository name has at most ${maxRepositoryLength} characters, this has ${repository.length}`
  )

const checkTag = (text: string, tag: string, start: number): Either.Either<void, ValidationError> => {
  if (isTag(tag)) return Either.void
  if (tag === "") return invalid(text, start, "the tag is empty")
  if (tag.length > maxTagLength) {
    return invalid(text, start + maxTagLength, `a tag has at most ${maxTagLength} characters, this has ${tag.length}`)
  }
  const wrong = /[^A-Za-z0-9._-]/u.exec(tag)
  return wrong === null
    ? invalid(text, start, "a tag starts with a letter, a digit or '_'")
    : invalid(text, start + wrong.index, `${JSON.stringify(wrong[0])} is not allowed in a tag`)
}
