/**
 * Where each member of a tar lies, from one pass over its headers: ustar, PAX and GNU. Data is skipped, not read.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html and the tar(5) page of libarchive
 */
import * as Effect from "effect/Effect"
import { maxPath } from "./Files/Path.js"
import {
  blockSize as block,
  type Header,
  Headers,
  isExtended,
  isFolder,
  isZero,
  maxExtendedHeader,
  type Problem,
  text
} from "./TarHeader.js"
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

/** A longer chain of links is a loop, or made to cost time. */
export const maxLinks = 16

/** How much an index may hold. */
export interface Limits {
  /** Bytes of one name, and of where one link points. */
  readonly name: number
  readonly members: number
  /** Bytes of all names and links together. */
  readonly names: number
}

/**
 * What no real archive comes near. The index is in memory, and compressed headers cost next to nothing: 400 long names of 16 MiB
 * fit in 266 kB of zstd, and six million empty members took more than a gigabyte.
 */
export const maxima: Limits = { name: maxPath, members: 1_000_000, names: 256 * 1024 * 1024 }

/**
 * Reads the headers. Fails with `NotATar`, `Truncated`, `UnsupportedFormat` (old GNU sparse members, several volumes),
 * `UnsafePath`, `DuplicateMember`, `TooLarge`, or `SourceChanged` where the file became shorter. A missing end of archive is no failure: see `ended`.
 */
export const read = (
  readAt: ReadAt,
  archive: { readonly path: string; readonly size: number },
  limits: Limits = maxima
): Effect.Effect<TarIndex, TarReadError> =>
  Effect.gen(function* () {
    const scanner = new Scanner(archive.path, archive.size, limits)
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

/** Enough that an archive of many small members is read in large steps. */
const largeWindow = 1024 * 1024
/** Enough for the few headers between two large members. */
const smallWindow = 16 * 1024

interface Want {
  readonly offset: number
  readonly length: number
}
type Step = Want | TarReadError | undefined

class Scanner {
  readonly members = new Map<string, Member>()
  ended = false
  window = smallWindow
  private readonly headers = new Headers()
  /** Bytes of the names and links so far. */
  private names = 0

  constructor(
    private readonly path: string,
    private readonly size: number,
    private readonly limits: Limits
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
      const parsed = this.headers.read(header)
      if ("reason" in parsed) return this.unread(parsed, offset)
      const tooLong = Math.max(parsed.name.length, parsed.link.length)
      if (tooLong > this.limits.name) {
        return this.error("TooLarge", `a name of ${tooLong} bytes, at most ${this.limits.name} are read`, offset)
      }
      const data = offset + block
      const size = parsed.size
      if (data + size > this.size) {
        const missing = data + size - this.size
        return this.error(
          "Truncated",
          `the archive ends ${missing} bytes before the end of this member`,
          offset,
          text(parsed.name)
        )
      }
      const next = data + Math.ceil(size / block) * block
      if (isExtended(parsed.type)) {
        if (size > maxExtendedHeader) {
          return this.error(
            "TooLarge",
            `an extended header of ${size} bytes, at most ${maxExtendedHeader} are read`,
            offset
          )
        }
        if (data - start + size > bytes.length) return { offset, length: block + size }
        const problem = this.headers.extend(parsed.type, bytes.subarray(data - start, data - start + size))
        if (problem !== undefined) return this.unread(problem, offset)
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
    if (this.headers.waiting) {
      return this.error("Truncated", "the archive ends between an extended header and its member", offset)
    }
    if (this.members.size === 0) return this.error("NotATar", "holds no member", offset)
    return undefined
  }

  private error(reason: TarReadError["reason"], detail: string, offset: number, entry?: string): TarReadError {
    const hint = reason === "NotATar" && offset === 0 ? "docker save IMAGE -o FILE writes one" : hints[reason]
    return new TarReadError({ reason, path: this.path, detail, offset, entry, hint })
  }

  /** What the headers' reader says; a wrong checksum at the start means that this is no tar at all. */
  private unread({ detail, entry, reason }: Problem, offset: number): TarReadError {
    const isNone = reason === "NotATar" && this.members.size === 0 && offset === 0
    return this.error(reason, isNone ? "is no tar archive" : detail, offset, entry)
  }

  private add(header: Header, data: number, offset: number): TarReadError | undefined {
    const written = text(header.name)
    this.headers.done()
    if (header.sparse) return this.error("UnsupportedFormat", "is a sparse member of GNU tar", offset, written)
    if (header.type === "M") return this.error("UnsupportedFormat", "is continued from another volume", offset, written)
    if (header.type === "V") return undefined
    const name = written.split("/").includes("..") ? undefined : normalize(written)
    if (name === undefined) return this.error("UnsafePath", "leads out of the archive", offset, written)
    if (name === "") return undefined
    const type = isFolder(header) ? "Directory" : (types[header.type] ?? "Other")
    const known = this.members.get(name)
    if (known !== undefined && !(known.type === "Directory" && type === "Directory")) {
      return this.error("DuplicateMember", "stands in the archive twice", offset, name)
    }
    // A folder that stands there again takes no second place, but may bring a longer link.
    this.names += header.name.length + header.link.length
    if (this.names > this.limits.names) {
      return this.error("TooLarge", `its names have more than ${this.limits.names} bytes together`, offset)
    }
    if (known === undefined && this.members.size >= this.limits.members) {
      return this.error("TooLarge", `holds more than ${this.limits.members} members`, offset)
    }
    this.members.set(name, { name, type, offset: data, size: header.size, link: text(header.link) })
    return undefined
  }
}

const hints: Partial<Record<TarReadError["reason"], string>> = {
  DuplicateMember: "tar -r appends a second copy of a member: write the archive anew"
}

const types: Record<string, Member["type"]> = { "0": "File", "7": "File", "1": "HardLink", "2": "Symlink" }

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
