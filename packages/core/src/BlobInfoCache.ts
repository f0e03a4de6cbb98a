/**
 * What earlier pushes learned: which compressed layer a diff ID became, and which repositories of a registry hold a blob.
 * Both are hints that the registry confirms, digest and size, before they are used.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Algorithm } from "./ImageStore.js"
import type { Descriptor } from "./model/Descriptor.js"
import type { Digest } from "./model/Digest.js"

export type Compressed = Pick<Descriptor, "digest" | "size">

/** A registry as one account sees it. */
export interface Place {
  /** `https://registry.example:5000` */
  readonly origin: string
  /** The user name there, empty for nobody. */
  readonly account: string
}

export interface Service {
  /** What the plain layer was compressed to. */
  readonly compressed: (diffId: Digest, algorithm: Algorithm) => Effect.Effect<Option.Option<Compressed>>
  /**
   * Only for bytes that this process compressed itself, or decompressed and hashed whole: a pair that a manifest or a
   * config claims would poison the next push to another registry.
   */
  readonly recordCompressed: (diffId: Digest, algorithm: Algorithm, compressed: Compressed) => Effect.Effect<void>
  /** Repositories that held the blob, the one seen last first. */
  readonly repositories: (place: Place, digest: Digest) => Effect.Effect<ReadonlyArray<string>>
  readonly recordRepository: (place: Place, digest: Digest, repository: string) => Effect.Effect<void>
}

/** Defaults to remembering nothing. */
export class BlobInfoCache extends Context.Reference<BlobInfoCache>()("@effect-registry/core/BlobInfoCache", {
  defaultValue: (): Service => none
}) {}

export const none: Service = {
  compressed: () => Effect.succeedNone,
  recordCompressed: () => Effect.void,
  repositories: () => Effect.succeed([]),
  recordRepository: () => Effect.void
}

/** Repositories remembered for one blob at one place. */
export const maxRepositories = 5

/** Remembers in memory, for as long as the service lives. */
export const makeMemory: Effect.Effect<Service> = Effect.sync(() => {
  const compressed = new Map<string, Compressed>()
  const repositories = new Map<string, ReadonlyArray<string>>()
  return {
    compressed: (diffId, algorithm) =>
      Effect.sync(() => Option.fromNullable(compressed.get(compressedText(diffId, algorithm)))),
    recordCompressed: (diffId, algorithm, { digest, size }) =>
      Effect.sync(() => void compressed.set(compressedText(diffId, algorithm), { digest, size })),
    repositories: (place, digest) => Effect.sync(() => repositories.get(placeText(place, digest)) ?? []),
    recordRepository: (place, digest, repository) =>
      Effect.sync(() => {
        const key = placeText(place, digest)
        repositories.set(key, latestFirst(repositories.get(key) ?? [], repository))
      })
  }
})

export const layerMemory: Layer.Layer<never> = Layer.effect(BlobInfoCache, makeMemory)

/** The list with the repository in front, each once, not longer than is remembered. */
export const latestFirst = (before: ReadonlyArray<string>, repository: string): ReadonlyArray<string> =>
  [repository, ...before.filter((each) => each !== repository)].slice(0, maxRepositories)

/** One text for a layer and what it is compressed with: gzip's is the diff ID alone, as it was before there was another. */
export const compressedText = (diffId: Digest, algorithm: Algorithm): string =>
  algorithm === "gzip" ? diffId : `${diffId} ${algorithm}`

/** One text for a blob at a place; no two share one. */
export const placeText = ({ account, origin }: Place, digest: Digest): string =>
  JSON.stringify([origin, account, digest])
