/**
 * A pull-through cache: the stores of a registry, filled from another registry as clients ask for things. Nobody but the
 * cache itself changes them.
 *
 * - A manifest is asked for by digest once and kept. A tag is asked for at every read; what the cache knows is answered only
 *   where the other registry cannot be asked (no connection, 429, 5xx, silence), never where it refuses or has no such tag.
 * - A blob goes to its clients while it is stored, in one transfer however many want it. Its last byte waits for the digest.
 * - A repository shows what the other registry serves in that repository: content that the cache has from elsewhere is given
 *   out only after the other registry said that this repository has it too.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { BlobStore } from "./BlobStore.js"
import { ManifestStore } from "./ManifestStore.js"
import * as Ask from "./Proxy/Ask.js"
import * as Blobs from "./Proxy/Blobs.js"
import * as Manifests from "./Proxy/Manifests.js"
import type { Upstream } from "./Upstream.js"

export interface Options {
  /** How long the other registry may take to say something that the cache could answer too. Default 5 seconds. */
  readonly staleAfter?: Duration.DurationInput | undefined
  /** How long it may take else, a blob's bytes aside. Default 30 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** After it could not be asked: how long the cache answers at once what it can answer. Default 5 seconds. */
  readonly pause?: Duration.DurationInput | undefined
  /** How long a transfer goes on after the last client has left. Default 30 seconds. */
  readonly linger?: Duration.DurationInput | undefined
}

/** The stores underneath, as a cache of `upstream`. */
export const layer = (
  upstream: Upstream,
  options: Options = {}
): Layer.Layer<BlobStore | ManifestStore, never, BlobStore | ManifestStore> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const ask = Ask.make(yield* Effect.scope, options)
      const blobs = yield* Blobs.make(yield* BlobStore, upstream, ask, options.linger ?? "30 seconds")
      const manifests = Manifests.make(yield* ManifestStore, upstream, ask)
      return Context.make(BlobStore, blobs).pipe(Context.add(ManifestStore, manifests))
    })
  )
