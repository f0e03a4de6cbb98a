/** From a registry to an archive, a layout folder, or any other target. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Transfer from "./Copy/Transfer.js"
import * as Copy from "./Copy.js"
import type { ImageName, ImageTarget } from "./ImageStore.js"
import type { Descriptor } from "./model/Descriptor.js"
import * as Registry from "./Registry.js"
import * as RegistryConfig from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import type { ValidationError } from "./ValidationError.js"

export interface PullOptions extends Omit<Copy.Options, "strict" | "permits"> {}

export interface PulledImage {
  /** As it was asked for. */
  readonly reference: string
  readonly descriptor: Descriptor
  /** The names it carries in the target; none after a pull by digest. */
  readonly names: ReadonlyArray<ImageName>
}

export interface PullResult {
  readonly images: ReadonlyArray<PulledImage>
  readonly blobs: Copy.BlobCounts
  /** Manifests that refer to the images and were moved with them. */
  readonly referrers: number
  /** Digests that are others in the target than in the registry. */
  readonly changed: ReadonlyArray<Copy.Changed>
}

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig

/**
 * Pulls one or several images into one target, which appears under its final name only when all are complete and
 * verified. What a reference names is moved whole, unless `platforms` say otherwise; digests change only where a
 * conversion is asked for.
 *
 * Fails with a RegistryError, the target's own error, or a ValidationError (`InvalidReference`, `PlatformNotFound`, what
 * is wrong with a manifest).
 *
 * @example
 * ```ts
 * import { pull } from "@effect-registry/core"
 * import { DockerArchive } from "@effect-registry/tar"
 *
 * const program = pull("localhost:15000/team/app:1.0", DockerArchive.target("app.tar"))
 * ```
 * @since 0.1.0
 */
export const pull: {
  <E, R>(
    target: ImageTarget<E, R>,
    options?: PullOptions
  ): (
    references: string | ReadonlyArray<string>
  ) => Effect.Effect<PullResult, RegistryError | ValidationError | E, Environment | R>
  <E, R>(
    references: string | ReadonlyArray<string>,
    target: ImageTarget<E, R>,
    options?: PullOptions
  ): Effect.Effect<PullResult, RegistryError | ValidationError | E, Environment | R>
} = dual(
  (args) => typeof args[0] === "string" || Array.isArray(args[0]),
  <E, R>(references: string | ReadonlyArray<string>, target: ImageTarget<E, R>, options: PullOptions = {}) =>
    Effect.gen(function* () {
      const config = yield* RegistryConfig.RegistryConfig
      const concurrency = options.concurrency ?? config.concurrency
      const wanted = typeof references === "string" ? [references] : references
      // Every image is found before the target is touched.
      const sources = yield* Effect.forEach(wanted, (reference) =>
        Effect.gen(function* () {
          const source = Registry.image(reference)
          const reader = yield* source.open
          const entry = yield* Copy.only(source.name, yield* reader.images)
          return { reference, source, reader, entry }
        })
      )
      const writer = yield* target.open
      const results = yield* Effect.forEach(sources, ({ entry, reader, reference, source }) =>
        Effect.map(
          Transfer.transfer(source.name, reader, writer, entry, { ...options, concurrency, names: entry.names }),
          (result) => ({ ...result, reference })
        )
      )
      yield* writer.commit ?? Effect.void
      return {
        images: results.map(({ descriptor, names, reference }) => ({ reference, descriptor, names })),
        ...Transfer.sum(results)
      }
    }).pipe(Effect.scoped, Effect.withSpan("effect-registry.pull", { attributes: { target: target.name } }))
)
