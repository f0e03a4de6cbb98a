/** What becomes of one layer, by the options of a copy. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BlobInfoCache from "../BlobInfoCache.js"
import type { Algorithm } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import type * as Manifest from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import { ValidationError } from "../ValidationError.js"
import type { PlannedBlob } from "./Plan.js"

/** What this run compressed a layer to, by its diff ID. */
export type Known = (diffId: Digest, algorithm: Algorithm) => Sized | undefined

type Sized = Pick<Descriptor, "digest" | "size">

/** A blob that is moved as it is, and called by another type where a manifest of another format names it. */
export const unchanged = (source: Descriptor, mediaType = source.mediaType): PlannedBlob => ({
  source,
  recode: Option.none(),
  target: Option.some({ ...source, mediaType })
})

/** A layer whose bytes are compressed by `to`; its type is that of the format. */
export const recoded = (
  source: Descriptor,
  diffId: Digest,
  format: Manifest.Format,
  to: Algorithm,
  known: Known
): Effect.Effect<PlannedBlob> =>
  Effect.gen(function* () {
    const cache = yield* BlobInfoCache.BlobInfoCache
    const mediaType = MediaType.layerType(format, to)
    const as = ({ digest, size }: Sized): Descriptor => ({ mediaType, digest, size })
    return {
      source,
      recode: Option.some({ from: MediaType.layerCompression(source.mediaType) ?? "none", to, mediaType, diffId }),
      target: Option.map(Option.fromNullable(known(diffId, to)), as),
      before: Option.getOrUndefined(Option.map(yield* cache.compressed(diffId, to), as))
    }
  })

/** Fails where a manifest of Docker's format would name layers that it has no type for. */
export const refuseZstd = (
  subject: string,
  format: Manifest.Format,
  types: ReadonlyArray<string>
): Effect.Effect<void, ValidationError> => {
  const isZstd = types.some((mediaType) => MediaType.layerCompression(mediaType) === "zstd")
  if (format === "oci" || !isZstd) return Effect.void
  const message = "Docker's format has no layers that are compressed with zstd"
  const hint = "--format oci, or --compress gzip"
  return Effect.fail(ValidationError.of("InvalidOption", subject, message, { hint }))
}
