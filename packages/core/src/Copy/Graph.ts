/** The plan of a manifest that exists: everything below it, and what refers to it, read and verified. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { ImageReader, ImageWriter, Root } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as Manifest from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import { ValidationError } from "../ValidationError.js"
import * as Convert from "./Convert.js"
import * as Layer from "./Layer.js"
import { keyOf, type Plan, type PlannedBlob, type PlannedManifest, planned, type Written } from "./Plan.js"

/** A small document can name any number of others. */
export const maxDescriptors = 100_000

/** Manifests that are looked for and read ahead of their turn. */
const readAhead = 5

export interface Options {
  readonly conversion: Convert.Conversion
  /** Move what refers to the manifests too, and what refers to that. */
  readonly referrers: boolean
  /** Move what cosign keeps under tags made of their digests. */
  readonly digestTags: boolean
  /** Move layers that are to be had elsewhere, where the source has them. */
  readonly includeForeign: boolean
  readonly known: Layer.Known
}

export interface Stores<E, R, E2, R2> {
  readonly subject: string
  readonly reader: ImageReader<E, R>
  readonly hasManifest: ImageWriter<E2, R2>["hasManifest"]
}

type Existing = Root & { readonly _tag: "Manifest" | "Made" }

/** What the target has whole is left out, except the root and what refers to it. */
export const graph = <E, R, E2, R2>(
  stores: Stores<E, R, E2, R2>,
  root: Existing,
  options: Options
): Effect.Effect<Plan, ValidationError | E | E2, R | R2> =>
  Effect.gen(function* () {
    const walk = new Walk(stores, root, options)
    yield* walk.visit({ descriptor: root.descriptor, role: "root", tags: [] })
    yield* walk.visitReferrers
    return walk.plan()
  })

/** The tags under which cosign keeps signatures, attestations and bills of materials of a digest. */
export const digestTagsOf = (digest: Digest.Digest): ReadonlyArray<string> =>
  ["sig", "att", "sbom"].map((kind) => `${Digest.algorithm(digest)}-${Digest.hex(digest)}.${kind}`)

// internal

/** A manifest to be visited. */
interface Visit {
  readonly descriptor: Descriptor
  readonly role: PlannedManifest["role"]
  readonly tags: ReadonlyArray<string>
}

/** One that was visited, and how it is written once what it names is at the target. */
interface Node extends Visit {
  readonly height: number
  readonly build: (written: Written, became: (child: Descriptor) => Descriptor) => Manifest.Manifest
}

/** What is known of a manifest before its turn comes; no manifest where its bytes are not needed. */
interface Loaded {
  readonly present: boolean
  readonly manifest: Manifest.Manifest | undefined
}

/** One walk over the graph. */
class Walk<E, R, E2, R2> {
  /** In the order of their visit: children first. */
  private readonly nodes = new Map<Digest.Digest, Node>()
  private readonly blobs = new Map<string, PlannedBlob>()
  private readonly sizes = new Map<Digest.Digest, number>()
  /** Every manifest met, also those that the target has. */
  private readonly seen = new Map<Digest.Digest, Descriptor>()
  /** What an index names. */
  private readonly children = new Set<Digest.Digest>()
  /** Those that are not written as they are. */
  private readonly changed = new Set<Digest.Digest>()
  private readonly notes = new Set<string>()
  private readonly converts: boolean
  private descriptors = 0

  constructor(
    private readonly stores: Stores<E, R, E2, R2>,
    private readonly root: Existing,
    private readonly options: Options
  ) {
    this.converts = !Convert.isNone(options.conversion)
  }

  plan(): Plan {
    const nodes = [...this.nodes.values()]
    const isRoot = ({ role }: Node) => role === "root"
    // The root becomes visible by its tags: it comes when all else is there, and before that where something names it.
    const early = nodes.flatMap((node): Array<Node> => {
      if (!isRoot(node)) return [node]
      return this.children.has(node.descriptor.digest) ? [{ ...node, role: "child" }] : []
    })
    return {
      blobs: [...this.blobs.values()],
      notes: [...this.notes],
      manifests: (written) => {
        const became = new Map<Digest.Digest, Descriptor>()
        return [...early, ...nodes.filter(isRoot)].map(({ build, descriptor, height, role, tags }) => {
          const made = build(written, (child) => became.get(child.digest) ?? child)
          became.set(descriptor.digest, made.descriptor)
          return planned(made, { from: descriptor.digest, role, height, tags })
        })
      }
    }
  }

