/** What a running copy tells whoever shows it. */
import * as Context from "effect/Context"
import type { BlobWritten } from "./ImageStore.js"
import type { Digest } from "./model/Digest.js"

export type ProgressEvent =
  /** The copy knows what it has to move. `bytes` counts blobs, uncompressed where they are compressed on the way. */
  | { readonly _tag: "Planned"; readonly blobs: number; readonly bytes: number }
  /**
   * `digest` is the one of the source: the diff ID of a layer that is compressed on the way. `size` is what the source
   * holds: of a layer that is decompressed first, more bytes than that go by.
   */
  | { readonly _tag: "BlobStarted"; readonly digest: Digest; readonly size: number }
  /** An earlier run left so many bytes of the blob, which are not moved again. */
  | { readonly _tag: "BlobResumed"; readonly digest: Digest; readonly bytes: number }
  /** `bytes` more of the source's content went by; negative after a fault that makes the blob start over. */
  | { readonly _tag: "BlobProgress"; readonly digest: Digest; readonly bytes: number }
  | { readonly _tag: "BlobDone"; readonly digest: Digest; readonly outcome: BlobWritten["outcome"] }
  | { readonly _tag: "ManifestDone"; readonly digest: Digest; readonly tags: ReadonlyArray<string> }
  /** `done` of `total` things were looked at, `what` they are: `tags of localhost:5000/app for other uses`. */
  | { readonly _tag: "Looking"; readonly what: string; readonly done: number; readonly total: number }
  /** An attempt failed and is made again. */
  | { readonly _tag: "Retrying"; readonly operation: string; readonly attempt: number; readonly message: string }
  /** Something the user should know and that stops nothing. */
  | { readonly _tag: "Warning"; readonly message: string }

export interface Service {
  /** Called on the data path, often for every MiB: must be quick and must not throw. */
  readonly emit: (event: ProgressEvent) => void
}

/** Defaults to dropping every event. */
export class Progress extends Context.Reference<Progress>()("@effect-registry/core/Progress", {
  defaultValue: (): Service => ({ emit: () => {} })
}) {}
