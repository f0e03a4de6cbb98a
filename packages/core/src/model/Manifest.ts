/**
 * Image manifests and indexes, Docker's and OCI's, always together with the exact bytes they came as.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md and image-index.md
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { ValidationError } from "../ValidationError.js"
import { Descriptor } from "./Descriptor.js"
import * as Digest from "./Digest.js"
import * as Json from "./Json.js"
import * as MediaType from "./MediaType.js"
import * as Platform from "./Platform.js"

/** A registry or archive could make us hold any number of bytes otherwise; real manifests have a few KiB. */
export const maxSize = 8 * 1024 * 1024

/** Go writes an empty list as `null`. */
const Descriptors = Schema.transform(
  Schema.NullOr(Schema.Array(Descriptor)),
  Schema.Array(Schema.typeSchema(Descriptor)),
  { strict: true, decode: (list) => list ?? [], encode: (list) => list }
)

/** An index in an index in an index … exists only to keep a client busy. */
export const maxDepth = 16

/** `TooLarge`, for indexes nested deeper than that. */
export const tooDeep = (subject: string): ValidationError =>
  ValidationError.of("TooLarge", subject, `its indexes are nested more than ${maxDepth} levels deep`)

const Annotations = Schema.optional(Schema.NullOr(Schema.Record({ key: Schema.String, value: Schema.String })))

export const ImageManifest = Schema.Struct({
  schemaVersion: Schema.Literal(2),
  mediaType: Schema.optional(Schema.String),
  artifactType: Schema.optional(Schema.String),
  config: Descriptor,
  layers: Descriptors,
  subject: Schema.optional(Schema.NullOr(Descriptor)),
  annotations: Annotations
})
export type ImageManifest = typeof ImageManifest.Type

export const ImageIndex = Schema.Struct({
  schemaVersion: Schema.Literal(2),
  mediaType: Schema.optional(Schema.String),
  artifactType: Schema.optional(Schema.String),
  manifests: Descriptors,
  subject: Schema.optional(Schema.NullOr(Descriptor)),
  annotations: Annotations
})
export type ImageIndex = typeof ImageIndex.Type

interface Document {
  /** Type, digest and size of `bytes`. */
  readonly descriptor: Descriptor
  /** As they were received; what is sent on. */
  readonly bytes: Uint8Array
}

/** A decoded manifest. */
export type Manifest =
  | (Document & { readonly _tag: "Image"; readonly value: ImageManifest })
  | (Document & { readonly _tag: "Index"; readonly value: ImageIndex })

export interface DecodeOptions {
  /** Named in errors. */
  readonly subject: string
  /** The Content-Type or descriptor type it came under. */
  readonly mediaType?: string | undefined
  /** The digest it was asked by; other bytes fail with `DigestMismatch`. */
  readonly digest?: Digest.Digest | undefined
}

/**
 * Decodes and verifies. Fails with `TooLarge`, `InvalidManifest`, `UnsupportedManifest` (Docker schema 1 and unknown
 * types), `DigestMismatch`, or `AmbiguousManifest` for a document that two readers could take for different images
 * (CVE-2021-41190).
 */
export const decode = (bytes: Uint8Array, options: DecodeOptions): Either.Either<Manifest, ValidationError> =>
  Either.gen(function* () {
    const limits = { subject: options.subject, reason: "InvalidManifest", maxSize } as const
    const declared = options.mediaType === undefined ? undefined : MediaType.essence(options.mediaType)
    if (declared !== undefined && MediaType.isDockerSchema1(declared)) return yield* schema1(options.subject)
    yield* Json.checkSize(bytes, limits)
    const digest = Digest.fromBytes(bytes, options.digest === undefined ? "sha256" : Digest.algorithm(options.digest))
    if (options.digest !== undefined && digest !== options.digest) {
      return yield* Either.left(
        ValidationError.of("DigestMismatch", options.subject, `expected ${options.digest}, the bytes are ${digest}`)
      )
    }
    const parsed = yield* Json.parse(bytes, limits)
    const { value } = parsed
    const envelope = yield* Json.decode(Envelope, value, limits)
    yield* checkKeys(parsed, options.subject)
    const mediaType = yield* mediaTypeOf(envelope, declared, options.subject)
    const descriptor = { mediaType, digest, size: bytes.length }
    return MediaType.isIndex(mediaType)
      ? { _tag: "Index" as const, descriptor, bytes, value: yield* Json.decode(ImageIndex, value, limits) }
      : { _tag: "Image" as const, descriptor, bytes, value: yield* Json.decode(ImageManifest, value, limits) }
  })

