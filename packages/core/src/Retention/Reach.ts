/** Which manifests nothing needs any more once some tags are gone. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Digest } from "../model/Digest.js"
import * as Referrer from "../model/Referrer.js"
import type { Connection } from "../Registry/Connection.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import type { Graph, Node } from "./Graph.js"
import type { ManifestDeletion } from "./Plan.js"

type Failure = RegistryError | ValidationError

/** What tags name. */
export interface Tags {
  /** Of tags that stay. */
  readonly kept: ReadonlyArray<Digest>
  /** Of tags that go. */
  readonly going: ReadonlyArray<Digest>
  /** `sha256-…`, with what each names: they stay or go with the manifest that they are made of. */
  readonly digestTags: ReadonlyMap<string, Digest>
}

export interface Reach {
  /** Each behind those that lead to it. */
  readonly manifests: ReadonlyArray<ManifestDeletion>
  readonly digestTags: ReadonlyArray<string>
}

/**
 * The manifests that go with their tags, and those below and about them: children of an index, referrers, and what
 * `sha256-…` tags keep about them. What a tag that stays leads to is never among them, nor what refers to such a thing.
 */
export const reach = (connection: Connection, graph: Graph, tags: Tags): Effect.Effect<Reach, Failure> =>
  Effect.gen(function* () {
    const keptRoots = new Set(tags.kept)
    const keptTags = new Set<string>()
    // What turns out to be needed may need more. Every turn but the last keeps something, so it ends.
    while (true) {
      const roots = [...keptRoots, ...[...keptTags].flatMap((tag) => tags.digestTags.get(tag) ?? [])]
      const needed = yield* neededBy(connection, graph, roots)
      const open = [...tags.digestTags].filter(([tag]) => !keptTags.has(tag))
      const about = new Map<string, ReadonlyArray<Digest>>()
      for (const [tag, digest] of open) about.set(keyOf(tag), [...(about.get(keyOf(tag)) ?? []), digest])
      const { found, staying } = yield* descend(connection, graph, tags.going, needed, ({ children, digest: from }) =>
        Effect.map(graph.referrers(from), (listed) => [
          ...children.map(({ digest }) => ({ from, to: digest, claimed: false })),
          ...listed.map((to) => ({ from, to, claimed: true })),
          ...(about.get(Referrer.fallbackTag(from)) ?? []).map((to) => ({ from, to, claimed: false }))
        ])
      )
      const going = new Set([...found.keys()].map(Referrer.fallbackTag))
      const stayingTags = open.flatMap(([tag]) => (going.has(keyOf(tag)) ? [] : [tag]))
      if (staying.length === 0 && stayingTags.length === 0) {
        const manifests = [...found].map(([digest, after]) => ({ digest, after: [...after] }))
        return { manifests, digestTags: open.map(([tag]) => tag) }
      }
      for (const digest of staying) keptRoots.add(digest)
      for (const tag of stayingTags) keptTags.add(tag)
    }
  })

/** Everything that these lead to, themselves included: children of indexes, the subject of a referrer, and referrers. */
export const neededBy = (
  { client }: Connection,
  graph: Graph,
  roots: Iterable<Digest>
): Effect.Effect<ReadonlySet<Digest>, Failure> =>
  Effect.gen(function* () {
    const needed = new Set<Digest>()
    let level = [...new Set(roots)]
    while (level.length > 0) {
      for (const digest of level) needed.add(digest)
      const next = yield* Effect.forEach(level, (digest) => leadsTo(graph, digest), {
        concurrency: client.config.concurrency
      })
      level = [...new Set(next.flat())].filter((digest) => !needed.has(digest))
    }
    return needed
  })

/** `sha256-` and 64 digits: whatever follows, the tag belongs to the digest whose `Referrer.fallbackTag` that is. */
export const keyOf = (tag: string): string => tag.slice(0, "sha256-".length + 64)

// internal

/** A manifest of a type that names no others has no children; one that is broken could lead anywhere. */
const leadsTo = (graph: Graph, digest: Digest): Effect.Effect<ReadonlyArray<Digest>, Failure> =>
  Effect.gen(function* () {
    const node = yield* Effect.catchIf(
      graph.look(digest),
      (error) => error._tag === "ValidationError" && error.reason === "UnsupportedManifest",
      () => Effect.succeedNone
    )
    const named = Option.match(node, {
      onNone: () => [],
      onSome: ({ named, subject }) => [...named, ...(subject === undefined ? [] : [subject])]
    })
    return [...named, ...(yield* graph.referrers(digest))]
  })

/** Whether it refers to something needed, or to what does: a registry may not list all of its referrers. */
const refersToNeeded = (graph: Graph, node: Node, needed: ReadonlySet<Digest>): Effect.Effect<boolean, Failure> =>
  Effect.gen(function* () {
    let at: Node | undefined = node
    while (at?.subject !== undefined) {
      if (needed.has(at.subject)) return true
      at = Option.getOrUndefined(yield* lookForGoing(graph, at.subject))
    }
    return false
  })

interface Descent {
  /** In the order they were found, with those that lead to each and were found before. */
  readonly found: ReadonlyMap<Digest, ReadonlySet<Digest>>
  /** Those that refer to something needed, and so stay. */
  readonly staying: ReadonlyArray<Digest>
}

/** From one manifest to another that goes with it. */
interface Edge {
  readonly from: Digest | undefined
  readonly to: Digest
  /** The registry says that `to` refers to `from`: its own `subject` decides. */
  readonly claimed: boolean
}

const descend = (
  { client }: Connection,
  graph: Graph,
  roots: ReadonlyArray<Digest>,
  needed: ReadonlySet<Digest>,
  edgesOf: (node: Node) => Effect.Effect<ReadonlyArray<Edge>, Failure>
): Effect.Effect<Descent, Failure> =>
  Effect.gen(function* () {
    const places = new Map<Digest, number>()
    const found = new Map<Digest, Set<Digest>>()
    const staying: Array<Digest> = []
    const rootSet = new Set(roots)
    let level: ReadonlyArray<Edge> = roots.map((to) => ({ from: undefined, to, claimed: false }))
    while (level.length > 0) {
      const fresh = [...new Set(level.map(({ to }) => to))].filter((to) => !found.has(to) && !needed.has(to))
      const nodes = new Map(
        (yield* Effect.forEach(fresh, (digest) => lookForGoing(graph, digest), {
          concurrency: client.config.concurrency
        }))
          .flatMap(Option.toArray)
          .map((node) => [node.digest, node])
      )
      const added: Array<Node> = []
      for (const { claimed, from, to } of level) {
        const node = nodes.get(to)
        if (node !== undefined && claimed && node.subject !== from) continue
        if (node !== undefined && !found.has(to)) {
          if (yield* refersToNeeded(graph, node, needed)) {
            staying.push(to)
            continue
          }
          places.set(to, places.size)
          found.set(to, new Set())
          added.push(node)
        }
        const isBefore = from !== undefined && (places.get(from) ?? 0) < (places.get(to) ?? -1)
        if (isBefore && !rootSet.has(to)) found.get(to)?.add(from)
      }
      level = (yield* Effect.forEach(added, edgesOf, { concurrency: client.config.concurrency })).flat()
    }
    return { found, staying }
  })

/** What cannot be read leads nowhere that we would delete, and stays itself. */
const lookForGoing = (graph: Graph, digest: Digest): Effect.Effect<Option.Option<Node>, Failure> =>
  Effect.catchTag(graph.look(digest), "ValidationError", () => Effect.succeedNone)
