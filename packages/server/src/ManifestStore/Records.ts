/**
 * The small files that say what is a manifest, what a tag names and what refers to what; read once and then remembered.
 * Nothing here changes a file.
 */
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import { Digest, Reference } from "@effect-registry/core"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { byCodeUnit, type Part, partOf, type Referrer, sizeOf } from "../ManifestStore.js"
import * as Cache from "../storage/Cache.js"
import * as Files from "../storage/Files.js"
import { digestOf } from "../storage/Hashing.js"
import type * as Index from "../storage/Index.js"
import { algorithms, type Layout } from "../storage/Layout.js"

/** What is kept of a manifest beside its bytes. */
export interface Marker extends Index.Manifest {
  readonly subject?: Digest.Digest | undefined
  /** This process forced it and its content to the disk. Not in the file. */
  readonly durable?: boolean | undefined
}

/** Each cache goes by `key(repository, …)`. */
export interface Records {
  readonly markers: Cache.Cache<Marker>
  readonly tags: Cache.Cache<Digest.Digest>
  /** These two sorted by code unit. */
  readonly names: Cache.Cache<ReadonlyArray<string>>
  readonly digests: Cache.Cache<ReadonlyArray<Digest.Digest>>
  /** By subject, sorted by the digest of the referrer. */
  readonly referring: Cache.Cache<ReadonlyArray<Referrer>>
  /** By digest alone: content is the same in every repository. */
  readonly contents: Cache.Cache<Uint8Array>

  /** `undefined` where there is no such manifest; throws where its file makes no sense. */
  readonly marker: (repository: string, digest: Digest.Digest) => Promise<Marker | undefined>
  /** Throws where they are not those of the digest. */
  readonly bytes: (repository: string, digest: Digest.Digest) => Promise<Uint8Array | undefined>
  /** The manifest that a tag names, if it is there; throws where the file of one of them makes no sense. */
  readonly resolve: (repository: string, tag: string) => Promise<Digest.Digest | undefined>
  readonly tagNames: (repository: string) => Promise<ReadonlyArray<string>>
  readonly manifests: (repository: string) => Promise<ReadonlyArray<Digest.Digest>>
  readonly referrers: (
    repository: string,
    subject: Digest.Digest,
    part: Part | undefined
  ) => Promise<ReadonlyArray<Referrer>>
  /** All that `index.json` is made from. What makes no sense is left out. */
  readonly all: (repository: string) => Promise<Index.Content>
  /** The tags that name a manifest. */
  readonly naming: (repository: string, digest: Digest.Digest) => Promise<ReadonlyArray<string>>
}

export const key = (repository: string, name = ""): string => `${repository}\n${name}`

const mebibyte = 1 << 20

