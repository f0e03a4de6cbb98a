/** What names a piece of content: type, digest, size. https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md */
import * as Schema from "effect/Schema"
import { Digest } from "./Digest.js"
import { Platform } from "./Platform.js"

export const Descriptor = Schema.Struct({
  mediaType: Schema.String.pipe(Schema.minLength(1)),
  digest: Digest,
  /** Bytes. */
  size: Schema.Int.pipe(Schema.between(0, Number.MAX_SAFE_INTEGER)),
  urls: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
  annotations: Schema.optional(Schema.NullOr(Schema.Record({ key: Schema.String, value: Schema.String }))),
  /** The content itself, in base64. */
  data: Schema.optional(Schema.String),
  artifactType: Schema.optional(Schema.String),
  platform: Schema.optional(Schema.NullOr(Platform))
})
export type Descriptor = typeof Descriptor.Type

/** The descriptor reduced to what identifies its content. */
export const make = (mediaType: string, digest: Digest, size: number): Descriptor => ({ mediaType, digest, size })
