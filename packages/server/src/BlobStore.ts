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

export interface Upload {
  readonly id: string
  /** Bytes received and kept so far. */
  readonly size: number
}

/** Why an upload cannot go on. */
export type UploadErrorReason =
  /** No such upload in this repository. */
  | "Unknown"
  /** The bytes offered do not start where the upload ends; `size` says where that is. */
  | "OutOfOrder"
  /** The bytes have another digest than the client said; the upload is gone. */
  | "DigestMismatch"
  /** The client went away or fell silent; what came is kept. */
  | "ConnectionLost"

export class UploadError extends Data.TaggedError("UploadError")<{
  readonly reason: UploadErrorReason
  readonly size?: number
}> {}

export class BlobStore extends Context.Tag("@effect-registry/server/BlobStore")<
  BlobStore,
  {
    /** The blob, or `None` where this repository has none of that digest. */
    readonly find: (repository: string, digest: Digest.Digest) => Effect.Effect<Option.Option<Blob>, StorageError>
    /** Takes a blob over from another repository; `false` where that one does not have it. */
    readonly mount: (repository: string, digest: Digest.Digest, from: string) => Effect.Effect<boolean, StorageError>
    /** Takes a blob out of a repository; `false` where it was not there. Others keep theirs. */
    readonly remove: (repository: string, digest: Digest.Digest) => Effect.Effect<boolean, StorageError>
    /** A new, empty upload that hashes with `algorithm` as bytes come in. */
    readonly startUpload: (repository: string, algorithm: "sha256" | "sha512") => Effect.Effect<Upload, StorageError>
    readonly findUpload: (repository: string, id: string) => Effect.Effect<Option.Option<Upload>, StorageError>
    /**
     * Adds all bytes of `body`, which must start at `start` where that is given. Every byte that came is kept, also when
     * the body breaks off (`ConnectionLost`) and when the effect is interrupted.
     */
    readonly append: (
      repository: string,
      id: string,
      body: Readable,
      start: number | undefined
    ) => Effect.Effect<Upload, StorageError | UploadError>
    /** Makes the upload the blob `digest` of the repository, if its bytes have that digest. */
    readonly finish: (
      repository: string,
      id: string,
      digest: Digest.Digest
    ) => Effect.Effect<void, StorageError | UploadError>
    /** Forgets an upload and its bytes; `false` where there was none. */
    readonly cancel: (repository: string, id: string) => Effect.Effect<boolean, StorageError>
  }
>() {}
