/** Manifests that refer to another one, made without the code under test. */
import { Descriptor, Digest, Json, MediaType } from "@effect-registry/core"

export interface Made {
  readonly bytes: Uint8Array
  readonly descriptor: Descriptor.Descriptor
  /** As a list of referrers has it. */
  readonly listed: Descriptor.Descriptor
}

/** What an artifact without content has as config and layer. https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidance-for-an-empty-descriptor */
export const empty = {
  bytes: Json.encode({}),
  descriptor: Descriptor.make("application/vnd.oci.empty.v1+json", Digest.fromBytes(Json.encode({})), 2)
}

/** A manifest with this subject; another `note` makes another one. */
export const make = (
  subject: Descriptor.Descriptor,
  note: string,
  artifactType = "application/vnd.example.sbom"
): Made => {
  const annotations = { "org.example.note": note }
  const bytes = Json.encode({
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    artifactType,
    config: empty.descriptor,
    layers: [empty.descriptor],
    subject: Descriptor.make(subject.mediaType, subject.digest, subject.size),
    annotations
  })
  const descriptor = Descriptor.make(MediaType.ociManifest, Digest.fromBytes(bytes), bytes.length)
  return { bytes, descriptor, listed: { ...descriptor, artifactType, annotations } }
}
