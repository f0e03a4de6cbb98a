/** The stores of a folder, for as long as it is owned: nothing is changed once it may be another registry's. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as FileBlobs from "./BlobStore/FileSystem.js"
import { BlobStore } from "./BlobStore.js"
import * as Ownership from "./Control/Ownership.js"
import type * as Limits from "./Limits.js"
import * as FileManifests from "./ManifestStore/FileSystem.js"
import { ManifestStore } from "./ManifestStore.js"
import * as Files from "./storage/Files.js"
import type { Layout } from "./storage/Layout.js"

export interface Options {
  readonly layout: Layout
  /** Whether a write is on the disk before it is answered. */
  readonly fsync: boolean
  readonly limits: Limits.Options
  readonly lost: Ownership.Lost
}

export const layer = ({ fsync, layout, limits, lost }: Options): Layer.Layer<BlobStore | ManifestStore> => {
  const files = Files.make(layout.tmp, fsync)
  return Layer.mergeAll(
    Layer.scoped(BlobStore, Effect.map(FileBlobs.make({ layout, files, limits }), Ownership.guardBlobs(lost))),
    Layer.scoped(ManifestStore, Effect.map(FileManifests.make({ layout, files }), Ownership.guardManifests(lost)))
  )
}
