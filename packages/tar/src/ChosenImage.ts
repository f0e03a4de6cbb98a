/** The image that a root means on a platform. */
import { type ImageReader, Manifest, type Platform, type Root, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"

/** Its manifest: the root's own, or the one that fits in an index, at whatever depth. Fails with `PlatformNotFound`. */
export const chosenManifest = <E, R>(
  subject: string,
  reader: Pick<ImageReader<E, R>, "manifest">,
  root: Exclude<Root, { readonly _tag: "Draft" }>,
  want: Platform.Platform | undefined
): Effect.Effect<Manifest.Manifest & { readonly _tag: "Image" }, E | ValidationError, R> =>
  Effect.gen(function* () {
    let { descriptor } = root
    let bytes = root._tag === "Made" ? root.bytes : yield* reader.manifest(descriptor)
    for (let depth = 0; depth <= Manifest.maxDepth; depth++) {
      const { digest, mediaType } = descriptor
      const manifest = yield* Manifest.decode(bytes, { subject: `${subject} ${digest}`, mediaType, digest })
      if (manifest._tag === "Image") return manifest
      descriptor = yield* Manifest.choose(subject, Manifest.children(manifest), want)
      bytes = yield* reader.manifest(descriptor)
    }
    return yield* Effect.fail(Manifest.tooDeep(subject))
  })