/** The format a new manifest is written in. */
export type Format = "docker" | "oci"

/** The manifest of these contents, the same bytes for the same arguments. */
export const assemble = (
  format: Format,
  config: Descriptor,
  layers: ReadonlyArray<Descriptor>
): Manifest & { readonly _tag: "Image" } => {
  const part = ({ digest, mediaType, size, urls }: Descriptor): Descriptor => ({
    mediaType,
    size,
    digest,
    ...(urls ? { urls } : {})
  })
  const mediaType = format === "docker" ? MediaType.dockerManifest : MediaType.ociManifest
  return ofImage({ schemaVersion: 2, mediaType, config: part(config), layers: layers.map(part) })
}

/** An index of these manifests, the same bytes for the same arguments. */
export const assembleIndex = (
  mediaType: string,
  manifests: ReadonlyArray<Descriptor>,
  annotations?: ImageIndex["annotations"]
): Manifest & { readonly _tag: "Index" } =>
  ofIndex({ schemaVersion: 2, mediaType, manifests, ...(annotations === undefined ? {} : { annotations }) })

/** The image manifest of this value, in the order of its fields. Without a `mediaType` it is OCI's. */
export const ofImage = (value: ImageManifest): Manifest & { readonly _tag: "Image" } => ({
  _tag: "Image",
  ...documentOf(value.mediaType ?? MediaType.ociManifest, value),
  value
})

/** The index of this value, as `ofImage`. */
export const ofIndex = (value: ImageIndex): Manifest & { readonly _tag: "Index" } => ({
  _tag: "Index",
  ...documentOf(value.mediaType ?? MediaType.ociIndex, value),
  value
})

/** The media type of the configuration that an image manifest of this format names. */
export const configType = (format: Format): string =>
  format === "docker" ? MediaType.dockerConfig : MediaType.ociConfig

/** The blobs a manifest names, config first; none for an index. */
export const blobs = (manifest: Manifest): ReadonlyArray<Descriptor> =>
  manifest._tag === "Image" ? [manifest.value.config, ...manifest.value.layers] : []

/** The manifests an index names; none for an image. */
export const children = (manifest: Manifest): ReadonlyArray<Descriptor> =>
  manifest._tag === "Index" ? manifest.value.manifests : []

/**
 * The image of an index for a platform; without one, Linux on this machine's architecture, else the only image there is.
 * Fails with `PlatformNotFound`, listing what there is.
 */
export const choose = (
  subject: string,
  children: ReadonlyArray<Descriptor>,
  want: Platform.Platform | undefined
): Either.Either<Descriptor, ValidationError> => {
  const candidates = children.filter((child) => !child.platform || !Platform.isUnknown(child.platform))
  const wanted = want ?? Platform.machine()
  const match = Platform.best(wanted, candidates, (child) => child.platform)
  if (match !== undefined) return Either.right(match)
  const [only] = candidates
  if (want === undefined && only !== undefined && candidates.length === 1) return Either.right(only)
  const there = candidates.flatMap((child) => (child.platform ? [Platform.format(child.platform)] : []))
  const list = there.length === 0 ? "its index names no platforms" : `there are ${there.join(", ")}`
  const message = `has no image for ${Platform.format(wanted)}; ${list}`
  return Either.left(ValidationError.of("PlatformNotFound", subject, message))
}

// internal

const documentOf = (mediaType: string, value: ImageManifest | ImageIndex): Document => {
  const bytes = Json.encode(value)
  return { descriptor: { mediaType, digest: Digest.fromBytes(bytes), size: bytes.length }, bytes }
}

const Envelope = Schema.Struct({
  schemaVersion: Schema.optional(Schema.Unknown),
  mediaType: Schema.optional(Schema.String),
  layers: Schema.optional(Schema.Unknown),
  config: Schema.optional(Schema.Unknown),
  manifests: Schema.optional(Schema.Unknown),
  fsLayers: Schema.optional(Schema.Unknown)
})

const documentFields = [
  "schemaVersion",
  "mediaType",
  "artifactType",
  "config",
  "layers",
  "manifests",
  "subject",
  "annotations",
  "fsLayers"
]
const descriptorFields = ["mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"]

