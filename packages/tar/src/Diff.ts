/** What differs between two images, wherever they lie: settings, layers, files. */
import type { Digest, ImageSource, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Changes from "./Diff/Changes.js"
import * as Config from "./Diff/Config.js"
import * as LayerChanges from "./Diff/Layers.js"
import * as Image from "./Files/Image.js"
import * as Layers from "./Files/Layers.js"
import { View } from "./Files/View.js"
import type { TarReadError } from "./TarReadError.js"

export type { Aspect, FileChange } from "./Diff/Changes.js"
export type { ConfigChange } from "./Diff/Config.js"
export type { LayerChange } from "./Diff/Layers.js"

export type DiffOptions = Image.LookOptions

/** One of the two images. */
export interface DiffSide {
  /** The source's. */
  readonly name: string
  /** Of the image's manifest; `undefined` where it has none: `docker save` writes none. */
  readonly digest: Digest.Digest | undefined
  readonly configDigest: Digest.Digest
  /** Bytes of the layers, as the store holds them. */
  readonly size: number
  readonly layers: ReadonlyArray<Image.ImageLayer>
}

export interface ImageDiff {
  readonly before: DiffSide
  readonly after: DiffSide
  readonly config: ReadonlyArray<Config.ConfigChange>
  /** All layers of both, the lowest first. */
  readonly layers: ReadonlyArray<LayerChanges.LayerChange>
  /** Sorted by path. Made anew for each call. */
  readonly files: () => IterableIterator<Changes.FileChange>
  /** Layers whose files are not compared: no tars, or not in the registry's keeping. */
  readonly unread: ReadonlyArray<Image.ImageLayer>
  /** Members of layers that cannot stand in an image, with their number where only the first are told. */
  readonly leftOut: ReturnType<typeof Layers.leftOutOf>
}

/**
 * What differs between the one image of each source. Layers are read as `files` reads them, each once, and files are
 * compared by the SHA-256 of their data; layers that both images have at the bottom are read only where what lies in them
 * can make a difference. Times of files are not compared.
 *
 * Fails as `files` does, for either of the two.
 *
 * @example
 * ```ts
 * import { diff, DockerArchive } from "@effect-registry/tar"
 * import * as Effect from "effect/Effect"
 *
 * const added = Effect.map(diff(DockerArchive.file("old.tar"), DockerArchive.file("new.tar")), ({ files }) =>
 *   [...files()].filter(({ change }) => change === "added").map(({ path }) => path)
 * )
 * ```
 * @since 0.1.0
 */
export const diff = <E, R, E2, R2>(
  before: ImageSource<E, R>,
  after: ImageSource<E2, R2>,
  options: DiffOptions = {}
): Effect.Effect<ImageDiff, E | E2 | TarReadError | ValidationError, R | R2> =>
  Effect.gen(function* () {
    const a = yield* Image.open(before, options)
    const b = yield* Image.open(after, options)
    const run = Layers.make()
    const reading = { concurrency: options.concurrency, hashed: true }
    const shared = LayerChanges.shared(a.layers, b.layers)
    const trees = (layers: ReadonlyArray<Image.ImageLayer>) =>
      layers.map((layer) => run.known.get(Layers.keyOf(layer))?.tree)
    const upper = (layers: ReadonlyArray<Image.ImageLayer>) => layers.slice(shared)
    yield* Layers.read(a, upper(a.layers), run, reading)
    yield* Layers.read(b, upper(b.layers), run, reading)
    const isAlone =
      shared > 0 &&
      !Changes.dependsOnLower(new View(trees(upper(a.layers)), shared), new View(trees(upper(b.layers)), shared))
    const lower = isAlone ? [] : a.layers.slice(0, shared)
    if (upper(a.layers).length + upper(b.layers).length > 0) yield* Layers.read(a, lower, run, reading)
    yield* a.unchanged
    yield* b.unchanged
    const side = (layers: ReadonlyArray<Image.ImageLayer>): Changes.Side => ({
      view: new View([...trees(lower), ...trees(upper(layers))], shared - lower.length),
      shared
    })
    const [left, right] = [side(a.layers), side(b.layers)]
    const read = [...lower, ...upper(a.layers), ...upper(b.layers)]
    return {
      before: sideOf(a),
      after: sideOf(b),
      config: Config.changes(a.config, b.config),
      layers: LayerChanges.changes(a.layers, b.layers),
      files: () => Changes.changes(left, right),
      unread: read.filter((layer) => Layers.contentsOf(layer) !== "tar"),
      leftOut: Layers.leftOutOf(run.known, read)
    }
  }).pipe(
    Effect.scoped,
    Effect.withSpan("effect-registry.diff", { attributes: { before: before.name, after: after.name } })
  )

// internal

const sideOf = ({ configDigest, digest, layers, name }: Image.Image<unknown, unknown>): DiffSide => ({
  name,
  digest,
  configDigest,
  size: layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
  layers
})
