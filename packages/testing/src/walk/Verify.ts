/** Goes down a graph of manifests with whatever reads them, and believes nothing. */
import { createHash } from "node:crypto"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"

/** Something is missing, or not what its descriptor says. */
export class WalkError extends Data.TaggedError("WalkError")<{ readonly subject: string; readonly problem: string }> {
  override get message(): string {
    return `${this.subject}: ${this.problem}`
  }
}

export interface Visited {
  readonly mediaType: string
  readonly size: number
  readonly bytes: Uint8Array
}

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>> | null
}

export interface Document {
  readonly mediaType?: string
  readonly config?: Descriptor
  readonly layers?: ReadonlyArray<Descriptor>
  readonly manifests?: ReadonlyArray<Descriptor>
  readonly subject?: Descriptor
}

export interface Found {
  readonly bytes: Uint8Array
  readonly mediaType: string
}

export interface Reader {
  readonly manifest: (descriptor: Descriptor) => Promise<Found>
  readonly blob: (descriptor: Descriptor) => Promise<Uint8Array>
  /** The manifests whose subject this is. Absent: they are no part of the graph. */
  readonly referrers?: ((digest: string) => Promise<ReadonlyArray<Descriptor>>) | undefined
}

/** What was seen so far; one can be walked into several times. */
export interface Seen {
  readonly manifests: Map<string, Visited>
  readonly blobs: Map<string, Visited>
  readonly configs: Array<string>
  /** Subject → those that refer to it, for subjects with any. */
  readonly referrers: Map<string, ReadonlyArray<Descriptor>>
}

export const nothingSeen = (): Seen => ({ manifests: new Map(), blobs: new Map(), configs: [], referrers: new Map() })

export const attempt = <A>(subject: string, run: () => Promise<A>): Effect.Effect<A, WalkError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => (cause instanceof WalkError ? cause : problem(subject, String(cause)))
  })

export const problem = (subject: string, text: string) => new WalkError({ subject, problem: text })

export const json = <A>(bytes: Uint8Array): A => JSON.parse(new TextDecoder().decode(bytes))

/** With the algorithm of `like`. */
export const sum = (bytes: Uint8Array, like = "sha256:"): string => {
  const algorithm = like.slice(0, like.indexOf(":"))
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`
}

export const check = ({ digest, size }: Descriptor, bytes: Uint8Array): void => {
  if (bytes.length !== size) throw problem(digest, `${bytes.length} bytes, its descriptor says ${size}`)
  if (sum(bytes, digest) !== digest) throw problem(digest, `the bytes are ${sum(bytes, digest)}`)
}

/** Everything below the manifest of this digest, and with it what refers to any of it where the reader can tell. */
export const walk = async (digest: string, found: Found, reader: Reader, seen: Seen): Promise<void> => {
  if (seen.manifests.has(digest)) return
  const { bytes, mediaType } = found
  seen.manifests.set(digest, { mediaType, size: bytes.length, bytes })
  const document = json<Document>(bytes)
  if (document.mediaType !== undefined && document.mediaType !== mediaType) {
    throw problem(digest, `came as ${mediaType} and says ${document.mediaType}`)
  }
  for (const child of document.manifests ?? []) await walkDescriptor(child, reader, seen)
  if (document.config !== undefined) seen.configs.push(document.config.digest)
  for (const each of [...(document.config === undefined ? [] : [document.config]), ...(document.layers ?? [])]) {
    if (seen.blobs.has(each.digest) || isForeign(each.mediaType)) continue
    const content = await reader.blob(each)
    check(each, content)
    seen.blobs.set(each.digest, { mediaType: each.mediaType, size: content.length, bytes: content })
  }
  const referrers = (await reader.referrers?.(digest)) ?? []
  if (referrers.length > 0) seen.referrers.set(digest, referrers)
  for (const each of referrers) {
    const { subject } = await walkDescriptor(each, reader, seen)
    if (subject?.digest !== digest) throw problem(each.digest, `is listed as a referrer of ${digest} and is none`)
  }
}

// internal

const walkDescriptor = async (descriptor: Descriptor, reader: Reader, seen: Seen): Promise<Document> => {
  const found = await reader.manifest(descriptor)
  check(descriptor, found.bytes)
  if (found.mediaType !== descriptor.mediaType) throw problem(descriptor.digest, `came as ${found.mediaType}`)
  await walk(descriptor.digest, found, reader, seen)
  return json<Document>(found.bytes)
}

/** Layers that lie elsewhere. */
const isForeign = (mediaType: string): boolean =>
  mediaType.includes(".nondistributable.") || mediaType.includes("rootfs.foreign.")
