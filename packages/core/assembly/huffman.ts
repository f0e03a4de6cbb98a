/** Huffman codes: optimal lengths within a limit, canonical and bit-reversed. */
import { COUNTS, count, SORT_KEYS, TREE } from "./format"

/** Puts the symbols that occur into SORT_KEYS, rarest first, and returns their number. Ties are broken by the symbol. */
function sortSymbols(frequency: usize, n: u32, lengths: usize): u32 {
  let used: u32 = 0
  for (let i: u32 = 0; i < n; i++) {
    store<u8>(lengths + i, 0)
    const f = load<u32>(frequency + (i << 2))
    if (f) {
      store<u32>(SORT_KEYS + (used << 2), (f << 9) | i)
      used++
    }
  }
  let gap: u32 = used > 120 ? 121 : used > 39 ? 40 : used > 12 ? 13 : used > 4 ? 4 : 1
  for (; ; gap = (gap - 1) / 3) {
    for (let i: u32 = gap; i < used; i++) {
      const key = load<u32>(SORT_KEYS + (i << 2))
      let j = i
      while (j >= gap && load<u32>(SORT_KEYS + ((j - gap) << 2)) > key) {
        store<u32>(SORT_KEYS + (j << 2), load<u32>(SORT_KEYS + ((j - gap) << 2)))
        j -= gap
      }
      store<u32>(SORT_KEYS + (j << 2), key)
    }
    if (gap === 1) break
  }
  return used
}

/** The lighter one of the next leaf and the next inner node. A used inner node is left with the index of its parent. */
let leaf: u32 = 0
let root: u32 = 0
function takeLightest(parent: u32, used: u32): u32 {
  if (leaf >= used || (root < parent && load<u32>(TREE + (root << 2)) < load<u32>(TREE + (leaf << 2)))) {
    const weight = load<u32>(TREE + (root << 2))
    store<u32>(TREE + (root << 2), parent)
    root++
    return weight
  }
  const weight = load<u32>(TREE + (leaf << 2))
  leaf++
  return weight
}

/** Depths of an optimal tree over `used` >= 2 sorted weights, in place (Moffat and Katajainen, 1995). */
function optimalDepths(used: u32): void {
  for (let i: u32 = 0; i < used; i++) store<u32>(TREE + (i << 2), load<u32>(SORT_KEYS + (i << 2)) >> 9)
  // first pass: weights become parent indices
  leaf = 0
  root = 0
  for (let parent: u32 = 0; parent < used - 1; parent++) {
    const one = takeLightest(parent, used)
    const weight = one + takeLightest(parent, used)
    store<u32>(TREE + (parent << 2), weight)
  }
  // second pass: parent indices become depths of inner nodes
  store<u32>(TREE + ((used - 2) << 2), 0)
  for (let i: i32 = <i32>used - 3; i >= 0; i--) {
    const parent = load<u32>(TREE + ((<u32>i) << 2))
    store<u32>(TREE + ((<u32>i) << 2), load<u32>(TREE + (parent << 2)) + 1)
  }
  // third pass: depths of inner nodes become depths of leaves
  let available: i32 = 1
  let depth: u32 = 0
  let inner: i32 = <i32>used - 2
  let next: i32 = <i32>used - 1
  while (available > 0) {
    let taken: i32 = 0
    while (inner >= 0 && load<u32>(TREE + ((<u32>inner) << 2)) === depth) {
      taken++
      inner--
    }
    for (; available > taken; available--) {
      store<u32>(TREE + ((<u32>next) << 2), depth)
      next--
    }
    available = 2 * taken
    depth++
  }
}

/** Counts the codes of each length, and moves codes until none is longer than `longest` and the code is complete again. */
function limitedCounts(used: u32, longest: u32): void {
  for (let i: u32 = 0; i < used; i++) count(COUNTS, min<u32>(load<u32>(TREE + (i << 2)), longest))
  let space: u32 = 0
  for (let n: u32 = longest; n > 0; n--) space += load<u32>(COUNTS + (n << 2)) << (longest - n)
  for (; space !== 1 << longest; space--) {
    store<u32>(COUNTS + (longest << 2), load<u32>(COUNTS + (longest << 2)) - 1)
    for (let n: u32 = longest - 1; n > 0; n--) {
      const have = load<u32>(COUNTS + (n << 2))
      if (have) {
        store<u32>(COUNTS + (n << 2), have - 1)
        store<u32>(COUNTS + ((n + 1) << 2), load<u32>(COUNTS + ((n + 1) << 2)) + 2)
        break
      }
    }
  }
}

/** Builds the code of `n` symbols: lengths of at most `longest` bits, canonical codes, bit-reversed as deflate writes them. */
export function buildCode(frequency: usize, n: u32, longest: u32, codes: usize, lengths: usize): void {
  const used = sortSymbols(frequency, n, lengths)
  memory.fill(COUNTS, 0, 256)
  if (used === 1) {
    store<u32>(COUNTS + 4, 1) // one code of one bit: the format allows this for distances
  } else {
    optimalDepths(used)
    limitedCounts(used, longest)
  }
  // the most frequent symbols, which are last, get the shortest codes
  let at: u32 = used
  for (let length: u32 = 1; length <= longest; length++) {
    for (let c = load<u32>(COUNTS + (length << 2)); c > 0; c--) {
      at--
      store<u8>(lengths + (load<u32>(SORT_KEYS + (at << 2)) & 511), <u8>length)
    }
  }
  // TREE now holds the next code of each length
  let code: u32 = 0
  for (let length: u32 = 1; length <= longest; length++) {
    code = (code + (length > 1 ? load<u32>(COUNTS + ((length - 1) << 2)) : 0)) << 1
    store<u32>(TREE + (length << 2), code)
  }
  for (let i: u32 = 0; i < n; i++) {
    const length: u32 = load<u8>(lengths + i)
    if (!length) {
      store<u32>(codes + (i << 2), 0)
      continue
    }
    let c = load<u32>(TREE + (length << 2))
    store<u32>(TREE + (length << 2), c + 1)
    let reversed: u32 = 0
    for (let b: u32 = 0; b < length; b++) {
      reversed = (reversed << 1) | (c & 1)
      c >>= 1
    }
    store<u32>(codes + (i << 2), reversed | (length << 16))
  }
}
