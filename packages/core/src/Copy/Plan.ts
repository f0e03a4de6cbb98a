/** What a copy has to move, found out before a blob is touched. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ImageReader, ImageWriter, Root } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import * as Manifest from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import type * as Platform from "../model/Platform.js"
import { ValidationError } from "../ValidationError.js"

/** A small document can name any number of others. */
export const maxDescriptors = 100_000

export interface PlannedBlob {
  /** What the source holds: for a layer that is compressed on the way, the plain tar. */
  readonly source: Descriptor
  /** Gzip it on the way, to a layer of this type. */
  readonly gzip: Option.Option<string>
  /** The descriptor at the target, where it is known before the blob was moved. */
  readonly target: Option.Option<Descriptor>
  /** What it was compressed to at another time. */
  readonly before?: Descriptor | undefined
}

export interface Plan {
  readonly blobs: ReadonlyArray<PlannedBlob>
  /** Children first, the root last, once every blob of the plan is at the target under the given descriptor. */
  readonly manifests: (
    written: ReadonlyMap<Digest, Descriptor>
  ) => ReadonlyArray<Pick<Manifest.Manifest, "descriptor" | "bytes">>
}

export interface DraftOptions {
  /** What happens to uncompressed layers. Default `gzip`. */
  readonly compress?: "gzip" | "none" | undefined
  /** Of the manifest that is made. Default `docker`. */
  readonly format?: Manifest.Format | undefined
}

/**
 * A docker-archive's image: its layers become those of a manifest made at the end. `known` says which layer a diff ID
 * became in this run, `remembered` at another time.
 */
export const draft = (
  root: Root & { readonly _tag: "Draft" },
  options: DraftOptions,
  known: ReadonlyMap<Digest, Descriptor>,
  remembered: ReadonlyMap<Digest, Pick<Descriptor, "digest" | "size">>
): Plan => {
  const format = options.format ?? "docker"
  const types = Manifest.mediaTypes(format)
  const config = { ...root.config, mediaType: types.config }
  const unique = new Map<Digest, PlannedBlob>()
  unique.set(config.digest, { source: config, gzip: Option.none(), target: Option.some(config) })
  for (const layer of root.layers) {
    const plain = MediaType.layerCompression(layer.mediaType) === "none"
    if (plain && options.compress !== "none") {
      const as = (found: Pick<Descriptor, "digest" | "size"> | undefined) =>
        Option.map(Option.fromNullable(found), ({ digest, size }) => ({ mediaType: types.layerGzip, digest, size }))
      unique.set(layer.digest, {
        source: layer,
        gzip: Option.some(types.layerGzip),
        target: as(known.get(layer.digest)),
        before: Option.getOrUndefined(as(remembered.get(layer.digest)))
      })
    } else {
      const as = { ...layer, mediaType: plain ? types.layer : types.layerGzip }
      unique.set(layer.digest, { source: as, gzip: Option.none(), target: Option.some(as) })
    }
  }
  return {
    blobs: [...unique.values()],
    manifests: (written) => {
      const layers = root.layers.map((layer) => written.get(layer.digest) ?? layer)
      return [Manifest.assemble(format, config, layers)]
    }
  }
}

/** Everything below a manifest that exists, read and verified; what the target has whole is left out. */
export const graph = <E, R, E2, R2>(
  subject: string,
  reader: ImageReader<E, R>,
  writer: Pick<ImageWriter<E2, R2>, "hasManifest">,
  root: Root & { readonly _tag: "Manifest" | "Made" }
): Effect.Effect<Plan, ValidationError | E | E2, R | R2> =>
  Effect.gen(function* () {
    const blobs = new Map<Digest, PlannedBlob>()
    const manifests: Array<Manifest.Manifest> = []
    const seen = new Set<Digest>()
    let descriptors = 0

    const addBlob = (descriptor: Descriptor): Effect.Effect<void, ValidationError> => {
      const known = blobs.get(descriptor.digest)
      if (known !== undefined && known.source.size !== descriptor.size) {
        const message = `${descriptor.digest} is named with two sizes, ${known.source.size} and ${descriptor.size}`
        return Effect.fail(ValidationError.of("InvalidManifest", subject, message))
      }
      if (!MediaType.isForeignLayer(descriptor.mediaType)) {
        blobs.set(descriptor.digest, { source: descriptor, gzip: Option.none(), target: Option.some(descriptor) })
      }
      return Effect.void
    }

    const visit = (descriptor: Descriptor, depth: number): Effect.Effect<void, ValidationError | E | E2, R | R2> =>
      Effect.gen(function* () {
        if (seen.has(descriptor.digest)) return
        seen.add(descriptor.digest)
        if (depth > Manifest.maxDepth) return yield* Effect.fail(Manifest.tooDeep(subject))
        const isRoot = depth === 0
        const present = yield* writer.hasManifest(descriptor)
        if (present && !isRoot) return
        const bytes = root._tag === "Made" && isRoot ? root.bytes : yield* reader.manifest(descriptor)
        const { digest, mediaType } = descriptor
        const manifest = yield* Manifest.decode(bytes, { subject: `${subject} ${digest}`, mediaType, digest })
        if (!present) {
          const parts = [...Manifest.blobs(manifest), ...Manifest.children(manifest)]
          descriptors += parts.length
          if (descriptors > maxDescriptors) {
            const message = `it names more than ${maxDescriptors} blobs and manifests`
            return yield* Effect.fail(ValidationError.of("TooLarge", subject, message))
          }
          yield* Effect.forEach(parts, (part) => Manifest.inlineData(part, `${subject} ${part.digest}`), {
            discard: true
          })
          yield* Effect.forEach(Manifest.blobs(manifest), addBlob, { discard: true })
          yield* Effect.forEach(Manifest.children(manifest), (child) => visit(child, depth + 1), { discard: true })
        }
        manifests.push(manifest)
      })

    yield* visit(root.descriptor, 0)
    return { blobs: [...blobs.values()], manifests: () => manifests }
  })

/** The root with only the wanted platforms. */
export const choosePlatforms = <E, R>(
  subject: string,
  reader: ImageReader<E, R>,
  root: Root & { readonly _tag: "Manifest" | "Made" },
  platforms: ReadonlyArray<Platform.Platform>
): Effect.Effect<Root & { readonly _tag: "Manifest" | "Made" }, ValidationError | E, R> =>
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
