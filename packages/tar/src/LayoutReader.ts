/** The images of an OCI layout, wherever its files lie. */
import type { ImageEntry, ImageReader } from "@effect-registry/core"
import { ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as LayoutGraph from "./LayoutGraph.js"
import * as Selection from "./Selection.js"
import type { TarReadError } from "./TarReadError.js"

export interface SourceOptions {
  /** One image: a name or tag it carries, its digest, or its place in index.json from 0 on. Default: all. */
  readonly image?: string | number | undefined
}

/** Fails with `NoImage`, or `MissingContent` naming every digest that is not there. */
export const make = (
  files: LayoutGraph.LayoutFiles,
  unchanged: Effect.Effect<void, TarReadError>,
  options: SourceOptions
): Effect.Effect<ImageReader<TarReadError | ValidationError>, TarReadError | ValidationError> =>
  Effect.gen(function* () {
    const images = yield* LayoutGraph.images(files)
    if (images.length === 0)
      return yield* Effect.fail(ValidationError.of("NoImage", files.name, "its index.json lists no image"))
    const entries = images.map((image): ImageEntry & { readonly image: LayoutGraph.LayoutImage } => ({
      image,
      root: { _tag: "Manifest", descriptor: image.descriptor },
      names: image.names,
      missingPlatforms: []
    }))
    const chosen = yield* Selection.choose(files.name, entries, options.image)
    for (const { root } of chosen) {
      const image = images.find(
        ({ descriptor }) => root._tag !== "Draft" && descriptor.digest === root.descriptor.digest
      )
      if (image !== undefined && image.missing.length > 0)
        return yield* Effect.fail(LayoutGraph.missingContent(files.name, image))
    }
    return {
      images: Effect.succeed(chosen),
      manifest: (descriptor) => Effect.map(LayoutGraph.manifest(files, descriptor), ({ bytes }) => bytes),
      blob: (descriptor) => LayoutGraph.blob(files, LayoutGraph.blobPath(descriptor.digest), descriptor),
      unchanged
    }
  })
