/**
 * What several layers come to, looked up in their trees while it is walked: nothing is merged beforehand.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#applying-changesets
 */
import { Kind } from "./Member.js"
import { split } from "./Path.js"
import { root, Tree } from "./Tree.js"

/** A node of one layer. */
export interface Place {
  /** The layer's position, 0 the lowest. */
  readonly layer: number
  readonly tree: Tree
  readonly node: number
}

/** What the layers make of one name. */
export interface Merged {
  /** Where its name was found first; for how it is called. */
  readonly named: Place
  /** Whether there is such a name in the end. */
  readonly exists: boolean
  /** Where its attributes stand; absent for a folder that only its content mentions. */
  readonly entry: Place | undefined
  /** Of a folder: the layers that its content comes from, the uppermost first. Empty for a file. */
  readonly parts: ReadonlyArray<Place>
  /** Whether layers below the lowest one of the view could add to its content, if it is a folder. */
  readonly open: boolean
  /** Whether layers below the lowest one of the view could change whether it exists, or its attributes. */
  readonly unsure: boolean
}

/** A name on the way down. */
export interface Step {
  readonly merged: Merged
  readonly path: string
}

/** A member and what it is, a hard link taken as the file that it names. */
export interface Target {
  readonly place: Place
  /** Found only in a layer above the link's own: nobody who unpacks layer by layer gets there. */
  readonly late: boolean
}

/** Where a hard link leads in one step; no place where there is no such name. */
interface Hop {
  readonly to: Place | undefined
  readonly late: boolean
}

export class View {
  /**
   * The steps of links that others name, by tree and position. Without them each link of a long chain looks up all those behind it,
   * every one as deep as its path and in all layers. Links straight to a file, the rule, are not kept.
   */
  private readonly hops = new Map<Tree, Map<number, Hop>>()

  /** The trees of the layers, the lowest first; `undefined` for what is no tar. `from` is the position of the first. */
  constructor(
    private readonly trees: ReadonlyArray<Tree | undefined>,
    private readonly from = 0
  ) {}

  /** The folder that holds everything. */
  root(below = this.from + this.trees.length): Merged {
    const places: Array<Place> = []
    for (let layer = below - 1; layer >= this.from; layer--) {
      const tree = this.trees[layer - this.from]
      if (tree !== undefined) places.push({ layer, tree, node: root })
    }
    return merge(places, true) ?? nowhere
  }

  /** The names in a folder, sorted by their bytes; those that do not exist in the end too. */
  *children(folder: Merged): Generator<Merged> {
    const { parts } = folder
    let keys = new Float64Array(16)
    let count = 0
    parts.forEach(({ node, tree }, part) => {
      tree.eachChild(node, (child) => {
        if (count === keys.length) {
          const more = new Float64Array(count * 2)
          more.set(keys)
          keys = more
        }
        keys[count++] = part * 2 ** 32 + child
      })
    })
    const place = (key: number): Place => {
      const part = parts[Math.floor(key / 2 ** 32)] as Place
      return { layer: part.layer, tree: part.tree, node: key % 2 ** 32 }
    }
    const compare = (a: number, b: number): number => {
      const partA = Math.floor(a / 2 ** 32)
      const partB = Math.floor(b / 2 ** 32)
      const treeA = (parts[partA] as Place).tree
      const treeB = (parts[partB] as Place).tree
      return Tree.compare(treeA, a % 2 ** 32, treeB, b % 2 ** 32) || partA - partB
    }
    const sorted = keys.subarray(0, count).sort(compare)
    for (let at = 0; at < count; ) {
      const same = [place(sorted[at] ?? 0)]
      const [first] = same as [Place]
      for (at++; at < count; at++) {
        const next = place(sorted[at] ?? 0)
        if (Tree.compare(first.tree, first.node, next.tree, next.node) !== 0) break
        same.push(next)
      }
      const merged = merge(same, folder.open)
      if (merged !== undefined) yield merged
    }
  }

  /**
   * Everything that exists, folders before their content, each folder's names sorted; `all`: also names that are only there
   * to hide what lower layers have. The root has an empty path.
   */
  *walk(all = false): Generator<Step> {
    const top = this.root()
    yield { merged: top, path: "" }
    const stack = [{ children: this.children(top), prefix: "" }]
    for (let at = stack[stack.length - 1]; at !== undefined; at = stack[stack.length - 1]) {
      const next = at.children.next()
      if (next.done === true) {
        stack.pop()
        continue
      }
      const merged = next.value
      if (!merged.exists && !all) continue
      const path = at.prefix + nameOf(merged.named)
      yield { merged, path }
      if (merged.parts.length > 0) stack.push({ children: this.children(merged), prefix: `${path}/` })
    }
  }

