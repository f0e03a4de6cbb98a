/** The part of an index that a copy is about. */
import * as Effect from "effect/Effect"
import type { ImageReader, Root } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as Manifest from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import * as Platform from "../model/Platform.js"
import { ValidationError } from "../ValidationError.js"
import { readImageConfig } from "./Config.js"

type Existing = Root & { readonly _tag: "Manifest" | "Made" }

/** The root with only the wanted platforms: that manifest, or a new index of several. */
export const choose = <E, R>(
  subject: string,
  reader: Pick<ImageReader<E, R>, "manifest">,
  root: Existing,
  platforms: ReadonlyArray<Platform.Platform>
): Effect.Effect<Existing, ValidationError | E, R> =>
  Effect.gen(function* () {
    if (platforms.length === 0 || !MediaType.isIndex(root.descriptor.mediaType)) return root
    const bytes = root._tag === "Made" ? root.bytes : yield* reader.manifest(root.descriptor)
    const { digest, mediaType } = root.descriptor
    const index = yield* Manifest.decode(bytes, { subject: `${subject} ${digest}`, mediaType, digest })
    const chosen: Array<Descriptor> = []
    for (const want of platforms) {
      const match = yield* Manifest.choose(subject, Manifest.children(index), want)
      if (!chosen.includes(match)) chosen.push(match)
    }
    const [first, ...others] = chosen
    if (first === undefined) return root
    if (others.length === 0) return { _tag: "Manifest", descriptor: first }
    const made = Manifest.assembleIndex(mediaType, chosen)
    return { _tag: "Made", descriptor: made.descriptor, bytes: made.bytes }
  })

/** Fails with `PlatformNotFound` where the image is no index, and for none of these platforms. */
export const check = <E, R>(
  subject: string,
  reader: Pick<ImageReader<E, R>, "manifest" | "blob">,
  root: Root,
  platforms: ReadonlyArray<Platform.Platform>
): Effect.Effect<void, ValidationError | E, R> =>
  Effect.gen(function* () {
    if (platforms.length === 0) return
    const config = root._tag === "Draft" ? root.config : yield* configOf(subject, reader, root)
    if (config === undefined || !MediaType.isImageConfig(config.mediaType)) return
    const { architecture, os, variant } = yield* readImageConfig(subject, reader, config)
    if (!architecture || !os) return
    const have = { os, architecture, ...(variant ? { variant } : {}) }
    if (platforms.some((want) => Platform.matches(want, have))) return
    const wanted = platforms.map(Platform.format).join(", ")
    const message = `is an image for ${Platform.format(have)}, not for ${wanted}`
    return yield* Effect.fail(
      ValidationError.of("PlatformNotFound", subject, message, { hint: "leave --platform out" })
    )
  })

// internal

const configOf = <E, R>(
  subject: string,
  reader: Pick<ImageReader<E, R>, "manifest">,
  { descriptor }: Existing
): Effect.Effect<Descriptor | undefined, ValidationError | E, R> =>
  Effect.gen(function* () {
    if (!MediaType.isImageManifest(descriptor.mediaType)) return undefined
    const { digest, mediaType } = descriptor
    const bytes = yield* reader.manifest(descriptor)
    const manifest = yield* Manifest.decode(bytes, { subject: `${subject} ${digest}`, mediaType, digest })
    return manifest._tag === "Image" ? manifest.value.config : undefined
  })