  visit(visit: Visit, depth = 0, loaded?: Loaded): Effect.Effect<void, ValidationError | E | E2, R | R2> {
    return Effect.gen(this, function* () {
      const { descriptor, tags } = visit
      if (this.seen.has(descriptor.digest)) return this.addTags(descriptor.digest, tags)
      this.seen.set(descriptor.digest, descriptor)
      if (depth > Manifest.maxDepth) return yield* Effect.fail(Manifest.tooDeep(this.stores.subject))
      const { manifest, present } = loaded ?? (yield* this.loadNeeded(visit))
      if (manifest === undefined) return
      const build = present ? yield* this.visitPresent(manifest, depth) : yield* this.visitParts(manifest, visit, depth)
      const heights = Manifest.children(manifest).map(({ digest }) => this.nodes.get(digest)?.height ?? 0)
      for (const { digest } of Manifest.children(manifest)) this.children.add(digest)
      this.nodes.set(descriptor.digest, { ...visit, height: Math.max(-1, ...heights) + 1, build })
    })
  }

  /** What refers to the manifests that were met, and to those, until nothing more does. */
  get visitReferrers(): Effect.Effect<void, ValidationError | E | E2, R | R2> {
    return Effect.gen(this, function* () {
      if (!this.options.referrers && !this.options.digestTags) return
      const asked = new Set<Digest.Digest>()
      for (let depth = 0; ; depth++) {
        const subjects = [...this.seen.values()].filter(({ digest }) => !asked.has(digest))
        if (subjects.length === 0) return
        if (depth > Manifest.maxDepth)
          return yield* this.fail("TooLarge", `more than ${Manifest.maxDepth} manifests refer to one another in a row`)
        for (const { digest } of subjects) asked.add(digest)
        const found = yield* Effect.forEach(subjects, (subject) => this.referring(subject), { concurrency: readAhead })
        const fresh = found.flat().filter(({ descriptor }) => !this.seen.has(descriptor.digest))
        const load = (visit: Visit) =>
          Effect.map(this.loadNeeded(visit), (loaded) => [visit.descriptor.digest, loaded] as const)
        const loaded = new Map(yield* Effect.forEach(fresh, load, { concurrency: readAhead }))
        for (const visit of found.flat()) yield* this.visit(visit, 0, loaded.get(visit.descriptor.digest))
      }
    })
  }

  private referring(subject: Descriptor): Effect.Effect<ReadonlyArray<Visit>, ValidationError | E, R> {
    return Effect.gen(this, function* () {
      const { referrers, tagged } = this.stores.reader
      const found: Array<Visit> = []
      // The source knows nothing of an index that was made just now.
      if (this.root._tag === "Made" && subject.digest === this.root.descriptor.digest) return found
      if (this.options.referrers && referrers !== undefined) {
        const all = yield* referrers(subject)
        yield* this.count(all.length)
        found.push(...all.map((descriptor) => ({ descriptor, role: "referrer" as const, tags: [] })))
      }
      if (this.options.digestTags && tagged !== undefined) {
        for (const tag of digestTagsOf(subject.digest)) {
          const there = yield* tagged(tag)
          if (Option.isSome(there)) found.push({ descriptor: there.value, role: "referrer", tags: [tag] })
        }
      }
      return found
    })
  }

  /** One that is written in any case: for its tags, or for its place on the list of its subject. */
  private loadNeeded({ descriptor, role }: Visit): Effect.Effect<Loaded, ValidationError | E | E2, R | R2> {
    return Effect.catchAll(this.load(descriptor, true), (error) => {
      if (role !== "referrer" || this.stores.reader.isMissing?.(error) !== true) return Effect.fail(error)
      this.notes.add(`${descriptor.digest} is listed among the referrers, and is not there`)
      return Effect.succeed({ present: false, manifest: undefined })
    })
  }

  /** A signature may be among the referrers and under a tag as well. */
  private addTags(digest: Digest.Digest, tags: ReadonlyArray<string>): void {
    const node = this.nodes.get(digest)
    if (node !== undefined) this.nodes.set(digest, { ...node, tags: [...new Set([...node.tags, ...tags])] })
  }

  /** What the target has needs no blobs; but its children may have referrers. */
  private visitPresent(
    manifest: Manifest.Manifest,
    depth: number
  ): Effect.Effect<Node["build"], ValidationError | E | E2, R | R2> {
    const children = Manifest.children(manifest).filter(({ mediaType }) => MediaType.isManifest(mediaType))
    const meets = this.options.referrers || this.options.digestTags
    return Effect.as(meets ? this.visitAll(children, depth) : Effect.void, () => manifest)
  }

  /** Whether the target has it, and its bytes where they are needed though it is there. */
  private load(descriptor: Descriptor, isNeeded: boolean): Effect.Effect<Loaded, ValidationError | E | E2, R | R2> {
    return Effect.gen(this, function* () {
      const { hasManifest, reader, subject } = this.stores
      const present = !this.converts && (yield* hasManifest(descriptor))
      if (present && !isNeeded) return { present, manifest: undefined }
      const { digest, mediaType } = descriptor
      const isMade = this.root._tag === "Made" && digest === this.root.descriptor.digest
      const bytes = isMade ? this.root.bytes : yield* reader.manifest(descriptor)
      return {
        present,
        manifest: yield* Manifest.decode(bytes, { subject: `${subject} ${digest}`, mediaType, digest })
      }
    })
  }

