/**
 * Where each member of a tar lies, from one pass over its headers: ustar, PAX and GNU. Data is skipped, not read.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html and the tar(5) page of libarchive
 */
import * as Effect from "effect/Effect"
import { TarReadError } from "./TarReadError.js"

export interface Member {
  /** Without a leading `./` and a trailing slash. */
  readonly name: string
  readonly type: "File" | "Directory" | "Symlink" | "HardLink" | "Other"
  /** Of the data, in bytes from the start of the archive. */
  readonly offset: number
  /** Bytes of data. */
  readonly size: number
  /** Where a link points, as written; empty for others. */
  readonly link: string
}

export interface TarIndex {
  readonly members: ReadonlyMap<string, Member>
  /** Whether the end-of-archive blocks are there. */
  readonly ended: boolean
}

/** Bytes of the archive; fewer than `length` only at its end. */
export type ReadAt = (offset: number, length: number) => Effect.Effect<Uint8Array, TarReadError>

/** PAX headers and long names are held in memory; real ones have a few KiB. */
export const maxExtendedHeader = 16 * 1024 * 1024
/** A longer chain of links is a loop, or made to cost time. */
export const maxLinks = 16

/**
 * Reads the headers. Fails with `NotATar`, `Truncated`, `UnsupportedFormat` (old GNU sparse members, several volumes),
 * `UnsafePath`, `DuplicateMember`, `TooLarge`, or `SourceChanged` where the file became shorter. A missing end of archive is no failure: see `ended`.
 */
export const read = (
  readAt: ReadAt,
  archive: { readonly path: string; readonly size: number }
): Effect.Effect<TarIndex, TarReadError> =>
  Effect.gen(function* () {
    const scanner = new Scanner(archive.path, archive.size)
    let want: Want | undefined = { offset: 0, length: block }
    while (want !== undefined) {
      const length: number = Math.min(Math.max(want.length, scanner.window), archive.size - want.offset)
      const bytes: Uint8Array = length > 0 ? yield* readAt(want.offset, length) : new Uint8Array(0)
      // The scanner would ask for the same bytes for ever.
      if (bytes.length < Math.min(want.length, archive.size - want.offset)) {
        const detail = "became shorter while it was read"
        return yield* Effect.fail(new TarReadError({ reason: "SourceChanged", path: archive.path, detail }))
      }
      const step: Step = scanner.scan(bytes, want.offset)
      if (step instanceof TarReadError) return yield* Effect.fail(step)
      want = step
    }
    return { members: scanner.members, ended: scanner.ended }
  })

/**
 * The regular file behind a name, through links. Fails with `MissingMember`, `LinkLoop`, or `UnsafePath` for a link that
 * leads out of the archive.
 */
export const resolve = (index: TarIndex, name: string, path: string): Effect.Effect<Member, TarReadError> => {
  const fail = (reason: TarReadError["reason"], detail: string) =>
    Effect.fail(new TarReadError({ reason, path, entry: name, detail }))
  let at = name.split("/").includes("..") ? undefined : normalize(name)
  for (let links = 0; links <= maxLinks; links++) {
    if (at === undefined) return fail("UnsafePath", "leads out of the archive")
    const member = index.members.get(at)
    if (member === undefined) {
      return fail(
        "MissingMember",
        links === 0 ? "is not in the archive" : `is a link to ${at}, which is not in the archive`
      )
    }
    if (member.type === "File") return Effect.succeed(member)
    if (member.type === "Symlink") at = join(at.split("/").slice(0, -1), member.link)
    else if (member.type === "HardLink") at = join([], member.link)
    else return fail("MissingMember", "is no regular file")
  }
  return fail("LinkLoop", `is a chain of more than ${maxLinks} links`)
}

/** The name as the index has it; `undefined` where it is absolute or leads upwards out of the archive. */
export const normalize = (name: string): string | undefined => join([], name)

// internal

const block = 512
/** Enough that an archive of many small members is read in large steps. */
const largeWindow = 1024 * 1024
/** Enough for the few headers between two large members. */
const smallWindow = 16 * 1024

interface Want {
  readonly offset: number
  readonly length: number
}
type Step = Want | TarReadError | undefined

interface Header {
  readonly name: string
  readonly link: string
  readonly type: string
  readonly size: number
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

class Scanner {
  readonly members = new Map<string, Member>()
  ended = false
  window = smallWindow
  private global = new Map<string, string>()
  private local = new Map<string, string>()
  private longName: string | undefined
  private longLink: string | undefined

  constructor(
    private readonly path: string,
    private readonly size: number
  ) {}

