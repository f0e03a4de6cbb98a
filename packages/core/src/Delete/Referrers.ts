/** What refers to an image that is to be deleted, and the lists of referrers that have to stay right. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import * as MediaType from "../model/MediaType.js"
import * as Referrer from "../model/Referrer.js"
import * as Progress from "../Progress.js"
import type * as Client from "../Registry/Client.js"
import * as Failure from "../Registry/Failure.js"
import * as Manifest from "../Registry/Manifest.js"
import * as Referrers from "../Registry/Referrers.js"
import * as ReferrersTag from "../Registry/ReferrersTag.js"
import { deletion, probe, removeDigest, toTheEnd } from "../Registry/RemoveTag.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"

/** Each costs a question and a deletion. */
export const maxDeleted = 10_000

export interface Found {
  readonly subject: Digest
  readonly descriptor: Descriptor
  readonly source: Referrers.Listing["source"]
}

/**
 * The referrers of a manifest, `deep` with theirs, each after those that refer to it. Those that are to be deleted are read,
 * because a list may name anything: what refers to something else is left out with a warning. Where they are only to be told
 * of, a registry that does not answer the question gets a warning and no failure.
 */
export const find = (
  client: Client.Client,
  repository: string,
  digest: Digest,
  deep: boolean
): Effect.Effect<
  { readonly source: Referrers.Listing["source"]; readonly all: ReadonlyArray<Found> },
  RegistryError | ValidationError
> =>
  Effect.gen(function* () {
    if (!deep) {
      const { referrers, source } = yield* listOrWarn(client, repository, digest)
      return { source, all: referrers.map((descriptor) => ({ subject: digest, descriptor, source })) }
    }
    const seen = new Set<Digest>([digest])
    const all: Array<Found> = []
    let listed = 0
    const look = (subject: Digest) =>
      Effect.gen(function* () {
        const { referrers, source } = yield* Referrers.list(client, repository, subject)
        listed += referrers.length
        if (listed > maxDeleted) {
          const detail = `more than ${maxDeleted} manifests refer to it`
          return yield* Effect.fail(Failure.make(deletion(client, repository, digest), "TooLarge", { detail }))
        }
        const found = yield* Effect.filter(
          referrers.filter((each) => !seen.has(each.digest)),
          (each) => refersTo(client, repository, subject, each),
          { concurrency: client.config.concurrency }
        )
        for (const descriptor of found) {
          seen.add(descriptor.digest)
          all.push({ subject, descriptor, source })
        }
        return source
      })
    const source = yield* look(digest)
    for (const { descriptor } of all) yield* look(descriptor.digest)
    return { source, all: all.reverse() }
  })

/**
 * Deletes them in this order, and the lists that are empty then. Killed in between, the same deletion finds what is left:
 * a list goes when all it lists is gone.
 */
export const removeAll = (
  client: Client.Client,
  repository: string,
  referrers: ReadonlyArray<Found>
): Effect.Effect<void, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const lists = new Map<Digest, Set<Digest>>()
    for (const { descriptor, source, subject } of referrers) {
      // One that is gone already was left on its list by somebody else, or by us before we were stopped.
      yield* Effect.catchIf(removeDigest(client, repository, descriptor.digest), Manifest.isNotFound, () => Effect.void)
      if (source === "tag") lists.set(subject, (lists.get(subject) ?? new Set()).add(descriptor.digest))
    }
    for (const [subject, digests] of lists) yield* ReferrersTag.remove(client, repository, subject, digests)
  })

/** Deletes a manifest, which is taken off the list of its subject before: a list must not name what is not there. */
export const removeListed = (
  client: Client.Client,
  repository: string,
  { digest, mediaType }: Descriptor,
  source: Referrers.Listing["source"]
): Effect.Effect<void, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const remove = removeDigest(client, repository, digest)
    // Docker's own types know no subject.
    if (source === "api" || mediaType === MediaType.dockerManifest || mediaType === MediaType.dockerIndex) {
      return yield* remove
    }
    const manifest = yield* Effect.option(Manifest.get(client, repository, digest))
    const subject = Option.isNone(manifest) ? undefined : Referrer.subjectOf(manifest.value)
    if (Option.isNone(manifest) || subject === undefined) return yield* remove
    yield* probe(client, repository, digest)
    const restore = ReferrersTag.add(client, repository, subject.digest, [Referrer.describe(manifest.value)])
    yield* ReferrersTag.remove(client, repository, subject.digest, new Set([digest])).pipe(
      Effect.zipRight(remove),
      // Still there, it has to be listed; one that is gone has not.
      Effect.tapError((error) => (Manifest.isNotFound(error) ? Effect.void : Effect.ignore(restore))),
      toTheEnd
    )
  })

// internal

/** Whether a manifest has the subject that a list says it has. What is gone counts: it has to come off the list. */
const refersTo = (
  client: Client.Client,
  repository: string,
  subject: Digest,
  { digest }: Descriptor
): Effect.Effect<boolean, RegistryError> =>
  Manifest.get(client, repository, digest).pipe(
    Effect.map((manifest) => {
      const own = Referrer.subjectOf(manifest)?.digest
      if (own === subject) return undefined
      return own === undefined ? "refers to nothing" : `refers to ${own}`
    }),
    Effect.catchTags({
      ValidationError: ({ issues }) => Effect.succeed(`cannot be read: ${issues[0]?.message ?? "it is no manifest"}`),
      RegistryError: (error) => (Manifest.isNotFound(error) ? Effect.succeed(undefined) : Effect.fail(error))
    }),
    Effect.tap((why) =>
      why === undefined
        ? Effect.void
        : warn(`${digest} is listed among the referrers of ${subject} and stays: it ${why}`)
    ),
    Effect.map((why) => why === undefined)
  )

const warn = (message: string): Effect.Effect<void> =>
  Effect.map(Progress.Progress, (progress) => progress.emit({ _tag: "Warning", message }))

const listOrWarn = (
  client: Client.Client,
  repository: string,
  digest: Digest
): Effect.Effect<Referrers.Listing, RegistryError> =>
  Effect.catchIf(
    Referrers.list(client, repository, digest),
    (error) => ["Denied", "Unauthorized", "Protocol", "TooLarge", "UnsafeUrl"].includes(error.reason),
    (error) =>
      Effect.as(warn(`its referrers are not known: ${error.message}`), { source: "tag" as const, referrers: [] })
  )
