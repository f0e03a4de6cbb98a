/** What else in a repository names a manifest: its tags, and the indexes that these name. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import * as ManifestModel from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import * as Progress from "../Progress.js"
import * as Client from "../Registry/Client.js"
import * as Failure from "../Registry/Failure.js"
import * as Manifest from "../Registry/Manifest.js"
import { deletion } from "../Registry/RemoveTag.js"
import * as Tags from "../Registry/Tags.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"

/** Tags looked at before an image is deleted; a repository could have any number of them. */
export const maxTags = 10_000
/** Manifests that the indexes of a repository name, all together. */
export const maxDescriptors = 100_000

export interface Uses {
  /** Tags that name the manifest itself. */
  readonly tags: ReadonlyArray<string>
  /** Tags that name an index with the manifest in it, at any depth. */
  readonly indexes: ReadonlyArray<string>
}

/**
 * The uses of each of these digests, found with one look at every tag. An index that is a list of referrers is no use of
 * what it lists, and neither is one that is itself among the digests. Fails with `TooLarge` beyond the bounds, and
 * with `Protocol` where not all tags can be seen.
 */
export const find = (
  client: Client.Client,
  repository: string,
  wanted: ReadonlySet<Digest>
): Effect.Effect<(digest: Digest) => Uses, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const tags = yield* tagsOf(client, repository)
    const named = yield* namedBy(client, repository, tags)
    const roots = [...named].flatMap(([tag, { digest, mediaType }]) =>
      MediaType.isIndex(mediaType) && !isReferrersTag(tag) && !wanted.has(digest) ? [digest] : []
    )
    const indexes = yield* readIndexes(client, repository, roots, wanted)
    return (digest) => {
      const holds = reach(indexes, digest)
      const having = (is: (found: Descriptor) => boolean) => tags.filter((tag) => Option.exists(lookup(named, tag), is))
      return {
        tags: having((found) => found.digest === digest),
        indexes: tags.filter(
          (tag) => !isReferrersTag(tag) && Option.exists(lookup(named, tag), (found) => holds.has(found.digest))
        )
      }
    }
  })

// internal

/** https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema */
const isReferrersTag = (tag: string): boolean => /^sha(?:256|512)-[0-9a-f]{64}$/.test(tag)

const lookup = <K, V>(map: ReadonlyMap<K, V>, key: K): Option.Option<V> => Option.fromNullable(map.get(key))

const withoutLooking = "not all that may name the image could be seen; --force deletes without looking"

const tooLarge = (client: Client.Client, repository: string, detail: string): RegistryError => {
  const subject = {
    ...deletion(client, repository, "latest"),
    operation: `delete from ${Client.nameOf(client, repository)}`
  }
  return Failure.make(subject, "TooLarge", { detail, hint: withoutLooking })
}

const tagsOf = (client: Client.Client, repository: string): Effect.Effect<ReadonlyArray<string>, RegistryError> =>
  Tags.list(client, repository, maxTags).pipe(
    // A repository whose tags are all gone is unknown to some registries.
    Effect.catchIf(
      (error) => error.reason === "NotFound",
      () => Effect.succeed([])
    ),
    Effect.mapError((error) =>
      error.reason === "TooLarge" || error.reason === "Protocol" ? Failure.withHint(error, withoutLooking) : error
    )
  )

/** What each tag names; those that are gone, or that no client can read any more, name nothing. */
const namedBy = (client: Client.Client, repository: string, tags: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const progress = yield* Progress.Progress
    const what = `tags of ${Client.nameOf(client, repository)} for other uses`
    let done = 0
    const tell = () => progress.emit({ _tag: "Looking", what, done, total: tags.length })
    tell()
    const found = yield* Effect.forEach(
      tags,
      (tag) =>
        Effect.map(Manifest.headReadable(client, repository, tag), (descriptor) => {
          done += 1
          tell()
          return Option.map(descriptor, (there) => [tag, there] as const)
        }),
      { concurrency: client.config.concurrency }
    )
    return new Map(found.flatMap((each) => Option.toArray(each)))
  })

/** The digests in an index that matter: those asked about, and further indexes. */
type Inside = ReadonlyArray<Digest>

/** All indexes below these, each read once, level by level. */
const readIndexes = (
  client: Client.Client,
  repository: string,
  roots: ReadonlyArray<Digest>,
  wanted: ReadonlySet<Digest>
): Effect.Effect<ReadonlyMap<Digest, Inside>, RegistryError> =>
  Effect.gen(function* () {
    const known = new Map<Digest, Inside>()
    let level = [...new Set(roots)]
    let descriptors = 0
    for (let depth = 0; level.length > 0; depth++) {
      if (depth > ManifestModel.maxDepth) {
        const detail = `its indexes are nested more than ${ManifestModel.maxDepth} levels deep`
        return yield* Effect.fail(tooLarge(client, repository, detail))
      }
      const next = new Set<Digest>()
      const look = (digest: Digest) =>
        Effect.gen(function* () {
          const children = yield* childrenOf(client, repository, digest)
          descriptors += children.length
          if (descriptors > maxDescriptors) {
            const detail = `its indexes name more than ${maxDescriptors} manifests`
            return yield* Effect.fail(tooLarge(client, repository, detail))
          }
          const inside = children.filter((child) => wanted.has(child.digest) || MediaType.isIndex(child.mediaType))
          known.set(
            digest,
            inside.map((child) => child.digest)
          )
          for (const child of inside)
            if (MediaType.isIndex(child.mediaType) && !wanted.has(child.digest)) next.add(child.digest)
        })
      yield* Effect.forEach(level, look, { concurrency: client.config.concurrency, discard: true })
      level = [...next].filter((digest) => !known.has(digest))
    }
    return known
  })

const childrenOf = (
  client: Client.Client,
  repository: string,
  digest: Digest
): Effect.Effect<ReadonlyArray<Descriptor>, RegistryError> =>
  Manifest.get(client, repository, digest).pipe(
    Effect.map(ManifestModel.children),
    Effect.catchTag("ValidationError", () => Effect.succeed([])),
    Effect.catchIf(Manifest.isNotFound, () => Effect.succeed([]))
  )

/** The indexes through which the digest is reached. */
const reach = (indexes: ReadonlyMap<Digest, Inside>, digest: Digest): ReadonlySet<Digest> => {
  const parents = new Map<Digest, Array<Digest>>()
  for (const [index, inside] of indexes) {
    for (const child of inside) {
      const above = parents.get(child)
      if (above === undefined) parents.set(child, [index])
      else above.push(index)
    }
  }
  const found = new Set<Digest>()
  const left = [digest]
  for (let at = left.pop(); at !== undefined; at = left.pop()) {
    for (const parent of parents.get(at) ?? []) {
      if (!found.has(parent)) left.push(parent)
      found.add(parent)
    }
  }
  return found
}
