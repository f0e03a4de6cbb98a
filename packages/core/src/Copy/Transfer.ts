/** The engine under the verbs: one image from a store that is open to another one. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { BlobWritten, ImageEntry, ImageName, ImageReader, ImageWriter, Root } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import type * as Manifest from "../model/Manifest.js"
import type * as Platform from "../model/Platform.js"
import * as Progress from "../Progress.js"
import { ValidationError } from "../ValidationError.js"
import * as Blobs from "./Blobs.js"
import * as Convert from "./Convert.js"
import { draft } from "./Draft.js"
import { graph } from "./Graph.js"
import * as Memo from "./Memo.js"
import * as Plan from "./Plan.js"
import * as Platforms from "./Platforms.js"

export interface Options {
  /** Blobs in flight. Default 5. */
  readonly concurrency?: number | undefined
  /**
   * Of an index, move only these. One gives that manifest, several a new index; an image for another platform is
   * refused. Default: everything, unchanged.
   */
  readonly platforms?: ReadonlyArray<Platform.Platform> | undefined
  /**
   * Compress layers so, also those of images that have a manifest; `none` compresses nothing. Default: what is uncompressed
   * in a docker-archive is gzipped, everything else stays.
   */
  readonly compress?: "gzip" | "zstd" | "none" | undefined
  /** Convert to this format. Default: images stay as they are; a manifest that has to be made is Docker's. */
  readonly format?: Manifest.Format | undefined
  /** Move signatures, attestations and whatever else refers to what is moved, and what refers to that. Default false. */
  readonly referrers?: boolean | undefined
  /** Move what cosign keeps under the tags `sha256-<hex>.sig`, `.att` and `.sbom`. Default false. */
  readonly digestTags?: boolean | undefined
  /** Move foreign layers too, where the source holds them; their `urls` are never fetched. Default false. */
  readonly includeForeign?: boolean | undefined
  /** Look at every manifest and blob, though the target's tag has the digest already, and send what is missing. Default false. */
  readonly forceRecursive?: boolean | undefined
  /** Fail where the source lacks platforms its index lists, rather than move those it has. Default false. */
  readonly strict?: boolean | undefined
  /** Bounds the blobs in flight of several copies together. Default: each copy by itself. */
  readonly permits?: Effect.Semaphore | undefined
}

/** How the blobs of a run got to the target. */
export interface BlobCounts {
  readonly sent: number
  readonly mounted: number
  readonly existing: number
  /** Bytes of the blobs that were sent, as they lie at the target, without what an earlier run had left there. */
  readonly bytesSent: number
}

export interface CopyResult {
  /** The manifest or index that was copied. */
  readonly descriptor: Descriptor
  readonly names: ReadonlyArray<ImageName>
  readonly blobs: BlobCounts
  /** Manifests that refer to the image, or to one another, and were moved with it. */
  readonly referrers: number
  /** Digests that are others at the target: platforms were chosen, or the image was converted. Signatures of `from` do not fit `to`. */
  readonly changed: ReadonlyArray<Changed>
  readonly missingPlatforms: ReadonlyArray<string>
}

export interface Changed {
  readonly from: Digest
  readonly to: Digest
}

export interface TransferOptions extends Options {
  readonly names: ReadonlyArray<ImageName>
  readonly memo?: Memo.Memo | undefined
  /** The target's repository, as the memo calls it. */
  readonly repository?: string | undefined
  /** Fail with `DigestMismatch`, before anything becomes visible, where the image has another digest. */
  readonly expected?: Digest | undefined
}

/** Moves one image between stores that are open. */
export const transfer = <E, R, E2, R2>(
  subject: string,
  reader: ImageReader<E, R>,
  writer: ImageWriter<E2, R2>,
  entry: ImageEntry,
  options: TransferOptions
): Effect.Effect<CopyResult, ValidationError | E | E2, R | R2> =>
  Effect.gen(function* () {
    yield* checkOptions(subject, entry, options)
    yield* Platforms.check(subject, reader, entry.root, options.platforms ?? [])
    const root =
      entry.root._tag === "Draft"
        ? entry.root
        : yield* Platforms.choose(subject, reader, entry.root, options.platforms ?? [])
    const run = { subject, reader, writer, root, options, memo: options.memo ?? Memo.make() }
    if (root._tag !== "Draft" && (yield* isDone(run, root))) {
      yield* checkExpected(subject, root.descriptor, options)
      return resultOf(entry, options, { descriptor: root.descriptor, written: [], referrers: 0, changed: [] })
    }
    const moved = yield* Effect.catchAll(carryOut(run, options.forceRecursive === true ? "look" : "trust"), (error) =>
      // A registry may have lost a blob or a child that it still says it has; then all are sent, once.
      writer.lacksContent?.(error) === true ? carryOut(run, "send") : Effect.fail(error)
    )
    return resultOf(entry, options, moved)
  })

