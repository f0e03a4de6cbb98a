/**
 * The names of one layer as a tree in a few arrays of numbers, about a hundred bytes for a file, so that a million of them
 * are no burden. Of two members with one name the later counts, as when a tar is unpacked.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts
 */

import { type Attributes, type Budget, Kind } from "./Member.js"
import { isDots, maxPath, Parts, startsWith } from "./Path.js"

/** The node of the folder that holds everything. */
export const root = 0
/** What `add` returns for a name that it left out on purpose. */
export const ignored = -1

export class Tree {
  /** Whether the budget is used up: what came since then is not in the tree. */
  full = false
  /** Whether there are hard links: their content depends on the layers below. */
  hasLinks = false
  private count = 1
  private parents = new Uint32Array(first)
  private nameAt = new Uint32Array(first)
  private nameLength = new Uint16Array(first)
  private firstChild = new Uint32Array(first)
  private nextSibling = new Uint32Array(first)
  private kinds = new Uint8Array(first)
  private flags = new Uint8Array(first)
  private modes = new Uint16Array(first)
  private uids = new Uint32Array(first)
  private gids = new Uint32Array(first)
  private sizes = new Float64Array(first)
  private mtimes = new Float64Array(first)
  private linkAt = new Uint32Array(first)
  private linkLength = new Uint16Array(first)
  /** 16 bytes for each node, where content is hashed. */
  private contents: Uint8Array
  private slots = new Uint32Array(first * 2)
  private names = new Uint8Array(first * 16)
  private used = 0
  private readonly parts = new Parts()
  private readonly seed = Math.floor(Math.random() * 2 ** 31)

  constructor(
    private readonly left: Budget,
    private readonly hashed: boolean
  ) {
    this.contents = new Uint8Array(hashed ? first * 16 : 0)
  }

  /** Takes a member of a layer, whiteouts as what they mean. Returns its node, `ignored`, or why it cannot stand in an image. */
  add(path: Uint8Array, attributes: Attributes): number | string {
    const depth = this.parts.read(path)
    if (typeof depth === "string") return depth
    if (attributes.link.length > maxPath) return `it points to a name of ${attributes.link.length} bytes`
    if (this.full) return ignored
    if (depth === 0) {
      if (attributes.kind !== Kind.Folder) return "it is the root, and no folder"
      this.set(root, attributes)
      return root
    }
    const start = this.parts.start(depth - 1)
    const end = this.parts.end(depth - 1)
    if (startsWith(path, start, end, whiteout)) return this.hide(path, depth, start, end)
    // Where aufs kept what it knew about the layer.
    if (depth > 1 && startsWith(path, this.parts.start(0), this.parts.end(0), metadata)) return ignored
    const node = this.child(this.walk(path, depth - 1, Kind.Implied), path, start, end)
    if (this.full) return ignored
    this.set(node, attributes)
    return node
  }

  /** The first 128 bits of a digest, `sha256:…`. */
  setContent(node: number, digest: string): void {
    const from = digest.indexOf(":") + 1
    for (let n = 0; n < 16; n++) {
      this.contents[node * 16 + n] = Number.parseInt(digest.slice(from + 2 * n, from + 2 * n + 2), 16)
    }
  }

  /** Members whose names are shown, whiteouts included. */
  get entries(): number {
    let entries = 0
    for (let node = 0; node < this.count; node++) {
      const flags = this.flags[node] ?? 0
      if (flags & detached) continue
      if (this.kind(node) >= Kind.Folder) entries++
      if (flags & hides) entries++
      if (flags & opaque) entries++
    }
    return entries
  }

  kind(node: number): Kind {
    return (this.kinds[node] ?? Kind.Nothing) as Kind
  }
  /** The layer removes what lower ones have under this name. */
  isWhiteout(node: number): boolean {
    return ((this.flags[node] ?? 0) & hides) !== 0
  }
  /** Whether nothing of this name comes from lower layers, whatever the reason. */
  isBottom(node: number): boolean {
    return ((this.flags[node] ?? 0) & (hides | covers)) !== 0
  }
  /** The layer removes what lower ones have in this folder. */
  isOpaque(node: number): boolean {
    return ((this.flags[node] ?? 0) & opaque) !== 0
  }
  mode(node: number): number {
    return this.modes[node] ?? 0
  }
  uid(node: number): number {
    return this.uids[node] ?? 0
  }
  gid(node: number): number {
    return this.gids[node] ?? 0
  }
  size(node: number): number {
    return this.sizes[node] ?? 0
  }
  mtime(node: number): number {
    return this.mtimes[node] ?? 0
  }
  name(node: number): Uint8Array {
    const at = this.nameAt[node] ?? 0
    return this.names.subarray(at, at + (this.nameLength[node] ?? 0))
  }
  link(node: number): Uint8Array {
    const at = this.linkAt[node] ?? 0
    return this.names.subarray(at, at + (this.linkLength[node] ?? 0))
  }

