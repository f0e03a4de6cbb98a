/**
 * What in an OCI layout refers to what: signatures and SBOMs lie beside their image, as entries of index.json without a
 * name, below indexes, or in the index that stands under the referrers tag.
 */
import type { Descriptor as DescriptorNs } from "@effect-registry/core"
import { type Digest, Manifest, MediaType, Referrer, ValidationError } from "@effect-registry/core"
import * as Array from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as LayoutGraph from "./LayoutGraph.js"
import type { TarReadError } from "./TarReadError.js"

type Descriptor = DescriptorNs.Descriptor
type Failure = TarReadError | ValidationError

/** What a reader tells about a layout beside its images. */
export interface Referring {
  readonly referrers: (descriptor: Descriptor) => Effect.Effect<ReadonlyArray<Descriptor>, Failure>
  readonly tagged: (tag: string) => Effect.Effect<Option.Option<Descriptor>>
}

/** A few small indexes can name any number of manifests. */
export const maxManifests = 100_000

/**
 * The manifests are looked through when referrers are first asked for.
 * A referrer that is not there whole fails with `MissingContent`, or is left out where `incomplete` says so.
 */
export const make = (
  files: LayoutGraph.LayoutFiles,
  entries: ReadonlyArray<LayoutGraph.LayoutEntry>,
  incomplete: "fails" | "is left out" = "fails"
): Effect.Effect<Referring> =>
  Effect.map(Effect.cached(bySubject(files, entries)), (found) => ({
    referrers: ({ digest }) =>
      Effect.flatMap(found, (all) =>
        incomplete === "fails"
          ? Effect.forEach(all.get(digest) ?? [], (each) => whole(files, each))
          : Effect.map(
              Effect.forEach(all.get(digest) ?? [], (each) => Effect.option(whole(files, each))),
              Array.getSomes
            )
      ),
    tagged: (tag) =>
      Effect.sync(() => {
        const named = entries.find(({ names }) => names.some((name) => Option.contains(name.tag, tag)))
        return Option.map(Option.fromNullable(named), ({ descriptor }) => descriptor)
      })
  }))

/**
 * The entries that are images of their own. Those that only say something about another manifest of the layout are none:
 * a manifest without a name that refers to it, and the index under its referrers tag.
 */
export const withoutAttached = (
  files: LayoutGraph.LayoutFiles,
  entries: ReadonlyArray<LayoutGraph.LayoutEntry>
): Effect.Effect<ReadonlyArray<LayoutGraph.LayoutEntry>> =>
  Effect.gen(function* () {
    const digests = new Set(entries.map(({ descriptor }) => descriptor.digest))
    const tags = new Set([...digests].map(Referrer.fallbackTag))
    const own = yield* Effect.filter(entries, (entry) =>
      entry.names.length > 0
        ? Effect.succeed(!entry.names.every(({ tag }) => Option.exists(tag, (text) => tags.has(text))))
        : Effect.negate(refersInside(files, entry.descriptor))
    )
    return own.length > 0 ? own : entries
  })

// internal

type BySubject = ReadonlyMap<Digest.Digest, ReadonlyArray<Descriptor>>

/** Whatever stands in the way of reading it is told by whoever moves it. */
const refersInside = (files: LayoutGraph.LayoutFiles, descriptor: Descriptor): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const subject = Referrer.subjectOf(yield* LayoutGraph.manifest(files, descriptor))
    return subject !== undefined && Option.isSome(yield* files.size(LayoutGraph.blobPath(subject.digest)))
  }).pipe(Effect.orElseSucceed(() => false))

/** Every manifest below index.json that is there and has a subject. */
const bySubject = (
  files: LayoutGraph.LayoutFiles,
  entries: ReadonlyArray<LayoutGraph.LayoutEntry>
): Effect.Effect<BySubject, Failure> =>
  Effect.gen(function* () {
    const found = new Map<Digest.Digest, ReadonlyArray<Descriptor>>()
    const seen = new Set<Digest.Digest>()
    const waiting = entries.map(({ descriptor }) => ({ descriptor, depth: 0 }))
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { depth, descriptor } = next
      if (seen.has(descriptor.digest) || !MediaType.isManifest(descriptor.mediaType)) continue
      seen.add(descriptor.digest)
      if (depth > Manifest.maxDepth) return yield* Effect.fail(Manifest.tooDeep(files.name))
      if (Option.isNone(yield* files.size(LayoutGraph.blobPath(descriptor.digest)))) continue
      const manifest = yield* LayoutGraph.manifest(files, descriptor)
      const subject = Referrer.subjectOf(manifest)
      if (subject !== undefined) {
        found.set(subject.digest, [...(found.get(subject.digest) ?? []), manifest.descriptor])
      }
      const children = Manifest.children(manifest)
      if (seen.size + waiting.length + children.length > maxManifests) {
        const message = `its indexes name more than ${maxManifests} manifests`
        return yield* Effect.fail(ValidationError.of("TooLarge", files.name, message))
      }
      waiting.push(...children.map((child) => ({ descriptor: child, depth: depth + 1 })))
    }
    return found
  })

/** As it appears among referrers. Fails with `MissingContent` where not all of it is there. */
const whole = (files: LayoutGraph.LayoutFiles, descriptor: Descriptor): Effect.Effect<Descriptor, Failure> =>
  Effect.gen(function* () {
    for (const image of yield* LayoutGraph.images(files, [{ descriptor, names: [] }])) {
      if (image.missing.length > 0) return yield* Effect.fail(LayoutGraph.missingContent(files.name, image))
    }
    return Referrer.describe(yield* LayoutGraph.manifest(files, descriptor))
  })
