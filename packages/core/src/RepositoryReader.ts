/** One repository of a registry for whoever hands it on, a cache or a proxy: bytes as they are, nothing decoded. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { Descriptor } from "./model/Descriptor.js"
import type { Digest } from "./model/Digest.js"
import * as Blob from "./Registry/Blob.js"
import * as Download from "./Registry/Download.js"
import * as Manifest from "./Registry/Manifest.js"
import { type Place, reading } from "./Registry/Mirror.js"
import * as ReferrersList from "./Registry/Referrers.js"
import * as Tags from "./Registry/Tags.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import type { ValidationError } from "./ValidationError.js"

/** What is not there is a `None`; everything else that goes wrong is a RegistryError. */
export interface RepositoryReader {
  /** The digest that a tag names. A ValidationError: a registry that names no digest has an unreadable manifest there. */
  readonly resolve: (tag: string) => Effect.Effect<Option.Option<Digest>, RegistryError | ValidationError>
  /** The bytes of a manifest of any type, those of the digest. */
  readonly manifest: (digest: Digest) => Effect.Effect<Option.Option<RawManifest>, RegistryError>
  /** Whether the blob can be read, and how. */
  readonly blob: (digest: Digest) => Effect.Effect<Option.Option<RemoteBlob>, RegistryError>
  /** All of them, each once, in the registry's order; `TooLarge` beyond 100,000. */
  readonly tags: Effect.Effect<Option.Option<ReadonlyArray<string>>, RegistryError>
  /** The manifests whose `subject` has this digest. */
  readonly referrers: (subject: Digest) => Effect.Effect<ReadonlyArray<Descriptor>, RegistryError>
}

export interface RawManifest {
  /** Without parameters; empty where the registry said none. */
  readonly mediaType: string
  readonly bytes: Uint8Array
}

export interface RemoteBlob {
  /** Bytes; `None` where the registry does not say. */
  readonly size: Option.Option<number>
  /**
   * The whole blob, going on after a lost connection where it stopped. Up to 1 MiB is verified before it is handed out;
   * a longer one is not verified at all, because whoever hands it on has to do so anyway.
   */
  readonly stream: Stream.Stream<Uint8Array, RegistryError>
}

/**
 * Reads a repository, at its mirrors first. Nothing is sent yet; what one reader learns of its registry (that it is to be
 * asked more slowly, that it lists no referrers) is kept for as long as the reader is used.
 *
 * @since 0.1.0
 */
export const open = (
  host: string,
  repository: string
): Effect.Effect<RepositoryReader, ValidationError, HttpClient.HttpClient | RegistryConfig> =>
  Effect.gen(function* () {
    const reference = { host: Option.some(host), repository, tag: Option.none(), digest: Option.none() }
    const { first, own } = yield* reading(reference, () => Either.right(reference))
    return {
      resolve: (tag) => optional(first((place) => Effect.map(required(place, tag), ({ digest }) => digest))),
      manifest: (digest) => optional(first(({ client, repository }) => Manifest.bytes(client, repository, digest))),
      blob: (digest) =>
        optional(
          first((place) =>
            Effect.flatMap(
              Blob.describe(place.client, place.repository, digest),
              Option.match({
                onNone: () => Effect.fail(Manifest.notFound(place.client, place.repository, digest)),
                onSome: ({ size }) => Effect.succeed({ size, stream: streamOf(place, digest, size) })
              })
            )
          )
        ),
      tags: optional(Tags.list(own.client, own.repository, maxTags)),
      referrers: (subject) =>
        Effect.map(
          first((place) => ReferrersList.listAt(place, own, subject)),
          ({ referrers }) => referrers
        )
    }
  })

// internal

/** Some repositories have as many; a list without end would fill our memory. */
const maxTags = 100_000

/** Up to this size a blob is held whole until it is verified. */
const maxVerified = 1 << 20

const streamOf = ({ client, repository }: Place, digest: Digest, size: Option.Option<number>) =>
  Option.exists(size, (known) => known <= maxVerified)
    ? Download.stream(client, repository, digest, size)
    : Download.streamFrom(client, repository, digest, size, 0)

const required = ({ client, repository }: Place, tag: string) =>
  Effect.flatMap(
    Manifest.head(client, repository, tag),
    Option.match({
      onNone: () => Effect.fail(Manifest.notFound(client, repository, tag)),
      onSome: Effect.succeed
    })
  )

const optional = <A, E extends RegistryError | ValidationError>(self: Effect.Effect<A, E>) =>
  self.pipe(
    Effect.map(Option.some),
    Effect.catchIf(Manifest.isNotFound, () => Effect.succeed(Option.none<A>()))
  )
