/** What `docker load` reads of an archive, manifest.json, made of the images that it is able to load. */
import type { Descriptor as DescriptorNs, ImageName } from "@effect-registry/core"
import { Digest, type Manifest, MediaType, Platform, Reference, Referrer } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { blobPath } from "../LayoutGraph.js"
import type * as Roots from "../Roots.js"

type Descriptor = DescriptorNs.Descriptor

/** The entries of manifest.json, and the names of those images that `docker load` will not find there. */
export const dockerManifest = (
  { find, list }: Pick<Roots.Roots, "find" | "list">,
  machine: Platform.Platform,
  hasBlob: (digest: Digest.Digest) => boolean
): { readonly entries: ReadonlyArray<unknown>; readonly unloadable: ReadonlyArray<string> } => {
  const entries: Array<unknown> = []
  const unloadable: Array<string> = []
  for (const { manifest, names } of list()) {
    // Nobody expects docker to load a signature.
    if (Referrer.subjectOf(manifest) !== undefined) continue
    const image = manifest._tag === "Image" ? manifest : choose(manifest.value.manifests, find, machine)
    if (image === undefined || !isLoadable(image, hasBlob))
      unloadable.push(names.map(fullName).join(", ") || manifest.descriptor.digest)
    else {
      entries.push({
        Config: blobPath(image.value.config.digest),
        RepoTags: names.length === 0 ? null : [...new Set(names.map(familiarName))],
        Layers: image.value.layers.map(({ digest }) => blobPath(digest))
      })
    }
  }
  return { entries, unloadable }
}

/**
 * The entries of index.json: one a name, or one without annotations. A tag that another image of `earlier` or of these has
 * already is written with its repository, so that it means one image for those who look for it there.
 */
export const layoutEntries = (
  roots: ReadonlyArray<Roots.Root>,
  earlier: ReadonlyArray<Descriptor> = []
): ReadonlyArray<Descriptor> => {
  const holders = new Map(earlier.flatMap((entry) => named(entry)))
  return roots.flatMap(({ manifest, names }) => {
    const descriptor = described(manifest)
    if (names.length === 0) return [descriptor]
    const each = new Map(names.map((name) => [fullName(name), name]))
    return [...each].map(([whole, name]) => {
      const tag = Option.getOrElse(name.tag, () => "latest")
      const holder = holders.get(tag)
      const ref = holder === undefined || holder === whole ? tag : whole
      holders.set(ref, whole)
      const annotations = { [containerdName]: whole, [refName]: ref }
      return { ...descriptor, annotations }
    })
  })
}

/** What tells two entries of an index.json with names apart; `undefined` where it has none. */
export const nameOf = ({ annotations }: Descriptor): string | undefined =>
  annotations?.[containerdName] ?? annotations?.[refName]

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

const containerdName = "io.containerd.image.name"
const refName = "org.opencontainers.image.ref.name"

/** What has the reference, by its whole name where that is known. */
const named = (entry: Descriptor): ReadonlyArray<readonly [string, string]> => {
  const ref = entry.annotations?.[refName]
  return ref === undefined ? [] : [[ref, nameOf(entry) ?? ref]]
}

/** An artifact says what it is, so that whoever lists the layout need not read it. */
const described = (manifest: Manifest.Manifest): Descriptor => {
  const isReferrer = Referrer.subjectOf(manifest) !== undefined
  const artifactType = isReferrer ? Referrer.artifactTypeOf(manifest) : manifest.value.artifactType
  return artifactType === undefined ? manifest.descriptor : { ...manifest.descriptor, artifactType }
}

/** `alpine:3`, as `docker images` shows it. */
const familiarName = (name: ImageName): string => fullName(name).replace(/^docker\.io\/(?:library\/)?/, "")

const choose = (
  children: ReadonlyArray<Descriptor>,
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

/** docker load takes container images with sha256 digests and plain or gzipped layers, all of them in the archive. */
const isLoadable = (
  { descriptor, value }: Manifest.Manifest & { readonly _tag: "Image" },
  hasBlob: (digest: Digest.Digest) => boolean
): boolean => {
  const known = new Set<string | undefined>(["none", "gzip"])
  const digests = [descriptor, value.config, ...value.layers].map(({ digest }) => digest)
  return (
    value.artifactType === undefined &&
    MediaType.isImageConfig(value.config.mediaType) &&
    digests.every((digest) => Digest.algorithm(digest) === "sha256") &&
    value.layers.every(({ digest, mediaType }) => known.has(MediaType.layerCompression(mediaType)) && hasBlob(digest))
  )
}
