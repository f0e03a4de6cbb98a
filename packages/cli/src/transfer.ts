/** What push, pull and copy have in common: the options that change what is moved, and what is said at the end. */

import * as Options from "@effect/cli/Options"
import type { BlobCounts, Changed, Options as CopyOptions } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { optionalChoice } from "./options.js"
import { count, Output, size } from "./output.js"

export const options = {
  referrers: Options.boolean("referrers").pipe(
    Options.withDescription("Move signatures, SBOMs and whatever else refers to the image, and what refers to that")
  ),
  digestTags: Options.boolean("digest-tags").pipe(
    Options.withDescription("Move what cosign keeps under the tags sha256-HEX.sig, .att and .sbom")
  ),
  compress: optionalChoice(
    "compress",
    ["gzip", "zstd", "none"],
    "Recompress layers (default: they stay; those that docker save wrote are gzipped)"
  ),
  format: optionalChoice(
    "format",
    ["docker", "oci"],
    "Convert to this format (default: as it is, docker for docker save)"
  ),
  includeForeign: Options.boolean("include-foreign").pipe(
    Options.withDescription("Move layers that are meant to be had elsewhere, where FROM holds them")
  ),
  forceRecursive: Options.boolean("force-recursive").pipe(
    Options.withDescription("Look at every part though the tag names the image already, and send what is missing")
  )
}

/** For sources that may be archives. */
export const strict = Options.boolean("strict").pipe(
  Options.withDescription("Fail where the archive lacks platforms that its index lists")
)

/** What those options say to the engine. */
export const engineOptions = (input: {
  readonly referrers: boolean
  readonly digestTags: boolean
  readonly compress: Option.Option<"gzip" | "zstd" | "none">
  readonly format: Option.Option<"docker" | "oci">
  readonly includeForeign: boolean
  readonly forceRecursive: boolean
}): Pick<CopyOptions, keyof typeof options> => ({
  referrers: input.referrers,
  digestTags: input.digestTags,
  compress: Option.getOrUndefined(input.compress),
  format: Option.getOrUndefined(input.format),
  includeForeign: input.includeForeign,
  forceRecursive: input.forceRecursive
})

/** The platforms that an archive does not hold of those its index lists. */
export const sayMissing = (name: string, platforms: ReadonlyArray<string>): Effect.Effect<void, never, Output> =>
  Effect.flatMap(Output, (output) =>
    platforms.length === 0
      ? Effect.void
      : output.warn(`${name} lacks ${[...new Set(platforms)].join(", ")}, which its index lists; --strict refuses this`)
  )

interface Moved {
  readonly blobs: BlobCounts
  readonly referrers: number
  readonly changed: ReadonlyArray<Changed>
}

/** `pushed 3 blobs (12.3 MB), mounted 1, 2 already there`, and which digests are others now. */
export const sayMoved = (done: string, { blobs, changed, referrers }: Moved): Effect.Effect<void, never, Output> =>
  Effect.gen(function* () {
    const output = yield* Output
    for (const { from, to } of changed) yield* output.note(`${from} became ${to}; signatures of the former do not fit`)
    const parts = [
      blobs.sent === 0 ? "" : `${done} ${count(blobs.sent, "blob")} (${size(blobs.bytesSent)})`,
      blobs.mounted === 0 ? "" : `mounted ${blobs.mounted}`,
      blobs.existing === 0 ? "" : `${blobs.existing} already there`,
      referrers === 0 ? "" : count(referrers, "referrer")
    ].filter((part) => part !== "")
    yield* output.note(parts.length === 0 ? "nothing to move: everything is already there" : parts.join(", "))
  })

/** For `--output json`. */
export const movedJson = ({ blobs, changed, referrers }: Moved) => ({
  blobs: { sent: blobs.sent, mounted: blobs.mounted, existing: blobs.existing, bytesSent: blobs.bytesSent },
  referrers,
  changed
})