/** What several copies moved together. */
export const sum = (results: ReadonlyArray<CopyResult>): Pick<CopyResult, "blobs" | "referrers" | "changed"> => ({
  blobs: sumCounts(results.map(({ blobs }) => blobs)),
  referrers: results.reduce((total, { referrers }) => total + referrers, 0),
  changed: [
    ...new Map(results.flatMap(({ changed }) => changed).map((each) => [`${each.from} ${each.to}`, each])).values()
  ]
})

// internal

const sumCounts = (counts: ReadonlyArray<BlobCounts>): BlobCounts =>
  counts.reduce(
    (sum, each) => ({
      sent: sum.sent + each.sent,
      mounted: sum.mounted + each.mounted,
      existing: sum.existing + each.existing,
      bytesSent: sum.bytesSent + each.bytesSent
    }),
    { sent: 0, mounted: 0, existing: 0, bytesSent: 0 }
  )

interface Run<E, R, E2, R2> {
  readonly subject: string
  readonly reader: ImageReader<E, R>
  readonly writer: ImageWriter<E2, R2>
  readonly root: Root
  readonly options: TransferOptions
  readonly memo: Memo.Memo
}

/**
 * What the target is believed: `trust` that a manifest that is there is whole, `look` for everything it names, or `send`
 * also what it says it has.
 */
type Belief = "trust" | "look" | "send"

interface Moved {
  readonly descriptor: Descriptor
  readonly written: ReadonlyArray<BlobWritten>
  readonly referrers: number
  readonly changed: ReadonlyArray<Changed>
}

const conversionOf = ({ compress, format }: Options): Convert.Conversion => ({
  format,
  to: compress === "none" ? undefined : compress
})

const checkOptions = (subject: string, entry: ImageEntry, options: Options): Effect.Effect<void, ValidationError> => {
  if (entry.missingPlatforms.length > 0 && options.strict === true) {
    const message = `lacks platforms that its index lists: ${entry.missingPlatforms.join(", ")}`
    const hint = "without --strict the platforms that are there are moved"
    return Effect.fail(ValidationError.of("MissingContent", subject, message, { hint }))
  }
  const converts = entry.root._tag !== "Draft" && !Convert.isNone(conversionOf(options))
  if (!converts || (options.referrers !== true && options.digestTags !== true)) return Effect.void
  const message = "an image that is converted gets another digest, which its signatures and other referrers do not name"
  const hint = "copy it as it is, or without --referrers and --digest-tags"
  return Effect.fail(ValidationError.of("InvalidOption", subject, message, { hint }))
}

/** Whether the target has the image under all its names already, and with its referrers where they are wanted. */
const isDone = <E, R, E2, R2>(
  { options, reader, writer }: Run<E, R, E2, R2>,
  { _tag, descriptor }: Exclude<Root, { readonly _tag: "Draft" }>
): Effect.Effect<boolean, E | E2, R | R2> =>
  Effect.gen(function* () {
    const { digestTags, forceRecursive, names } = options
    const isTagged = writer.isTagged
    if (isTagged === undefined || names.length === 0 || digestTags === true || forceRecursive === true) return false
    if (!Convert.isNone(conversionOf(options))) return false
    for (const name of names) if (!(yield* isTagged(descriptor, name))) return false
    if (options.referrers !== true || reader.referrers === undefined) return true
    if (_tag === "Made") return false
    const wanted = yield* reader.referrers(descriptor)
    if (wanted.length === 0) return true
    const there = new Set((yield* writer.referrers?.(descriptor) ?? Effect.succeed([])).map(({ digest }) => digest))
    return wanted.every(({ digest }) => there.has(digest))
  })

const checkExpected = (
  subject: string,
  { digest }: Descriptor,
  { expected }: TransferOptions
): Effect.Effect<void, ValidationError> =>
  expected === undefined || expected === digest
    ? Effect.void
    : Effect.fail(ValidationError.of("DigestMismatch", subject, `the image is ${digest}, not ${expected}`))

const resultOf = (entry: ImageEntry, { names }: TransferOptions, moved: Moved): CopyResult => {
  const { changed, descriptor, referrers, written } = moved
  const from = entry.root._tag === "Draft" ? undefined : entry.root.descriptor.digest
  // A choice of platforms: no manifest was changed, but the names mean another one.
  const isChoice = from !== undefined && from !== descriptor.digest && !changed.some((each) => each.from === from)
  return {
    descriptor,
    names,
    blobs: count(written),
    referrers,
    changed: isChoice ? [...changed, { from, to: descriptor.digest }] : changed,
    missingPlatforms: entry.missingPlatforms
  }
}

