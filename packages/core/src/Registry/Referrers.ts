/**
 * Which manifests refer to one: asked of the registry, or read from the tag where clients keep the list themselves.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as Json from "../model/Json.js"
import * as ManifestModel from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import * as Referrer from "../model/Referrer.js"
import * as Progress from "../Progress.js"
import type { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import * as Client from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Manifest from "./Manifest.js"
import type { Place } from "./Mirror.js"
import * as Page from "./Page.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"

/** Bytes of all pages together: a registry could list for ever. */
export const maxBytes = Page.maxPage
/** Each could lead to a request of its own. */
export const maxReferrers = 100_000
/** Pages may be empty where a filter leaves nothing of them. */
export const maxPages = 2000

export interface Listing {
  /** The registry's own list, or the tag that stands in for it. */
  readonly source: "api" | "tag"
  /** Each once, in the registry's order. */
  readonly referrers: ReadonlyArray<Descriptor>
}

/**
 * The manifests whose `subject` has this digest, those of one artifact type where one is given; empty where there are
 * none. That a registry has no such list is remembered for as long as the client is used.
 */
export const list = (
  client: Client.Client,
  repository: string,
  subject: Digest.Digest,
  artifactType?: string
): Effect.Effect<Listing, RegistryError> =>
  Effect.gen(function* () {
    const asked = client.state.lacksReferrers
      ? Option.none()
      : yield* fromApi(client, repository, subject, artifactType)
    const found = Option.isSome(asked) ? asked.value : yield* fromTag(client, repository, subject)
    const each = new Map<Digest.Digest, Descriptor>()
    for (const { data: _, urls: __, ...descriptor } of found) {
      // Filtering is the registry's choice, and not all that say they do, do.
      if (artifactType !== undefined && descriptor.artifactType !== artifactType) continue
      if (!each.has(descriptor.digest)) each.set(descriptor.digest, descriptor)
    }
    return { source: Option.isSome(asked) ? ("api" as const) : ("tag" as const), referrers: [...each.values()] }
  })

/** Whether the registry keeps the list of a subject itself. */
export const isKept = (
  client: Client.Client,
  repository: string,
  subject: Digest.Digest
): Effect.Effect<boolean, RegistryError> =>
  client.state.lacksReferrers
    ? Effect.succeed(false)
    : Effect.map(fromApi(client, repository, subject, undefined), Option.isSome)

/**
 * As `list`, at one of the places where an image can be read. A mirror that has none may only not have them yet: that is
 * `NotFound`, and the next place is asked.
 */
export const listAt = (
  place: Place,
  own: Place,
  subject: Digest.Digest,
  artifactType?: string
): Effect.Effect<Listing, RegistryError> =>
  Effect.filterOrFail(
    list(place.client, place.repository, subject, artifactType),
    ({ referrers }) => referrers.length > 0 || place === own,
    () => Manifest.notFound(place.client, place.repository, subject)
  )

/** Where a descriptor of a referrer came from. */
export interface Claim {
  readonly source: Listing["source"]
  readonly subject: Digest.Digest
}

/** The error of reading a referrer, with a word about the list that describes it: that may be what is wrong. */
export const blame = (
  { client, repository }: Place,
  { source, subject }: Claim,
  error: RegistryError | ValidationError
): RegistryError | ValidationError => {
  const isOfDescription =
    error._tag === "RegistryError" ? error.reason === "SizeMismatch" : error.reason.endsWith("Manifest")
  if (!isOfDescription) return error
  const list =
    source === "tag"
      ? Manifest.subjectOf(client, repository, Referrer.fallbackTag(subject))
      : `the registry's list of what refers to ${Manifest.subjectOf(client, repository, subject)}`
  const hint = `it is described so by ${list}: have that corrected, or copy without --referrers`
  return error._tag === "RegistryError" ? Failure.withHint(error, hint) : new ValidationError({ ...error, hint })
}

// internal

/** What registries answer that do not know the question; 404 is the specification's. */
const unknownStatus = [404, 400, 405, 501]

