/** What can be removed from a repository, as it looks now. */
import { type Digest, Progress } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { BlobStore, type Freed, type Held } from "../BlobStore.js"
import { ManifestStore } from "../ManifestStore.js"
import type { StorageError } from "../StorageError.js"
import * as Mark from "./Mark.js"
import * as References from "./References.js"

export interface Limits {
  /** What was touched then or later stays. Milliseconds since 1970. */
  readonly before: number
  /** Whether manifests go that no tag leads to. */
  readonly untagged: boolean
}

export interface Plan {
  readonly _tag: "Plan"
  readonly repository: string
  readonly graph: Map<Digest.Digest, References.References>
  /** In the order of their removal. */
  readonly manifests: ReadonlyArray<Digest.Digest>
  readonly blobs: ReadonlyArray<Digest.Digest>
  /** Bytes of what the repository holds. */
  readonly sizeOf: (digest: Digest.Digest) => number
}

/** A manifest could name anything. */
export interface Kept {
  readonly _tag: "Kept"
  readonly digest: Digest.Digest
  readonly why: string
}

type Stores = BlobStore | ManifestStore

export const make = (repository: string, limits: Limits): Effect.Effect<Plan | Kept, StorageError, Stores> =>
  Effect.gen(function* () {
    // In this order: what is put after the list of blobs was made is not among those to be removed.
    const held = new Map((yield* (yield* BlobStore).list(repository)).map((each) => [each.digest, each]))
    const graph = new Map<Digest.Digest, References.References>()
    const unread = yield* refresh(repository, graph, held)
    if (unread !== undefined) return unread
    const touched = (digest: Digest.Digest) => held.get(digest)?.touched ?? Number.POSITIVE_INFINITY
    const isOld = (digest: Digest.Digest) => touched(digest) < limits.before
    const recent = [...graph.keys()].filter((digest) => !isOld(digest))
    const manifests = limits.untagged ? yield* unreachable(repository, graph, recent) : new Set<Digest.Digest>()
    const staying = new Map([...graph].filter(([digest]) => !manifests.has(digest)))
    const named = Mark.named(staying)
    const blobs = [...held.keys()].filter((digest) => isOld(digest) && !graph.has(digest) && !named.has(digest)).sort()
    return {
      _tag: "Plan",
      repository,
      graph,
      manifests: Mark.inOrder(graph, manifests),
      blobs,
      sizeOf: (digest) => held.get(digest)?.size ?? 0
    }
  })

/**
 * Makes `graph` what the repository holds now, reading only what is new. Says so where a manifest cannot be understood: then
 * everything has to stay.
 */
export const refresh = (
  repository: string,
  graph: Map<Digest.Digest, References.References>,
  held: ReadonlyMap<Digest.Digest, Pick<Held, "size">>
): Effect.Effect<Kept | undefined, StorageError, ManifestStore> =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    const progress = yield* Progress.Progress
    // In order, as is what follows from it: a dry run tells the same as the run after it.
    const listed = new Set([...(yield* store.list(repository))].sort())
    for (const digest of graph.keys()) if (!listed.has(digest)) graph.delete(digest)
    const unknown = [...listed].filter((digest) => !graph.has(digest))
    const pool = References.makePool()
    let done = 0
    const read = (digest: Digest.Digest) =>
      Effect.gen(function* () {
        const size = held.get(digest)?.size ?? 0
        const found = size > largest ? Option.none() : yield* store.read(repository, digest, true)
        if (done++ % 1000 === 0) {
          const what = `manifests of ${repository}`
          progress.emit({ _tag: "Looking", what, done: done - 1, total: unknown.length })
        }
        return Option.isSome(found) ? References.read(found.value.bytes, pool) : undefined
      })
    const all = yield* Effect.forEach(unknown, read, { concurrency: 8 })
    for (const [at, digest] of unknown.entries()) {
      const references = all[at]
      if (references !== undefined) graph.set(digest, references)
    }
    const without = unknown.filter((digest) => !graph.has(digest))
    if (without.length === 0) return undefined
    // It may just have been deleted.
    const still = new Set(yield* store.list(repository))
    const digest = without.find((each) => still.has(each))
    return digest && { _tag: "Kept", digest, why: "what this manifest names cannot be read, so everything stays" }
  })

/** Content that repositories would no longer hold. */
export interface Leaving {
  readonly add: (digest: Digest.Digest, size: number) => void
  readonly all: Map<Digest.Digest, { readonly size: number; holders: number }>
}

export const makeLeaving = (): Leaving => {
  const all = new Map<Digest.Digest, { readonly size: number; holders: number }>()
  return {
    all,
    add: (digest, size) => {
      const found = all.get(digest)
      if (found === undefined) all.set(digest, { size, holders: 1 })
      else found.holders += 1
    }
  }
}

/** What would be freed: the content that all holders would give up. */
export const freedBy = ({ all }: Leaving): Effect.Effect<Freed, StorageError, BlobStore> =>
  Effect.gen(function* () {
    const store = yield* BlobStore
    if (all.size > 0) {
      for (const repository of yield* store.repositories) {
        for (const { digest } of yield* store.list(repository)) {
          const found = all.get(digest)
          if (found !== undefined) found.holders -= 1
        }
      }
    }
    const free = [...all.values()].filter(({ holders }) => holders === 0)
    return { blobs: free.length, bytes: free.reduce((sum, { size }) => sum + size, 0) }
  })

// internal

/** Bytes. Larger ones are not read into memory, whatever the registry once accepted. */
const largest = 64 << 20

/** The manifests that neither a tag nor one of `recent` leads to. */
const unreachable = (
  repository: string,
  graph: Mark.Graph,
  recent: ReadonlyArray<Digest.Digest>
): Effect.Effect<ReadonlySet<Digest.Digest>, StorageError, ManifestStore> =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    const tags = Option.getOrElse(yield* store.tags(repository), () => [])
    const tagged = yield* Effect.forEach(tags, (tag) => store.resolve(repository, tag), { concurrency: 16 })
    const live = Mark.live(graph, [...recent, ...tagged.flatMap(Option.toArray)])
    return new Set([...graph.keys()].filter((digest) => !live.has(digest)))
  })
