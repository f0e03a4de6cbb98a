/** The layers of one image or of two, each of them read once. */
import { type Digest, MediaType, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type { TarReadError } from "../TarReadError.js"
import type { Image, ImageLayer } from "./Image.js"
import * as Layer from "./Layer.js"
import { type Budget, budget } from "./Member.js"

/** `foreign`: a layer that registries do not hold. `other`: no tar. Neither is read. */
export type Contents = "tar" | "foreign" | "other"

export const contentsOf = ({ descriptor: { mediaType } }: ImageLayer): Contents =>
  MediaType.isForeignLayer(mediaType) ? "foreign" : Layer.isTar(mediaType) ? "tar" : "other"

/** What was read of a layer. */
export type Known = Map<string, Layer.LayerTree>

/** One for each layer that is not another one: the same bytes under two diff IDs are looked at twice. */
export const keyOf = ({ descriptor, diffId }: ImageLayer): string => `${descriptor.digest} ${diffId ?? ""}`

export interface ReadOptions {
  readonly concurrency: number | undefined
  readonly hashed: boolean
}

/** What is read in one run and the room that is left for it. */
export const make = (): { readonly known: Known; readonly budget: Budget } => ({ known: new Map(), budget: budget() })

/** Reads those of the layers that are tars and not known yet. Fails as `Layer.read`, and as the image does. */
export const read = <E, R>(
  image: Image<E, R>,
  layers: ReadonlyArray<ImageLayer>,
  { budget, known }: { readonly known: Known; readonly budget: Budget },
  { concurrency = 5, hashed }: ReadOptions
): Effect.Effect<void, E | TarReadError | ValidationError, R> => {
  const wanted = new Map<string, ImageLayer>()
  for (const layer of layers) {
    if (contentsOf(layer) === "tar" && !known.has(keyOf(layer))) wanted.set(keyOf(layer), layer)
  }
  return Effect.forEach(
    wanted,
    ([key, layer]) =>
      Effect.gen(function* () {
        const content = yield* image.content(layer.descriptor)
        known.set(key, yield* Layer.read(layer, content, { name: image.name, budget, hashed }))
      }),
    { concurrency, discard: true }
  )
}

/** The names of these layers that cannot stand in an image. */
export const leftOutOf = (
  known: Known,
  layers: ReadonlyArray<ImageLayer>
): ReadonlyArray<{
  readonly layer: Digest.Digest
  readonly first: ReadonlyArray<Layer.LeftOut>
  readonly count: number
}> =>
  layers.flatMap((layer) => {
    const read = known.get(keyOf(layer))
    return read === undefined || read.leftOutCount === 0
      ? []
      : [{ layer: layer.descriptor.digest, first: read.leftOut, count: read.leftOutCount }]
  })