  /** Takes what it can of the bytes at `start`; returns what to read next, `undefined` at the end. */
  scan(bytes: Uint8Array, start: number): Step {
    let at = 0
    while (true) {
      const offset = start + at
      if (offset >= this.size) return this.finish(offset)
      if (at + block > bytes.length) {
        if (offset + block > this.size) {
          // A piece of the end-of-archive blocks loses no more than they do when they are all gone.
          if (start + bytes.length === this.size && isZero(bytes.subarray(at))) return this.finish(offset)
          return offset === 0
            ? this.error("NotATar", "is no tar archive", offset)
            : this.error("Truncated", "the archive ends inside a header", offset)
        }
        this.window = largeWindow
        return { offset, length: block }
      }
      const header = bytes.subarray(at, at + block)
      if (isZero(header)) {
        // Two blocks end an archive. Files get by with one; a pipe that lost the second may have lost more.
        if (at + 2 * block > bytes.length && start + bytes.length < this.size) return { offset, length: 2 * block }
        const second = bytes.subarray(at + block, at + 2 * block)
        this.ended = second.length === block && isZero(second)
        return this.finish(offset)
      }
      const parsed = this.header(header, offset)
      if (parsed instanceof TarReadError) return parsed
      const data = offset + block
      const size = parsed.size
      if (data + size > this.size) {
        const missing = data + size - this.size
        return this.error(
          "Truncated",
          `the archive ends ${missing} bytes before the end of this member`,
          offset,
          parsed.name
        )
      }
      const next = data + Math.ceil(size / block) * block
      if (extended.has(parsed.type)) {
        if (size > maxExtendedHeader) {
          return this.error(
            "TooLarge",
            `an extended header of ${size} bytes, at most ${maxExtendedHeader} are read`,
            offset
          )
        }
        if (data - start + size > bytes.length) return { offset, length: block + size }
        const problem = this.extend(parsed.type, bytes.subarray(data - start, data - start + size), offset)
        if (problem !== undefined) return problem
      } else {
        const problem = this.add(parsed, data, offset)
        if (problem !== undefined) return problem
      }
      at = next - start
      if (at > bytes.length) {
        this.window = at - bytes.length < largeWindow ? largeWindow : smallWindow
        return next >= this.size ? this.finish(next) : { offset: next, length: block }
      }
    }
  }

  private finish(offset: number): TarReadError | undefined {
    if (this.local.size > 0 || this.longName !== undefined || this.longLink !== undefined) {
      return this.error("Truncated", "the archive ends between an extended header and its member", offset)
    }
    if (this.members.size === 0) return this.error("NotATar", "holds no member", offset)
    return undefined
  }

  private error(reason: TarReadError["reason"], detail: string, offset: number, entry?: string): TarReadError {
    const hint = reason === "NotATar" && offset === 0 ? "docker save IMAGE -o FILE writes one" : undefined
    return new TarReadError({ reason, path: this.path, detail, offset, entry, hint })
  }

  private header(bytes: Uint8Array, offset: number): Header | TarReadError {
    if (!checksumFits(bytes)) {
      return this.members.size === 0 && offset === 0
        ? this.error("NotATar", "is no tar archive", offset)
        : this.error("NotATar", "a header's checksum is wrong: the archive is damaged here", offset)
    }
    const type = bytes[156] === 0 ? "0" : String.fromCharCode(bytes[156] ?? 0)
    const raw = number(bytes.subarray(124, 136))
    if (raw === undefined) return this.error("UnsupportedFormat", "a header's size is no number", offset)
    const isUstar = text(bytes.subarray(257, 263)) === "ustar" && bytes[263] === 0x30
    const prefix = isUstar ? text(bytes.subarray(345, 500)) : ""
    const short = text(bytes.subarray(0, 100))
    const ustar = prefix === "" ? short : `${prefix}/${short}`
    if (extended.has(type)) return { name: ustar, link: "", type, size: raw }
    const paxSize = this.pax("size")
    if (paxSize !== undefined && !/^\d{1,16}$/.test(paxSize)) {
      return this.error("UnsupportedFormat", "a PAX header's size is no number", offset, ustar)
    }
    const size = headerOnly.has(type) ? 0 : paxSize === undefined ? raw : Number(paxSize)
    return {
      name: this.pax("path") ?? this.longName ?? ustar,
      link: this.pax("linkpath") ?? this.longLink ?? text(bytes.subarray(157, 257)),
      type,
      size
    }
  }

  private pax(key: string): string | undefined {
    // An empty local value takes a global one back.
    const value = this.local.get(key) ?? this.global.get(key)
    return value === "" ? undefined : value
  }

