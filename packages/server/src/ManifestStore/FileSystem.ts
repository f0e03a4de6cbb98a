/** Manifests, tags and referrers in a plain folder, laid out as `storage/Layout.ts` says. */
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import { Digest } from "@effect-registry/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as KeyedLock from "../KeyedLock.js"
import type { Described, ManifestStore, Referrer } from "../ManifestStore.js"
import * as Files from "../storage/Files.js"
import { algorithms, type Layout } from "../storage/Layout.js"

export interface Options {
  readonly layout: Layout
  readonly files: Files.Files
}

export const make = ({ files, layout }: Options): Context.Tag.Service<ManifestStore> => {
  // A tag must not be set on a manifest while that is being removed.
  const lock = KeyedLock.make()

  const marker = async (repository: string, digest: Digest.Digest) => {
    const text = await Files.readText(layout.manifest(repository, digest))
    return text === undefined ? undefined : decodeMarker(text)
  }

  const tagDigest = async (repository: string, tag: string) => {
    const text = await Files.readText(layout.tag(repository, tag))
    return text !== undefined && Digest.is(text) ? text : undefined
  }

  const tagNames = async (repository: string) => {
    const entries = await Files.list(layout.tags(repository))
    return entries.map((entry) => entry.name).sort(byCodeUnit)
  }

  const isRepository = async (repository: string) => {
    for (const folder of ["_manifests", "_blobs"]) {
      if ((await Files.sizeOf(join(layout.repositories, repository, folder))) !== undefined) return true
    }
    return false
  }

  const holdsManifest = async (repository: string) => {
    for (const algorithm of algorithms) {
      if ((await Files.list(layout.manifests(repository, algorithm))).length > 0) return true
    }
    return false
  }

  const walk = async (prefix: string): Promise<ReadonlyArray<string>> => {
    const found: Array<string> = []
    for (const entry of await Files.list(join(layout.repositories, prefix))) {
      if (!entry.isDirectory() || entry.name.startsWith("_")) continue
      const name = prefix === "" ? entry.name : `${prefix}/${entry.name}`
      if (await holdsManifest(name)) found.push(name)
      found.push(...(await walk(name)))
    }
    return found
  }

  return {
    describe: (repository, digest) =>
      Effect.map(
        Files.attempt("look at a manifest", () => marker(repository, digest)),
        (found) => Option.map(Option.fromNullable(found), ({ mediaType, size }) => ({ digest, mediaType, size }))
      ),

    read: (repository, digest) =>
      Files.attempt("read a manifest", async () => {
        const found = await marker(repository, digest)
        const bytes = found && (await Files.ifThere(Fs.readFile(layout.blob(repository, digest))))
        return found === undefined || bytes === undefined
          ? Option.none()
          : Option.some({ digest, mediaType: found.mediaType, size: bytes.length, bytes })
      }),

    put: (repository, { bytes, digest, mediaType, refersTo, tag }) =>
      lock(repository)(
        Files.attempt("store a manifest", async () => {
          const content = layout.content(digest)
          if ((await Files.sizeOf(content)) !== bytes.length) await files.write(content, bytes)
          await files.link(content, layout.blob(repository, digest))
          if (refersTo !== undefined) {
            const path = layout.referrer(repository, refersTo.subject, digest)
            await files.write(path, JSON.stringify(refersTo.as))
          }
          const subject = refersTo?.subject
          await files.write(
            layout.manifest(repository, digest),
            JSON.stringify({ mediaType, size: bytes.length, subject })
          )
          if (tag !== undefined) await files.write(layout.tag(repository, tag), digest)
        })
      ),

    remove: (repository, digest) =>
      lock(repository)(
        Files.attempt("remove a manifest", async () => {
          const found = await marker(repository, digest)
          if (found === undefined) return false
          // Tags first: cut short, this leaves an untagged manifest and never a tag that names nothing.
          for (const tag of await tagNames(repository)) {
            if ((await tagDigest(repository, tag)) === digest) await Files.remove(layout.tag(repository, tag))
          }
          if (found.subject !== undefined) await Files.remove(layout.referrer(repository, found.subject, digest))
          await Files.remove(layout.manifest(repository, digest))
          await Files.remove(layout.blob(repository, digest))
          return true
        })
      ),

    resolve: (repository, tag) =>
      Effect.map(
        Files.attempt("read a tag", () => tagDigest(repository, tag)),
        Option.fromNullable
      ),

    untag: (repository, tag) =>
      lock(repository)(Files.attempt("remove a tag", () => Files.remove(layout.tag(repository, tag)))),

    tags: (repository) =>
      Files.attempt("list tags", async () => {
        const tags = await tagNames(repository)
        return tags.length > 0 || (await isRepository(repository)) ? Option.some(tags) : Option.none()
      }),

    repositories: Files.attempt("list repositories", async () => [...(await walk(""))].sort(byCodeUnit)),

    referrers: (repository, subject) =>
      Files.attempt("list referrers", async () => {
        const folder = layout.referrers(repository, subject)
        const names = (await Files.list(folder)).map((entry) => entry.name).sort(byCodeUnit)
        const found: Array<Referrer> = []
        for (const name of names) {
          const text = await Files.readText(join(folder, name))
          if (text !== undefined) found.push(decodeReferrer(text))
        }
        return found
      })
  }
}

// internal

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const DigestSchema = Schema.String.pipe(Schema.filter((text): text is Digest.Digest => Digest.is(text)))

// A file of ours that does not decode was written by somebody else: the operation fails as a StorageError.
const decodeMarker = Schema.decodeSync(
  Schema.parseJson(
    Schema.Struct({
      mediaType: Schema.String,
      size: Schema.Number,
      subject: Schema.optional(DigestSchema)
    })
  )
)

const decodeReferrer: (text: string) => Referrer & Described = Schema.decodeSync(
  Schema.parseJson(
    Schema.Struct({
      mediaType: Schema.String,
      digest: DigestSchema,
      size: Schema.Number,
      artifactType: Schema.optional(Schema.String),
      annotations: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }))
    })
  )
)