  /** Calls back with every child, in no order. */
  eachChild(node: number, call: (child: number) => void): void {
    for (let at = this.firstChild[node] ?? 0; at !== 0; at = this.nextSibling[at] ?? 0) call(at)
  }

  /** The child of this name, `undefined` where there is none. */
  find(parent: number, name: Uint8Array): number | undefined {
    const node = this.slots[this.slot(parent, name, 0, name.length)] ?? 0
    return node === 0 || (this.flags[node] ?? 0) & detached ? undefined : node
  }

  /** Less than zero, zero or more, as the names of two nodes of any trees compare by their bytes. */
  static compare(a: Tree, nodeA: number, b: Tree, nodeB: number): number {
    const atA = a.nameAt[nodeA] ?? 0
    const atB = b.nameAt[nodeB] ?? 0
    const lengthA = a.nameLength[nodeA] ?? 0
    const lengthB = b.nameLength[nodeB] ?? 0
    const length = Math.min(lengthA, lengthB)
    for (let n = 0; n < length; n++) {
      const difference = (a.names[atA + n] ?? 0) - (b.names[atB + n] ?? 0)
      if (difference !== 0) return difference
    }
    return lengthA - lengthB
  }

  /** Whether two files of equal size have the same content, as far as their data was hashed. */
  static sameContent(a: Tree, nodeA: number, b: Tree, nodeB: number): boolean {
    for (let n = 0; n < 16; n++) if (a.contents[nodeA * 16 + n] !== b.contents[nodeB * 16 + n]) return false
    return true
  }

  /** A whiteout is a rule for lower layers; the other names of its kind are those of a file system that is out of use. */
  private hide(path: Uint8Array, depth: number, start: number, end: number): number | string {
    const from = start + whiteout.length
    if (startsWith(path, from, end, whiteout)) {
      if (end - from !== opaqueRest.length || !startsWith(path, from, end, opaqueRest)) return ignored
      const folder = this.walk(path, depth - 1, Kind.Nothing)
      this.flags[folder] = (this.flags[folder] ?? 0) | opaque
      return ignored
    }
    if (isDots(path, from, end)) return "it is a whiteout of no name"
    const node = this.child(this.walk(path, depth - 1, Kind.Nothing), path, from, end)
    if (!this.full) this.flags[node] = (this.flags[node] ?? 0) | hides
    return ignored
  }

  /** The node of the first `depth` parts of a path, made where it is missing; `Implied` makes folders of them. */
  private walk(path: Uint8Array, depth: number, least: Kind): number {
    let node = root
    for (let n = 0; n < depth && !this.full; n++) {
      node = this.child(node, path, this.parts.start(n), this.parts.end(n))
      const kind = this.kind(node)
      if (least === Kind.Implied && (kind === Kind.Nothing || kind > Kind.Folder)) this.kinds[node] = Kind.Implied
    }
    return node
  }

  private child(parent: number, path: Uint8Array, start: number, end: number): number {
    const slot = this.slot(parent, path, start, end)
    const known = this.slots[slot] ?? 0
    if (known !== 0) {
      if ((this.flags[known] ?? 0) & detached) this.attach(known, parent)
      return known
    }
    const length = end - start
    if (this.left.nodes < 1 || this.left.bytes < length) {
      this.full = true
      return root
    }
    this.left.nodes--
    const node = this.count++
    if (node >= this.parents.length) this.grow()
    this.parents[node] = parent
    this.nameAt[node] = this.keep(path.subarray(start, end))
    this.nameLength[node] = length
    this.attach(node, parent)
    this.slots[node * 2 > this.slots.length ? this.rehash(parent, path, start, end) : slot] = node
    return node
  }

  private attach(node: number, parent: number): void {
    this.flags[node] = 0
    this.kinds[node] = Kind.Nothing
    this.firstChild[node] = 0
    this.nextSibling[node] = this.firstChild[parent] ?? 0
    this.firstChild[parent] = node
  }

  private set(node: number, attributes: Attributes): void {
    const { gid, kind, link, mode, mtime, size, uid } = attributes
    if (kind > Kind.Folder) {
      this.clear(node)
      this.flags[node] = (this.flags[node] ?? 0) | covers
    }
    this.kinds[node] = kind
    this.modes[node] = mode
    this.uids[node] = uid
    this.gids[node] = gid
    this.sizes[node] = size
    this.mtimes[node] = mtime
    if (this.hashed) this.contents.fill(0, node * 16, node * 16 + 16)
    if (kind === Kind.HardLink) this.hasLinks = true
    if (link.length === 0) {
      this.linkLength[node] = 0
    } else if (this.left.bytes < link.length) {
      this.full = true
    } else {
      this.linkAt[node] = this.keep(link)
      this.linkLength[node] = link.length
    }
  }

