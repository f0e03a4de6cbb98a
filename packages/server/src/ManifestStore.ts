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

export interface Put {
  readonly digest: Digest.Digest
  readonly mediaType: string
  readonly bytes: Uint8Array
  /** Set after the manifest is there, so that a tag never names what is missing. */
  readonly tag: string | undefined
  /** The digest this manifest refers to, and how it appears in that one's referrers. */
  readonly refersTo: { readonly subject: Digest.Digest; readonly as: Referrer } | undefined
}

export class ManifestStore extends Context.Tag("@effect-registry/server/ManifestStore")<
  ManifestStore,
  {
    /** Media type and size without the bytes. */
    readonly describe: (
      repository: string,
      digest: Digest.Digest
    ) => Effect.Effect<Option.Option<Described>, StorageError>
    /** The exact bytes that were pushed. */
    readonly read: (repository: string, digest: Digest.Digest) => Effect.Effect<Option.Option<Stored>, StorageError>
    readonly put: (repository: string, manifest: Put) => Effect.Effect<void, StorageError>
    /** Removes a manifest, its tags and its entry among the referrers of its subject; `false` where it was not there. */
    readonly remove: (repository: string, digest: Digest.Digest) => Effect.Effect<boolean, StorageError>
    /** The digest that a tag names. */
    readonly resolve: (repository: string, tag: string) => Effect.Effect<Option.Option<Digest.Digest>, StorageError>
    /** Removes a tag and nothing else; `false` where it was not there. */
    readonly untag: (repository: string, tag: string) => Effect.Effect<boolean, StorageError>
    /** All tags, sorted by code unit; `None` where there is no such repository. */
    readonly tags: (repository: string) => Effect.Effect<Option.Option<ReadonlyArray<string>>, StorageError>
    /** The repositories that hold a manifest, sorted by code unit. */
    readonly repositories: Effect.Effect<ReadonlyArray<string>, StorageError>
    /** Sorted by digest; empty where nothing refers to `subject`. */
    readonly referrers: (
      repository: string,
      subject: Digest.Digest
    ) => Effect.Effect<ReadonlyArray<Referrer>, StorageError>
  }
>() {}
