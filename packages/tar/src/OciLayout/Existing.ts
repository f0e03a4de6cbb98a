/** What a layout folder holds before a run adds to it. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type { Descriptor as DescriptorNs, ImageName } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Load from "../DockerArchive/Load.js"
import * as LayoutGraph from "../LayoutGraph.js"
import * as LayoutReferrers from "../LayoutReferrers.js"
import * as Files from "./Files.js"

type Descriptor = DescriptorNs.Descriptor

export interface Existing {
  /** Whether index.json gives this name to exactly this manifest, and all it names is there. */
  readonly isTagged: (descriptor: Descriptor, name: ImageName) => Effect.Effect<boolean>
  /** Those that are there whole. */
  readonly referrers: (descriptor: Descriptor) => Effect.Effect<ReadonlyArray<Descriptor>>
}

/** Nothing of a layout that cannot be read: whoever adds to it says why. */
export const read = (path: string): Effect.Effect<Existing, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const files = LayoutGraph.remembering(yield* Files.open(path))
    const entries = yield* LayoutGraph.entries(files)
    const { referrers } = yield* LayoutReferrers.make(files, entries, "is left out")
    return {
      isTagged: (descriptor: Descriptor, name: ImageName) => {
        const whole = Load.fullName(name)
        const entry = entries.find(({ descriptor: { digest } }) => digest === descriptor.digest)
        return entry?.names.some((each) => Load.fullName(each) === whole) === true
          ? isWhole(files, entry)
          : Effect.succeed(false)
      },
      referrers: (descriptor: Descriptor) => Effect.orElseSucceed(referrers(descriptor), () => [])
    }
  }).pipe(Effect.orElseSucceed((): Existing => nothing))

// internal

const nothing: Existing = { isTagged: () => Effect.succeed(false), referrers: () => Effect.succeed([]) }

const isWhole = (files: LayoutGraph.LayoutFiles, entry: LayoutGraph.LayoutEntry): Effect.Effect<boolean> =>
  LayoutGraph.images(files, [entry]).pipe(
    Effect.map((images) => images.every(({ missing }) => missing.length === 0)),
    Effect.orElseSucceed(() => false)
  )
