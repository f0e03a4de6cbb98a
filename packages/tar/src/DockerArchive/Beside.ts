/**
 * The OCI layout that lies beside a manifest.json: the manifests of the images listed there, and images that `docker load`
 * cannot have and only index.json names.
 */
import type { ImageEntry, ImageName, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type { ArchiveFile } from "../ArchiveFile.js"
import * as DockerReader from "../DockerReader.js"
import * as LayoutGraph from "../LayoutGraph.js"
import * as LayoutReferrers from "../LayoutReferrers.js"
import * as Selection from "../Selection.js"
import type { TarReadError } from "../TarReadError.js"

type Failure = TarReadError | ValidationError

/**
 * In the annotations of an index.json that we write: its manifests are those of a registry, to be moved byte for byte.
 * Docker lists manifests that it made for the archive alone, and with plain layers; they are no registry's.
 */
export const verbatim: Readonly<Record<string, string>> = { "effect-registry.manifests": "verbatim" }

export interface Layout {
  /** All that index.json names. */
  readonly listed: ReadonlyArray<LayoutGraph.LayoutEntry>
  /** Those that are images of their own. */
  readonly images: ReadonlyArray<LayoutGraph.LayoutImage>
  readonly isVerbatim: boolean
}

export const read = (files: LayoutGraph.LayoutFiles): Effect.Effect<Layout, Failure> =>
  Effect.gen(function* () {
    const { value } = yield* LayoutGraph.index(files)
    const listed = yield* LayoutGraph.entries(files)
    const images = yield* LayoutGraph.images(files, yield* LayoutReferrers.withoutAttached(files, listed))
    const isVerbatim = Object.entries(verbatim).every(([key, text]) => value.annotations?.[key] === text)
    return { listed, images, isVerbatim }
  })

/** The images of manifest.json, each with the manifest that the layout has for it, then those that only the layout has. */
export const entries = (
  archive: ArchiveFile,
  files: LayoutGraph.LayoutFiles,
  images: ReadonlyArray<DockerReader.DockerImage>,
  layout: Layout = { listed: [], images: [], isVerbatim: false }
): Effect.Effect<ReadonlyArray<ImageEntry>, Failure> =>
  Effect.gen(function* () {
    const used = new Set<LayoutGraph.LayoutImage>()
    const found: Array<ImageEntry> = []
    for (const image of images) {
      const holder = holderOf(image, layout.images, used)
      if (holder !== undefined) used.add(holder)
      found.push(
        holder !== undefined && layout.isVerbatim
          ? { ...(yield* LayoutGraph.rootOf(archive.path, files, holder)), names: image.names }
          : yield* DockerReader.entryOf(archive, files, holder === undefined ? [] : [holder], image)
      )
    }
    const others = layout.images.filter((image) => !used.has(image) && image.missing.length === 0)
    return [
      ...found,
      ...others.map(
        ({ descriptor, names }): ImageEntry => ({
          root: { _tag: "Manifest", descriptor },
          names,
          missingPlatforms: []
        })
      )
    ]
  })

// internal

/** One configuration can be that of several manifests: the one of the same name is meant, else one that nobody has yet. */
const holderOf = (
  { config, names }: DockerReader.DockerImage,
  images: ReadonlyArray<LayoutGraph.LayoutImage>,
  used: ReadonlySet<LayoutGraph.LayoutImage>
): LayoutGraph.LayoutImage | undefined => {
  const fitting = images.filter(({ complete }) => complete.some((each) => each.config === config.descriptor.digest))
  const fresh = fitting.filter((image) => !used.has(image))
  return (
    fitting.find((image) => sharesName(image.names, names)) ??
    fresh.find((image) => image.names.length === 0 && names.length === 0) ??
    fresh[0] ??
    fitting[0]
  )
}

const sharesName = (some: ReadonlyArray<ImageName>, others: ReadonlyArray<ImageName>): boolean =>
  some.some((name) => others.some((other) => Selection.isSameName(name, other)))
