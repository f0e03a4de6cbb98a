/**
 * Where manifests, tags and the lists of referrers live, and which repositories there are. The backend that keeps everything
 * in a folder is `ManifestStore/FileSystem.ts`.
 */

import type { Digest } from "@effect-registry/core"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { StorageError } from "./StorageError.js"

/** What a manifest's headers say. */
export interface Described {
  readonly mediaType: string
  readonly digest: Digest.Digest
  /** Bytes. */
  readonly size: number
}

export interface Stored extends Described {
  readonly bytes: Uint8Array
}

/** An entry of a referrers list: the descriptor of a manifest whose `subject` is the digest asked for. */
export interface Referrer extends Described {
  readonly artifactType?: string | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

/** A part of a list of referrers, whose annotations make it as long as their authors like. */
export interface Part {
  /** Only those with greater digests. */
  readonly after?: string | undefined
  /** Bytes of JSON: once there are so many, what follows is left out. */
  readonly size: number
}

export interface Put {
  readonly digest: Digest.Digest
  readonly mediaType: string
  readonly bytes: Uint8Array
  /** Set after the manifest is there, so that a tag never names what is missing. */
  readonly tags: ReadonlyArray<string>
  /** The manifests that an index names. */
  readonly children: ReadonlyArray<Digest.Digest>
  /** The digest this manifest refers to, and how it appears in that one's referrers. */
  readonly refersTo: { readonly subject: Digest.Digest; readonly as: Referrer } | undefined
}

/** What can be changed while nobody else changes anything in the repository. */
export interface Edit {
  readonly put: (manifest: Put) => Effect.Effect<void, StorageError>
  /**
   * Removes a manifest, its tags and its entry among the referrers of its subject; `false` where it was not there. Its bytes
   * stay a blob of the repository, for another manifest may name them. With `before` (milliseconds since 1970) also `false`
   * where it was pushed or asked for since, and the blob goes with it: the caller knows that nothing names it.
   */
  readonly remove: (digest: Digest.Digest, before?: number) => Effect.Effect<boolean, StorageError>
  /** Removes a tag and nothing else; `false` where it was not there. */
  readonly untag: (tag: string) => Effect.Effect<boolean, StorageError>
}

export class ManifestStore extends Context.Tag("@effect-registry/server/ManifestStore")<
  ManifestStore,
  {
    /** Media type and size without the bytes. */
    readonly describe: (
      repository: string,
      digest: Digest.Digest
    ) => Effect.Effect<Option.Option<Described>, StorageError>
    /** The exact bytes that were pushed. With `quietly` it does not count as asked for. */
    readonly read: (
      repository: string,
      digest: Digest.Digest,
      quietly?: boolean
    ) => Effect.Effect<Option.Option<Stored>, StorageError>
    /**
     * Runs `f` while nobody else changes the repository: what it checks (that blobs are there, that nothing names a
     * manifest) still holds when it writes. Not to be nested.
     */
    readonly change: <A, E, R>(repository: string, f: (edit: Edit) => Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** The digests of all manifests of a repository. */
    readonly list: (repository: string) => Effect.Effect<ReadonlyArray<Digest.Digest>, StorageError>
    /** The digest that a tag names. */
    readonly resolve: (repository: string, tag: string) => Effect.Effect<Option.Option<Digest.Digest>, StorageError>
    /** All tags, sorted by code unit; `None` where there is no such repository. */
    readonly tags: (repository: string) => Effect.Effect<Option.Option<ReadonlyArray<string>>, StorageError>
    /** The repositories that hold a manifest, sorted by code unit. */
    readonly repositories: Effect.Effect<ReadonlyArray<string>, StorageError>
    /** Sorted by digest; empty where nothing refers to `subject`. Default all of them. */
    readonly referrers: (
      repository: string,
      subject: Digest.Digest,
      part?: Part
    ) => Effect.Effect<ReadonlyArray<Referrer>, StorageError>
  }
>() {}

/** The order of all that is sorted here. */
export const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** That part of a sorted list. */
export const partOf = (all: ReadonlyArray<Referrer>, part: Part | undefined): ReadonlyArray<Referrer> => {
  if (part === undefined) return all
  const { after } = part
  const rest = after === undefined ? all : all.filter(({ digest }) => digest > after)
  let length = 0
  const end = rest.findIndex((referrer) => {
    length += sizeOf(referrer)
    return length >= part.size
  })
  return end < 0 ? rest : rest.slice(0, end + 1)
}

/** Bytes of an entry as JSON. */
export const sizeOf = (referrer: Referrer): number => Buffer.byteLength(JSON.stringify(referrer))
