/** The manifest that an address means, wherever it lies. */
import { type Descriptor, type ImageSource, Manifest, Platform, ValidationError } from "@effect-registry/core"
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
    const [entry, ...others] = images
    if (entry === undefined) return yield* Effect.fail(ValidationError.of("NoImage", source.name, "holds no image"))
    if (others.length > 0) {
      return yield* Effect.fail(
        ValidationError.of("SeveralImages", source.name, `holds ${images.length} images`, {
          hint: "name one of them, as in docker-archive:PATH:REFERENCE or docker-archive:PATH:@INDEX"
        })
      )
    }
    const { root } = entry
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
    const child = Platform.best(platform, children, (each) => each.platform)
    if (child !== undefined) return { descriptor: child, bytes: yield* reader.manifest(child) }
    const there = children.flatMap((each) => (each.platform ? [Platform.format(each.platform)] : []))
    return yield* Effect.fail(
      ValidationError.of(
        "PlatformNotFound",
        source.name,
        `has nothing for ${Platform.format(platform)}; there is ${there.join(", ")}`
      )
    )
  }).pipe(Effect.scoped)
