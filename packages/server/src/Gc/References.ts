/**
 * What a manifest may name, whoever wrote it and whatever its type: every digest in it, wherever it stands. That keeps more than
 * a reader of the manifest would fetch (the base image that an annotation mentions) and never less.
 */
import { Digest } from "@effect-registry/core"

export interface References {
  readonly names: ReadonlyArray<Digest.Digest>
  /** The manifest that this one refers to; it is among `names`, too. */
  readonly subject: Digest.Digest | undefined
}

/** Gives the same string for equal digests, and one that holds no other text in memory. */
export type Pool = (digest: Digest.Digest) => Digest.Digest

export const makePool = (): Pool => {
  const known = new Map<string, Digest.Digest>()
  return (digest) => {
    const found = known.get(digest)
    if (found !== undefined) return found
    // What a pattern finds is a view of the whole text, which would stay in memory with it.
    const own = Buffer.from(digest, "latin1").toString("latin1")
    if (!Digest.is(own)) return digest
    known.set(own, own)
    return own
  }
}

/** `undefined` for what is no JSON: nobody knows what that names. */
export const read = (bytes: Uint8Array, pool: Pool): References | undefined => {
  const text = new TextDecoder().decode(bytes)
  const value = parse(text)
  if (value === undefined) return undefined
  // The text as it stands, because of two equal keys the parser keeps one.
  const names = new Set(digestsIn(text))
  // Escapes hide digests from a look at the text, and `data` holds a document in base64.
  if (text.includes("\\") || text.includes('"data"')) for (const digest of deepIn(value)) names.add(digest)
  const subject = subjectOf(value)
  return { names: [...names].map(pool), subject: subject && pool(subject) }
}

// internal

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const digestsIn = (text: string): ReadonlyArray<Digest.Digest> =>
  [...text.matchAll(/sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}/g)].map(([digest]) => digest).filter(Digest.is)

const subjectOf = (value: unknown): Digest.Digest | undefined => {
  const subject = fieldOf(value, "subject")
  const digest = fieldOf(subject, "digest")
  return typeof digest === "string" && Digest.is(digest) ? digest : undefined
}

const fieldOf = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? Object.getOwnPropertyDescriptor(value, key)?.value
    : undefined

/** All strings, keys too, without recursion: a stranger chose the depth. */
const deepIn = (root: unknown): ReadonlyArray<Digest.Digest> => {
  const found: Array<Digest.Digest> = []
  const open: Array<unknown> = [root]
  while (open.length > 0) {
    const value = open.pop()
    if (typeof value === "string") found.push(...digestsIn(value))
    else if (Array.isArray(value)) for (const item of value) open.push(item)
    else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) {
        found.push(...digestsIn(key))
        open.push(item)
        // Each time it is a quarter shorter, so this ends.
        if (key === "data" && typeof item === "string") open.push(parse(Buffer.from(item, "base64").toString("utf8")))
      }
    }
  }
  return found
}
