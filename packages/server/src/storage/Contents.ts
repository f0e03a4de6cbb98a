/**
 * What the backends in memory share: the bytes of every blob and manifest, once, and which repository holds which. Bytes lie in
 * blocks, so that an upload grows without being copied as a whole and a reader gets views of them.
 */
import { Readable } from "node:stream"
import type { Digest } from "@effect-registry/core"

/** Bytes of every block but the last. */
export const blockSize = 1 << 20

export interface Content {
  /** Bytes. */
  readonly size: number
  readonly blocks: ReadonlyArray<Uint8Array>
  /** Milliseconds since 1970. */
  touched: number
}

export interface Contents {
  readonly all: Map<Digest.Digest, Content>
  /** By repository, also those that once held something. */
  readonly held: Map<string, Set<Digest.Digest>>
}

export const make = (): Contents => ({ all: new Map(), held: new Map() })

/** The content, if this repository holds it. */
export const find = ({ all, held }: Contents, repository: string, digest: Digest.Digest): Content | undefined =>
  held.get(repository)?.has(digest) === true ? all.get(digest) : undefined

/** Gives it to a repository; bytes that are there already stay as they are. */
export const hold = (
  { all, held }: Contents,
  repository: string,
  digest: Digest.Digest,
  { blocks, size }: Omit<Content, "touched">,
  now: number
): void => {
  const content = all.get(digest) ?? { blocks, size, touched: now }
  content.touched = now
  all.set(digest, content)
  const digests = held.get(repository) ?? new Set()
  held.set(repository, digests.add(digest))
}

/**
 * Takes it from a repository; the bytes stay. `false` where there was nothing to take, or it was touched since `before`
 * (milliseconds since 1970).
 */
export const release = (contents: Contents, repository: string, digest: Digest.Digest, before = Infinity): boolean => {
  const content = find(contents, repository, digest)
  if (content === undefined || content.touched >= before) return false
  return contents.held.get(repository)?.delete(digest) ?? false
}

/** Whether any repository holds it. */
export const isHeld = ({ held }: Contents, digest: Digest.Digest): boolean => {
  for (const digests of held.values()) if (digests.has(digest)) return true
  return false
}

/** Views of the bytes from `start` up to and including `end`, one a block. */
export const open = ({ blocks }: Pick<Content, "blocks">, start: number, end: number): Readable => {
  let at = start
  return new Readable({
    highWaterMark: blockSize,
    read() {
      const block = at > end ? undefined : blocks[Math.floor(at / blockSize)]
      if (block === undefined) return void this.push(null)
      const from = at % blockSize
      const view = block.subarray(from, from + end - at + 1)
      at += view.length
      this.push(view)
    }
  })
}

/** Views of bytes that are in one piece. */
export const cut = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const blocks: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += blockSize) blocks.push(bytes.subarray(at, at + blockSize))
  return blocks
}

/** Bytes that come one chunk after the other, copied into blocks: many small chunks cost no more than their bytes. */
export interface Growing {
  readonly add: (chunk: Uint8Array) => void
  readonly size: () => number
  /** What came so far, without room for more. */
  readonly blocks: () => ReadonlyArray<Uint8Array>
}

export const growing = (): Growing => {
  const full: Array<Uint8Array> = []
  let tail = new Uint8Array(0)
  let used = 0
  const room = (wanted: number) => {
    if (tail.length - used >= wanted || tail.length === blockSize) return
    const larger = new Uint8Array(Math.min(blockSize, Math.max(2 * tail.length, used + wanted, 1024)))
    larger.set(tail.subarray(0, used))
    tail = larger
  }
  return {
    add: (chunk) => {
      for (let at = 0; at < chunk.length; ) {
        room(chunk.length - at)
        const part = chunk.subarray(at, at + tail.length - used)
        tail.set(part, used)
        used += part.length
        at += part.length
        if (used < blockSize) continue
        full.push(tail)
        tail = new Uint8Array(0)
        used = 0
      }
    },
    size: () => full.length * blockSize + used,
    blocks: () => (used === 0 ? [...full] : [...full, tail.slice(0, used)])
  }
}
