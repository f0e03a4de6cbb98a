/**
 * Where blobs and unfinished uploads live. Content is shared by all repositories; a repository sees only what was pushed or
 * mounted into it. The backend that keeps everything in a folder is `BlobStore/FileSystem.ts`.
 */
import type { Readable } from "node:stream"
import type { Digest } from "@effect-registry/core"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { StorageError } from "./StorageError.js"

export interface Blob {
  /** Bytes. */
  readonly size: number
  /** The bytes from `start` up to and including `end`, 1 MiB a chunk; whoever opens it must read or destroy it. */
  readonly open: (start: number, end: number) => Readable
}

/** What is asked for again within this time need not be touched again, on the disk at least. Milliseconds. */
export const touchEvery = 10 * 60_000

/** A blob as its repository holds it. */
export interface Held {
  readonly digest: Digest.Digest
  /** Bytes. */
  readonly size: number
  /** When it was pushed, mounted or last asked for, to some minutes. Milliseconds since 1970. */
  readonly touched: number
}

export interface Upload {
  readonly id: string
  /** Bytes received and kept so far. */
  readonly size: number
}

export interface UnfinishedUpload extends Upload {
  readonly repository: string
  /** When its last byte came, or it was started; now, while somebody is writing to it. Milliseconds since 1970. */
  readonly touched: number
}

/** Bytes that were, or would be, freed. */
export interface Freed {
  readonly blobs: number
  readonly bytes: number
}

/** Why an upload cannot go on. */
export type UploadErrorReason =
  /** No such upload in this repository. */
  | "Unknown"
  /** The bytes offered do not start where the upload ends; `size` says where that is. */
  | "OutOfOrder"
  /** The bytes have another digest than the client said; the upload is gone. */
  | "DigestMismatch"
  /** The client went away, fell silent or was too slow; what came is kept. */
  | "ConnectionLost"
  /** More bytes than an upload may have; the upload is gone. */
  | "TooLarge"
  /** As many uploads are open as may be. */
  | "TooMany"

export class UploadError extends Data.TaggedError("UploadError")<{
  readonly reason: UploadErrorReason
  readonly size?: number
}> {}

export class BlobStore extends Context.Tag("@effect-registry/server/BlobStore")<
  BlobStore,
  {
    /** The blob, or `None` where this repository has none of that digest. */
    readonly find: (repository: string, digest: Digest.Digest) => Effect.Effect<Option.Option<Blob>, StorageError>
    /** Takes a blob over from another repository, or from any one; `false` where it is not there. */
    readonly mount: (
      repository: string,
      digest: Digest.Digest,
      from: string | undefined
    ) => Effect.Effect<boolean, StorageError>
    /**
     * Takes a blob out of a repository; `false` where it was not there. Others keep theirs. With `before` (milliseconds
     * since 1970) also `false` where it was touched since: whoever was told that it is there can rely on that.
     */
    readonly remove: (
      repository: string,
      digest: Digest.Digest,
      before?: number
    ) => Effect.Effect<boolean, StorageError>
    /** A new, empty upload that hashes with `algorithm` as bytes come in. */
    readonly startUpload: (
      repository: string,
      algorithm: Digest.Algorithm
    ) => Effect.Effect<Upload, StorageError | UploadError>
    readonly findUpload: (repository: string, id: string) => Effect.Effect<Option.Option<Upload>, StorageError>
    /**
     * Adds all bytes of `body`, which must start at `start` where that is given. Every byte that came is kept, also when
     * the body breaks off (`ConnectionLost`) and when the effect is interrupted. With `announced`, the number of bytes that
     * the body says it has, what would be `TooLarge` is refused before a byte of it is read. `ready` is called once nothing
     * but the body itself can make it fail, and before it is read.
     */
    readonly append: (
      repository: string,
      id: string,
      body: Readable,
      start: number | undefined,
      announced?: number | undefined,
      ready?: (() => void) | undefined
    ) => Effect.Effect<Upload, StorageError | UploadError>
    /**
     * The bytes of an unfinished upload from `start` up to and including `end`, which must have been received. It may fail
     * where the upload ends meanwhile. Absent: they can be read only when it is finished.
     */
    readonly openUpload?: ((repository: string, id: string, start: number, end: number) => Readable) | undefined
    /** Makes the upload the blob `digest` of the repository, if its bytes have that digest. */
    readonly finish: (
      repository: string,
      id: string,
      digest: Digest.Digest
    ) => Effect.Effect<void, StorageError | UploadError>
    /**
     * Forgets an upload and its bytes; `false` where there was none. With `before` (milliseconds since 1970) also `false`,
     * and at once, where a byte came since or somebody is writing to it or finishing it.
     */
    readonly cancel: (repository: string, id: string, before?: number) => Effect.Effect<boolean, StorageError>
    /** The repositories that hold a blob or an unfinished upload. */
    readonly repositories: Effect.Effect<ReadonlyArray<string>, StorageError>
    /** All blobs of a repository, manifests among them. */
    readonly list: (repository: string) => Effect.Effect<ReadonlyArray<Held>, StorageError>
    readonly uploads: Effect.Effect<ReadonlyArray<UnfinishedUpload>, StorageError>
    /** How many they are, without a look at each. */
    readonly openUploads: Effect.Effect<number, StorageError>
    /**
     * Frees content that no repository holds and that was not touched since `before` (milliseconds since 1970);
     * with `dryRun` it only counts.
     */
    readonly sweep: (options: {
      readonly before: number
      readonly dryRun: boolean
    }) => Effect.Effect<Freed, StorageError>
  }
>() {}
