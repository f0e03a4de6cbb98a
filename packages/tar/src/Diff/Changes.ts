/** What differs between the files of two images: both are walked side by side, by name. */
import { entryOf, type FileEntry, implied } from "../Files/Entry.js"
import { Kind } from "../Files/Member.js"
import { Tree } from "../Files/Tree.js"
import { type Merged, nameOf, type Place, type View } from "../Files/View.js"

export type Aspect = "type" | "mode" | "owner" | "size" | "content" | "link" | "device"

export interface FileChange {
  readonly change: "added" | "removed" | "modified"
  readonly path: string
  readonly before: FileEntry | undefined
  readonly after: FileEntry | undefined
  /** What of a modified file is another; its time alone is no change. */
  readonly aspects: ReadonlyArray<Aspect>
  /** Bytes that the file has more than before. */
  readonly sizeChange: number
}

/** A view, and how many of its lowest layers the other one has too. */
export interface Side {
  readonly view: View
  readonly shared: number
}

/** All changes, sorted as `files` sorts. */
export function* changes(a: Side, b: Side): Generator<FileChange> {
  const compare = (path: string, before: Merged | undefined, after: Merged | undefined) =>
    changeOf(path, a.view, before, b.view, after)
  const top = compare("", a.view.root(), b.view.root())
  if (top !== undefined) yield top
  const stack = [{ pairs: pairs(a.view, a.view.root(), b.view, b.view.root()), prefix: "" }]
  for (let at = stack[stack.length - 1]; at !== undefined; at = stack[stack.length - 1]) {
    const next = at.pairs.next()
    if (next.done === true) {
      stack.pop()
      continue
    }
    const { after, before } = next.value
    if (before !== undefined && after !== undefined && isSame(before, after, a.shared)) continue
    const named = before ?? after
    if (named === undefined) continue
    const path = at.prefix + nameOf(named.named)
    const change = compare(path, before, after)
    if (change !== undefined) yield change
    if ((before?.parts.length ?? 0) + (after?.parts.length ?? 0) > 0) {
      stack.push({ pairs: pairs(a.view, before, b.view, after), prefix: `${path}/` })
    }
  }
}

/**
 * Whether layers below could make a difference between these two, which hold all layers above. Where they hold the same
 * names, whatever lies below is hidden from both or shows in both.
 */
export const dependsOnLower = (a: View, b: View): boolean => {
  const top = { before: a.root(), after: b.root() }
  if (top.before.unsure !== top.after.unsure) return true
  const stack: Array<Pair> = [top]
  for (let pair = stack.pop(); pair !== undefined; pair = stack.pop()) {
    const { after, before } = pair
    if (before.open !== after.open) return true
    for (const { after: right, before: left } of pairs(a, before, b, after, true)) {
      if (left === undefined || right === undefined) {
        // One says something about this name, and the other shows what lies below, if anything.
        if (before.open) return true
        continue
      }
      if (left.unsure !== right.unsure) return true
      if (leadsBelow(a, left) || leadsBelow(b, right)) return true
      if (left.parts.length > 0 || right.parts.length > 0) stack.push({ before: left, after: right })
    }
  }
  return false
}

// internal

interface Pair {
  readonly before: Merged
  readonly after: Merged
}

interface Found {
  readonly before: Merged | undefined
  readonly after: Merged | undefined
}

/** The names of two folders, each once. `all`: also those that do not exist in the end. */
function* pairs(a: View, left: Merged | undefined, b: View, right: Merged | undefined, all = false): Generator<Found> {
  const before = present(a, left, all)
  const after = present(b, right, all)
  let x = before.next()
  let y = after.next()
  while (x.done !== true || y.done !== true) {
    const order =
      x.done === true
        ? 1
        : y.done === true
          ? -1
          : Tree.compare(x.value.named.tree, x.value.named.node, y.value.named.tree, y.value.named.node)
    yield {
      before: order <= 0 && x.done !== true ? x.value : undefined,
      after: order >= 0 && y.done !== true ? y.value : undefined
    }
    const [goX, goY] = [order <= 0, order >= 0]
    if (goX) x = before.next()
    if (goY) y = after.next()
  }
}

