/**
 * The one algorithm that moves images: a graph of descriptors from a source to a target, blobs before the manifest that
 * names them, children before their index, tags last, and every digest once.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BlobInfoCache from "./BlobInfoCache.js"
import * as Plan from "./Copy/Plan.js"
import type {
  BlobWrite,
  BlobWritten,
  ImageEntry,
  ImageName,
  ImageReader,
  ImageSource,
  ImageTarget,
  ImageWriter,
  PlainContent
} from "./ImageStore.js"
import type { Descriptor } from "./model/Descriptor.js"
import type { Digest } from "./model/Digest.js"
import * as Manifest from "./model/Manifest.js"
import type * as Platform from "./model/Platform.js"
import * as Progress from "./Progress.js"
import { ValidationError } from "./ValidationError.js"

export interface Options {
  /** Blobs in flight. Default 5. */
  readonly concurrency?: number | undefined
  /** Of an index, move only these. One gives that manifest, several a new index. Default: everything, unchanged. */
  readonly platforms?: ReadonlyArray<Platform.Platform> | undefined
  /** What happens to the uncompressed layers of a docker-archive. Default `gzip`. */
  readonly compress?: "gzip" | "none" | undefined
  /** The format of a manifest that has to be made. Default `docker`. */
  readonly format?: Manifest.Format | undefined
  /** Fail where the source lacks platforms its index lists, rather than move those it has. Default false. */
  readonly strict?: boolean | undefined
}

export interface CopyOptions extends Options {
  /** Tags at the target. Default: the names that the source knows the image by. */
  readonly tags?: ReadonlyArray<string> | undefined
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
  readonly missingPlatforms: ReadonlyArray<string>
}

/**
 * Copies the one image of `source` to `target` and returns what it is there. Digests do not change, except that of a
 * docker-archive's image, whose manifest is made, and of a selection of platforms.
 *
 * Fails with a ValidationError: `SeveralImages` or `NoImage` where the source has not exactly one, `PlatformNotFound`,
 * `MissingContent` (only with `strict`), `LayerMismatch`, or what is wrong with a manifest; and with the errors of the
 * two stores.
 *
 * @example
 * ```ts
 * import { copy, Registry } from "@effect-registry/core"
 *
 * const program = copy(Registry.image("localhost:15000/team/app:1.0"), Registry.repository("localhost:15000/mirror/app"))
 * ```
 * @since 0.1.0
 */
export const copy = <E, R, E2, R2>(
  source: ImageSource<E, R>,
  target: ImageTarget<E2, R2>,
  options: CopyOptions = {}
): Effect.Effect<CopyResult, ValidationError | E | E2, R | R2> =>
  Effect.gen(function* () {
    const reader = yield* source.open
    const entry = yield* only(source.name, yield* reader.images)
    const writer = yield* target.open
    const names =
      options.tags === undefined
        ? entry.names
        : options.tags.map((tag) => ({
            repository: entry.names[0]?.repository ?? Option.none(),
            tag: Option.some(tag)
          }))
    const result = yield* transfer(source.name, reader, writer, entry, { ...options, names })
    yield* writer.commit ?? Effect.void
    return result
  }).pipe(
    Effect.scoped,
    Effect.withSpan("effect-registry.copy", { attributes: { source: source.name, target: target.name } })
  )

/** The only entry, or `NoImage` / `SeveralImages` with the names to choose from. */
export const only = (
  subject: string,
  entries: ReadonlyArray<ImageEntry>
): Effect.Effect<ImageEntry, ValidationError> => {
  const [entry, ...others] = entries
  if (entry === undefined) return Effect.fail(ValidationError.of("NoImage", subject, "holds no image"))
  if (others.length === 0) return Effect.succeed(entry)
  return Effect.fail(
    ValidationError.of("SeveralImages", subject, `holds ${entries.length} images: ${formatEntries(entries)}`, {
      hint: "name one of them, as in docker-archive:PATH:REFERENCE or docker-archive:PATH:@INDEX"
    })
  )
}

/** `repository:tag`, with what of it is known. */
export const formatName = (name: ImageName): string =>
  [Option.getOrElse(name.repository, () => ""), Option.getOrElse(name.tag, () => "")]
    .filter((part) => part !== "")
    .join(":")

