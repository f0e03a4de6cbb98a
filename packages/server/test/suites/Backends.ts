/** The stores that the contract suites run over. */
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as FileBlobs from "../../src/BlobStore/FileSystem.js"
import * as MemoryBlobs from "../../src/BlobStore/Memory.js"
import type { BlobStore } from "../../src/BlobStore.js"
import type * as Limits from "../../src/Limits.js"
import * as FileManifests from "../../src/ManifestStore/FileSystem.js"
import * as MemoryManifests from "../../src/ManifestStore/Memory.js"
import type { ManifestStore } from "../../src/ManifestStore.js"
import * as Contents from "../../src/storage/Contents.js"
import * as Files from "../../src/storage/Files.js"
import * as Layout from "../../src/storage/Layout.js"
import * as Root from "../../src/storage/Root.js"

export interface Stores {
  readonly blobs: Context.Tag.Service<BlobStore>
  readonly manifests: Context.Tag.Service<ManifestStore>
}

export interface Opened extends Stores {
  /** The stores of a process that starts after this one was killed; only where there is something to start from. */
  readonly restart?: Effect.Effect<Stores>
}

export interface Backend {
  readonly name: string
  readonly open: (limits?: Limits.Options) => Effect.Effect<Opened, never, Scope.Scope>
}

export const memory: Backend = {
  name: "memory",
  open: (limits = {}) =>
    Effect.sync(() => {
      const contents = Contents.make()
      return { blobs: MemoryBlobs.make({ limits, contents }), manifests: MemoryManifests.make(contents) }
    })
}

export const folder: Backend = {
  name: "folder",
  open: (limits = {}) =>
    Effect.gen(function* () {
      const root = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "store-suite-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
      )
      const layout = Layout.make(root)
      yield* Effect.orDie(Root.prepare(layout))
      const files = Files.make(layout.tmp, false)
      yield* Effect.promise(async () => {
        for (const path of [layout.repositories, layout.tmp]) await mkdir(path, { recursive: true })
      })
      const scope = yield* Effect.scope
      const restart = Effect.gen(function* () {
        const manifests = yield* FileManifests.make({ layout, files })
        return { blobs: yield* FileBlobs.make({ layout, files, limits }), manifests }
      }).pipe(Scope.extend(scope))
      return { ...(yield* restart), restart }
    })
}

export const all = [memory, folder]
