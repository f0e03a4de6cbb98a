/** Carries out a plan, a few hundred things at a time, each time looking again at what changed in between. */
import type { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { BlobStore } from "../BlobStore.js"
import { ManifestStore } from "../ManifestStore.js"
import type { StorageError } from "../StorageError.js"
import * as Mark from "./Mark.js"
import * as Plan from "./Plan.js"

export interface Removed {
  readonly kind: "manifest" | "blob"
  readonly digest: Digest.Digest
  /** Bytes. */
  readonly size: number
}

/** So many are removed while pushes to the repository wait. A manifest is several files, each gone before the next. */
const batch = { manifests: 16, blobs: 256 }

type Stores = BlobStore | ManifestStore

export const run = (
  plan: Plan.Plan,
  limits: Plan.Limits,
  told: (removed: Removed) => void
): Effect.Effect<void, StorageError, Stores> =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    const doomed = new Set(plan.manifests)
    const tell = (kind: Removed["kind"], digest: Digest.Digest) => told({ kind, digest, size: plan.sizeOf(digest) })
    for (const part of parts(plan.manifests, batch.manifests)) {
      yield* store.change(plan.repository, (edit) =>
        removeManifests(plan, part, doomed, (digest) => edit.remove(digest, limits.before), tell)
      )
    }
    for (const part of parts(plan.blobs, batch.blobs)) {
      yield* store.change(plan.repository, () => removeBlobs(plan, part, limits, tell))
    }
  })

// internal

type Tell = (kind: Removed["kind"], digest: Digest.Digest) => void

const parts = (all: ReadonlyArray<Digest.Digest>, size: number): ReadonlyArray<ReadonlyArray<Digest.Digest>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.slice(at * size, (at + 1) * size))

/**
 * Those of the doomed that nobody pushed, tagged or asked for since the plan was made: to tag is to push. `doomed` loses what such
 * a one leads to, which comes after it.
 */
const removeManifests = (
  { graph, repository }: Plan.Plan,
  part: ReadonlyArray<Digest.Digest>,
  doomed: Set<Digest.Digest>,
  remove: (digest: Digest.Digest) => Effect.Effect<boolean, StorageError>,
  tell: Tell
) =>
  Effect.gen(function* () {
    const spare = (roots: ReadonlyArray<Digest.Digest>) => {
      if (roots.length > 0) for (const digest of Mark.live(graph, roots)) doomed.delete(digest)
    }
    const known = new Set(graph.keys())
    if ((yield* Plan.refresh(repository, graph, new Map())) !== undefined) return
    spare([...graph.keys()].filter((digest) => !known.has(digest)))
    for (const digest of part) {
      if (!doomed.has(digest) || !graph.has(digest)) continue
      if (yield* remove(digest)) tell("manifest", digest)
      else spare([digest])
    }
  })

/** Those that no manifest names, and that have not become manifests. */
const removeBlobs = (
  { graph, repository }: Plan.Plan,
  part: ReadonlyArray<Digest.Digest>,
  { before }: Plan.Limits,
  tell: Tell
) =>
  Effect.gen(function* () {
    const blobs = yield* BlobStore
    if ((yield* Plan.refresh(repository, graph, new Map())) !== undefined) return
    const named = Mark.named(graph)
    for (const digest of part) {
      if (graph.has(digest) || named.has(digest)) continue
      if (yield* blobs.remove(repository, digest, before)) tell("blob", digest)
    }
  })