function* present(view: View, folder: Merged | undefined, all: boolean): Generator<Merged> {
  if (folder === undefined) return
  for (const merged of view.children(folder)) if (all || merged.exists) yield merged
}

/** Whether a hard link's file lies in a layer that is not read. */
const leadsBelow = (view: View, { entry }: Merged): boolean =>
  entry !== undefined && entry.tree.kind(entry.node) === Kind.HardLink && view.target(entry) === undefined

/** Whether both come from the very same members, so that all below them is equal. */
const isSame = (a: Merged, b: Merged, shared: number): boolean =>
  isSamePlace(a.entry, b.entry, shared) &&
  a.parts.length === b.parts.length &&
  a.parts.every((part, at) => isSamePlace(part, b.parts[at], shared))

/** A hard link's file depends on the layers below its own, which are the same only at the bottom of both. */
const isSamePlace = (a: Place | undefined, b: Place | undefined, shared: number): boolean =>
  a === undefined || b === undefined
    ? a === b
    : a.tree === b.tree && a.node === b.node && (!a.tree.hasLinks || (a.layer < shared && b.layer < shared))

const changeOf = (
  path: string,
  a: View,
  before: Merged | undefined,
  b: View,
  after: Merged | undefined
): FileChange | undefined => {
  const left = before === undefined ? undefined : tell(path, a, before)
  const right = after === undefined ? undefined : tell(path, b, after)
  if (left === undefined && right === undefined) return undefined
  const sizeChange = (right?.size ?? 0) - (left?.size ?? 0)
  const found = { path, before: left, after: right, sizeChange }
  if (left === undefined) return { ...found, change: "added", aspects: [] }
  if (right === undefined) return { ...found, change: "removed", aspects: [] }
  const aspects = aspectsOf(a, before?.entry, left, b, after?.entry, right)
  return aspects.length === 0 ? undefined : { ...found, change: "modified", aspects }
}

/** The root is a file like others only where a layer lists it. */
const tell = (path: string, view: View, { entry, named }: Merged): FileEntry | undefined => {
  if (entry !== undefined) return entryOf(path, entry, view.target(entry))
  return path === "" ? undefined : implied(path, named.layer)
}

const aspectsOf = (
  a: View,
  placeA: Place | undefined,
  before: FileEntry,
  b: View,
  placeB: Place | undefined,
  after: FileEntry
): ReadonlyArray<Aspect> => {
  // What a folder is that nobody lists is decided by those who unpack.
  if (placeA === undefined || placeB === undefined) return before.type === after.type ? [] : ["type"]
  // Which of two names is the link to the other is chance: both are the file.
  const left = a.target(placeA)?.place
  const right = b.target(placeB)?.place
  if (left === undefined || right === undefined) {
    return left === right && before.link === after.link ? [] : ["link"]
  }
  const kind = left.tree.kind(left.node)
  if (kind !== right.tree.kind(right.node)) return ["type"]
  const isDevice = kind === Kind.Character || kind === Kind.Block
  const hasSize = left.tree.size(left.node) === right.tree.size(right.node)
  const found: ReadonlyArray<readonly [Aspect, boolean]> = [
    // A symlink's own permissions mean nothing, and tools write what they like.
    ["mode", kind !== Kind.Symlink && before.mode !== after.mode],
    ["owner", before.uid !== after.uid || before.gid !== after.gid],
    ["link", kind === Kind.Symlink && linkText(left) !== linkText(right)],
    ["device", isDevice && !hasSize],
    ["size", kind === Kind.File && !hasSize],
    ["content", kind === Kind.File && !Tree.sameContent(left.tree, left.node, right.tree, right.node)]
  ]
  return found.flatMap(([aspect, isOther]) => (isOther ? [aspect] : []))
}

const linkText = ({ node, tree }: Place): string => String.fromCharCode(...tree.link(node))
