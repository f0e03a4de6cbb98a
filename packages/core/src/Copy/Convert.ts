/** An image or index in another format, or with its layers compressed in another way. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Algorithm, ImageReader } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type * as Digest from "../model/Digest.js"
import * as ImageConfig from "../model/ImageConfig.js"
import * as Manifest from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import * as Platform from "../model/Platform.js"
import { ValidationError } from "../ValidationError.js"
import { readImageConfig } from "./Config.js"
import * as Layer from "./Layer.js"
import type { PlannedBlob, Written } from "./Plan.js"

/** What is asked for; nothing where images stay as they are. */
export interface Conversion {
  readonly format: Manifest.Format | undefined
  readonly to: Algorithm | undefined
}

export const isNone = ({ format, to }: Conversion): boolean => format === undefined && to === undefined

export type Image = Manifest.Manifest & { readonly _tag: "Image" }
export type Index = Manifest.Manifest & { readonly _tag: "Index" }

/** Whether it is something that runs: artifacts keep the form that their makers gave them. */
export const isImage = ({ value: { config, layers } }: Image): boolean =>
  MediaType.isImageConfig(config.mediaType) && !layers.some(isNoPartOfAnImage)

export const isNoPartOfAnImage = ({ mediaType }: Descriptor): boolean =>
  !MediaType.isImageConfig(mediaType) && MediaType.layerCompression(mediaType) === undefined

/** Says something of an image of the same index, by a digest that may not stay. */
export const isAttestation = ({ annotations, platform }: Descriptor): boolean =>
  (platform ? Platform.isUnknown(platform) : false) || annotations?.["vnd.docker.reference.digest"] !== undefined

/**
 * The image's blobs, and how its manifest is written when they are there; `undefined` where it stays as it is. The
 * config is read where diff IDs are needed.
 */
export const image = <E, R>(
  subject: string,
  reader: Pick<ImageReader<E, R>, "blob">,
  manifest: Image,
  conversion: Conversion,
  known: Layer.Known
): Effect.Effect<
  { readonly blobs: ReadonlyArray<PlannedBlob>; readonly build: (written: Written) => Image } | undefined,
  ValidationError | E,
  R
> =>
  Effect.gen(function* () {
    const { config, layers } = manifest.value
    const { to } = conversion
    const before = formatOf(manifest)
    const format = conversion.format ?? before
    const recodes = layers.some((layer) => isRecoded(layer, to))
    if (!isImage(manifest) || (format === before && !recodes)) return undefined
    const diffIds = recodes ? yield* diffIdsOf(subject, reader, config, layers.length) : []
    const parts = yield* Effect.forEach(layers, (layer, index) => {
      const diffId = diffIds[index]
      if (to !== undefined && diffId !== undefined && isRecoded(layer, to)) {
        return Layer.recoded(layer, diffId, format, to, known)
      }
      const compression = MediaType.layerCompression(layer.mediaType) ?? "none"
      const mediaType = MediaType.layerType(format, compression, MediaType.isForeignLayer(layer.mediaType))
      return Effect.succeed(Layer.unchanged(layer, mediaType))
    })
    const types = parts.map(({ recode, source }) =>
      Option.match(recode, { onNone: () => source.mediaType, onSome: ({ mediaType }) => mediaType })
    )
    yield* Layer.refuseZstd(subject, format, types)
    const configPart = Layer.unchanged(config, Manifest.configType(format))
    return {
      blobs: [configPart, ...parts],
      build: (written) => {
        const made = Manifest.assemble(format, written(configPart), parts.map(written))
        // Docker's manifests have no annotations; OCI's keep theirs.
        if (format === "docker" || before === "docker") return made
        return Manifest.ofImage({
          ...manifest.value,
          layers: made.value.layers.map((layer, index) => described(layers[index], layer))
        })
      }
    }
  })

/** Whether the index is written anew: in another format, or over children that are. */
export const changesIndex = (
  manifest: Index,
  { format }: Conversion,
  isChanged: (child: Descriptor) => boolean
): boolean => (format !== undefined && format !== formatOf(manifest)) || manifest.value.manifests.some(isChanged)

/** The index over what its children became, without attestations. */
export const index = (manifest: Index, conversion: Conversion, became: (child: Descriptor) => Descriptor): Index => {
  const before = formatOf(manifest)
  const format = conversion.format ?? before
  const isOci = format === "oci" && before === "oci"
  const manifests = manifest.value.manifests
    .filter((child) => !isAttestation(child))
    .map((child) => {
      const { digest, mediaType, size } = became(child)
      const platform = child.platform ? { platform: child.platform } : {}
      return { ...(isOci ? described(child, { mediaType, size, digest }) : { mediaType, size, digest }), ...platform }
    })
  const mediaType = format === "docker" ? MediaType.dockerIndex : MediaType.ociIndex
  return Manifest.ofIndex({ ...(isOci ? manifest.value : {}), schemaVersion: 2, mediaType, manifests })
}

// internal

/** What the old descriptor says of the content, without what it says of its bytes where these are others now. */
const described = (old: Descriptor | undefined, now: Descriptor): Descriptor => {
  if (old === undefined || old.digest === now.digest) return { ...old, ...now }
  const { annotations, data: _, urls: __, ...rest } = old
  const kept = Object.entries(annotations ?? {}).filter(([key]) => !ofBytes.some((prefix) => key.startsWith(prefix)))
  return { ...rest, ...now, ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }) }
}

/** Tables of contents and offsets into the compressed layer, for lazy pulling. */
const ofBytes = ["io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz", "io.containers.estargz."]

const formatOf = ({ descriptor: { mediaType } }: Manifest.Manifest): Manifest.Format =>
  mediaType === MediaType.dockerManifest || mediaType === MediaType.dockerIndex ? "docker" : "oci"

const isRecoded = ({ mediaType }: Descriptor, to: Algorithm | undefined): boolean =>
  to !== undefined && !MediaType.isForeignLayer(mediaType) && MediaType.layerCompression(mediaType) !== to

const diffIdsOf = <E, R>(
  subject: string,
  reader: Pick<ImageReader<E, R>, "blob">,
  config: Descriptor,
  layers: number
): Effect.Effect<ReadonlyArray<Digest.Digest>, ValidationError | E, R> =>
  Effect.gen(function* () {
    const diffIds = ImageConfig.diffIds(yield* readImageConfig(subject, reader, config))
    if (diffIds.length === layers) return diffIds
    const message = `it has ${layers} layers, its config ${diffIds.length} diff_ids`
    return yield* Effect.fail(ValidationError.of("LayerMismatch", subject, message))
  })