export const make = (layout: Layout): Records => {
  const markers = Cache.make<Marker>(
    8 * mebibyte,
    ({ children = [], mediaType }) => mediaType.length + 100 + 100 * children.length
  )
  const tags = Cache.make<Digest.Digest>(8 * mebibyte, (digest) => digest.length)
  const names = Cache.make<ReadonlyArray<string>>(8 * mebibyte, weighTexts)
  const digests = Cache.make<ReadonlyArray<Digest.Digest>>(8 * mebibyte, weighTexts)
  const referring = Cache.make<ReadonlyArray<Referrer>>(4 * mebibyte, (all) => 2 * JSON.stringify(all).length)
  const contents = Cache.make<Uint8Array>(16 * mebibyte, (bytes) => bytes.length)

  const marker = (repository: string, digest: Digest.Digest) =>
    markers.get(key(repository, digest), async () => {
      const path = layout.manifest(repository, digest)
      const text = await Files.readText(path)
      return text === undefined ? undefined : sense(path, decodeMarker(text))
    })

  const tag = (repository: string, name: string) =>
    tags.get(key(repository, name), async () => {
      const path = layout.tag(repository, name)
      const text = await Files.readText(path)
      return text === undefined ? undefined : sense(path, Option.liftPredicate(Digest.is)(text))
    })

  const tagNames = async (repository: string) =>
    (await names.get(key(repository), async () =>
      (
        await Files.list(layout.tags(repository))
      )
        .map((entry) => entry.name)
        // Other files in this folder are not ours.
        .filter(Reference.isTag)
        .sort(byCodeUnit)
    )) ?? []

  const manifests = async (repository: string) =>
    (await digests.get(key(repository), async () => {
      const found: Array<Digest.Digest> = []
      for (const algorithm of algorithms) {
        for (const { name } of await Files.list(layout.manifests(repository, algorithm))) {
          const digest = `${algorithm}:${name}`
          if (Digest.is(digest)) found.push(digest)
        }
      }
      return found.sort(byCodeUnit)
    })) ?? []

  const readReferrers = async (repository: string, subject: Digest.Digest, { after, size }: Part) => {
    const folder = layout.referrers(repository, subject)
    const found: Array<Referrer> = []
    let length = 0
    for (const entry of (await Files.list(folder)).map(({ name }) => name).sort(byCodeUnit)) {
      if (length >= size) break
      // Names have a dash where digests have a colon.
      if (after !== undefined && entry <= after.replace(":", "-")) continue
      const referrer = decodeReferrer((await Files.readText(join(folder, entry))) ?? "")
      // The entry is written before the manifest is one and removed after, so one may be left of a process that was killed.
      if (Option.isNone(referrer) || !(await lenient(marker(repository, referrer.value.digest)))) continue
      found.push(referrer.value)
      length += sizeOf(referrer.value)
    }
    return { found, length }
  }

  const referrers: Records["referrers"] = async (repository, subject, part = { size: Number.POSITIVE_INFINITY }) => {
    const all = await referring.get(key(repository, subject), async () => {
      const { found, length } = await readReferrers(repository, subject, { size: heldReferrers })
      return length < heldReferrers ? found : undefined
    })
    return all === undefined ? (await readReferrers(repository, subject, part)).found : partOf(all, part)
  }

  const tagDigests = async (repository: string) => {
    const found = new Map<string, Digest.Digest>()
    const all = await tagNames(repository)
    const read = await each(all, (name) => tags.peek(key(repository, name)) ?? lenient(tag(repository, name)))
    for (const [at, digest] of read.entries()) if (digest !== undefined) found.set(all[at] ?? "", digest)
    return found
  }

  return {
    markers,
    tags,
    names,
    digests,
    referring,
    contents,
    marker,
    tagNames,
    manifests,
    bytes: (repository, digest) =>
      contents.get(digest, async () => {
        const path = layout.blob(repository, digest)
        const bytes = await Files.ifThere(Fs.readFile(path))
        if (bytes !== undefined && digestOf(bytes, Digest.algorithm(digest)) !== digest)
          throw new Error(`${path} has another digest`)
        return bytes
      }),
    resolve: async (repository, name) => {
      const digest = await tag(repository, name)
      return digest !== undefined && (await marker(repository, digest)) !== undefined ? digest : undefined
    },
    referrers,
    all: async (repository) => {
      const digests = await manifests(repository)
      const found = new Map<Digest.Digest, Marker>()
      const read = await each(
        digests,
        (each) => markers.peek(key(repository, each)) ?? lenient(marker(repository, each))
      )
      for (const [at, digest] of digests.entries()) {
        const value = read[at]
        if (value !== undefined) found.set(digest, value)
      }
      return { tags: await tagDigests(repository), manifests: found }
    },
    naming: async (repository, digest) =>
      [...(await tagDigests(repository))].filter(([, named]) => named === digest).map(([name]) => name)
  }
}

export const encodeMarker = ({ children = [], mediaType, size, subject }: Marker): string =>
  JSON.stringify({ mediaType, size, subject, children: children.length > 0 ? children : undefined })

/** Sorted by code unit with `item` in it. */
export const including = <A extends string>(sorted: ReadonlyArray<A>, item: A): ReadonlyArray<A> => {
  let low = 0
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? item) < item) low = middle + 1
    else high = middle
  }
  return sorted[low] === item ? sorted : [...sorted.slice(0, low), item, ...sorted.slice(low)]
}

/** Where a file makes no sense it is as if it were not there. */
export const lenient = <A>(reading: Promise<A | undefined>): Promise<A | undefined> =>
  reading.catch((cause) => {
    if (cause instanceof Senseless) return undefined
    throw cause
  })

// internal

/** Torn by a power cut that came before the write was forced to the disk, or edited by hand. */
class Senseless extends Error {}

const sense = <A>(path: string, decoded: Option.Option<A>): A =>
  Option.getOrThrowWith(decoded, () => new Senseless(`${path} makes no sense`))

const weighTexts = (texts: ReadonlyArray<string>) => texts.reduce((sum, text) => sum + text.length + 32, 0)

/** Of all items, some at a time; without a wait for those that are at hand. */
const each = async <A, B>(
  items: ReadonlyArray<A>,
  run: (item: A) => B | undefined | Promise<B | undefined>
): Promise<ReadonlyArray<B | undefined>> => {
  const results: Array<B | undefined> = new Array(items.length)
  let next = 0
  const work = async () => {
    for (let at = next++; at < items.length; at = next++) {
      const item = items[at]
      const result = item === undefined ? undefined : run(item)
      results[at] = result instanceof Promise ? await result : result
    }
  }
  await Promise.all(Array.from({ length: 16 }, work))
  return results
}

const decodeMarker = Schema.decodeOption(
  Schema.parseJson(
    Schema.Struct({
      mediaType: Schema.String,
      size: Schema.Number,
      subject: Schema.optional(Digest.Digest),
      children: Schema.optional(Schema.Array(Digest.Digest))
    })
  )
)

/** A list of referrers with more bytes is read anew each time, in parts. */
const heldReferrers = 1 << 20

const decodeReferrer = Schema.decodeOption(
  Schema.parseJson(
    Schema.Struct({
      mediaType: Schema.String,
      digest: Digest.Digest,
      size: Schema.Number,
      artifactType: Schema.optional(Schema.String),
      annotations: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }))
    })
  )
)
