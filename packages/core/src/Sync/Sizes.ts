/** How many bytes a plan moves at most: the blobs that its images name and the target's repository is not known to have. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import * as ManifestModel from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import type { Connection } from "../Registry/Connection.js"
import * as Manifest from "../Registry/Manifest.js"
import type { RegistryConfig } from "../RegistryConfig.js"
import type { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import { type Compared, type Connections, failed } from "./Compare.js"
import type { Repository } from "./Listing.js"
import type { Action, Transfer } from "./Plan.js"

type Environment = HttpClient.HttpClient | RegistryConfig
type Failing = RegistryError | ValidationError
type Blobs = ReadonlyMap<Digest, number>

/** Images that a target has already and whose blobs are looked up, in each repository: enough for a good estimate. */
export const maxKnown = 50
/** What a small document may lead to; the copy itself has its own bounds. */
const maxDescriptors = 100_000

/**
 * The actions with their bytes; what nothing has to be copied to costs no request. An image whose manifests cannot be
 * read is a failed one.
 */
export const measure = (
  compared: ReadonlyArray<Compared>,
  connections: Connections,
  concurrency: number
): Effect.Effect<ReadonlyArray<Action>, never, Environment> =>
  Effect.gen(function* () {
    const actions = new Map<Compared, Action>()
    for (const group of byTarget(compared)) {
      const known = yield* knownBlobs(group, connections, concurrency)
      const transfers = group.filter(({ action }) => action.action === "copy" || action.action === "update")
      const images = yield* readAll(transfers, connections, concurrency)
      for (const each of group) {
        const { action } = each
        if (action.action === "equal" || action.action === "failed") {
          actions.set(each, action)
          continue
        }
        const blobs = images.get(keyOf(each)) ?? new Map<Digest, number>()
        if (blobs instanceof Error) {
          actions.set(each, failed(each.pair, blobs))
          continue
        }
        let bytes = 0
        for (const [digest, size] of blobs) {
          if (known.has(digest)) continue
          known.add(digest)
          bytes += size
        }
        actions.set(each, { ...action, bytes } satisfies Transfer)
      }
    }
    return compared.flatMap((each) => actions.get(each) ?? [])
  })

// internal

const byTarget = (compared: ReadonlyArray<Compared>): ReadonlyArray<ReadonlyArray<Compared>> => {
  const groups = new Map<string, Array<Compared>>()
  for (const each of compared) {
    const { name } = each.pair.flow.target
    const group = groups.get(name) ?? []
    group.push(each)
    groups.set(name, group)
  }
  return [...groups.values()]
}

/** The image at its source; tags that name the same one share what is read. */
const keyOf = ({ images, pair }: Compared): string =>
  `${pair.flow.source.name} ${images.map(({ digest }) => digest).join(" ")}`

/** Blobs of what the target has: the images that are equal, and those that are replaced. Where they cannot be read none. */
const knownBlobs = (group: ReadonlyArray<Compared>, connections: Connections, concurrency: number) =>
  Effect.gen(function* () {
    const places = new Map<string, Effect.Effect<Blobs, Failing, Environment>>()
    if (!group.some(({ action }) => action.action === "copy" || action.action === "update")) return new Set<Digest>()
    for (const each of group) {
      const { action, images, pair } = each
      if (action.action === "equal") places.set(keyOf(each), blobsOf(connections, pair.flow.source, images))
      if (action.action === "update" && action.replaces !== null) {
        places.set(action.replaces, blobsUnder(connections, pair.flow.target, action.replaces))
      }
    }
    const read = [...places.values()]
      .slice(0, maxKnown)
      .map((blobs) => Effect.orElseSucceed(blobs, (): Blobs => new Map()))
    const all = yield* Effect.all(read, { concurrency })
    return new Set(all.flatMap((blobs) => [...blobs.keys()]))
  })

const readAll = (transfers: ReadonlyArray<Compared>, connections: Connections, concurrency: number) =>
  Effect.gen(function* () {
    const distinct = new Map(transfers.map((each) => [keyOf(each), each]))
    const read = yield* Effect.forEach(
      distinct,
      ([key, { images, pair }]) =>
        Effect.map(Effect.merge(blobsOf(connections, pair.flow.source, images)), (blobs) => [key, blobs] as const),
      { concurrency }
    )
    return new Map<string, Blobs | Failing>(read)
  })

const blobsUnder = (connections: Connections, repository: Repository, digest: Digest) =>
  Effect.gen(function* () {
    const { client, repository: path } = yield* connections.get(repository)
    const { descriptor } = yield* Manifest.get(client, path, digest)
    return yield* blobsOf(connections, repository, [descriptor])
  })

/** The blobs of these manifests and everything below them, without layers that are to be had elsewhere. */
const blobsOf = (
  connections: Connections,
  repository: Repository,
  images: ReadonlyArray<Descriptor>
): Effect.Effect<Blobs, Failing, Environment> =>
  Effect.gen(function* () {
    const at = yield* connections.get(repository)
    const blobs = new Map<Digest, number>()
    const seen = new Set<Digest>()
    let level = images
    for (let depth = 0; level.length > 0; depth++) {
      if (depth > ManifestModel.maxDepth) return yield* Effect.fail(ManifestModel.tooDeep(repository.name))
      const fresh = level.filter(({ digest }) => !seen.has(digest))
      for (const { digest } of fresh) seen.add(digest)
      const next: Array<Descriptor> = []
      for (const manifest of yield* Effect.forEach(fresh, (descriptor) => read(at, descriptor))) {
        const children = ManifestModel.children(manifest)
        const leaves = children.filter(({ mediaType }) => !MediaType.isManifest(mediaType))
        for (const { digest, mediaType, size } of [...ManifestModel.blobs(manifest), ...leaves]) {
          if (!MediaType.isForeignLayer(mediaType)) blobs.set(digest, size)
        }
        next.push(...children.filter(({ mediaType }) => MediaType.isManifest(mediaType)))
        if (blobs.size + seen.size + next.length > maxDescriptors) {
          const message = `an image names more than ${maxDescriptors} blobs and manifests`
          return yield* Effect.fail(ValidationError.of("TooLarge", repository.name, message))
        }
      }
      level = next
    }
    return blobs
  })

const read = ({ client, repository }: Connection, { digest, mediaType, size }: Descriptor) =>
  Manifest.get(client, repository, digest, { mediaType, size })
