/** Which layers two images share. */
import type { ImageLayer } from "../Files/Image.js"

/** `before` and `after` are the same layer where both are there; it may be compressed in two ways. */
export interface LayerChange {
  readonly change: "same" | "removed" | "added"
  readonly before: ImageLayer | undefined
  readonly after: ImageLayer | undefined
}

/** Whether they have the same content: by the tar where both configs tell its digest, else by the blob. */
export const isSame = (a: ImageLayer, b: ImageLayer): boolean =>
  a.descriptor.digest === b.descriptor.digest || (a.diffId !== undefined && a.diffId === b.diffId)

/** How many layers, from the lowest one on, are the same. */
export const shared = (a: ReadonlyArray<ImageLayer>, b: ReadonlyArray<ImageLayer>): number => {
  let count = 0
  for (; count < a.length && count < b.length; count++) {
    const [before, after] = [a[count], b[count]]
    if (before === undefined || after === undefined || !isSame(before, after)) break
  }
  return count
}

/** The layers of both, the lowest first, in as few steps as there can be. */
export const changes = (a: ReadonlyArray<ImageLayer>, b: ReadonlyArray<ImageLayer>): ReadonlyArray<LayerChange> => {
  const below = shared(a, b)
  const same = a.slice(0, below).map((before, at): LayerChange => ({ change: "same", before, after: b[at] }))
  return [...same, ...between(a.slice(below), b.slice(below))]
}

// internal

/** More pairs than these are not compared: they are told as removed and added. */
const maxPairs = 1_000_000

const between = (a: ReadonlyArray<ImageLayer>, b: ReadonlyArray<ImageLayer>): ReadonlyArray<LayerChange> => {
  const removed = (before: ImageLayer): LayerChange => ({ change: "removed", before, after: undefined })
  const added = (after: ImageLayer): LayerChange => ({ change: "added", before: undefined, after })
  if (a.length * b.length > maxPairs) return [...a.map(removed), ...b.map(added)]
  // lengths[i][j]: how many layers a from i on and b from j on have in common, in order.
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1))
  const at = (i: number, j: number): number => lengths[i]?.[j] ?? 0
  const same = (i: number, j: number): boolean => {
    const [before, after] = [a[i], b[j]]
    return before !== undefined && after !== undefined && isSame(before, after)
  }
  for (let i = a.length - 1; i >= 0; i--) {
    const row = lengths[i] ?? new Uint32Array(0)
    for (let j = b.length - 1; j >= 0; j--)
      row[j] = same(i, j) ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
  }
  const found: Array<LayerChange> = []
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const [before, after] = [a[i], b[j]]
    if (before !== undefined && after !== undefined && same(i, j)) {
      found.push({ change: "same", before, after })
      i++
      j++
    } else if (before !== undefined && (after === undefined || at(i + 1, j) >= at(i, j + 1))) {
      found.push(removed(before))
      i++
    } else if (after !== undefined) {
      found.push(added(after))
      j++
    }
  }
  return found
}
