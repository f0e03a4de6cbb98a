/**
 * What a registry has to know of a manifest: which blobs it names and what it refers to. Manifests of known types are decoded
 * as strictly as our client does; of other types only `subject` and the fields around it are looked at, if they are JSON.
 */
import { Descriptor, type Digest, Manifest, MediaType, Referrer } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as OciError from "./OciError.js"

export interface ManifestDocument {
  readonly mediaType: string
  /** Config and layers that the repository must hold. Layers that live elsewhere and an index's children are not among them. */
  readonly blobs: ReadonlyArray<Descriptor.Descriptor>
  /** The manifests that an index names; they need not be there. */
  readonly children: ReadonlyArray<Digest.Digest>
  readonly subject: Descriptor.Descriptor | undefined
  /** What the referrers list says it is: its own type, else the type of its config. */
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
}

/** Fails with `MANIFEST_INVALID`. `contentType` is the header as sent; its parameters are ignored. */
export const read = (
  bytes: Uint8Array,
  contentType: string | undefined
): Effect.Effect<ManifestDocument, OciError.OciError> => {
  const declared = (contentType ?? "").split(";", 1)[0]?.trim() ?? ""
  const lower = declared.toLowerCase()
  if (declared === "") return known(bytes, undefined)
  if (MediaType.isDockerSchema1(lower)) return schema1
  if (MediaType.isManifest(lower)) return known(bytes, lower)
  return mediaTypePattern.test(declared) ? other(bytes, declared) : noMediaType
}

// internal

// What names no config can neither be listed nor checked, and no client of the last years writes it.
const schema1 = OciError.make("MANIFEST_INVALID", "manifests of Docker schema 1 are not taken; push schema 2 or OCI")

/** https://www.rfc-editor.org/rfc/rfc6838#section-4.2 */
const mediaTypePattern = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/

const noMediaType = OciError.make("MANIFEST_INVALID", "the Content-Type is no media type")

const known = (bytes: Uint8Array, mediaType: string | undefined) =>
  Manifest.decode(bytes, { subject: "the manifest", mediaType }).pipe(
    Effect.mapBoth({
      onFailure: (error) =>
        OciError.make("MANIFEST_INVALID", error.message, error.reason === "TooLarge" ? { status: 413 } : {}),
      onSuccess: (manifest): ManifestDocument => ({
        mediaType: manifest.descriptor.mediaType,
        blobs: manifest._tag === "Image" ? [manifest.value.config, ...manifest.value.layers].filter(isHeldHere) : [],
        children: manifest._tag === "Index" ? manifest.value.manifests.map(({ digest }) => digest) : [],
        subject: manifest.value.subject ?? undefined,
        artifactType: Referrer.artifactTypeOf(manifest),
        annotations: manifest.value.annotations ?? undefined
      })
    })
  )

const other = (bytes: Uint8Array, mediaType: string): Effect.Effect<ManifestDocument, OciError.OciError> => {
  const found = Option.getOrUndefined(decodeOther(new TextDecoder().decode(bytes)))
  const own = text(found?.mediaType)
  // Names of types do not differ by case, and are kept as they were sent.
  if (own !== undefined && own.toLowerCase() !== mediaType.toLowerCase()) {
    return OciError.make("MANIFEST_INVALID", "mediaType and Content-Type say different types")
  }
  return Effect.succeed({
    mediaType,
    blobs: [],
    children: [],
    subject: Option.getOrUndefined(decodeDescriptor(found?.subject)),
    artifactType: text(found?.artifactType),
    annotations: Option.getOrUndefined(decodeAnnotations(found?.annotations))
  })
}

const isHeldHere = (descriptor: Descriptor.Descriptor) =>
  !MediaType.isForeignLayer(descriptor.mediaType) && (descriptor.urls ?? []).length === 0

const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined)

// Each field for itself: what one of them holds says nothing about the others.
const decodeOther = Schema.decodeUnknownOption(
  Schema.parseJson(
    Schema.Struct({
      mediaType: Schema.optional(Schema.Unknown),
      artifactType: Schema.optional(Schema.Unknown),
      subject: Schema.optional(Schema.Unknown),
      annotations: Schema.optional(Schema.Unknown)
    })
  )
)
const decodeDescriptor = Schema.decodeUnknownOption(Descriptor.Descriptor)
const decodeAnnotations = Schema.decodeUnknownOption(Schema.Record({ key: Schema.String, value: Schema.String }))