  /** Takes everything below a node away. */
  private clear(node: number): void {
    const below = [node]
    for (let at = below.pop(); at !== undefined; at = below.pop()) {
      this.eachChild(at, (child) => {
        this.flags[child] = (this.flags[child] ?? 0) | detached
        below.push(child)
      })
      this.firstChild[at] = 0
    }
  }

  private keep(bytes: Uint8Array): number {
    const at = this.used
    this.left.bytes -= bytes.length
    this.used += bytes.length
    if (this.used > this.names.length) {
      const names = new Uint8Array(Math.max(this.used, this.names.length * 2))
      names.set(this.names)
      this.names = names
    }
    this.names.set(bytes, at)
    return at
  }

  private grow(): void {
    const size = this.parents.length * 2
    this.parents = grown(this.parents, new Uint32Array(size))
    this.nameAt = grown(this.nameAt, new Uint32Array(size))
    this.nameLength = grown(this.nameLength, new Uint16Array(size))
    this.firstChild = grown(this.firstChild, new Uint32Array(size))
    this.nextSibling = grown(this.nextSibling, new Uint32Array(size))
    this.kinds = grown(this.kinds, new Uint8Array(size))
    this.flags = grown(this.flags, new Uint8Array(size))
    this.modes = grown(this.modes, new Uint16Array(size))
    this.uids = grown(this.uids, new Uint32Array(size))
    this.gids = grown(this.gids, new Uint32Array(size))
    this.sizes = grown(this.sizes, new Float64Array(size))
    this.mtimes = grown(this.mtimes, new Float64Array(size))
    this.linkAt = grown(this.linkAt, new Uint32Array(size))
    this.linkLength = grown(this.linkLength, new Uint16Array(size))
    if (this.hashed) this.contents = grown(this.contents, new Uint8Array(size * 16))
  }

  /** Where the child of this name stands in the table, or the free place for it. */
  private slot(parent: number, path: Uint8Array, start: number, end: number): number {
    const mask = this.slots.length - 1
    const length = end - start
    let slot = hash(this.seed, parent, path, start, end) & mask
    for (;;) {
      const node = this.slots[slot] ?? 0
      if (node === 0) return slot
      if (this.parents[node] === parent && this.nameLength[node] === length) {
        const at = this.nameAt[node] ?? 0
        let n = 0
        while (n < length && this.names[at + n] === path[start + n]) n++
        if (n === length) return slot
      }
      slot = (slot + 1) & mask
    }
  }

  /** Doubles the table, and returns the place in it for a node that is not in it yet. */
  private rehash(parent: number, path: Uint8Array, start: number, end: number): number {
    const known = this.slots
    this.slots = new Uint32Array(known.length * 2)
    const mask = this.slots.length - 1
    for (const node of known) {
      if (node === 0) continue
      const at = this.nameAt[node] ?? 0
      let slot = hash(this.seed, this.parents[node] ?? 0, this.names, at, at + (this.nameLength[node] ?? 0)) & mask
      while (this.slots[slot] !== 0) slot = (slot + 1) & mask
      this.slots[slot] = node
    }
    return this.slot(parent, path, start, end)
  }
}

// internal

/** Nodes that a tree begins with; a power of two. */
const first = 256

const detached = 1
const hides = 2
const opaque = 4
/** It was a file at a time, so that nothing of lower layers is left when a folder takes its place. */
const covers = 8

const whiteout = new TextEncoder().encode(".wh.")
const metadata = new TextEncoder().encode(".wh..wh.")
/** Behind `.wh.`. */
const opaqueRest = new TextEncoder().encode(".wh..opq")

const grown = <A extends { readonly set: (from: A) => void }>(from: A, to: A): A => {
  to.set(from)
  return to
}

/** Seeded, so that nobody can choose names that all fall on one place. */
const hash = (seed: number, parent: number, bytes: Uint8Array, start: number, end: number): number => {
  let value = Math.imul(seed ^ parent, 0x9e3779b1)
  for (let at = start; at < end; at++) {
    value = Math.imul(value ^ (bytes[at] ?? 0), 0x01000193)
    value ^= value >>> 15
  }
  value = Math.imul(value ^ (value >>> 13), 0x85ebca6b)
  return (value ^ (value >>> 16)) >>> 0
}
