/** Which manifests of a repository are live, and which blobs they need. */
import type { Digest } from "@effect-registry/core"
import type { References } from "./References.js"

/** What each manifest of a repository names. */
export type Graph = ReadonlyMap<Digest.Digest, References>

/**
 * The manifests that `roots` lead to: what a live one names in any way, also its subject, and what refers to a live one.
 */
export const live = (graph: Graph, roots: Iterable<Digest.Digest>): ReadonlySet<Digest.Digest> => {
  const referrers = referrersIn(graph)
  // Also what is no manifest here: a referrer may come before its subject, and a subject may be a blob.
  const reached = new Set<Digest.Digest>()
  const open = [...roots]
  for (let digest = open.pop(); digest !== undefined; digest = open.pop()) {
    if (reached.has(digest)) continue
    reached.add(digest)
    for (const next of graph.get(digest)?.names ?? []) if (!reached.has(next)) open.push(next)
    for (const next of referrers.get(digest) ?? []) if (!reached.has(next)) open.push(next)
  }
  return new Set([...graph.keys()].filter((digest) => reached.has(digest)))
}

/** Whatever any of these manifests names. */
export const named = (graph: Graph): ReadonlySet<Digest.Digest> => {
  const all = new Set<Digest.Digest>()
  for (const { names } of graph.values()) for (const digest of names) all.add(digest)
  return all
}

/**
 * Those that keep others alive in front of those: parents before children, an image before its signatures. Cut short, removing them
 * in this order leaves nothing that lacks a part.
 */
export const inOrder = (graph: Graph, digests: ReadonlySet<Digest.Digest>): ReadonlyArray<Digest.Digest> => {
  const referrers = referrersIn(graph)
  const followers = (digest: Digest.Digest) => {
    const { names = [], subject } = graph.get(digest) ?? {}
    return [...names.filter((name) => name !== subject), ...(referrers.get(digest) ?? [])]
  }
  const ordered: Array<Digest.Digest> = []
  const seen = new Set<Digest.Digest>()
  for (const start of digests) {
    const open: Array<{ readonly digest: Digest.Digest; readonly done: boolean }> = [{ digest: start, done: false }]
    for (let top = open.pop(); top !== undefined; top = open.pop()) {
      if (top.done) ordered.push(top.digest)
      else if (!seen.has(top.digest)) {
        seen.add(top.digest)
        open.push({ digest: top.digest, done: true })
        for (const next of followers(top.digest)) {
          if (digests.has(next) && !seen.has(next)) open.push({ digest: next, done: false })
        }
      }
    }
  }
  return ordered.reverse()
}

// internal

const referrersIn = (graph: Graph): ReadonlyMap<Digest.Digest, ReadonlyArray<Digest.Digest>> => {
  const found = new Map<Digest.Digest, Array<Digest.Digest>>()
  for (const [digest, { subject }] of graph) {
    if (subject === undefined) continue
    const all = found.get(subject)
    if (all === undefined) found.set(subject, [digest])
    else all.push(digest)
  }
  return found
}
