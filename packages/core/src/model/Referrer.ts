/**
 * Manifests that refer to another one by their `subject`: signatures, SBOMs, attestations.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 */
import type { Descriptor } from "./Descriptor.js"
import * as Digest from "./Digest.js"
import type * as Manifest from "./Manifest.js"

/** What a manifest refers to; `undefined` where it stands for itself. */
export const subjectOf = (manifest: Manifest.Manifest): Descriptor | undefined => manifest.value.subject ?? undefined

/** What the manifest says it is: its own type, else the type of its config; `undefined` for an index without one. */
export const artifactTypeOf = (manifest: Manifest.Manifest): string | undefined =>
  // An empty one is as good as none.
  manifest.value.artifactType || (manifest._tag === "Image" ? manifest.value.config.mediaType : undefined)

/** How a manifest appears among the referrers of its subject: with its artifact type and its annotations. */
export const describe = (manifest: Manifest.Manifest): Descriptor => {
  const artifactType = artifactTypeOf(manifest)
  const annotations = manifest.value.annotations ?? undefined
  return {
    ...manifest.descriptor,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations })
  }
}

/**
 * The tag under which the referrers of a digest are listed where nothing else lists them, `sha256-<hex>`, 64 digits of
 * it at most. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema
 */
export const fallbackTag = (subject: Digest.Digest): string =>
  `${Digest.algorithm(subject)}-${Digest.hex(subject).slice(0, 64)}`
