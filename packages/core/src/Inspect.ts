/** What an image is, and the raw material of it: manifest, blobs. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Digest } from "./model/Digest.js"
import * as ImageConfig from "./model/ImageConfig.js"
import * as ManifestModel from "./model/Manifest.js"
import * as Platform from "./model/Platform.js"
import * as Reference from "./model/Reference.js"
import * as Blob from "./Registry/Blob.js"
import { connect } from "./Registry/Connection.js"
import * as Download from "./Registry/Download.js"
import * as Manifest from "./Registry/Manifest.js"
import { type Place, reading } from "./Registry/Mirror.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import { ValidationError } from "./ValidationError.js"

type Environment = HttpClient.HttpClient | RegistryConfig

/**
 * The manifest or index that a reference names, decoded, with its exact bytes and their digest. Without tag and digest
 * the tag is `latest`.
 *
 * Fails with a RegistryError (`NotFound`, `DigestMismatch`, `TooLarge` …), or a ValidationError: a malformed reference,
 * `InvalidManifest`, `UnsupportedManifest` (Docker schema 1), `AmbiguousManifest`.
 *
 * @example
 * ```ts
 * import { getManifest } from "@effect-registry/core"
 * import * as Effect from "effect/Effect"
 *
 * const digest = Effect.map(getManifest("localhost:15000/team/app:1.0"), (manifest) => manifest.descriptor.digest)
 * ```
 * @since 0.1.0
 */
export const getManifest = (
  reference: string | Reference.Reference
): Effect.Effect<ManifestModel.Manifest, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const { first, reference: parsed } = yield* reading(reference, Reference.parse)
    return yield* first(({ client, repository }) => Manifest.get(client, repository, Reference.identifier(parsed)))
  }).pipe(Effect.withSpan("effect-registry.getManifest"))

export interface InspectOptions {
  /**
   * Of an index, the platform to look at, `linux/arm64`. Default: Linux on this machine's architecture, else the only
   * platform there is.
   */
  readonly platform?: Platform.Platform | string | undefined
}

/** Manifest and config of one image as one value. */
export interface ImageInfo extends ImageConfig.Summary {
  /** `HOST/REPOSITORY[:TAG]@DIGEST` of what was asked for. */
  readonly reference: string
  /** Of the image's manifest; of an index's image, not of the index. */
  readonly digest: Digest
  readonly mediaType: string
  /** Of the index that the image was chosen from. */
  readonly indexDigest: Digest | undefined
  /** Those that this index has images for, `linux/arm64`; empty without an index. */
  readonly platforms: ReadonlyArray<string>
}

/**
 * What an image is: platform, creation, size, settings, layers and history, from manifest and config.
 *
 * Fails with a RegistryError, or a ValidationError: `PlatformNotFound` with the platforms there are,
 * `UnsupportedManifest` for what is no image, `InvalidImageConfig`, and as `getManifest` does.
 *
 * @example
 * ```ts
 * import { getImageInfo } from "@effect-registry/core"
 *
 * const program = getImageInfo("localhost:15000/team/app:1.0", { platform: "linux/arm64" })
 * ```
 * @since 0.1.0
 */
