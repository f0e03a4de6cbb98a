/** The files of a tar that is in memory, by name. Follows links inside the archive; knows ustar prefixes and PAX paths. */

/** Throws where the bytes are no tar. Of two members with one name the later counts, as when a tar is unpacked. */
export const read = (archive: Uint8Array): ReadonlyMap<string, Uint8Array> => {
  const files = new Map<string, Uint8Array>()
  const links = new Map<string, string>()
  let pax: Readonly<Record<string, string>> = {}
  for (let at = 0; at + 512 <= archive.length && archive[at] !== 0; ) {
    const header = archive.subarray(at, at + 512)
    checkSum(header)
    const size = Number(pax.size ?? Number.parseInt(text(header, 124, 12), 8))
    const content = archive.subarray(at + 512, at + 512 + size)
    if (content.length !== size) throw new Error("a member is cut")
    const type = text(header, 156, 1)
    const prefix = text(header, 345, 155)
    const name = clean(pax.path ?? (prefix === "" ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`))
    const link = pax.linkpath ?? text(header, 157, 100)
    if (type === "x") pax = records(content)
    else {
      if (type === "0" || type === "") files.set(name, content)
      if (type === "1") links.set(name, clean(link))
      if (type === "2") links.set(name, clean(new URL(link, `file:///${name}`).pathname.slice(1)))
      if (type !== "g") pax = {}
    }
    at += 512 + Math.ceil(size / 512) * 512
  }
  for (const [name, target] of links) {
    const content = files.get(target) ?? files.get(links.get(target) ?? "")
    if (content !== undefined) files.set(name, content)
  }
  return files
}

// internal

const clean = (name: string): string => name.replace(/^(?:\.\/)+/, "")

const text = (header: Uint8Array, at: number, width: number): string => {
  const field = new TextDecoder().decode(header.subarray(at, at + width))
  const end = field.indexOf("\u0000")
  return (end < 0 ? field : field.slice(0, end)).trim()
}

const checkSum = (header: Uint8Array): void => {
  const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0)
  if (sum !== Number.parseInt(text(header, 148, 8), 8)) throw new Error("a header's checksum is wrong")
}

const records = (content: Uint8Array): Record<string, string> => {
  const found: Record<string, string> = {}
  for (let at = 0; at < content.length; ) {
    const length = Number.parseInt(new TextDecoder().decode(content.subarray(at, at + 20)), 10)
    if (!(length > 0)) break
    const record = new TextDecoder().decode(content.subarray(at, at + length - 1))
    const equals = record.indexOf("=")
    found[record.slice(record.indexOf(" ") + 1, equals)] = record.slice(equals + 1)
    at += length
  }
  return found
}
