/**
 * What a registry has to know of a manifest: which blobs it names and what it refers to. Manifests of known types are decoded
 * as strictly as our client does; of other types only `subject` and the fields around it are looked at, if they are JSON.
 */
import { Descriptor, Manifest, MediaType, Referrer } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as OciError from "./OciError.js"

export interface ManifestDocument {
  readonly mediaType: string
  /** Config and layers that the repository must hold. Layers that live elsewhere and an index's children are not among them. */
  readonly blobs: ReadonlyArray<Descriptor.Descriptor>
  readonly subject: Descriptor.Descriptor | undefined
  /** What the referrers list says it is: its own type, else the type of its config. */
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
}

/** Fails with `MANIFEST_INVALID`. `contentType` is the header as sent. */
export const read = (
  bytes: Uint8Array,
  contentType: string | undefined
): Effect.Effect<ManifestDocument, OciError.OciError> => {
  const declared = contentType === undefined ? undefined : MediaType.essence(contentType)
  return declared === undefined || MediaType.isManifest(declared) ? known(bytes, declared) : other(bytes, declared)
}

// internal

const known = (bytes: Uint8Array, mediaType: string | undefined) =>
  Manifest.decode(bytes, { subject: "the manifest", mediaType }).pipe(
    Effect.mapBoth({
      onFailure: (error) => OciError.make("MANIFEST_INVALID", error.message),
      onSuccess: (manifest): ManifestDocument => ({
        mediaType: manifest.descriptor.mediaType,
        blobs: manifest._tag === "Image" ? [manifest.value.config, ...manifest.value.layers].filter(isHeldHere) : [],
        subject: manifest.value.subject ?? undefined,
        artifactType: Referrer.artifactTypeOf(manifest),
        annotations: manifest.value.annotations ?? undefined
      })
    })
  )

const other = (bytes: Uint8Array, mediaType: string): Effect.Effect<ManifestDocument, OciError.OciError> => {
  const found = Option.getOrUndefined(decodeOther(new TextDecoder().decode(bytes)))
  if (found?.mediaType !== undefined && found.mediaType !== mediaType) {
    return OciError.make("MANIFEST_INVALID", "mediaType and Content-Type say different types")
  }
  return Effect.succeed({
    mediaType,
    blobs: [],
    subject: found?.subject,
    artifactType: found?.artifactType,
    annotations: found?.annotations
  })
}

const isHeldHere = (descriptor: Descriptor.Descriptor) =>
  !MediaType.isForeignLayer(descriptor.mediaType) && (descriptor.urls ?? []).length === 0

const decodeOther = Schema.decodeUnknownOption(
  Schema.parseJson(
    Schema.Struct({
      mediaType: Schema.optional(Schema.String),
      artifactType: Schema.optional(Schema.String),
      subject: Schema.optional(Descriptor.Descriptor),
      annotations: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }))
    })
  )
)
