/** The OCI layout part of an archive or folder: what index.json names, and how much of it is there. */
import type { Descriptor as DescriptorType, FileContent, ImageName, Root } from "@effect-registry/core"
import { Digest, Manifest, MediaType, Platform, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { parseRepositoryTag } from "./RepositoryTag.js"
import type { TarReadError } from "./TarReadError.js"

type Descriptor = DescriptorType.Descriptor

/** Files by their path in the layout, from a tar or a folder. */
export interface LayoutFiles {
  readonly name: string
  /** Bytes of the regular file of that path; `None` where there is nothing. */
  readonly size: (path: string) => Effect.Effect<Option.Option<number>, TarReadError>
  readonly bytes: (path: string, limit: number) => Effect.Effect<Uint8Array, TarReadError>
  readonly content: (path: string) => Effect.Effect<FileContent<TarReadError>, TarReadError>
}

/** index.json lists every image of the layout, so it may be larger than an image's own index. */
export const maxIndexSize = 16 * 1024 * 1024

/** What index.json names, with all names it has there. */
export interface LayoutEntry {
  readonly descriptor: Descriptor
  readonly names: ReadonlyArray<ImageName>
}

/** An entry of index.json and how much of it is there. */
export interface LayoutImage extends LayoutEntry {
  /** The complete images under it with their configs; itself where it is no index. */
  readonly complete: ReadonlyArray<{ readonly descriptor: Descriptor; readonly config: Digest.Digest }>
  /** Of an index: what it lists and the layout lacks, without attestations. */
  readonly missing: ReadonlyArray<Descriptor>
}

type Failure = TarReadError | ValidationError

export const blobPath = (digest: Digest.Digest): string => `blobs/${Digest.algorithm(digest)}/${Digest.hex(digest)}`

/** The same files, of which small ones are read once: manifests are asked for by everybody who looks at the graph. */
export const remembering = (files: LayoutFiles): LayoutFiles => {
  const held = new Map<string, Uint8Array>()
  let total = 0
  return {
    ...files,
    bytes: (path, limit) =>
      Effect.suspend(() => {
        const known = held.get(path)
        if (known !== undefined && known.length <= limit) return Effect.succeed(known)
        return Effect.tap(files.bytes(path, limit), (bytes) =>
          Effect.sync(() => {
            if (total + bytes.length > maxHeld) return
            held.set(path, bytes)
            total += bytes.length
          })
        )
      })
  }
}

/** The bytes of a manifest of the layout, or those that its descriptor carries. */
export const manifestBytes = (files: LayoutFiles, descriptor: Descriptor): Effect.Effect<Uint8Array, Failure> =>
  Effect.gen(function* () {
    const path = blobPath(descriptor.digest)
    if (descriptor.data !== undefined && Option.isNone(yield* files.size(path))) {
      const inline = yield* Manifest.inlineData(descriptor, `${files.name} ${descriptor.digest}`)
      if (Option.isSome(inline)) return inline.value
    }
    const bytes = yield* files.bytes(path, Manifest.maxSize)
    yield* checkSize(files.name, descriptor, bytes.length)
    return bytes
  })

/** A manifest of the layout, checked against its descriptor. */
export const manifest = (files: LayoutFiles, descriptor: Descriptor): Effect.Effect<Manifest.Manifest, Failure> =>
  Effect.flatMap(manifestBytes(files, descriptor), (bytes) => {
    const { digest, mediaType } = descriptor
    return Manifest.decode(bytes, { subject: `${files.name} ${digest}`, mediaType, digest })
  })

/** A blob of the layout; its size must be the descriptor's. */
export const blob = (
  files: LayoutFiles,
  path: string,
  descriptor: Descriptor
): Effect.Effect<FileContent<TarReadError>, Failure> =>
  Effect.tap(files.content(path), ({ size }) => checkSize(files.name, descriptor, size))

/** index.json itself. */
export const index = (files: LayoutFiles): Effect.Effect<Manifest.Manifest, Failure> =>
  Effect.flatMap(files.bytes("index.json", maxIndexSize), (bytes) =>
    Manifest.decode(bytes, { subject: `${files.name} index.json`, mediaType: MediaType.ociIndex })
  )

/** What index.json names, in its order, an entry a digest. */
export const entries = (files: LayoutFiles): Effect.Effect<ReadonlyArray<LayoutEntry>, Failure> =>
  Effect.map(index(files), (index) => {
    const byDigest = new Map<Digest.Digest, { descriptor: Descriptor; names: Array<ImageName> }>()
    for (const descriptor of Manifest.children(index)) {
      const entry = byDigest.get(descriptor.digest) ?? { descriptor, names: [] }
      entry.names.push(...Option.toArray(nameOf(descriptor)))
      byDigest.set(descriptor.digest, entry)
    }
    return [...byDigest.values()]
  })

/** The entries, each with what of it is there. */
export const images = (
  files: LayoutFiles,
  wanted?: ReadonlyArray<LayoutEntry>
): Effect.Effect<ReadonlyArray<LayoutImage>, Failure> =>
  Effect.gen(function* () {
    const known: Known = new Map()
    return yield* Effect.forEach(wanted ?? (yield* entries(files)), (entry) =>
      Effect.map(survey(files, entry.descriptor, 0, known), (found) => ({ ...entry, ...found }))
    )
  })

/**
 * What can be moved of an image. Whole: itself. One complete platform of several: that manifest. Several: a new index of
 * these. Fails with `MissingContent` where nothing is complete.
 */
export const rootOf = (
  name: string,
  files: LayoutFiles,
  image: LayoutImage
): Effect.Effect<
  { readonly root: Root & { readonly _tag: "Manifest" | "Made" }; readonly missingPlatforms: ReadonlyArray<string> },
  Failure
> =>
  Effect.gen(function* () {
    if (image.missing.length === 0)
      return { root: { _tag: "Manifest", descriptor: image.descriptor }, missingPlatforms: [] }
    const [first, ...others] = image.complete
    if (first === undefined) return yield* Effect.fail(missingContent(name, image))
    const missingPlatforms = image.missing.map((each) => (each.platform ? Platform.format(each.platform) : each.digest))
    if (others.length === 0) return { root: { _tag: "Manifest", descriptor: first.descriptor }, missingPlatforms }
    const original = yield* manifest(files, image.descriptor)
    const annotations = original._tag === "Index" ? original.value.annotations : undefined
    const made = Manifest.assembleIndex(
      image.descriptor.mediaType,
      image.complete.map(({ descriptor }) => descriptor),
      annotations
    )
    return { root: { _tag: "Made", descriptor: made.descriptor, bytes: made.bytes }, missingPlatforms }
  })

/** Names every digest that is not there. */
export const missingContent = (name: string, image: LayoutImage): ValidationError =>
  new ValidationError({
    reason: "MissingContent",
    subject: name,
    issues: image.missing.map(({ digest, platform }) => ({
      path: "",
      message: `${digest}${platform ? ` (${Platform.format(platform)})` : ""} is not in it`
    })),
    hint: undefined,
    cause: undefined
  })

// internal

/** Bytes of manifests held at most. */
const maxHeld = 4 * 1024 * 1024

type Survey = Pick<LayoutImage, "complete" | "missing">
/** What was found under each descriptor. */
type Known = Map<string, Survey>

/** Each descriptor is looked at once: a few small indexes that name one another many times are a long way to walk. */
const survey = (
  files: LayoutFiles,
  descriptor: Descriptor,
  depth: number,
  known: Known
): Effect.Effect<Survey, Failure> =>
  Effect.suspend(() => {
    const key = `${depth === 0} ${JSON.stringify(descriptor)}`
    const found = known.get(key)
    if (found !== undefined) return Effect.succeed(found)
    return Effect.tap(walk(files, descriptor, depth, known), (result) => Effect.sync(() => known.set(key, result)))
  })

const walk = (
  files: LayoutFiles,
  descriptor: Descriptor,
  depth: number,
  known: Known
): Effect.Effect<Survey, Failure> =>
  Effect.gen(function* () {
    if (depth > Manifest.maxDepth) return yield* Effect.fail(Manifest.tooDeep(files.name))
    const size = yield* files.size(blobPath(descriptor.digest))
    if (Option.isNone(size) && descriptor.data === undefined) return { complete: [], missing: [descriptor] }
    // What an index names and is no manifest is a blob: caches of builds have such entries.
    if (depth > 0 && !MediaType.isManifest(descriptor.mediaType) && !MediaType.isDockerSchema1(descriptor.mediaType)) {
      if (Option.isSome(size)) yield* checkSize(files.name, descriptor, size.value)
      return { complete: [], missing: [] }
    }
    const decoded = yield* manifest(files, descriptor)
    if (decoded._tag === "Index") {
      const parts = yield* Effect.forEach(decoded.value.manifests, (child) => survey(files, child, depth + 1, known))
      return {
        complete: distinct(parts.map(({ complete }) => complete)),
        missing: distinct(parts.map(({ missing }) => missing)).filter(
          (each) => !each.platform || !Platform.isUnknown(each.platform)
        )
      }
    }
    for (const part of Manifest.blobs(decoded)) {
      if (MediaType.isForeignLayer(part.mediaType) || part.data !== undefined) continue
      const there = yield* files.size(blobPath(part.digest))
      if (Option.isNone(there)) return { complete: [], missing: [depth === 0 ? part : descriptor] }
      yield* checkSize(files.name, part, there.value)
    }
    return { complete: [{ descriptor, config: decoded.value.config.digest }], missing: [] }
  })

/** All of them in their order, each once; the same things are the same objects, or are written alike. */
const distinct = <A>(parts: ReadonlyArray<ReadonlyArray<A>>): ReadonlyArray<A> => {
  const found = new Map<string, A>()
  for (const part of new Set(parts)) for (const each of part) found.set(JSON.stringify(each), each)
  return [...found.values()]
}

const checkSize = (name: string, descriptor: Descriptor, size: number): Effect.Effect<void, ValidationError> =>
  size === descriptor.size
    ? Effect.void
    : Effect.fail(
        ValidationError.of(
          "InvalidDescriptor",
          name,
          `${descriptor.digest} has ${size} bytes, its descriptor says ${descriptor.size}`
        )
      )

/** containerd writes the whole name, everybody else only what stands behind the colon, or anything. */
const nameOf = (descriptor: Descriptor): Option.Option<ImageName> => {
  const whole = descriptor.annotations?.["io.containerd.image.name"]
  const ref = descriptor.annotations?.["org.opencontainers.image.ref.name"]
  if (whole !== undefined) return Option.some(parseRepositoryTag(whole))
  if (ref === undefined) return Option.none()
  return Option.some(/[/:]/.test(ref) ? parseRepositoryTag(ref) : { repository: Option.none(), tag: Option.some(ref) })
}
