/**
 * One header of a tar after the other: ustar, PAX and GNU. Who reads them, from a file or from a stream, hands over the
 * blocks. https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html and the tar(5) page of libarchive
 */
import type { TarReadError } from "./TarReadError.js"

export const blockSize = 512
/** PAX headers and long names are held in memory; real ones have a few KiB. */
export const maxExtendedHeader = 16 * 1024 * 1024

/** A member, or an extended header. Names are bytes, cut at the first zero: an archive need not be UTF-8. */
export interface Header {
  readonly name: Uint8Array
  /** Where a link points, as written. */
  readonly link: Uint8Array
  /** The type flag; `0` for a file of the oldest tars. */
  readonly type: string
  /** Bytes of data that follow in the archive, before their padding. */
  readonly size: number
  /** Bytes of the file; another number than `size` for a sparse one. */
  readonly fileSize: number
  /** Whether the data is only what stands between holes, in one of GNU tar's formats. */
  readonly sparse: boolean
  /** Of an old sparse member: blocks with more of its map come before the data. */
  readonly moreMap: boolean
  /** Permissions and the three bits above them. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970. */
  readonly mtime: number
  /** Of a device. */
  readonly major: number
  readonly minor: number
}

/** Why the bytes are no header that can be used. */
export interface Problem {
  readonly reason: TarReadError["reason"]
  readonly detail: string
  readonly entry?: string | undefined
}

/** Whether the data of such a header describes the next member: PAX local and global, GNU long name and long link. */
export const isExtended = (type: string): boolean => extended.has(type)

export const isFolder = (header: Header): boolean =>
  header.type === "5" || header.type === "D" || header.name[header.name.length - 1] === slash

/** Whether the block of a sparse map is followed by another one. */
export const hasMoreMap = (block: Uint8Array): boolean => block[504] !== 0

export const isZero = (bytes: Uint8Array): boolean => {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false
  return true
}

/** The bytes as UTF-8; what is none becomes U+FFFD. */
export const text = (bytes: Uint8Array): string => utf8.decode(bytes)

/** Reads headers in the order of the archive, keeping what the extended ones say about those that follow. */
export class Headers {
  private readonly global: Records = new Map()
  private readonly local: Records = new Map()
  private longName: Uint8Array | undefined
  private longLink: Uint8Array | undefined

  /** Whether an extended header waits for its member. */
  get waiting(): boolean {
    return this.local.size > 0 || this.longName !== undefined || this.longLink !== undefined
  }

  /** Reads a block. The header's names are views of it, or of the data of extended headers. */
  read(block: Uint8Array): Header | Problem {
    if (!checksumFits(block)) return { reason: "NotATar", detail: wrongChecksum }
    const type = block[156] === 0 ? "0" : String.fromCharCode(block[156] ?? 0)
    const raw = octal(block, 124, 12)
    if (raw === undefined) return { reason: "UnsupportedFormat", detail: "a header's size is no number" }
    const name = shortName(block)
    if (extended.has(type)) return { ...nothing, name, type, size: raw, fileSize: raw }
    const paxSize = this.digits("size")
    if (paxSize !== undefined && !/^\d{1,16}$/.test(paxSize)) {
      return { reason: "UnsupportedFormat", detail: "a PAX header's size is no number", entry: text(name) }
    }
    const size = headerOnly.has(type) ? 0 : paxSize === undefined ? raw : Number(paxSize)
    const isOldSparse = type === "S"
    const isDevice = type === "3" || type === "4"
    return {
      name: this.pax("GNU.sparse.name") ?? this.pax("path") ?? this.longName ?? name,
      link: this.pax("linkpath") ?? this.longLink ?? field(block, 157, 100),
      type,
      size,
      fileSize: isOldSparse ? (octal(block, 483, 12) ?? size) : (this.sparseSize() ?? size),
      sparse: isOldSparse || this.pax(sparseKey) !== undefined,
      moreMap: isOldSparse && block[482] !== 0,
      mode: (octal(block, 100, 8) ?? 0) & 0o7777,
      uid: this.number("uid") ?? octal(block, 108, 8) ?? 0,
      gid: this.number("gid") ?? octal(block, 116, 8) ?? 0,
      mtime: this.number("mtime") ?? signed(block, 136, 12) ?? 0,
      major: isDevice ? (octal(block, 329, 8) ?? 0) : 0,
      minor: isDevice ? (octal(block, 337, 8) ?? 0) : 0
    }
  }

  /** Takes the data of an extended header. */
  extend(type: string, data: Uint8Array): Problem | undefined {
    if (type === "L") this.longName = cut(data).slice()
    else if (type === "K") this.longLink = cut(data).slice()
    else if (!paxRecords(data, type === "g" ? this.global : this.local)) {
      return { reason: "UnsupportedFormat", detail: "a PAX header is malformed" }
    }
    return undefined
  }

  /** The member they were about is read. */
  done(): void {
    if (this.local.size > 0) this.local.clear()
    this.longName = undefined
    this.longLink = undefined
  }

  private pax(key: string): Uint8Array | undefined {
    if (this.local.size === 0 && this.global.size === 0) return undefined
    // An empty local value takes a global one back.
    const value = this.local.get(key) ?? this.global.get(key)
    return value?.length === 0 ? undefined : value
  }

