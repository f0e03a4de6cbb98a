/** The plan of a docker-archive's image: its layers become those of a manifest that is made at the end. */
import * as Effect from "effect/Effect"
import type { Root } from "../ImageStore.js"
import * as Manifest from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import type { ValidationError } from "../ValidationError.js"
import * as Layer from "./Layer.js"
import { distinct, type Plan, planned } from "./Plan.js"

export interface Options {
  /** What layers become. Default: uncompressed ones are gzipped, others stay. `none`: all stay. */
  readonly compress?: "gzip" | "zstd" | "none" | undefined
  /** Of the manifest that is made. Default `docker`, and `oci` where there are layers of zstd: Docker has no type for them. */
  readonly format?: Manifest.Format | undefined
}

export const draft = (
  subject: string,
  root: Root & { readonly _tag: "Draft" },
  { compress, ...options }: Options,
  known: Layer.Known
): Effect.Effect<Plan, ValidationError> =>
  Effect.gen(function* () {
    const types = root.layers.map(({ mediaType }) => MediaType.layerCompression(mediaType) ?? "none")
    const needsOci = compress === "zstd" || types.includes("zstd")
    const format = options.format ?? (needsOci ? "oci" : "docker")
    yield* Layer.refuseZstd(subject, format, needsOci ? [MediaType.ociLayerZstd] : [])
    const config = Layer.unchanged(root.config, Manifest.configType(format))
    const layers = yield* Effect.forEach(root.layers, (layer, index) => {
      const compression = types[index] ?? "none"
      return compression !== "none" || compress === "none"
        ? Effect.succeed(Layer.unchanged(layer, MediaType.layerType(format, compression)))
        : Layer.recoded(layer, layer.digest, format, compress ?? "gzip", known)
    })
    return {
      blobs: distinct([config, ...layers]),
      notes: [],
      manifests: (written) => [
        planned(Manifest.assemble(format, written(config), layers.map(written)), {
          from: undefined,
          role: "root",
          height: 0,
          tags: []
        })
      ]
    }
  })
