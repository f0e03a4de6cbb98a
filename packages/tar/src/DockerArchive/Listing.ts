/** The members at the end of an archive, which say what is in it. */
import type { Digest } from "@effect-registry/core"
import { Json, Manifest, MediaType, Platform, Progress } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type * as Roots from "../Roots.js"
import * as Beside from "./Beside.js"
import * as Load from "./Load.js"

export interface Member {
  readonly name: string
  readonly bytes: Uint8Array
}

/** In the order they are written. Warns of images that `docker load` will not find. */
export const make = (
  roots: Roots.Roots,
  hasBlob: (digest: Digest.Digest) => boolean,
  platform: Platform.Platform = Platform.machine()
): Effect.Effect<ReadonlyArray<Member>> =>
  Effect.gen(function* () {
    const progress = yield* Progress.Progress
    const { entries, unloadable } = Load.dockerManifest(roots, platform, hasBlob)
    for (const name of unloadable) {
      const message = `docker load will not find ${name} in the archive: it has no image for ${Platform.format(platform)} that docker can load`
      progress.emit({ _tag: "Warning", message })
    }
    const index = Manifest.assembleIndex(MediaType.ociIndex, Load.layoutEntries(roots.list()), Beside.verbatim)
    const members = [
      { name: "oci-layout", bytes: Json.encode({ imageLayoutVersion: "1.0.0" }) },
      { name: "index.json", bytes: index.bytes }
    ]
    // An empty list would say that the archive holds no image; without the file it is read as an OCI archive.
    return entries.length === 0 ? members : [...members, { name: "manifest.json", bytes: Json.encode(entries) }]
  })