/** Finds out what has to be moved, moves it, and makes it visible. */
const carryOut = <E, R, E2, R2>(
  run: Run<E, R, E2, R2>,
  belief: Belief
): Effect.Effect<Moved, ValidationError | E | E2, R | R2> =>
  Effect.gen(function* () {
    const { options, reader, subject } = run
    const plan = yield* planOf(run, belief)
    const progress = yield* Progress.Progress
    for (const message of plan.notes) progress.emit({ _tag: "Warning", message })
    progress.emit({
      _tag: "Planned",
      blobs: plan.blobs.length,
      bytes: plan.blobs.reduce((sum, blob) => sum + blob.source.size, 0)
    })
    const largestFirst = [...plan.blobs].sort((a, b) => b.source.size - a.source.size)
    const move = Blobs.move({
      ...run,
      repository: options.repository,
      permits: options.permits,
      force: belief === "send"
    })
    const written = yield* Effect.forEach(largestFirst, move, { concurrency: options.concurrency ?? 5 })
    const results = new Map(written.map(({ blob, result }) => [Plan.keyOf(blob), result.descriptor]))
    const manifests = plan.manifests((blob) => {
      const mediaType = Option.match(blob.recode, {
        onNone: () => Option.getOrElse(blob.target, () => blob.source).mediaType,
        onSome: (recode) => recode.mediaType
      })
      return { ...(results.get(Plan.keyOf(blob)) ?? blob.source), mediaType }
    })
    const root = manifests.at(-1)
    if (root === undefined) return yield* Effect.die(new Error("a plan has at least its root manifest"))
    yield* checkExpected(subject, root.descriptor, options)
    yield* reader.unchanged ?? Effect.void
    yield* writeManifests(run, manifests, belief === "send")
    return {
      descriptor: root.descriptor,
      written: written.map(({ result }) => result),
      referrers: manifests.filter(({ role }) => role === "referrer").length,
      changed: manifests.flatMap(({ descriptor: { digest: to }, from }) =>
        from === undefined || from === to ? [] : [{ from, to }]
      )
    }
  })

const planOf = <E, R, E2, R2>(
  { memo, options, reader, root, subject, writer }: Run<E, R, E2, R2>,
  belief: Belief
): Effect.Effect<Plan.Plan, ValidationError | E | E2, R | R2> => {
  const known: Parameters<typeof draft>[3] = (diffId, algorithm) =>
    memo.compressed(diffId, algorithm) ??
    Option.getOrUndefined(reader.compressed?.(diffId, algorithm) ?? Option.none())?.descriptor
  if (root._tag === "Draft") return draft(subject, root, options, known)
  const hasManifest = belief === "trust" ? writer.hasManifest : () => Effect.succeed(false)
  return graph({ subject, reader, hasManifest }, root, {
    conversion: conversionOf(options),
    referrers: options.referrers === true,
    digestTags: options.digestTags === true,
    includeForeign: options.includeForeign === true,
    known
  })
}

/** Those that name one another in their order; the root, with its tags, when all else is there. */
const writeManifests = <E, R, E2, R2>(
  { options, writer }: Run<E, R, E2, R2>,
  manifests: ReadonlyArray<Plan.PlannedManifest>,
  force: boolean
) =>
  Effect.gen(function* () {
    const progress = yield* Progress.Progress
    const write = (manifest: Plan.PlannedManifest) =>
      Effect.gen(function* () {
        const { bytes, descriptor } = manifest
        const names = Plan.namesOf(manifest, options.names)
        yield* writer.writeManifest(descriptor, bytes, names, force)
        const tags = names.flatMap((name) => Option.toArray(name.tag))
        progress.emit({ _tag: "ManifestDone", digest: descriptor.digest, tags })
      })
    const isRoot = ({ role }: Plan.PlannedManifest) => role === "root"
    const others = manifests.filter((each) => !isRoot(each))
    for (const height of [...new Set(others.map((each) => each.height))].sort((a, b) => a - b)) {
      const level = others.filter((each) => each.height === height)
      yield* Effect.forEach(level, write, { concurrency: options.concurrency ?? 5, discard: true })
    }
    yield* Effect.forEach(manifests.filter(isRoot), write, { discard: true })
  })

const count = (written: ReadonlyArray<BlobWritten>): BlobCounts =>
  sumCounts(
    written.map(({ bytes, descriptor, outcome }) => ({
      sent: outcome === "Sent" ? 1 : 0,
      mounted: outcome === "Mounted" ? 1 : 0,
      existing: outcome === "Exists" ? 1 : 0,
      bytesSent: outcome === "Sent" ? (bytes ?? descriptor.size) : 0
    }))
  )
