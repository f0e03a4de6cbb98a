/**
 * What earlier pushes learned, in files: sixteen, each with what is known of the digests that begin alike. They
 * are written together a moment later, and with the scope at the latest. Processes that write the same file at once may
 * lose what the other learned; a file is never torn.
 */
import * as Path from "node:path"
import { BlobInfoCache, Descriptor, Digest, Reference } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as StateFolder from "./StateFolder.js"

export interface Options extends StateFolder.Options {}

/** Entries of one file, of which there are 16. The one written first goes first. */
export const maxEntries = 512

/**
 * The cache in the folder `blobs`. What cannot be read, or is not what a cache may hold, is not there. What cannot be
 * written is remembered, within the same bounds, for as long as the service lives.
 */
export const make = (options: Options = {}): Effect.Effect<BlobInfoCache.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const root = options.folder === undefined ? yield* StateFolder.cacheHome : Path.resolve(options.folder)
    const buckets = new Buckets(root)
    const one = yield* Effect.makeSemaphore(1)
    const flush = Effect.promise(() => buckets.flush()).pipe(Effect.uninterruptible, one.withPermits(1))
    const scope = yield* Effect.acquireRelease(Effect.scope, () => flush)
    let waiting = false
    const later = Effect.suspend(() => {
      if (waiting) return Effect.void
      waiting = true
      const write = Effect.suspend(() => {
        waiting = false
        return flush
      })
      return Effect.asVoid(Effect.forkIn(Effect.interruptible(Effect.zipRight(Effect.sleep(delay), write)), scope))
    })
    const record = (digest: Digest.Digest, change: Change) =>
      Effect.suspend(() => (buckets.record(digest, change) ? later : Effect.void))
    const find = (digest: Digest.Digest, key: string) => Effect.promise(() => buckets.find(digest, key))
    return {
      compressed: (diffId, algorithm) =>
        Effect.map(find(diffId, BlobInfoCache.compressedText(diffId, algorithm)), decodeCompressed),
      recordCompressed: (diffId, algorithm, { digest, size }) =>
        record(diffId, { key: BlobInfoCache.compressedText(diffId, algorithm), next: () => ({ digest, size }) }),
      repositories: (place, digest) => Effect.map(find(digest, BlobInfoCache.placeText(place, digest)), repositoriesOf),
      recordRepository: (place, digest, repository) =>
        record(digest, {
          key: BlobInfoCache.placeText(place, digest),
          next: (before) => BlobInfoCache.latestFirst(repositoriesOf(before), repository)
        })
    }
  })

export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.scoped(BlobInfoCache.BlobInfoCache, make(options))

// internal

/** What is learned in this time is written together; a kill loses it. */
const delay = "500 millis"

const decodeCompressed = Schema.decodeUnknownOption(
  Schema.Struct({ digest: Descriptor.Descriptor.fields.digest, size: Descriptor.Descriptor.fields.size })
)

const decodeRepositories = Schema.decodeUnknownOption(
  Schema.Array(Schema.String.pipe(Schema.filter(Reference.isRepository))).pipe(
    Schema.maxItems(BlobInfoCache.maxRepositories)
  )
)

const repositoriesOf = (value: unknown): ReadonlyArray<string> => Option.getOrElse(decodeRepositories(value), () => [])

/** Diff IDs and texts of places with what was learned of them, checked when it is asked for. */
type Bucket = Map<string, unknown>

type Entries = ReadonlyArray<readonly [string, unknown]>

/** One look at all entries; a schema of tuples would cost a push more than the rest of the cache. */
const isEntries = (value: unknown): value is Entries =>
  Array.isArray(value) &&
  value.length <= maxEntries &&
  value.every((entry) => Array.isArray(entry) && entry.length === 2 && typeof entry[0] === "string")

const decodeBucket = Schema.decodeOption(Schema.parseJson(Schema.Unknown.pipe(Schema.filter(isEntries))))

/** Bytes of a file: 512 entries with five long names each. */
const maxSize = 1024 * 1024