/** The images of a source in one line, those without a name by their place. */
export const formatEntries = (entries: ReadonlyArray<ImageEntry>): string =>
  entries.map((entry, index) => entry.names.map(formatName).join(", ") || `@${index} (untagged)`).join("; ")

// ---- the engine, for the verbs that move several images in one run

/** What a run learned about the target's store while it went on: nothing is compressed or sent twice. */
export interface Memo {
  /** Diff ID → the layer it became. */
  readonly compressed: Map<Digest, Descriptor>
  /** Digest → repositories that hold it. */
  readonly repositories: Map<Digest, Set<string>>
}
export const makeMemo = (): Memo => ({ compressed: new Map(), repositories: new Map() })

export interface TransferOptions extends Options {
  readonly names: ReadonlyArray<ImageName>
  readonly memo?: Memo | undefined
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
    yield* checkMissing(subject, entry, options)
    const run = { subject, reader, writer, entry, options, memo: options.memo ?? makeMemo() }
    const { descriptor, written } = yield* Effect.catchAll(carryOut(run, false), (error) =>
      // A registry may have lost a blob or a child that it still says it has; then all are sent, once.
      writer.lacksContent?.(error) === true ? carryOut(run, true) : Effect.fail(error)
    )
    return {
      descriptor,
      names: options.names,
      blobs: count(written),
      missingPlatforms: entry.missingPlatforms
    }
  })

/** The counts of several runs together. */
export const sumCounts = (counts: ReadonlyArray<BlobCounts>): BlobCounts =>
  counts.reduce(
    (sum, each) => ({
      sent: sum.sent + each.sent,
      mounted: sum.mounted + each.mounted,
      existing: sum.existing + each.existing,
      bytesSent: sum.bytesSent + each.bytesSent
    }),
    { sent: 0, mounted: 0, existing: 0, bytesSent: 0 }
  )

// internal

const checkMissing = (subject: string, entry: ImageEntry, options: Options): Effect.Effect<void, ValidationError> => {
  if (entry.missingPlatforms.length === 0 || options.strict !== true) return Effect.void
  const message = `lacks platforms that its index lists: ${entry.missingPlatforms.join(", ")}`
  return Effect.fail(ValidationError.of("MissingContent", subject, message))
}

/** What layers were compressed to by earlier runs. */
const remembered = (layers: ReadonlyArray<Descriptor>) =>
  Effect.gen(function* () {
    const cache = yield* BlobInfoCache.BlobInfoCache
    const found = new Map<Digest, BlobInfoCache.Compressed>()
    for (const { digest } of layers) {
      const compressed = yield* cache.compressed(digest)
      if (Option.isSome(compressed)) found.set(digest, compressed.value)
    }
    return found
  })

interface Run<E, R, E2, R2> {
  readonly subject: string
  readonly reader: ImageReader<E, R>
  readonly writer: ImageWriter<E2, R2>
  readonly entry: ImageEntry
  readonly options: TransferOptions
  readonly memo: Memo
}

/** Finds out what has to be moved, moves it, and makes it visible. `force` moves also what the target says it has. */
const carryOut = <E, R, E2, R2>(
  run: Run<E, R, E2, R2>,
  force: boolean
): Effect.Effect<
  { readonly descriptor: Descriptor; readonly written: ReadonlyArray<BlobWritten> },
  ValidationError | E | E2,
  R | R2