  private extend(type: string, data: Uint8Array, offset: number): TarReadError | undefined {
    if (type === "L") this.longName = text(data)
    else if (type === "K") this.longLink = text(data)
    else {
      const records = paxRecords(data)
      if (records === undefined) return this.error("UnsupportedFormat", "a PAX header is malformed", offset)
      const into = type === "g" ? this.global : this.local
      for (const [key, value] of records) {
        // Only what is used is kept: an archive may have any number of these headers.
        if (used.has(key)) into.set(key, value)
        else if (key.startsWith("GNU.sparse.")) into.set(sparseKey, "yes")
      }
    }
    return undefined
  }

  private add(header: Header, data: number, offset: number): TarReadError | undefined {
    const sparse = header.type === "S" || this.pax(sparseKey) !== undefined
    this.local = new Map()
    this.longName = undefined
    this.longLink = undefined
    if (sparse) return this.error("UnsupportedFormat", "is a sparse member of GNU tar", offset, header.name)
    if (header.type === "M")
      return this.error("UnsupportedFormat", "is continued from another volume", offset, header.name)
    if (header.type === "V") return undefined
    const isFolder = header.type === "5" || header.type === "D" || header.name.endsWith("/")
    const name = header.name.split("/").includes("..") ? undefined : normalize(header.name)
    if (name === undefined) return this.error("UnsafePath", "leads out of the archive", offset, header.name)
    if (name === "") return undefined
    const type = isFolder ? "Directory" : (types[header.type] ?? "Other")
    const known = this.members.get(name)
    if (known !== undefined && !(known.type === "Directory" && type === "Directory")) {
      return this.error("DuplicateMember", "stands in the archive twice", offset, name)
    }
    this.members.set(name, { name, type, offset: data, size: header.size, link: header.link })
    return undefined
  }
}

/** The keys of PAX headers that say where a member is and what it is called. */
const used = new Set(["path", "linkpath", "size"])
/** Stands for all the keys of GNU tar's sparse formats. */
const sparseKey = "GNU.sparse"
/** Headers whose data describes the next member: PAX local and global, GNU long name and long link. */
const extended = new Set(["x", "g", "L", "K"])
/** Types that never have data, whatever their size field says. */
const headerOnly = new Set(["1", "2", "3", "4", "5", "6"])
const types: Record<string, Member["type"]> = { "0": "File", "7": "File", "1": "HardLink", "2": "Symlink" }

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

const text = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0)
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/** Octal digits, or the base-256 form for what they cannot hold; `undefined` for neither or more than 2^53. */
const number = (field: Uint8Array): number | undefined => {
  const first = field[0] ?? 0
  if (first & 0x80) {
    if (first !== 0x80) return undefined
    let value = 0
    for (const byte of field.subarray(1)) {
      value = value * 256 + byte
      if (value > Number.MAX_SAFE_INTEGER) return undefined
    }
    return value
  }
  const digits = text(field).trim()
  if (digits === "") return 0
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined
}

/** Sums of the bytes, the checksum field counted as spaces; some old tars summed signed bytes. */
const checksumFits = (bytes: Uint8Array): boolean => {
  const stored = number(bytes.subarray(148, 156))
  let unsigned = 0
  let signed = 0
  for (let at = 0; at < block; at++) {
    const byte = at >= 148 && at < 156 ? 32 : (bytes[at] ?? 0)
    unsigned += byte
    signed += byte > 127 ? byte - 256 : byte
  }
  return stored === unsigned || stored === signed
}

/** `LENGTH KEY=VALUE\n` records, lengths in bytes. */
const paxRecords = (data: Uint8Array): ReadonlyArray<readonly [string, string]> | undefined => {
  const records: Array<readonly [string, string]> = []
  let at = 0
  while (at < data.length && data[at] !== 0) {
    const space = data.indexOf(32, at)
    if (space < 0 || space - at > 10) return undefined
    const digits = decoder.decode(data.subarray(at, space))
    const length = /^\d+$/.test(digits) ? Number(digits) : 0
    const end = at + length
    if (length < space - at + 3 || end > data.length || data[end - 1] !== 10) return undefined
    const equals = data.indexOf(61, space)
    if (equals < 0 || equals >= end) return undefined
    records.push([decoder.decode(data.subarray(space + 1, equals)), decoder.decode(data.subarray(equals + 1, end - 1))])
    at = end
  }
  return records
}

const join = (folder: ReadonlyArray<string>, name: string): string | undefined => {
  if (name.startsWith("/")) return undefined
  const parts = [...folder]
  for (const part of name.split("/")) {
    if (part === "" || part === ".") continue
    if (part === "..") {
      if (parts.pop() === undefined) return undefined
    } else parts.push(part)
  }
  return parts.join("/")
}
