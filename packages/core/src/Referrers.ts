/** What refers to an image: its signatures, SBOMs, attestations. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Descriptor } from "./model/Descriptor.js"
import type { Digest } from "./model/Digest.js"
import * as Reference from "./model/Reference.js"
import * as Manifest from "./Registry/Manifest.js"
import { reading } from "./Registry/Mirror.js"
import * as Referrers from "./Registry/Referrers.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import type { ValidationError } from "./ValidationError.js"

export interface ReferrersOptions {
  /** Only those of this type. Default: all. */
  readonly artifactType?: string | undefined
}

export interface ReferrersResult {
  /** `HOST/REPOSITORY@DIGEST` of the manifest that they refer to. */
  readonly subject: string
  readonly digest: Digest
  /** The registry's own list, or the tag that stands in for it where the registry has none. */
  readonly source: "api" | "tag"
  /** Each with its artifact type and annotations; empty where there are none. */
  readonly referrers: ReadonlyArray<Descriptor & { readonly reference: string }>
}

/**
 * The manifests that refer to an image by their `subject`. A tag is resolved first; what a digest names need not be
 * there. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
 *
 * Fails with a RegistryError (`NotFound` where there is no such tag, `TooLarge` beyond 100,000 referrers), or a
 * ValidationError for a malformed reference.
 *
 * @example
 * ```ts
 * import { referrers } from "@effect-registry/core"
 *
 * const program = referrers("localhost:15000/team/app:1.0", { artifactType: "application/spdx+json" })
 * ```
 * @since 0.1.0
 */
export const referrers = (
  reference: string | Reference.Reference,
  options: ReferrersOptions = {}
): Effect.Effect<ReferrersResult, RegistryError | ValidationError, HttpClient.HttpClient | RegistryConfig> =>
  Effect.gen(function* () {
    const { first, own, reference: parsed } = yield* reading(reference, Reference.parse)
    const digest = Option.isSome(parsed.digest)
      ? parsed.digest.value
      : yield* first(({ client, repository }) => Manifest.resolve(client, repository, Reference.identifier(parsed)))
    const listing = yield* first((place) => Referrers.listAt(place, own, digest, options.artifactType))
    const nameOf = (each: Digest) => Manifest.subjectOf(own.client, own.repository, each)
    return {
      subject: nameOf(digest),
      digest,
      source: listing.source,
      referrers: listing.referrers.map((descriptor) => ({ ...descriptor, reference: nameOf(descriptor.digest) }))
    }
  }).pipe(Effect.withSpan("effect-registry.referrers"))