> =>
  Effect.gen(function* () {
    const { options, reader, subject, writer } = run
    const plan = yield* planOf(run, force)
    const progress = yield* Progress.Progress
    progress.emit({
      _tag: "Planned",
      blobs: plan.blobs.length,
      bytes: plan.blobs.reduce((sum, blob) => sum + blob.source.size, 0)
    })
    const move = mover(run, force)
    const largestFirst = [...plan.blobs].sort((a, b) => b.source.size - a.source.size)
    const written = yield* Effect.forEach(largestFirst, move, { concurrency: options.concurrency ?? 5 })
    const manifests = plan.manifests(
      new Map(written.map(({ blob, result }) => [blob.source.digest, result.descriptor]))
    )
    const root = manifests[manifests.length - 1]
    if (root === undefined) return yield* Effect.die(new Error("a plan has at least its root manifest"))
    if (options.expected !== undefined && options.expected !== root.descriptor.digest) {
      const message = `the image is ${root.descriptor.digest}, not ${options.expected}`
      return yield* Effect.fail(ValidationError.of("DigestMismatch", subject, message))
    }
    yield* reader.unchanged ?? Effect.void
    for (const { bytes, descriptor } of manifests) {
      const names = descriptor === root.descriptor ? options.names : []
      yield* writer.writeManifest(descriptor, bytes, names, force)
      const tags = names.flatMap((name) => Option.toArray(name.tag))
      progress.emit({ _tag: "ManifestDone", digest: descriptor.digest, tags })
    }
    return { descriptor: root.descriptor, written: written.map(({ result }) => result) }
  })

const planOf = <E, R, E2, R2>({ entry, memo, options, reader, subject, writer }: Run<E, R, E2, R2>, force: boolean) =>
  Effect.gen(function* () {
    if (entry.root._tag === "Draft") {
      return Plan.draft(entry.root, options, memo.compressed, yield* remembered(entry.root.layers))
    }
    const root = yield* Plan.choosePlatforms(subject, reader, entry.root, options.platforms ?? [])
    return yield* Plan.graph(subject, reader, force ? { hasManifest: () => Effect.succeed(false) } : writer, root)
  })

/** Moves one blob and remembers what became of it. */
const mover =
  <E, R, E2, R2>({ memo, options: { repository }, reader, subject, writer }: Run<E, R, E2, R2>, force: boolean) =>
  (blob: Plan.PlannedBlob) =>
    Effect.gen(function* () {
      const progress = yield* Progress.Progress
      const { digest, size } = blob.source
      progress.emit({ _tag: "BlobStarted", digest, size })
      const elsewhere = Option.match(blob.target, {
        onNone: () => [],
        onSome: (target) => [...(memo.repositories.get(target.digest) ?? [])].filter((name) => name !== repository)
      })
      const write: BlobWrite<E | ValidationError, R> = {
        descriptor: blob.target,
        before: Option.fromNullable(blob.before),
        mediaType: Option.getOrElse(blob.gzip, () => blob.source.mediaType),
        content: contentOf(reader, blob),
        force,
        alsoIn: elsewhere
      }
      const result = yield* Effect.mapError(writer.writeBlob(write), (error) => blame(subject, error))
      if (Option.isSome(blob.gzip)) {
        memo.compressed.set(digest, result.descriptor)
        // What was sent was compressed here, and its plain bytes had the digest: nobody else vouches for the pair.
        if (result.outcome === "Sent")
          yield* (yield* BlobInfoCache.BlobInfoCache).recordCompressed(digest, result.descriptor)
      }
      if (repository !== undefined) {
        const holders = memo.repositories.get(result.descriptor.digest) ?? new Set()
        memo.repositories.set(result.descriptor.digest, holders.add(repository))
      }
      progress.emit({ _tag: "BlobDone", digest, outcome: result.outcome })
      return { blob, result }
    })

/** A target finds out that bytes are not what was promised; it is the source that is wrong. */
const blame = <E>(subject: string, error: E): E | ValidationError =>
  error instanceof ValidationError && (error.reason === "LayerMismatch" || error.reason === "DigestMismatch")
    ? new ValidationError({ ...error, subject })
    : error

const contentOf = <E, R>(reader: ImageReader<E, R>, blob: Plan.PlannedBlob) =>
  Effect.gen(function* () {
    const inline = yield* Manifest.inlineData(blob.source, blob.source.digest)
    if (Option.isSome(inline)) return { _tag: "Bytes" as const, bytes: inline.value }
    const content = yield* reader.blob(blob.source)
    if (Option.isNone(blob.gzip)) return content
    if (content._tag === "Remote" || content._tag === "Compressed") {
      const message = "only a layer that lies in an archive or in memory can be compressed on the way"
      return yield* Effect.fail(ValidationError.of("InvalidOption", blob.source.digest, message))
    }
    const plain: PlainContent<E, R> = content
    return { _tag: "Compressed" as const, plain, diffId: blob.source.digest }
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