  /** The blobs and children that a manifest names; returns how it is written when they are there. */
  private visitParts(
    manifest: Manifest.Manifest,
    visit: Visit,
    depth: number
  ): Effect.Effect<Node["build"], ValidationError | E | E2, R | R2> {
    return Effect.gen(this, function* () {
      // What an index names and is no manifest is a blob: caches of builds have such entries.
      const children = Manifest.children(manifest).filter(({ mediaType }) => MediaType.isManifest(mediaType))
      const leaves = Manifest.children(manifest).filter(({ mediaType }) => !MediaType.isManifest(mediaType))
      const blobs = [...Manifest.blobs(manifest), ...leaves]
      yield* this.count(blobs.length + children.length)
      for (const part of [...blobs, ...children]) {
        yield* Manifest.inlineData(part, `${this.stores.subject} ${part.digest}`)
      }
      for (const blob of blobs) yield* this.checkSize(blob)
      for (const leaf of leaves) this.add(Layer.unchanged(leaf))
      return manifest._tag === "Image"
        ? yield* this.visitImage(manifest, visit)
        : yield* this.visitChildren(manifest, children, depth)
    })
  }

  private visitImage(manifest: Convert.Image, { role }: Visit): Effect.Effect<Node["build"], ValidationError | E, R> {
    return Effect.gen(this, function* () {
      const { reader, subject } = this.stores
      const { conversion, known } = this.options
      const name = `${subject} ${manifest.descriptor.digest}`
      if (this.converts && role === "root" && !Convert.isImage(manifest)) {
        const odd = Manifest.blobs(manifest).find(Convert.isNoPartOfAnImage)?.mediaType
        return yield* this.fail("InvalidOption", `holds ${odd}, so it is no image that can be converted`)
      }
      const converted = yield* Convert.image(name, reader, manifest, conversion, known)
      if (converted !== undefined) this.changed.add(manifest.descriptor.digest)
      for (const blob of converted?.blobs ?? Manifest.blobs(manifest).map((each) => Layer.unchanged(each)))
        this.add(blob)
      return converted?.build ?? (() => manifest)
    })
  }

  private visitChildren(
    manifest: Convert.Index,
    children: ReadonlyArray<Descriptor>,
    depth: number
  ): Effect.Effect<Node["build"], ValidationError | E | E2, R | R2> {
    return Effect.gen(this, function* () {
      const { conversion } = this.options
      const attestations = this.converts ? children.filter(Convert.isAttestation) : []
      yield* this.visitAll(
        children.filter((child) => !attestations.includes(child)),
        depth
      )
      const changes = Convert.changesIndex(manifest, conversion, ({ digest }) => this.changed.has(digest))
      if (!changes) {
        yield* this.visitAll(attestations, depth)
        return () => manifest
      }
      this.changed.add(manifest.descriptor.digest)
      if (attestations.length > 0) {
        this.notes.add(`${attestations.length} attestations are left out: what they describe has another digest now`)
      }
      return (_, became) => Convert.index(manifest, conversion, became)
    })
  }

  private visitAll(
    children: ReadonlyArray<Descriptor>,
    depth: number
  ): Effect.Effect<void, ValidationError | E | E2, R | R2> {
    return Effect.gen(this, function* () {
      const meets = this.options.referrers || this.options.digestTags
      const fresh = new Map(children.map((child) => [child.digest, child]))
      for (const digest of this.seen.keys()) fresh.delete(digest)
      const load = (descriptor: Descriptor) =>
        Effect.map(this.load(descriptor, meets && MediaType.isIndex(descriptor.mediaType)), (loaded) => ({
          descriptor,
          loaded
        }))
      const all = yield* Effect.forEach([...fresh.values()], load, { concurrency: readAhead })
      for (const { descriptor, loaded } of all) {
        yield* this.visit({ descriptor, role: "child", tags: [] }, depth + 1, loaded)
      }
    })
  }

  private add(blob: PlannedBlob): void {
    if (MediaType.isForeignLayer(blob.source.mediaType) && !this.options.includeForeign) return
    this.blobs.set(keyOf(blob), blob)
  }

  private checkSize({ digest, size }: Descriptor): Effect.Effect<void, ValidationError> {
    const known = this.sizes.get(digest)
    this.sizes.set(digest, size)
    return known === undefined || known === size
      ? Effect.void
      : this.fail("InvalidManifest", `${digest} is named with two sizes, ${known} and ${size}`)
  }

  private count(more: number): Effect.Effect<void, ValidationError> {
    this.descriptors += more
    return this.descriptors <= maxDescriptors
      ? Effect.void
      : this.fail("TooLarge", `it names more than ${maxDescriptors} blobs and manifests`)
  }

  private fail(reason: ValidationError["reason"], message: string): Effect.Effect<never, ValidationError> {
    return Effect.fail(ValidationError.of(reason, this.stores.subject, message))
  }
}