const fromApi = (
  client: Client.Client,
  repository: string,
  subject: Digest.Digest,
  artifactType: string | undefined
): Effect.Effect<Option.Option<ReadonlyArray<Descriptor>>, RegistryError> =>
  Effect.gen(function* () {
    const query = artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(artifactType)}`
    const call = (url: string, accept: ReadonlyArray<number>): Exchange.Call => ({
      operation: `list referrers of ${Manifest.subjectOf(client, repository, subject)}`,
      method: "GET",
      url,
      headers: { accept: `${MediaType.ociIndex}, application/json;q=0.5, */*;q=0.1` },
      accept
    })
    const found: Array<Descriptor> = []
    const seen = new Set<string>()
    let bytes = 0
    let next = Option.some(Client.urlOf(client, `${repository}/referrers/${subject}${query}`))
    while (Option.isSome(next)) {
      const isFirst = seen.size === 0
      const at = call(next.value, isFirst ? [200, ...unknownStatus] : [200])
      seen.add(next.value)
      const page = yield* readPage(client, at, isFirst, maxBytes - bytes)
      if (page._tag === "Unknown") {
        client.state.lacksReferrers = page.forGood && Digest.algorithm(subject) === "sha256"
        return Option.none()
      }
      bytes += page.bytes
      for (const descriptor of page.manifests) found.push(descriptor)
      if (found.length > maxReferrers || seen.size > maxPages) {
        const detail = `more than ${maxReferrers} referrers or ${maxPages} pages of them`
        return yield* Effect.fail(Failure.make(at, "TooLarge", { detail }))
      }
      next = page.next
      if (Option.isSome(next) && seen.has(next.value)) {
        yield* warn(`${client.endpoint.host} sent the same page of referrers twice; the list ends there`)
        next = Option.none()
      }
    }
    return Option.some(found)
  })

type PageRead =
  /** The registry does not know the question: for good, or as far as this repository goes. */
  | { readonly _tag: "Unknown"; readonly forGood: boolean }
  | {
      readonly _tag: "Page"
      readonly manifests: ReadonlyArray<Descriptor>
      readonly bytes: number
      readonly next: Option.Option<string>
    }

const readPage = (
  client: Client.Client,
  call: Exchange.Call,
  isFirst: boolean,
  limit: number
): Effect.Effect<PageRead, RegistryError> => {
  const read = (response: Exchange.Response) =>
    Effect.gen(function* () {
      if (response.status !== 200) return yield* refused(client, call, response)
      const type = MediaType.essence(response.headers["content-type"] ?? "")
      const bytes = yield* Exchange.bytes(client, call, response, limit)
      const decoded = decode(bytes)
      if (Either.isLeft(decoded)) {
        // Some answer whatever path they do not know with a page of theirs; an index that is none came damaged.
        if (isFirst && !MediaType.isIndex(type)) return { _tag: "Unknown", forGood: true } as const
        const detail = `the answer is no index of referrers: ${decoded.left.message}`
        return yield* Effect.fail(Failure.make(call, "Protocol", { status: 200, detail, cause: decoded.left }))
      }
      const link = Page.nextLink(response.headers.link)
      const next = Option.isNone(link)
        ? Option.none<string>()
        : Option.some((yield* Exchange.judge(client, { ...call, url: response.url }, link.value, "link")).href)
      return { _tag: "Page", manifests: decoded.right.manifests, bytes: bytes.length, next } as const
    })
  const attempt = () => Effect.scoped(Effect.flatMap(Request.send(client, call), read))
  return Retry.retry(client, call.operation, attempt, {
    // No digest vouches for a list, so what does not parse may have been damaged on the way.
    restart: (error) => Retry.isWrongContent(error) || error.reason === "Protocol"
  })
}

/** A registry that has the list may say 404 of a repository that it does not have yet. */
const refused = (client: Client.Client, call: Exchange.Call, response: Exchange.Response): Effect.Effect<PageRead> =>
  Effect.gen(function* () {
    const body = yield* Exchange.bytes(client, call, response, Exchange.maxErrorBody).pipe(
      Effect.orElseSucceed(() => new Uint8Array(0))
    )
    const now = yield* Clock.currentTimeMillis
    const text = new TextDecoder().decode(body)
    const { codes } = Failure.fromStatus(call, response.status, text, response.headers, now)
    const isAboutRepository = codes.some(({ code }) => code === "NAME_UNKNOWN" || code === "MANIFEST_UNKNOWN")
    return { _tag: "Unknown", forGood: !isAboutRepository }
  })

const Body = ManifestModel.ImageIndex.pick("manifests")

const decode = (bytes: Uint8Array): Either.Either<typeof Body.Type, ValidationError> => {
  const limits = { subject: "referrers", reason: "InvalidManifest", maxSize: maxBytes } as const
  return Either.flatMap(Json.parse(bytes, limits), ({ value }) => Json.decode(Body, value, limits))
}

/** What is under the tag and no index lists nothing, as the specification has it. */
const fromTag = (
  client: Client.Client,
  repository: string,
  subject: Digest.Digest
): Effect.Effect<ReadonlyArray<Descriptor>, RegistryError> => {
  const tag = Referrer.fallbackTag(subject)
  const ignored = (why: string) =>
    Effect.as(warn(`${Manifest.subjectOf(client, repository, tag)} lists no referrers: ${why}`), [])
  return Manifest.get(client, repository, tag).pipe(
    Effect.flatMap((manifest) =>
      manifest._tag === "Index" ? Effect.succeed(manifest.value.manifests) : ignored("it is an image, not an index")
    ),
    Effect.catchTags({
      ValidationError: (error) => ignored(error.message),
      RegistryError: (error) => (error.reason === "NotFound" ? Effect.succeed([]) : Effect.fail(error))
    })
  )
}

const warn = (message: string): Effect.Effect<void> =>
  Effect.map(Progress.Progress, (progress) => progress.emit({ _tag: "Warning", message }))
