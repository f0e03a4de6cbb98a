/** Repositories put straight into stores, and time that passes. */
import { Digest } from "@effect-registry/core"
import type { GraphFixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { BlobStore } from "../../src/BlobStore.js"
import * as Gc from "../../src/Gc.js"
import { ManifestStore, type Put } from "../../src/ManifestStore.js"
import type { Stores } from "../suites/Backends.js"
import { push } from "../suites/BlobStoreSuite.js"
import { bytesOf, digestOf } from "../support.js"

export const hour = 3_600_000

/** The stores go by the time of files, or of the test's clock. */
export const now = Effect.suspend(() => TestClock.setTime(Date.now()))

/** What happens from here on happens some time after what was done before. */
export const later = (milliseconds: number) => Effect.suspend(() => TestClock.setTime(Date.now() + milliseconds))

export const collect = ({ blobs, manifests }: Stores, options: Gc.Options = {}) =>
  Gc.collect(options).pipe(Effect.provideService(BlobStore, blobs), Effect.provideService(ManifestStore, manifests))

export interface Spec {
  readonly mediaType?: string
  readonly tags?: ReadonlyArray<string>
  readonly subject?: Digest.Digest
  readonly algorithm?: Digest.Algorithm
}

/** A manifest of any bytes. */
export const manifestOf = (
  text: string,
  { algorithm, mediaType = "application/x", subject, tags = [] }: Spec = {}
): Put => {
  const bytes = bytesOf(text)
  const digest = digestOf(bytes, algorithm)
  const as = { digest, mediaType, size: bytes.length }
  return { digest, mediaType, bytes, tags, children: [], refersTo: subject && { subject, as } }
}

export const put = ({ manifests }: Stores, repository: string, ...all: ReadonlyArray<Put>) =>
  manifests.change(repository, (edit) => Effect.forEach(all, edit.put, { discard: true }))

/** A manifest that names these, as JSON that is no known type. */
export const naming = (digests: ReadonlyArray<Digest.Digest>, spec: Spec = {}) =>
  manifestOf(
    JSON.stringify({ parts: digests.map((digest) => ({ digest })), subject: spec.subject && { digest: spec.subject } }),
    spec
  )

/** Digests of all that a repository holds, sorted. */
export const heldBy = ({ blobs }: Stores, repository: string) =>
  Effect.map(blobs.list(repository), (held) => held.map(({ digest }) => digest).sort())

/** A part of a graph in a repository. */
export const fill = (
  stores: Stores,
  repository: string,
  graph: GraphFixture.Graph,
  has: (digest: string) => boolean,
  tagged: (tag: string) => boolean
) =>
  Effect.gen(function* () {
    for (const [digest, node] of graph.manifests) {
      if (!has(digest)) continue
      for (const blob of node.blobs) {
        const bytes = graph.blobs.get(blob.digest)
        if (bytes !== undefined) yield* push(stores.blobs, repository, bytes, Digest.algorithm(blob.digest))
      }
      const tags = [...graph.tags].flatMap(([tag, each]) => (each === node && tagged(tag) ? [tag] : []))
      const { mediaType } = node.descriptor
      const algorithm = digest.startsWith("sha512") ? "sha512" : "sha256"
      const subject = node.subject?.digest
      const bare = { mediaType, tags, algorithm } as const
      const spec: Spec = subject === undefined ? bare : { ...bare, subject }
      yield* put(stores, repository, manifestOf(new TextDecoder().decode(node.bytes), spec))
    }
  })

/** All text in a manifest, with what it holds in base64. */
const textOf = (bytes: Uint8Array): string => {
  const text = new TextDecoder().decode(bytes)
  const inner = [...text.matchAll(/"data":"([^"]*)"/g)].map(([, data = ""]) => textOf(Buffer.from(data, "base64")))
  return [text, ...inner].join(" ")
}

/** What has to stay of a repository, the slow way. */
export const model = (
  graph: GraphFixture.Graph,
  held: ReadonlyArray<string>,
  roots: ReadonlyArray<string> | undefined
): ReadonlyArray<string> => {
  const nodes = [...graph.manifests].filter(([digest]) => held.includes(digest))
  const texts = new Map(nodes.map(([digest, { bytes }]) => [digest, textOf(bytes)]))
  const live = new Set(roots ?? texts.keys())
  for (let size = -1; size !== live.size; ) {
    size = live.size
    for (const [digest, node] of graph.manifests) {
      const named = [...live].some((each) => texts.get(each)?.includes(digest))
      const refers = node.subject !== undefined && live.has(node.subject.digest)
      if (named || (refers && texts.has(digest))) live.add(digest)
    }
  }
  return held.filter((digest) => live.has(digest) || [...live].some((each) => texts.get(each)?.includes(digest)))
}
