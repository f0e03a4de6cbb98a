/** The media types of the image world, and the questions we ask of them. */

export const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
export const dockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
export const dockerConfig = "application/vnd.docker.container.image.v1+json"
export const dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
export const dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
/** What BuildKit writes; Docker's own specification has no such type, and most tools refuse it. */
export const dockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"
export const dockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
export const ociManifest = "application/vnd.oci.image.manifest.v1+json"
export const ociIndex = "application/vnd.oci.image.index.v1+json"
export const ociConfig = "application/vnd.oci.image.config.v1+json"
export const ociLayer = "application/vnd.oci.image.layer.v1.tar"
export const ociLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
export const ociLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
export const octetStream = "application/octet-stream"

/** What a manifest request accepts, best first. */
export const manifestAccept: ReadonlyArray<string> = [dockerManifest, dockerIndex, ociManifest, ociIndex]

export const isIndex = (mediaType: string): boolean => mediaType === dockerIndex || mediaType === ociIndex
export const isImageManifest = (mediaType: string): boolean => mediaType === dockerManifest || mediaType === ociManifest
export const isManifest = (mediaType: string): boolean => isIndex(mediaType) || isImageManifest(mediaType)

/** Docker's schema 1, signed or not: no tool writes it any more and its digest is not that of its bytes. */
export const isDockerSchema1 = (mediaType: string): boolean =>
  mediaType.startsWith("application/vnd.docker.distribution.manifest.v1+")

/** Layers that a registry does not hold: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#non-distributable-layers */
export const isForeignLayer = (mediaType: string): boolean =>
  mediaType.includes(".layer.nondistributable.") || mediaType.startsWith("application/vnd.docker.image.rootfs.foreign.")

/** The configuration of something that runs; whatever else stands in its place makes the manifest an artifact's. */
export const isImageConfig = (mediaType: string): boolean => mediaType === dockerConfig || mediaType === ociConfig

export type Compression = "none" | "gzip" | "zstd"

const layers =
  /^application\/vnd\.(?:docker\.image\.rootfs\.(?:foreign\.)?diff\.tar|oci\.image\.layer\.(?:nondistributable\.)?v1\.tar)(?:[.+](gzip|zstd))?$/

/** How the layer of this media type is compressed; `undefined` for what is no layer, or one in a form of its own (encrypted). */
export const layerCompression = (mediaType: string): Compression | undefined => {
  const match = layers.exec(mediaType)
  if (match === null) return undefined
  return match[1] === "gzip" || match[1] === "zstd" ? match[1] : "none"
}

/** The type of a layer that Docker's or OCI's manifests name, foreign or not. */
export const layerType = (format: "docker" | "oci", compression: Compression, foreign = false): string => {
  if (format === "oci") {
    const base = foreign ? "application/vnd.oci.image.layer.nondistributable.v1.tar" : ociLayer
    return compression === "none" ? base : `${base}+${compression}`
  }
  const base = foreign ? "application/vnd.docker.image.rootfs.foreign.diff.tar" : dockerLayer
  return compression === "none" ? base : `${base}.${compression}`
}

/** The type without its parameters, in lower case: `Application/JSON; charset=utf-8` is `application/json`. */
export const essence = (contentType: string): string => (contentType.split(";", 1)[0] ?? "").trim().toLowerCase()
