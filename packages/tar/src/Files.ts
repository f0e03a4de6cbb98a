/** The files of an image, layer by layer and as a container would see them, without pulling it. */
import type { Digest, ImageSource, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { entryOf, type FileEntry, implied, mark } from "./Files/Entry.js"
import * as Image from "./Files/Image.js"
import type { LeftOut } from "./Files/Layer.js"
import * as Layers from "./Files/Layers.js"
import { Kind } from "./Files/Member.js"
import { View } from "./Files/View.js"
import type { TarReadError } from "./TarReadError.js"

export type { EntryType, FileEntry } from "./Files/Entry.js"

export type FilesOptions = Image.LookOptions

export interface LayerFiles extends Image.ImageLayer {
  /** `foreign`: registries do not hold it. `other`: no tar by its media type. Neither was read. */
  readonly contents: Layers.Contents
  /** Bytes of the uncompressed tar; `undefined` where it was not read. */
  readonly tarSize: number | undefined
  /** Number of its `entries`. */
  readonly entryCount: number
  /** Members that cannot stand in an image, the first 20. */
  readonly leftOut: ReadonlyArray<LeftOut>
  readonly leftOutCount: number
  /** What the layer itself lists, whiteouts included, sorted. Made anew for each call. */
  readonly entries: () => IterableIterator<FileEntry>
}

export interface ImageFiles {
  /** The source's. */
  readonly name: string
  /** Of the image's manifest; `undefined` where it has none: `docker save` writes none. */
  readonly digest: Digest.Digest | undefined
  readonly configDigest: Digest.Digest
  /** The lowest first. */
  readonly layers: ReadonlyArray<LayerFiles>
  /** What the layers come to, sorted: folders before their content, names by their bytes. Made anew for each call. */
  readonly entries: () => IterableIterator<FileEntry>
}

/**
 * The files of a source's one image. Every layer is read once, as a stream: its data is verified and dropped, about a
 * hundred bytes stay of each file. Names are taken as they stand, so a symlink in a layer leads nowhere else.
 *
 * Fails as the source does; with a TarReadError where a layer is no tar, or ends too early; with a ValidationError:
 * `SeveralImages`, `PlatformNotFound`, `DigestMismatch`, `LayerMismatch`, `DamagedData`, `TooLarge`.
 *
 * @example
 * ```ts
 * import { DockerArchive, files } from "@effect-registry/tar"
 * import * as Effect from "effect/Effect"
 *
 * const setuid = Effect.map(files(DockerArchive.file("app.tar")), (image) =>
 *   [...image.entries()].filter(({ mode }) => (mode & 0o4000) !== 0).map(({ path }) => path)
 * )
 * ```
 * @since 0.1.0
 */
export const files = <E, R>(
  source: ImageSource<E, R>,
  options: FilesOptions = {}
): Effect.Effect<ImageFiles, E | TarReadError | ValidationError, R> =>
  Effect.gen(function* () {
    const image = yield* Image.open(source, options)
    const run = Layers.make()
    yield* Layers.read(image, image.layers, run, { concurrency: options.concurrency, hashed: false })
    yield* image.unchanged
    const trees = image.layers.map((layer) => run.known.get(Layers.keyOf(layer))?.tree)
    const view = new View(trees)
    return {
      name: image.name,
      digest: image.digest,
      configDigest: image.configDigest,
      layers: image.layers.map((layer, index): LayerFiles => {
        const read = run.known.get(Layers.keyOf(layer))
        return {
          ...layer,
          contents: Layers.contentsOf(layer),
          tarSize: read?.tarSize,
          entryCount: read?.tree.entries ?? 0,
          leftOut: read?.leftOut ?? [],
          leftOutCount: read?.leftOutCount ?? 0,
          entries: () => ofLayer(view, new View([trees[index]], index))
        }
      }),
      entries: () => merged(view)
    }
  }).pipe(Effect.scoped, Effect.withSpan("effect-registry.files", { attributes: { source: source.name } }))

// internal

function* merged(view: View): Generator<FileEntry> {
  for (const { merged, path } of view.walk()) {
    const { entry, named } = merged
    if (entry !== undefined) yield entryOf(path, entry, view.target(entry))
    else if (path !== "") yield implied(path, named.layer)
  }
}

/** The members of one layer; `view` is that of all, where its hard links lead to. */
function* ofLayer(view: View, own: View): Generator<FileEntry> {
  for (const { merged, path } of own.walk(true)) {
    const { layer, node, tree } = merged.named
    const kind = tree.kind(node)
    if (tree.isWhiteout(node)) yield mark(path, "whiteout", layer)
    if (kind >= Kind.Folder) yield entryOf(path, merged.named, view.target(merged.named))
    if (tree.isOpaque(node)) yield mark(path, "opaque", layer)
  }
}
