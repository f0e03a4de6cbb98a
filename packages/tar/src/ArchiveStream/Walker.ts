/** The files of a tar as it goes by: their names, and the pieces of their data. */
import { blockSize, Headers, isExtended, isFolder, isZero, maxExtendedHeader, text } from "../TarHeader.js"

export type Part =
  /** `offset` is the place of its data in the archive. */
  | { readonly _tag: "Begin"; readonly name: string; readonly offset: number; readonly size: number }
  | { readonly _tag: "Data"; readonly bytes: Uint8Array }
  | { readonly _tag: "End" }

/**
 * Takes the archive in pieces of any size. Where it is no tar any more, it says no more of it: what is wrong is told by
 * whoever reads the whole.
 */
export class Walker {
  /** Whether nothing more is said: at the end of the archive, or where it is damaged. */
  stopped = false
  private readonly headers = new Headers()
  /** What is collected: a header, or the data of an extended one. */
  private held = new Uint8Array(blockSize)
  private filled = 0
  private extended: { readonly type: string; readonly size: number } | undefined
  /** Data of a file that is still to come. */
  private data = 0
  private inFile = false
  /** Bytes of the archive that were taken. */
  private position = 0
  /** Bytes that nobody wants: padding, and the data of what is no file. */
  private skip = 0

  /** The parts that lie in the next bytes. They are views of them. */
  take(bytes: Uint8Array): ReadonlyArray<Part> {
    const parts: Array<Part> = []
    const start = this.position
    let at = 0
    while (at < bytes.length && !this.stopped) {
      const left = bytes.length - at
      if (this.data > 0) {
        const length = Math.min(left, this.data)
        if (this.inFile) parts.push({ _tag: "Data", bytes: bytes.subarray(at, at + length) })
        this.data -= length
        at += length
        if (this.data === 0) this.finish(parts)
      } else if (this.skip > 0) {
        const length = Math.min(left, this.skip)
        this.skip -= length
        at += length
      } else {
        const part = bytes.subarray(at, at + this.held.length - this.filled)
        this.held.set(part, this.filled)
        this.filled += part.length
        at += part.length
        this.position = start + at
        if (this.filled === this.held.length) this.collected(parts)
      }
    }
    this.position = start + at
    return parts
  }

  private collected(parts: Array<Part>): void {
    const held = this.held
    this.expect(blockSize)
    if (this.extended !== undefined) {
      const { size, type } = this.extended
      this.extended = undefined
      this.stopped = this.headers.extend(type, held.subarray(0, size)) !== undefined
      return
    }
    const header = isZero(held) ? undefined : this.headers.read(held)
    if (header === undefined || "reason" in header || header.sparse) {
      this.stopped = true
      return
    }
    const { size, type } = header
    if (isExtended(type)) {
      this.stopped = size > maxExtendedHeader
      if (!this.stopped) {
        this.extended = { type, size }
        this.expect(padded(size))
        if (size === 0) this.collected(parts)
      }
      return
    }
    this.headers.done()
    this.skip = padded(size) - size
    this.data = size
    this.inFile = (type === "0" || type === "7") && !isFolder(header)
    if (!this.inFile) return
    parts.push({ _tag: "Begin", name: text(header.name), offset: this.position, size })
    if (size === 0) this.finish(parts)
  }

  private finish(parts: Array<Part>): void {
    if (this.inFile) parts.push({ _tag: "End" })
    this.inFile = false
  }

  private expect(length: number): void {
    this.held = new Uint8Array(length)
    this.filled = 0
  }
}

// internal

const padded = (size: number): number => Math.ceil(size / blockSize) * blockSize