  private digits(key: string): string | undefined {
    const value = this.pax(key)
    return value === undefined ? undefined : text(value)
  }

  private number(key: string): number | undefined {
    const value = this.digits(key)
    return value !== undefined && /^-?\d{1,16}(?:\.\d*)?$/.test(value) ? Number(value) : undefined
  }

  private sparseSize(): number | undefined {
    return this.number("GNU.sparse.realsize") ?? this.number("GNU.sparse.size")
  }
}

// internal

type Records = Map<string, Uint8Array>

const slash = 47
const wrongChecksum = "a header's checksum is wrong: the archive is damaged here"
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })
const none = new Uint8Array(0)
const nothing = { link: none, sparse: false, moreMap: false, mode: 0, uid: 0, gid: 0, mtime: 0, major: 0, minor: 0 }

/** Stands for all the keys of GNU tar's sparse formats. */
const sparseKey = "GNU.sparse"
/** The keys of PAX headers that are used; an archive may have any number of others. */
const used = new Set(["path", "linkpath", "size", "uid", "gid", "mtime"])
const usedSparse = new Set(["GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.size"])
const extended = new Set(["x", "g", "L", "K"])
/** Types that never have data, whatever their size field says. */
const headerOnly = new Set(["1", "2", "3", "4", "5", "6"])

/** Up to the first zero. */
const cut = (bytes: Uint8Array): Uint8Array => {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}

const field = (block: Uint8Array, at: number, width: number): Uint8Array => {
  let end = at
  while (end < at + width && block[end] !== 0) end++
  return block.subarray(at, end)
}

/** With the prefix that ustar has and GNU's own format has not. */
const shortName = (block: Uint8Array): Uint8Array => {
  const short = field(block, 0, 100)
  const isUstar = isUstarMagic(block) && block[263] === 0x30
  if (!isUstar || block[345] === 0) return short
  const prefix = field(block, 345, 155)
  const name = new Uint8Array(prefix.length + 1 + short.length)
  name.set(prefix)
  name[prefix.length] = slash
  name.set(short, prefix.length + 1)
  return name
}

/** `ustar` and a zero. */
const isUstarMagic = (block: Uint8Array): boolean =>
  block[257] === 0x75 &&
  block[258] === 0x73 &&
  block[259] === 0x74 &&
  block[260] === 0x61 &&
  block[261] === 0x72 &&
  block[262] === 0

/** Octal digits, or the base-256 form for what they cannot hold; `undefined` for neither or more than 2^53. */
const octal = (block: Uint8Array, from: number, width: number): number | undefined => {
  const first = block[from] ?? 0
  if (first & 0x80) {
    if (first !== 0x80) return undefined
    let value = 0
    for (let at = from + 1; at < from + width; at++) {
      value = value * 256 + (block[at] ?? 0)
      if (value > Number.MAX_SAFE_INTEGER) return undefined
    }
    return value
  }
  const end = from + width
  let at = from
  while (at < end && isSpace(block[at])) at++
  let value = 0
  for (; at < end; at++) {
    const byte = block[at] ?? 0
    if (byte < 0x30 || byte > 0x37) break
    value = value * 8 + (byte - 0x30)
  }
  while (at < end && isSpace(block[at])) at++
  return at === end || block[at] === 0 ? value : undefined
}

/** As `octal`; base-256 numbers below zero too: times before 1970. */
const signed = (block: Uint8Array, from: number, width: number): number | undefined => {
  if (block[from] !== 0xff) return octal(block, from, width)
  let value = -1
  for (let at = from + 1; at < from + width; at++) {
    value = value * 256 + (block[at] ?? 0)
    if (value < Number.MIN_SAFE_INTEGER) return undefined
  }
  return value
}

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || (byte !== undefined && byte >= 9 && byte <= 13)

/** Sums of the bytes, the checksum field counted as spaces; some old tars summed signed bytes. */
const checksumFits = (block: Uint8Array): boolean => {
  const stored = octal(block, 148, 8)
  let unsigned = 8 * 32
  let high = 0
  for (let at = 0; at < blockSize; at++) {
    if (at === 148) at = 156
    const byte = block[at] ?? 0
    unsigned += byte
    high += byte >> 7
  }
  return stored === unsigned || stored === unsigned - 256 * high
}

/** Puts `LENGTH KEY=VALUE\n` records into a map, those that are used; lengths are in bytes. `false` where they are malformed. */
const paxRecords = (data: Uint8Array, into: Records): boolean => {
  let at = 0
  while (at < data.length && data[at] !== 0) {
    const space = data.indexOf(32, at)
    if (space < 0 || space - at > 10) return false
    const digits = text(data.subarray(at, space))
    const length = /^\d+$/.test(digits) ? Number(digits) : 0
    const end = at + length
    if (length < space - at + 3 || end > data.length || data[end - 1] !== 10) return false
    const equals = data.indexOf(61, space)
    if (equals < 0 || equals >= end) return false
    const key = text(data.subarray(space + 1, equals))
    const isSparse = key.startsWith("GNU.sparse.")
    if (used.has(key) || usedSparse.has(key)) into.set(key, data.slice(equals + 1, end - 1))
    if (isSparse) into.set(sparseKey, yes)
    at = end
  }
  return true
}

const yes = new Uint8Array([1])