export const getImageInfo = (
  reference: string | Reference.Reference,
  options: InspectOptions = {}
): Effect.Effect<ImageInfo, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const { first, own, reference: parsed } = yield* reading(reference, Reference.parse)
    const identifier = Reference.identifier(parsed)
    const subject = Manifest.subjectOf(own.client, own.repository, identifier)
    const { bytes, manifest, root } = yield* first((place) =>
      Effect.gen(function* () {
        const { client, repository } = place
        const root = yield* Manifest.get(client, repository, identifier)
        const manifest = yield* imageOf(place, subject, root, options)
        const { digest, size } = manifest.value.config
        const bytes = yield* Blob.bytes(client, repository, digest, Option.some(size), ImageConfig.maxSize)
        return { bytes, manifest, root }
      })
    )
    const { config, layers } = manifest.value
    const image = yield* ImageConfig.decode(bytes, `${subject}: config ${config.digest}`)
    const tag = Option.isSome(parsed.digest) ? parsed.tag : Option.some(identifier)
    return {
      ...ImageConfig.summary(config, layers, image),
      digest: manifest.descriptor.digest,
      mediaType: manifest.descriptor.mediaType,
      reference: Reference.format({
        host: Option.some(own.client.endpoint.host),
        repository: own.repository,
        tag,
        digest: Option.some(root.descriptor.digest)
      }),
      indexDigest: root === manifest ? undefined : root.descriptor.digest,
      platforms: ManifestModel.children(root).flatMap(({ platform }) =>
        platform && !Platform.isUnknown(platform) ? [Platform.format(platform)] : []
      )
    }
  }).pipe(Effect.withSpan("effect-registry.getImageInfo"))

/**
 * Whether the repository holds a blob, named `HOST/REPOSITORY@DIGEST`.
 *
 * Fails with a RegistryError, or a ValidationError where the reference is malformed or has no digest.
 *
 * @example
 * ```ts
 * import { blobExists } from "@effect-registry/core"
 *
 * const program = blobExists(
 *   "localhost:15000/team/app@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
 * )
 * ```
 * @since 0.1.0
 */
export const blobExists = (
  reference: string | Reference.Reference
): Effect.Effect<boolean, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const { client, digest, repository } = yield* connectDigest(reference)
    return yield* Blob.exists(client, repository, digest)
  }).pipe(Effect.withSpan("effect-registry.blobExists"))

/**
 * The bytes of a blob, named `HOST/REPOSITORY@DIGEST`. They are verified: the stream fails at its end with
 * `DigestMismatch` where they are not those of the digest.
 *
 * Fails with a RegistryError (`NotFound` …), or a ValidationError where the reference is malformed or has no digest.
 *
 * @example
 * ```ts
 * import { getBlob } from "@effect-registry/core"
 * import * as Stream from "effect/Stream"
 *
 * const size = getBlob(
 *   "localhost:15000/team/app@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
 * ).pipe(Stream.runFold(0, (size, chunk) => size + chunk.length))
 * ```
 * @since 0.1.0
 */
export const getBlob = (
  reference: string | Reference.Reference
): Stream.Stream<Uint8Array, RegistryError | ValidationError, Environment> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { client, digest, repository } = yield* connectDigest(reference)
      return Download.stream(client, repository, digest, Option.none())
    })
  )

// internal

type ImageManifest = ManifestModel.Manifest & { readonly _tag: "Image" }

/** The image itself, or the one of an index that fits. */
const imageOf = (
  { client, repository }: Place,
  subject: string,
  root: ManifestModel.Manifest,
  options: InspectOptions
): Effect.Effect<ImageManifest, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const want = typeof options.platform === "string" ? yield* Platform.parse(options.platform) : options.platform
    let manifest = root
    for (let depth = 0; manifest._tag === "Index"; depth++) {
      if (depth > ManifestModel.maxDepth) return yield* Effect.fail(ManifestModel.tooDeep(subject))
      const { digest, mediaType, size } = yield* ManifestModel.choose(subject, ManifestModel.children(manifest), want)
      manifest = yield* Manifest.get(client, repository, digest, { mediaType, size })
    }
    return manifest
  })

const connectDigest = (reference: string | Reference.Reference) =>
  Effect.gen(function* () {
    const { client, reference: parsed, repository } = yield* connect(reference, Reference.parse, "pull")
    if (Option.isSome(parsed.digest)) return { client, repository, digest: parsed.digest.value }
    return yield* Effect.fail(
      ValidationError.of("InvalidReference", Reference.format(parsed), "a blob is named HOST/REPOSITORY@DIGEST")
    )
  })
