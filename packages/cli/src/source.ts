/** The manifest that an address means, wherever it lies. */
import {
  type Descriptor,
  type ImageSource,
  Manifest,
  onlyImage,
  type Platform,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"

export interface Found {
  readonly descriptor: Descriptor.Descriptor
  readonly bytes: Uint8Array
}

/**
 * The manifest or index of a source's one image; with a platform, the manifest that an index has for it. Fails with
 * `UnsupportedManifest` where the image has no manifest yet: `docker save` writes none, a push makes it.
 */
export const manifestOf = <E, R>(source: ImageSource<E, R>, platform: Platform.Platform | undefined) =>
  Effect.gen(function* () {
    const reader = yield* source.open
    const images = yield* reader.images
    const { root } = yield* onlyImage(source.name, images)
    if (root._tag === "Draft") {
      return yield* Effect.fail(
        ValidationError.of(
          "UnsupportedManifest",
          source.name,
          "has no manifest: docker save writes none, a push makes it",
          {
            hint: "push it, and ask the registry; `ereg inspect` tells the image ID"
          }
        )
      )
    }
    const bytes = root._tag === "Made" ? root.bytes : yield* reader.manifest(root.descriptor)
    const whole: Found = { descriptor: root.descriptor, bytes }
    if (platform === undefined) return whole
    const { digest, mediaType } = root.descriptor
    const manifest = yield* Manifest.decode(bytes, { subject: source.name, mediaType, digest })
    if (manifest._tag === "Image") return whole
    const children = Manifest.children(manifest)
    const child = yield* Manifest.choose(source.name, children, platform)
    return { descriptor: child, bytes: yield* reader.manifest(child) }
  }).pipe(Effect.scoped)
