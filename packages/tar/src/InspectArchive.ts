/** What an archive or layout holds, as `docker image inspect` would tell it. */
import type * as FileSystem from "@effect/platform/FileSystem"
import {
  type Digest,
  formatName,
  ImageConfig,
  type ImageEntry,
  type ImageReader,
  type ImageSource,
  Platform,
  readImageConfig,
  type ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { chosenManifest } from "./ChosenImage.js"
import * as DockerArchive from "./DockerArchive.js"
import type { TarReadError } from "./TarReadError.js"

export interface InspectOptions extends DockerArchive.SourceOptions {
  /** Of an index, the platform to look at, `linux/arm64`. Default: Linux on this machine's architecture, else the only one. */
  readonly platform?: Platform.Platform | string | undefined
}

/** One image of an archive. Sizes are those of the layers as they lie there, plain or compressed. */
export interface ArchiveImage extends ImageConfig.Summary {
  /** Of the config: what docker calls the image ID. */
  readonly id: Digest.Digest
  /** `repository:tag`, the primary one first; empty where it has none. */
  readonly tags: ReadonlyArray<string>
  /** Of the manifest or index that a push moves; `undefined` where a push has to make it. */
  readonly digest: Digest.Digest | undefined
  /** Platforms that its index lists and the archive lacks. */
  readonly missingPlatforms: ReadonlyArray<string>
}

/**
 * Every image of an archive, in its order, from configs and manifests alone: no layer is read. Fails as
 * `DockerArchive.file`, and with `PlatformNotFound`.
 *
 * @example
 * ```ts
 * import { inspectArchive } from "@effect-registry/tar"
 * import * as Effect from "effect/Effect"
 *
 * const tags = Effect.map(inspectArchive("app.tar"), (images) => images.flatMap((image) => image.tags))
 * ```
 * @since 0.1.0
 */
export const inspectArchive = (
  path: string,
  options: InspectOptions = {}
): Effect.Effect<ReadonlyArray<ArchiveImage>, TarReadError | ValidationError, FileSystem.FileSystem> =>
  inspectSource(DockerArchive.file(path, options), options.platform)

/** The same of any source: an OCI layout folder, a stream. */
export const inspectSource = <E, R>(
  source: ImageSource<E, R>,
  platform?: Platform.Platform | string | undefined
): Effect.Effect<ReadonlyArray<ArchiveImage>, E | ValidationError, R> =>
  Effect.gen(function* () {
    const want = typeof platform === "string" ? yield* Platform.parse(platform) : platform
    const reader = yield* source.open
    return yield* Effect.forEach(yield* reader.images, (entry) => inspect(source.name, reader, entry, want))
  }).pipe(Effect.scoped, Effect.withSpan("effect-registry.inspectArchive", { attributes: { source: source.name } }))

// internal

const inspect = <E, R>(
  subject: string,
  reader: ImageReader<E, R>,
  { missingPlatforms, names, root }: ImageEntry,
  want: Platform.Platform | undefined
): Effect.Effect<ArchiveImage, E | ValidationError, R> =>
  Effect.gen(function* () {
    const { config, layers } = root._tag === "Draft" ? root : (yield* chosenManifest(subject, reader, root, want)).value
    const image = yield* readImageConfig(subject, reader, config)
    return {
      ...ImageConfig.summary(config, layers, image),
      id: config.digest,
      tags: names.map(formatName),
      digest: root._tag === "Draft" ? undefined : root.descriptor.digest,
      missingPlatforms
    }
  })
