/** Further tags for an image that is there. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import type { Descriptor } from "./model/Descriptor.js"
import * as Reference from "./model/Reference.js"
import { connect } from "./Registry/Connection.js"
import * as Manifest from "./Registry/Manifest.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import type { ValidationError } from "./ValidationError.js"

export interface TagResult {
  /** The manifest or index that has the tags now. */
  readonly descriptor: Descriptor
  /** `HOST/REPOSITORY:TAG@DIGEST`, one entry a tag. */
  readonly references: ReadonlyArray<string>
}

/**
 * Gives the image that a reference names further tags in its repository; nothing is downloaded but its manifest.
 *
 * Fails with a RegistryError (`NotFound`, `Rejected` where a tag is immutable …), or a ValidationError: a malformed
 * reference or tag, before anything is changed, or what is wrong with the manifest.
 *
 * @example
 * ```ts
 * import { tag } from "@effect-registry/core"
 *
 * const program = tag("localhost:15000/team/app:1.0.3", ["1.0", "latest"])
 * ```
 * @since 0.1.0
 */
export const tag = (
  reference: string | Reference.Reference,
  tags: string | ReadonlyArray<string>
): Effect.Effect<TagResult, RegistryError | ValidationError, HttpClient.HttpClient | RegistryConfig> =>
  Effect.gen(function* () {
    const wanted = yield* Effect.forEach(typeof tags === "string" ? [tags] : tags, (text) => Reference.parseTag(text))
    const { client, reference: parsed, repository } = yield* connect(reference, Reference.parse, "pull", "push")
    const { bytes, descriptor } = yield* Manifest.get(client, repository, Reference.identifier(parsed))
    yield* Effect.forEach(wanted, (name) => Manifest.tag(client, repository, name, descriptor, bytes), {
      discard: true
    })
    const references = wanted.map((name) => `${Manifest.subjectOf(client, repository, name)}@${descriptor.digest}`)
    return { descriptor, references }
  }).pipe(Effect.withSpan("effect-registry.tag"))
