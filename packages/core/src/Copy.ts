/**
 * The one algorithm that moves images: a graph of descriptors from a source to a target, blobs before the manifest that
 * names them, children before their index, tags last, and every digest once.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type CopyResult, type Options, transfer } from "./Copy/Transfer.js"
import type { ImageEntry, ImageName, ImageSource, ImageTarget } from "./ImageStore.js"
import { ValidationError } from "./ValidationError.js"

export type { BlobCounts, Changed, CopyResult, Options } from "./Copy/Transfer.js"

export interface CopyOptions extends Options {
  /** Tags at the target. Default: the names that the source knows the image by. */
  readonly tags?: ReadonlyArray<string> | undefined
}

/**
 * Copies the one image of `source` to `target` and returns what it is there. Digests do not change, except that of a
 * docker-archive's image, whose manifest is made, of a selection of platforms, and of what is converted. A target whose
 * tags name the image already is not looked into any further.
 *
 * Fails with a ValidationError: `SeveralImages` or `NoImage` where the source has not exactly one, `PlatformNotFound`,
 * `MissingContent` (only with `strict`), `InvalidOption` (what cannot be converted), `LayerMismatch`, or what is wrong with a manifest; and with the errors of the
 * two stores.
 *
 * @example
 * ```ts
 * import { copy, Registry } from "@effect-registry/core"
 *
 * const program = copy(Registry.image("localhost:15000/team/app:1.0"), Registry.repository("localhost:15000/mirror/app"))
 * ```
 * @since 0.1.0
 */
export const copy = <E, R, E2, R2>(
  source: ImageSource<E, R>,
  target: ImageTarget<E2, R2>,
  options: CopyOptions = {}
): Effect.Effect<CopyResult, ValidationError | E | E2, R | R2> =>
  Effect.gen(function* () {
    const reader = yield* source.open
    const entry = yield* only(source.name, yield* reader.images)
    const writer = yield* target.open
    const names =
      options.tags === undefined
        ? entry.names
        : options.tags.map((tag) => ({
            repository: entry.names[0]?.repository ?? Option.none(),
            tag: Option.some(tag)
          }))
    const result = yield* transfer(source.name, reader, writer, entry, { ...options, names })
    yield* writer.commit ?? Effect.void
    return result
  }).pipe(
    Effect.scoped,
    Effect.withSpan("effect-registry.copy", { attributes: { source: source.name, target: target.name } })
  )

/** The only entry, or `NoImage` / `SeveralImages` with the names to choose from. */
export const only = (
  subject: string,
  entries: ReadonlyArray<ImageEntry>
): Effect.Effect<ImageEntry, ValidationError> => {
  const [entry, ...others] = entries
  if (entry === undefined) return Effect.fail(ValidationError.of("NoImage", subject, "holds no image"))
  if (others.length === 0) return Effect.succeed(entry)
  return Effect.fail(
    ValidationError.of("SeveralImages", subject, `holds ${entries.length} images: ${formatEntries(entries)}`, {
      hint: "name one of them, as in docker-archive:PATH:REFERENCE or docker-archive:PATH:@INDEX"
    })
  )
}

/** `repository:tag`, with what of it is known. */
export const formatName = (name: ImageName): string =>
  [Option.getOrElse(name.repository, () => ""), Option.getOrElse(name.tag, () => "")]
    .filter((part) => part !== "")
    .join(":")

/** The images of a source in one line, those without a name by their place. */
export const formatEntries = (entries: ReadonlyArray<ImageEntry>): string =>
  entries.map((entry, index) => entry.names.map(formatName).join(", ") || `@${index} (untagged)`).join("; ")
