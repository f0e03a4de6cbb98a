/** One image of a source, opened as far as manifest and config: what its layers are, before one is read. */
import {
  type BlobContent,
  type Descriptor,
  type Digest,
  ImageConfig,
  type ImageReader,
  type ImageSource,
  Manifest,
  MediaType,
  onlyImage,
  Platform,
  readImageConfig,
  type ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { chosenManifest } from "../ChosenImage.js"

export interface LookOptions {
  /** Of an index, the platform to look at, `linux/arm64`. Default: Linux on this machine's architecture, else the only one. */
  readonly platform?: Platform.Platform | string | undefined
  /** Layers that are read at once. Default 5. */
  readonly concurrency?: number | undefined
}

/** A layer as manifest, config and history know it. */
export interface ImageLayer {
  readonly descriptor: Descriptor.Descriptor
  /** Of the uncompressed tar. */
  readonly diffId: Digest.Digest | undefined
  /** The build step that made it. */
  readonly createdBy: string | undefined
}

export interface Image<out E, out R> {
  readonly name: string
  /** Of the image's manifest; `undefined` where it has none: `docker save` writes none. */
  readonly digest: Digest.Digest | undefined
  readonly configDigest: Digest.Digest
  /** `undefined` for an artifact, whose config is something else. */
  readonly config: ImageConfig.ImageConfig | undefined
  /** The lowest first. */
  readonly layers: ReadonlyArray<ImageLayer>
  readonly content: (descriptor: Descriptor.Descriptor) => Effect.Effect<BlobContent<E, R>, E | ValidationError, R>
  /** Fails where the source changed since it was opened. */
  readonly unchanged: Effect.Effect<void, E, R>
}

/**
 * Opens the source's one image. Fails as the source does, and with a ValidationError: `SeveralImages`, `PlatformNotFound`,
 * `InvalidPlatform`, `TooLarge`, and what is wrong with manifest or config.
 */
export const open = <E, R>(
  source: ImageSource<E, R>,
  options: LookOptions
): Effect.Effect<Image<E, R>, E | ValidationError, R | Scope.Scope> =>
  Effect.gen(function* () {
    const { platform } = options
    const want = typeof platform === "string" ? yield* Platform.parse(platform) : platform
    const { name } = source
    const reader = yield* source.open
    const { root } = yield* onlyImage(name, yield* reader.images)
    const found =
      root._tag === "Draft"
        ? { digest: undefined, value: root }
        : yield* Effect.map(chosenManifest(name, reader, root, want), ({ descriptor: { digest }, value }) => ({
            digest,
            value
          }))
    const { layers } = found.value
    const content = contentOf(name, reader)
    const isImage = MediaType.isImageConfig(found.value.config.mediaType)
    const config = isImage ? yield* readImageConfig(name, reader, found.value.config) : undefined
    const ids = config === undefined ? [] : ImageConfig.diffIds(config)
    const steps = config === undefined ? [] : ImageConfig.layerHistory(config)
    return {
      name,
      digest: found.digest,
      configDigest: found.value.config.digest,
      config,
      layers: layers.map((descriptor, index) => ({
        descriptor,
        diffId: ids[index],
        createdBy: steps[index]?.created_by ?? undefined
      })),
      content,
      unchanged: reader.unchanged ?? Effect.void
    }
  })

// internal

/** What a descriptor carries itself, else where the reader has it. */
const contentOf =
  <E, R>(subject: string, reader: ImageReader<E, R>) =>
  (descriptor: Descriptor.Descriptor): Effect.Effect<BlobContent<E, R>, E | ValidationError, R> =>
    Effect.gen(function* () {
      const inline = yield* Manifest.inlineData(descriptor, `${subject} ${descriptor.digest}`)
      return Option.isSome(inline) ? ({ _tag: "Bytes", bytes: inline.value } as const) : yield* reader.blob(descriptor)
    })