  /** What a path names, as the layers below the given position have it. */
  find(path: Uint8Array, below: number): Merged | undefined {
    let at: Merged | undefined = this.root(below)
    for (const name of split(path)) {
      const same: Array<Place> = []
      for (const { layer, node, tree } of at.parts) {
        const child = tree.find(node, name)
        if (child !== undefined) same.push({ layer, tree, node: child })
      }
      at = merge(same, at.open)
      if (at === undefined || !at.exists) return undefined
    }
    return at
  }

  /**
   * The file that a hard link names, through further ones; what is no link is its own. Looked for in its own layer and
   * those below, then in all. `undefined` where there is none.
   */
  target(place: Place): Target | undefined {
    let at: Place | undefined = place
    let late = false
    for (let links = 0; links <= maxLinks && at !== undefined; links++) {
      if (at.tree.kind(at.node) !== Kind.HardLink) return { place: at, late }
      const hop: Hop = this.hop(at, links > 0)
      late ||= hop.late
      at = hop.to
    }
    return undefined
  }

  private hop(place: Place, isNamed: boolean): Hop {
    const { layer, node, tree } = place
    // The same layer may lie in an image at two positions, and a link leads elsewhere from each.
    const key = layer * 2 ** 32 + node
    const known = this.hops.get(tree)
    const before = known?.get(key)
    if (before !== undefined) return before
    const link = tree.link(node)
    // A whiteout of its own layer does not make the link to a lower one's file any worse.
    const near = this.find(link, layer + 1)?.entry ?? this.find(link, layer)?.entry
    const to = near ?? this.find(link, this.from + this.trees.length)?.entry
    const hop = { to, late: near === undefined }
    if (isNamed || to?.tree.kind(to.node) === Kind.HardLink) {
      if (known === undefined) this.hops.set(tree, new Map([[key, hop]]))
      else known.set(key, hop)
    }
    return hop
  }
}

/** A longer chain of hard links is a circle, or made to cost time. */
const maxLinks = 16

/** The last part of a place's path. */
export const nameOf = ({ node, tree }: Place): string => ascii(tree.name(node)) ?? utf8.decode(tree.name(node))

/** The bytes as UTF-8; what is none becomes U+FFFD. */
export const textOf = (bytes: Uint8Array): string => ascii(bytes) ?? utf8.decode(bytes)

// internal

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** Short names are the rule, and a decoder's call costs more than they do. */
const ascii = (bytes: Uint8Array): string | undefined => {
  if (bytes.length > 64) return undefined
  let text = ""
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (byte > 126) return undefined
    text += String.fromCharCode(byte)
  }
  return text
}

const nowhere: Merged = {
  named: { layer: 0, tree: new Tree({ nodes: 0, bytes: 0 }, false), node: root },
  exists: true,
  entry: undefined,
  parts: [],
  open: true,
  unsure: true
}

/** What the layers say about one name, the uppermost first; `open` is its folder's. */
const merge = (places: ReadonlyArray<Place>, open: boolean): Merged | undefined => {
  const [named] = places
  if (named === undefined) return undefined
  const parts: Array<Place> = []
  let entry: Place | undefined
  let exists = false
  // Whether content of lower layers shows, and whether anything of them does.
  let through = true
  let further = true
  for (const place of places) {
    const { node, tree } = place
    const kind = tree.kind(node)
    if (kind >= Kind.File) {
      // A file under a folder is gone.
      further = false
      through = false
      if (!exists) return { named, exists: true, entry: place, parts: [], open: false, unsure: false }
      break
    }
    if (kind === Kind.Folder && entry === undefined) entry = place
    if (kind !== Kind.Nothing) exists = true
    if (through) parts.push(place)
    if (tree.isOpaque(node)) through = false
    if (tree.isBottom(node)) {
      further = false
      through = false
      break
    }
  }
  return {
    named,
    exists,
    entry,
    parts,
    open: open && through,
    unsure: open && further && entry === undefined
  }
}
