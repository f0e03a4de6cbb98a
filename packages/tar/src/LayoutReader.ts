/** The images of an OCI layout, wherever its files lie. */
import type { ImageEntry, ImageReader } from "@effect-registry/core"
import { Digest, MediaType, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as LayoutGraph from "./LayoutGraph.js"
import * as LayoutReferrers from "./LayoutReferrers.js"
import * as Selection from "./Selection.js"
import { TarReadError } from "./TarReadError.js"

export interface SourceOptions {
  /**
   * One image: a name or tag it carries, its digest, or its place among the images of index.json from 0 on. Default: all.
   * What only refers to another manifest of the layout, such as a signature, is an image where its digest or tag is given.
   */
  readonly image?: string | number | undefined
}

/** Fails with `NoImage`, or `MissingContent` naming every digest that is not there. Only what is wanted is looked at. */
export const make = (
  given: LayoutGraph.LayoutFiles,
  unchanged: Effect.Effect<void, TarReadError>,
  options: SourceOptions
): Effect.Effect<ImageReader<TarReadError | ValidationError>, TarReadError | ValidationError> =>
  Effect.gen(function* () {
    const files = LayoutGraph.remembering(given)
    const listed = yield* LayoutGraph.entries(files)
    if (listed.length === 0)
      return yield* Effect.fail(ValidationError.of("NoImage", files.name, "its index.json lists no image"))
    const isNamed = typeof options.image === "string"
    const own = isNamed ? listed : yield* LayoutReferrers.withoutAttached(files, listed)
    const entries = own.map(({ descriptor, names }) => ({
      root: { _tag: "Manifest" as const, descriptor },
      names,
      missingPlatforms: []
    }))
    const chosen: ReadonlyArray<ImageEntry> = yield* Selection.choose(files.name, entries, options.image)
    const wanted = own.filter(({ descriptor }) =>
      chosen.some(({ root }) => root._tag !== "Draft" && root.descriptor.digest === descriptor.digest)
    )
    for (const image of yield* LayoutGraph.images(files, wanted)) {
      if (image.missing.length > 0) return yield* Effect.fail(LayoutGraph.missingContent(files.name, image))
    }
    return { ...(yield* content(files, listed)), images: Effect.succeed(chosen), unchanged }
  })

/** What a layout's files say about its manifests and blobs. */
export const content = (files: LayoutGraph.LayoutFiles, entries: ReadonlyArray<LayoutGraph.LayoutEntry>) =>
  Effect.map(LayoutReferrers.make(files, entries), (referring) => ({
    ...referring,
    isMissing: (error: unknown) =>
      error instanceof TarReadError && (error.reason === "MissingMember" || error.reason === "NotFound"),
    manifest: manifest(files),
    blob: (descriptor: LayoutGraph.LayoutEntry["descriptor"]) =>
      LayoutGraph.blob(files, LayoutGraph.blobPath(descriptor.digest), descriptor)
  }))

// internal

/** The bytes are those of the digest; what kind of manifest they are is known for ours alone. */
const manifest =
  (files: LayoutGraph.LayoutFiles) =>
  (descriptor: LayoutGraph.LayoutEntry["descriptor"]): Effect.Effect<Uint8Array, TarReadError | ValidationError> => {
    if (MediaType.isManifest(descriptor.mediaType)) {
      return Effect.map(LayoutGraph.manifest(files, descriptor), ({ bytes }) => bytes)
    }
    return Effect.flatMap(LayoutGraph.manifestBytes(files, descriptor), (bytes) => {
      const digest = Digest.fromBytes(bytes, Digest.algorithm(descriptor.digest))
      return digest === descriptor.digest
        ? Effect.succeed(bytes)
        : Effect.fail(
            ValidationError.of("DigestMismatch", files.name, `expected ${descriptor.digest}, the bytes are ${digest}`)
          )
    })
  }
