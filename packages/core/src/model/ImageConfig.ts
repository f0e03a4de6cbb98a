/** The image configuration. https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { ValidationError } from "../ValidationError.js"
import type { Descriptor } from "./Descriptor.js"
import { Digest } from "./Digest.js"
import * as Json from "./Json.js"

/** Enough for ten thousand history lines; a config is held in memory whole. */
export const maxSize = 16 * 1024 * 1024

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(Schema.NullOr(schema))
const Strings = Schema.Array(Schema.String)
/** A Go set, `{"8080/tcp": {}}`. */
const Keys = Schema.Record({ key: Schema.String, value: Schema.Unknown })

export const History = Schema.Struct({
  created: optional(Schema.String),
  created_by: optional(Schema.String),
  author: optional(Schema.String),
  comment: optional(Schema.String),
  /** The step made no layer. */
  empty_layer: optional(Schema.Boolean)
})
export type History = typeof History.Type

export const ImageConfig = Schema.Struct({
  architecture: optional(Schema.String),
  os: optional(Schema.String),
  variant: optional(Schema.String),
  "os.version": optional(Schema.String),
  created: optional(Schema.String),
  author: optional(Schema.String),
  config: optional(
    Schema.Struct({
      Env: optional(Strings),
      Cmd: optional(Strings),
      Entrypoint: optional(Strings),
      User: optional(Schema.String),
      WorkingDir: optional(Schema.String),
      ExposedPorts: optional(Keys),
      Volumes: optional(Keys),
      Labels: optional(Schema.Record({ key: Schema.String, value: Schema.String })),
      StopSignal: optional(Schema.String)
    })
  ),
  rootfs: Schema.Struct({ type: Schema.optional(Schema.String), diff_ids: Schema.NullOr(Schema.Array(Digest)) }),
  history: optional(Schema.Array(History))
})
export type ImageConfig = typeof ImageConfig.Type

/** Decodes the bytes; unknown fields stay in the value. Fails with `InvalidImageConfig` or `TooLarge`. */
export const decode = (bytes: Uint8Array, subject: string): Either.Either<ImageConfig, ValidationError> => {
  const limits = { subject, reason: "InvalidImageConfig", maxSize } as const
  return Either.flatMap(Json.parse(bytes, limits), ({ value }) => Json.decode(ImageConfig, value, limits))
}

/** The diff IDs, bottom layer first. */
export const diffIds = (config: ImageConfig): ReadonlyArray<Digest> => config.rootfs.diff_ids ?? []

/** The history step that made each layer, bottom first; shorter than the layers where history is incomplete. */
export const layerHistory = (config: ImageConfig): ReadonlyArray<History> =>
  (config.history ?? []).filter((step) => step.empty_layer !== true)

/** What runs when the image is started, as plain values. Absent lists are empty, absent texts are undefined. */
export interface Settings {
  readonly env: ReadonlyArray<string>
  readonly cmd: ReadonlyArray<string>
  readonly entrypoint: ReadonlyArray<string>
  readonly user: string | undefined
  readonly workingDir: string | undefined
  /** `8080/tcp`, sorted. */
  readonly exposedPorts: ReadonlyArray<string>
  readonly labels: Readonly<Record<string, string>>
}

export const settings = (image: ImageConfig): Settings => {
  const config = image.config ?? {}
  return {
    env: config.Env ?? [],
    cmd: config.Cmd ?? [],
    entrypoint: config.Entrypoint ?? [],
    user: config.User || undefined,
    workingDir: config.WorkingDir || undefined,
    exposedPorts: Object.keys(config.ExposedPorts ?? {}).sort(),
    labels: config.Labels ?? {}
  }
}

/** A layer as manifest, config and history know it together. */
export interface LayerInfo {
  readonly digest: Digest
  /** Bytes, as the store holds them. */
  readonly size: number
  readonly mediaType: string
  /** Of the uncompressed layer. */
  readonly diffId: Digest | undefined
  /** The build step that made it. */
  readonly createdBy: string | undefined
}

/** What manifest and config say of an image. */
export interface Summary extends Settings {
  /** Of the config: what docker calls the image ID. */
  readonly configDigest: Digest
  readonly architecture: string | undefined
  readonly os: string | undefined
  readonly variant: string | undefined
  /** RFC 3339, as the config says it. */
  readonly created: string | undefined
  readonly author: string | undefined
  /** Bytes of config and layers, as the store holds them. */
  readonly totalSize: number
  readonly layerCount: number
  /** Bottom first. */
  readonly layers: ReadonlyArray<LayerInfo>
  readonly history: ReadonlyArray<History>
}

export const summary = (config: Descriptor, layers: ReadonlyArray<Descriptor>, image: ImageConfig): Summary => {
  const ids = diffIds(image)
  const steps = layerHistory(image)
  return {
    ...settings(image),
    configDigest: config.digest,
    architecture: image.architecture ?? undefined,
    os: image.os ?? undefined,
    variant: image.variant ?? undefined,
    created: image.created ?? undefined,
    author: image.author ?? undefined,
    totalSize: layers.reduce((sum, layer) => sum + layer.size, config.size),
    layerCount: layers.length,
    layers: layers.map(({ digest, mediaType, size }, index) => ({
      digest,
      size,
      mediaType,
      diffId: ids[index],
      createdBy: steps[index]?.created_by ?? undefined
    })),
    history: image.history ?? []
  }
}