/** As Go compares field names: in any case, with `ſ` for `s` and the Kelvin sign for `k`. */
const fold = (key: string): string => key.toUpperCase().toLowerCase()

/** The first key that Go would read as one of the fields and JavaScript would not. */
const misspelt = (value: unknown, fields: ReadonlyArray<string>): string | undefined => {
  if (!Predicate.isRecord(value)) return undefined
  const folded = new Set(fields.map(fold))
  return Object.keys(value).find((key) => folded.has(fold(key)) && !fields.includes(key))
}

/** Refuses a document in which two readers could find different values for one field. */
const checkKeys = ({ repeatedKey, value }: Json.Parsed, subject: string): Either.Either<void, ValidationError> => {
  const ambiguous = (message: string) => Either.left(ValidationError.of("AmbiguousManifest", subject, message))
  if (repeatedKey !== undefined) return ambiguous(`the field ${JSON.stringify(repeatedKey)} stands there twice`)
  if (!Predicate.isRecord(value)) return Either.void
  const lists = [value.layers, value.manifests].flatMap((list) => (Array.isArray(list) ? list : []))
  const wrong =
    misspelt(value, documentFields) ??
    [value.config, value.subject, ...lists].reduce<string | undefined>(
      (found, descriptor) => found ?? misspelt(descriptor, descriptorFields),
      undefined
    )
  return wrong === undefined
    ? Either.void
    : ambiguous(`the field ${JSON.stringify(wrong)} is not written as the specification writes it`)
}

const mediaTypeOf = (
  envelope: typeof Envelope.Type,
  declared: string | undefined,
  subject: string
): Either.Either<string, ValidationError> => {
  const ambiguous = (message: string) => Either.left(ValidationError.of("AmbiguousManifest", subject, message))
  if (envelope.schemaVersion === 1 || envelope.fsLayers !== undefined) return schema1(subject)
  if (envelope.manifests !== undefined && (envelope.layers !== undefined || envelope.config !== undefined)) {
    return ambiguous("it has both layers and manifests, so it could be read as an image or as an index")
  }
  const inside = envelope.mediaType
  const outside = declared === undefined || generic.has(declared) ? undefined : declared
  if (inside !== undefined && outside !== undefined && inside !== outside) {
    return ambiguous(`its mediaType is ${inside}, but it came as ${outside}`)
  }
  const mediaType = inside ?? outside ?? (envelope.manifests === undefined ? MediaType.ociManifest : MediaType.ociIndex)
  if (!MediaType.isManifest(mediaType)) {
    return MediaType.isDockerSchema1(mediaType)
      ? schema1(subject)
      : Either.left(
          ValidationError.of("UnsupportedManifest", subject, `its type ${mediaType} is no image manifest or index`)
        )
  }
  if (MediaType.isIndex(mediaType) !== (envelope.manifests !== undefined)) {
    return ambiguous(
      `its type is ${mediaType}, its fields are those of ${MediaType.isIndex(mediaType) ? "an image" : "an index"}`
    )
  }
  return Either.right(mediaType)
}

/** Types that servers send for lack of a better one. */
const generic = new Set(["", "application/json", "application/octet-stream", "text/plain"])

const schema1 = (subject: string): Either.Either<never, ValidationError> =>
  Either.left(
    ValidationError.of("UnsupportedManifest", subject, "a Docker schema 1 manifest, a format that is out of use", {
      hint: "push the image again with a current docker, podman or skopeo"
    })
  )

/** Inline content, where a descriptor carries it: must have the descriptor's size and digest. */
export const inlineData = (
  descriptor: Descriptor,
  subject: string
): Either.Either<Option.Option<Uint8Array>, ValidationError> => {
  if (descriptor.data === undefined) return Either.right(Option.none())
  const fail = (message: string) => Either.left(ValidationError.of("InvalidDescriptor", subject, message))
  let bytes: Uint8Array
  try {
    bytes = Uint8Array.from(atob(descriptor.data), (char) => char.charCodeAt(0))
  } catch {
    return fail("its inline data is not base64")
  }
  if (bytes.length !== descriptor.size) {
    return fail(`its inline data has ${bytes.length} bytes, its size says ${descriptor.size}`)
  }
  const digest = Digest.fromBytes(bytes, Digest.algorithm(descriptor.digest))
  return digest === descriptor.digest
    ? Either.right(Option.some(bytes))
    : fail(`its inline data has the digest ${digest}, not ${descriptor.digest}`)
}