interface Change {
  readonly key: string
  readonly next: (before: unknown) => unknown
}

const apply = (bucket: Bucket, { key, next }: Change): void => {
  const value = next(bucket.get(key))
  bucket.delete(key)
  bucket.set(key, value)
  for (const oldest of bucket.keys()) {
    if (bucket.size <= maxEntries) break
    bucket.delete(oldest)
  }
}

const isKnown = (bucket: Bucket | undefined, { key, next }: Change): boolean =>
  bucket?.has(key) === true && JSON.stringify(next(bucket.get(key))) === JSON.stringify(bucket.get(key))

/** A file is read once, and again when it is written. */
class Buckets {
  /** What was read, with what was recorded since. */
  private readonly loaded = new Map<string, Bucket>()
  private readonly loading = new Map<string, Promise<Bucket>>()
  /** Not written yet. */
  private readonly pending = new Map<string, ReadonlyArray<Change>>()
  private folder: Promise<string | undefined> | undefined
  private tidied = false

  constructor(private readonly root: string) {}

  async find(digest: Digest.Digest, key: string): Promise<unknown> {
    const name = bucketOf(digest)
    const bucket = this.loaded.get(name) ?? (await (this.loading.get(name) ?? this.load(name)))
    return bucket.get(key)
  }

  /** `false` where that is known. */
  record(digest: Digest.Digest, change: Change): boolean {
    const name = bucketOf(digest)
    const bucket = this.loaded.get(name)
    if (isKnown(bucket, change)) return false
    if (bucket !== undefined) apply(bucket, change)
    this.pending.set(name, [...this.changes(name), change].slice(-maxEntries))
    return true
  }

  async flush(): Promise<void> {
    // It may have been removed since it was made.
    this.folder = StateFolder.privateFolder(this.root, "blobs")
    const folder = await this.folder
    if (folder === undefined) return
    if (!this.tidied) await StateFolder.removeTemporary(folder)
    this.tidied = true
    const names = [...this.pending.keys()]
    const next = async (): Promise<void> => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) await this.write(folder, name)
    }
    await Promise.all(Array.from({ length: writers }, next))
  }

  private changes(name: string): ReadonlyArray<Change> {
    return this.pending.get(name) ?? []
  }

  private load(name: string): Promise<Bucket> {
    const read = async (): Promise<Bucket> => {
      this.folder ??= StateFolder.privateFolder(this.root, "blobs")
      const folder = await this.folder
      const bucket: Bucket = folder === undefined ? new Map() : await readBucket(Path.join(folder, name))
      this.loading.delete(name)
      // Written in the meantime, it is newer than what was read here.
      return this.loaded.get(name) ?? this.keep(name, bucket)
    }
    const promise = read()
    this.loading.set(name, promise)
    return promise
  }

  private keep(name: string, bucket: Bucket): Bucket {
    for (const change of this.changes(name)) apply(bucket, change)
    this.loaded.set(name, bucket)
    return bucket
  }

  /** With what other processes wrote since it was read. What cannot be written waits for the next time. */
  private async write(folder: string, name: string): Promise<void> {
    const file = Path.join(folder, name)
    const bucket = await readBucket(file)
    const changes = this.changes(name)
    for (const change of changes) apply(bucket, change)
    if (!(await StateFolder.write(file, JSON.stringify([...bucket]), false))) return
    const since = this.changes(name).filter((change) => !changes.includes(change))
    if (since.length > 0) this.pending.set(name, since)
    else this.pending.delete(name)
    this.keep(name, bucket)
  }
}

/** Files written at the same time. */
const writers = 8

const bucketOf = (digest: Digest.Digest): string => `${Digest.hex(digest).slice(0, 1)}.json`

const readBucket = async (file: string): Promise<Bucket> =>
  new Map(
    Option.getOrElse(
      Option.flatMap(Option.fromNullable(await StateFolder.read(file, maxSize)), ({ text }) => decodeBucket(text)),
      () => []
    )
  )
