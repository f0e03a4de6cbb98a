/** Tar archives as bytes, entry by entry, valid or not: whatever a test wants to find in one. POSIX.1-1988 ustar headers. */

export interface TarEntry {
  readonly name: string
  /** Default `file`; a single character is used as the type flag as it is. */
  readonly type?: "file" | "directory" | "symlink" | "link" | (string & {}) | undefined
  readonly content?: Uint8Array | string | undefined
  /** The target of a link. */
  readonly link?: string | undefined
  /** Default 0o644, 0o755 for a directory. */
  readonly mode?: number | undefined
  /** The size that the header tells, where it shall not be the content's. */
  readonly size?: number | undefined
}

export interface TarOptions {
  /** Whether the two empty blocks at the end are there. Default `true`. */
  readonly end?: boolean | undefined
}

export const blockSize = 512

/** The archive of these entries. A name longer than 100 bytes gets a PAX header in front. */
export const make = (entries: ReadonlyArray<TarEntry>, options: TarOptions = {}): Uint8Array =>
  concat([...entries.flatMap(encode), ...((options.end ?? true) ? [new Uint8Array(2 * blockSize)] : [])])

/** Bytes and texts as UTF-8. */
export const bytes = (content: Uint8Array | string): Uint8Array =>
  typeof content === "string" ? new TextEncoder().encode(content) : content

export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

// internal

const flags: Readonly<Record<string, string>> = { file: "0", link: "1", symlink: "2", directory: "5" }

const encode = (entry: TarEntry): ReadonlyArray<Uint8Array> => {
  const content = bytes(entry.content ?? "")
  const type = entry.type ?? "file"
  const records = [
    ...(bytes(entry.name).length > 100 ? [paxRecord("path", entry.name)] : []),
    ...(bytes(entry.link ?? "").length > 100 ? [paxRecord("linkpath", entry.link ?? "")] : [])
  ]
  const pax = bytes(records.join(""))
  return [
    ...(records.length === 0 ? [] : [header({ name: "PaxHeader", type: "x" }, pax.length), padded(pax)]),
    header({ ...entry, type }, entry.size ?? content.length),
    padded(content)
  ]
}

/** `"27 path=…\n"`, where the number counts itself. */
const paxRecord = (key: string, value: string): string => {
  const rest = bytes(` ${key}=${value}\n`).length
  let length = rest + 1
  while (String(length).length + rest !== length) length = String(length).length + rest
  return `${length} ${key}=${value}\n`
}

const header = (entry: TarEntry & { readonly type: string }, size: number): Uint8Array => {
  const block = new Uint8Array(blockSize)
  const put = (at: number, width: number, text: string) => block.set(bytes(text).subarray(0, width), at)
  const octal = (at: number, width: number, value: number) => put(at, width, value.toString(8).padStart(width - 1, "0"))
  put(0, 100, entry.name)
  octal(100, 8, entry.mode ?? (entry.type === "directory" ? 0o755 : 0o644))
  octal(108, 8, 0)
  octal(116, 8, 0)
  octal(124, 12, size)
  octal(136, 12, 0)
  put(148, 8, "        ")
  put(156, 1, flags[entry.type] ?? entry.type)
  put(157, 100, entry.link ?? "")
  put(257, 8, "ustar\u000000")
  put(
    148,
    8,
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\u0000 `
  )
  return block
}

const padded = (content: Uint8Array): Uint8Array => {
  const size = Math.ceil(content.length / blockSize) * blockSize
  return size === content.length ? content : concat([content, new Uint8Array(size - content.length)])
}
