/** Manifests, tags and referrers in memory; nothing touches the disk. */
import type { Digest } from "@effect-registry/core"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as KeyedLock from "../KeyedLock.js"
import { byCodeUnit, type Edit, type ManifestStore, type Put, partOf } from "../ManifestStore.js"
import * as Contents from "../storage/Contents.js"

interface Repository {
  readonly manifests: Map<Digest.Digest, Put>
  readonly tags: Map<string, Digest.Digest>
}

/** With `contents` shared, manifests are blobs of their repository too. */
export const make = (contents: Contents.Contents = Contents.make()): Context.Tag.Service<ManifestStore> => {
  const repositories = new Map<string, Repository>()
  const lock = KeyedLock.make()

  /** The manifest, which counts as asked for unless that is done `quietly`. */
  const find = (repository: string, digest: Digest.Digest, quietly = false) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const found = repositories.get(repository)?.manifests.get(digest)
      const content = contents.all.get(digest)
      if (!quietly && found !== undefined && content !== undefined) content.touched = now
      return Option.fromNullable(found)
    })

  const edit = (name: string): Edit => ({
    put: (manifest) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const { bytes, digest, tags } = manifest
        const repository = repositories.get(name) ?? { manifests: new Map(), tags: new Map() }
        repositories.set(name, repository)
        Contents.hold(contents, name, digest, { blocks: Contents.cut(bytes), size: bytes.length }, now)
        repository.manifests.set(digest, manifest)
        for (const tag of tags) repository.tags.set(tag, digest)
      }),

    remove: (digest, before) =>
      Effect.sync(() => {
        const repository = repositories.get(name)
        if (repository?.manifests.has(digest) !== true) return false
        // Other manifests may name it as a layer. With a time it is a collection that asks, which has looked.
        if (before !== undefined && !Contents.release(contents, name, digest, before)) return false
        for (const [tag, named] of repository.tags) if (named === digest) repository.tags.delete(tag)
        return repository.manifests.delete(digest)
      }),

    untag: (tag) => Effect.sync(() => repositories.get(name)?.tags.delete(tag) ?? false)
  })

  return {
    describe: (repository, digest) => Effect.map(find(repository, digest), Option.map(describe)),

    read: (repository, digest, quietly) =>
      Effect.map(
        find(repository, digest, quietly),
        Option.map((found) => ({ ...describe(found), bytes: found.bytes }))
      ),

    change: (repository, f) => lock(repository)(Effect.suspend(() => f(edit(repository)))),

    list: (repository) => Effect.sync(() => [...(repositories.get(repository)?.manifests.keys() ?? [])]),

    resolve: (repository, tag) => Effect.sync(() => Option.fromNullable(repositories.get(repository)?.tags.get(tag))),

    tags: (repository) =>
      Effect.sync(() =>
        repositories.has(repository) || contents.held.has(repository)
          ? Option.some([...(repositories.get(repository)?.tags.keys() ?? [])].sort(byCodeUnit))
          : Option.none()
      ),

    repositories: Effect.sync(() =>
      [...repositories].flatMap(([name, { manifests }]) => (manifests.size > 0 ? [name] : [])).sort(byCodeUnit)
    ),

    referrers: (repository, subject, part) =>
      Effect.sync(() => {
        const all = [...(repositories.get(repository)?.manifests.values() ?? [])]
          .flatMap(({ refersTo }) => (refersTo?.subject === subject ? [refersTo.as] : []))
          .sort((a, b) => byCodeUnit(a.digest, b.digest))
        return partOf(all, part)
      })
  }
}

// internal

const describe = ({ bytes, digest, mediaType }: Put) => ({ digest, mediaType, size: bytes.length })
