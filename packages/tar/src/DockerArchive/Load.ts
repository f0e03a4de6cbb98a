/** What `docker load` reads of an archive, manifest.json, made of the images that it is able to load. */
import type { Descriptor as DescriptorNs, ImageName } from "@effect-registry/core"
import { Digest, type Manifest, MediaType, Platform, Reference } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { blobPath } from "../LayoutGraph.js"

/** An image written to the archive and the names it got. */
export interface Written {
  readonly root: Manifest.Manifest
  readonly names: ReadonlyArray<ImageName>
}

/** The entries of manifest.json, and the names of those images that `docker load` will not find there. */
export const dockerManifest = (
  written: ReadonlyArray<Written>,
  find: (digest: Digest.Digest) => Manifest.Manifest | undefined,
  machine: Platform.Platform
): { readonly entries: ReadonlyArray<unknown>; readonly unloadable: ReadonlyArray<string> } => {
  const entries: Array<unknown> = []
  const unloadable: Array<string> = []
  for (const { names, root } of written) {
    const image = root._tag === "Image" ? root : choose(root.value.manifests, find, machine)
    if (image === undefined || !isLoadable(image))
      unloadable.push(names.map(fullName).join(", ") || root.descriptor.digest)
    else {
      entries.push({
        Config: blobPath(image.value.config.digest),
        RepoTags: names.length === 0 ? null : names.map(familiarName),
        Layers: image.value.layers.map(({ digest }) => blobPath(digest))
      })
    }
  }
  return { entries, unloadable }
}

/** The entries of index.json: one a name, or one without annotations. */
export const layoutEntries = (written: ReadonlyArray<Written>): ReadonlyArray<DescriptorNs.Descriptor> =>
  written.flatMap(({ names, root }) =>
    names.length === 0
      ? [root.descriptor]
      : names.map((name) => ({
          ...root.descriptor,
          annotations: {
            "io.containerd.image.name": fullName(name),
            "org.opencontainers.image.ref.name": Option.getOrElse(name.tag, () => "latest")
          }
        }))
  )

/** `docker.io/library/alpine:3`, as containerd names images. */
export const fullName = ({ repository, tag }: ImageName): string => {
  const written = Option.getOrElse(repository, () => "image")
  const path = Either.match(Reference.parse(written), {
    onLeft: () => written,
    onRight: (reference) =>
      Option.isSome(reference.host)
        ? `${reference.host.value}/${reference.repository}`
        : `${Reference.dockerHub}/${Reference.hubRepository(reference.repository)}`
  })
  return `${path}:${Option.getOrElse(tag, () => "latest")}`
}

// internal

/** `alpine:3`, as `docker images` shows it. */
const familiarName = (name: ImageName): string => fullName(name).replace(/^docker\.io\/(?:library\/)?/, "")

const choose = (
  children: ReadonlyArray<DescriptorNs.Descriptor>,
  find: (digest: Digest.Digest) => Manifest.Manifest | undefined,
  machine: Platform.Platform
) => {
  const images = children.flatMap((child) => {
    const manifest = find(child.digest)
    return manifest?._tag === "Image" ? [{ child, manifest }] : []
  })
  const [only, ...others] = images.filter(({ child }) => !child.platform || !Platform.isUnknown(child.platform))
  const match = images.find(({ child }) => child.platform && Platform.matches(machine, child.platform))
  return match?.manifest ?? (others.length === 0 ? only?.manifest : undefined)
}

/** docker load takes container images with sha256 digests and plain or gzipped layers. */
const isLoadable = ({ value }: Manifest.Manifest & { readonly _tag: "Image" }): boolean => {
  const isConfig = value.config.mediaType === MediaType.dockerConfig || value.config.mediaType === MediaType.ociConfig
  const known = new Set<string | undefined>(["none", "gzip"])
  return (
    isConfig &&
    [value.config, ...value.layers].every(({ digest }) => Digest.algorithm(digest) === "sha256") &&
    value.layers.every(({ mediaType }) => known.has(MediaType.layerCompression(mediaType)))
  )
}
