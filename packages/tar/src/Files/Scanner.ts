/** The members of a tar that goes by as a stream: headers are read, data is handed on or skipped, nothing is kept. */
import {
  blockSize,
  type Header,
  Headers,
  hasMoreMap,
  isExtended,
  isZero,
  maxExtendedHeader,
  type Problem,
  text
} from "../TarHeader.js"

/** What is done with the members. Called for every one of them, so plain functions. */
export interface Visitor {
  /** The header's names are views that the next block overwrites. Returns why the archive cannot be read on. */
  readonly member: (header: Header) => Problem | undefined
  /** A piece of the data of the member last announced; the map of an old sparse one too. */
  readonly data?: ((bytes: Uint8Array) => void) | undefined
  /** All data of the member went by. */
  readonly end?: (() => void) | undefined
}

/** Why the stream is no tar that can be used, and where. */
export interface Fault extends Problem {
  /** Bytes from the start of the tar. */
  readonly offset: number
}

export class Scanner {
  private readonly headers = new Headers()
  private state: "header" | "map" | "extended" | "data" | "padding" | "ended" = "header"
  /** Bytes that the state still takes. */
  private left = blockSize
  private position = 0
  /** A block that came in pieces. */
  private readonly partial = new Uint8Array(blockSize)
  private block: Uint8Array = this.partial
  private collected = this.partial
  private type = ""
  private size = 0
  /** Where the header of the current member begins, and its name, for messages. */
  private start = 0
  private name: Uint8Array | undefined

  constructor(private readonly visitor: Visitor) {}

  /** Takes the next bytes, whatever their number. What stands behind the end of the archive is ignored. */
  push(chunk: Uint8Array): Fault | undefined {
    let at = 0
    while (at < chunk.length && this.state !== "ended") {
      const piece = chunk.subarray(at, at + this.left)
      this.take(piece)
      at += piece.length
      this.left -= piece.length
      this.position += piece.length
      while (this.left === 0) {
        const problem = this.complete()
        if (problem !== undefined) return { ...problem, offset: this.start }
      }
    }
    return undefined
  }

  /** No more bytes come. A missing end of archive is no fault, as for those who unpack layers. */
  finish(): Fault | undefined {
    const waits = this.headers.waiting
    if (this.state === "header") this.start = this.position - (blockSize - this.left)
    const detail = {
      header: this.isPieceOfEnd() ? undefined : "the archive ends inside a header",
      map: "the archive ends inside the map of a sparse member",
      extended: "the archive ends inside an extended header",
      data: `the archive ends ${this.left} bytes before the end of this member`,
      padding: undefined,
      ended: undefined
    }[this.state]
    if (detail !== undefined) return this.truncated(detail)
    return waits ? this.truncated("the archive ends between an extended header and its member") : undefined
  }

  private take(piece: Uint8Array): void {
    if (this.state === "data") this.visitor.data?.(piece)
    else if (this.state === "extended") this.collected.set(piece, this.size - this.left)
    else if (this.state === "padding") return
    else if (piece.length === blockSize) this.block = piece
    else {
      this.partial.set(piece, blockSize - this.left)
      this.block = this.partial
    }
  }

  /** What the state waited for is there: goes on to the next one. */
  private complete(): Problem | undefined {
    switch (this.state) {
      case "header":
        return this.header()
      case "map":
        this.visitor.data?.(this.block)
        return hasMoreMap(this.block) ? this.next("map", blockSize) : this.next("data", this.size)
      case "extended": {
        const problem = this.headers.extend(this.type, this.collected)
        this.collected = this.partial
        return problem ?? this.pad()
      }
      case "data":
        this.visitor.end?.()
        return this.pad()
      default:
        return this.next("header", blockSize)
    }
  }

  private header(): Problem | undefined {
    this.start = this.position - blockSize
    if (isZero(this.block)) {
      // Two blocks end an archive; those who unpack get by with one.
      this.state = "ended"
      this.left = -1
      return undefined
    }
    const header = this.headers.read(this.block)
    if ("reason" in header) {
      return this.start === 0 && header.reason === "NotATar" ? { ...header, detail: "is no tar archive" } : header
    }
    this.type = header.type
    this.size = header.size
    if (isExtended(header.type)) {
      if (header.size > maxExtendedHeader) return tooLarge(header.size)
      this.collected = new Uint8Array(header.size)
      return this.next("extended", header.size)
    }
    this.name = header.size > 0 ? header.name.slice() : undefined
    if (header.type === "M") return { reason: "UnsupportedFormat", detail: "is continued from another volume" }
    const problem = this.visitor.member(header)
    this.headers.done()
    if (problem !== undefined) return problem
    if (header.moreMap) return this.next("map", blockSize)
    return this.next("data", header.size)
  }

  private pad(): undefined {
    return this.next("padding", (blockSize - (this.size % blockSize)) % blockSize)
  }

  private next(state: Scanner["state"], left: number): undefined {
    this.state = state
    this.left = left
  }

  /** A piece of the end-of-archive blocks loses no more than they do when they are all gone. */
  private isPieceOfEnd(): boolean {
    return isZero(this.partial.subarray(0, blockSize - this.left))
  }

  private truncated(detail: string): Fault {
    const entry = this.state === "data" && this.name !== undefined ? text(this.name) : undefined
    return { reason: "Truncated", detail, entry, offset: this.start }
  }
}

// internal

const tooLarge = (size: number): Problem => ({
  reason: "TooLarge",
  detail: `an extended header of ${size} bytes, at most ${maxExtendedHeader} are read`
})
