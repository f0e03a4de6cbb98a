/** What a copy has to move, found out before a blob is touched. */
import * as Option from "effect/Option"
import type { Algorithm, ImageName } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import type * as Manifest from "../model/Manifest.js"
import type * as MediaType from "../model/MediaType.js"

export interface PlannedBlob {
  /** What the source holds. */
  readonly source: Descriptor
  /** Compress it on the way, where it is not to be moved as it is. */
  readonly recode: Option.Option<Recode>
  /** The descriptor at the target, where it is known before the blob was moved. */
  readonly target: Option.Option<Descriptor>
  /** What it was compressed to at another time. */
  readonly before?: Descriptor | undefined
}

/** How the bytes of a layer change. */
export interface Recode {
  readonly from: MediaType.Compression
  readonly to: Algorithm
  /** Of the result. */
  readonly mediaType: string
  /** Of the plain layer. */
  readonly diffId: Descriptor["digest"]
}

export interface PlannedManifest {
  readonly descriptor: Descriptor
  readonly bytes: Uint8Array
  /** What the source calls it; `undefined` for one that had to be made. */
  readonly from: Descriptor["digest"] | undefined
  /** `root` gets the names of the copy. */
  readonly role: "root" | "child" | "referrer"
  /** Of signatures that lie under a tag of their own. */
  readonly tags: ReadonlyArray<string>
  /** Manifests of one height do not name one another; all that a manifest names is lower. */
  readonly height: number
}

/** What became of a blob at the target. */
export type Written = (blob: PlannedBlob) => Descriptor

export interface Plan {
  /** Each once. */
  readonly blobs: ReadonlyArray<PlannedBlob>
  /** Children first, the root last, once every blob of the plan is at the target. */
  readonly manifests: (written: Written) => ReadonlyArray<PlannedManifest>
  /** What the user should know of it. */
  readonly notes: ReadonlyArray<string>
}

/** Tells blobs apart: what is compressed in two ways is two blobs at the target. */
export const keyOf = ({ recode, source }: PlannedBlob): string =>
  Option.match(recode, { onNone: () => source.digest, onSome: ({ to }) => `${source.digest} ${to}` })

/** Each blob once. */
export const distinct = (blobs: ReadonlyArray<PlannedBlob>): ReadonlyArray<PlannedBlob> => [
  ...new Map(blobs.map((blob) => [keyOf(blob), blob])).values()
]

/** The manifest as a part of a plan. */
export const planned = (
  { bytes, descriptor }: Pick<Manifest.Manifest, "bytes" | "descriptor">,
  place: Omit<PlannedManifest, "bytes" | "descriptor">
): PlannedManifest => ({ descriptor, bytes, ...place })

/** The names a manifest gets where the copy has these. */
export const namesOf = (manifest: PlannedManifest, names: ReadonlyArray<ImageName>): ReadonlyArray<ImageName> => {
  if (manifest.role === "root") return names
  return manifest.tags.map((tag) => ({ repository: names[0]?.repository ?? Option.none(), tag: Option.some(tag) }))
}
