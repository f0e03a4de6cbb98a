/** The media types of the image world, and the questions we ask of them. */

export const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
export const dockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
export const dockerConfig = "application/vnd.docker.container.image.v1+json"
export const dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
export const dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
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

export type Compression = "none" | "gzip" | "zstd"

/** How the layer of this media type is compressed; `undefined` for what is no layer. */
export const layerCompression = (mediaType: string): Compression | undefined => {
  if (!mediaType.includes("rootfs") && !mediaType.includes("image.layer.")) return undefined
  if (mediaType.endsWith("+zstd") || mediaType.endsWith(".zstd")) return "zstd"
  if (mediaType.endsWith("+gzip") || mediaType.endsWith(".gzip")) return "gzip"
  return "none"
}

/** The type without its parameters, in lower case: `Application/JSON; charset=utf-8` is `application/json`. */
export const essence = (contentType: string): string => (contentType.split(";", 1)[0] ?? "").trim().toLowerCase()
