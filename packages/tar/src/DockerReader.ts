/** The images of a `docker save` archive: manifest.json, configs and plain layers, of every Docker since 1.10 and of podman. */
import type { Descriptor as DescriptorNs, ImageEntry, ImageName, Root } from "@effect-registry/core"
import { Compressor, Descriptor, Digest, Hasher, ImageConfig, MediaType, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { ArchiveFile } from "./ArchiveFile.js"
import { decompress } from "./Decompress.js"
import * as DockerManifest from "./DockerManifest.js"
import * as LayoutGraph from "./LayoutGraph.js"
import { parseRepositoryTag } from "./RepositoryTag.js"
import * as TarIndex from "./TarIndex.js"
import { TarReadError } from "./TarReadError.js"

type Failure = TarReadError | ValidationError

/** One image of manifest.json with what it refers to. */
export interface DockerImage {
  readonly names: ReadonlyArray<ImageName>
  readonly config: {
    readonly path: string
    readonly descriptor: DescriptorNs.Descriptor
    readonly value: ImageConfig.ImageConfig
  }
  readonly layers: ReadonlyArray<DockerLayer>
}

export interface DockerLayer {
  readonly path: string
  readonly diffId: Digest.Digest
  /** Of the member: the plain tar with its diff ID, or the compressed file with the digest of its bytes. */
  readonly descriptor: DescriptorNs.Descriptor
}

/** Reads manifest.json and all configs; layers are only looked up, except compressed ones, which are hashed. */
export const images = (archive: ArchiveFile): Effect.Effect<ReadonlyArray<DockerImage>, Failure> =>
  Effect.gen(function* () {
    const listed = yield* DockerManifest.decode(
      yield* archive.bytes("manifest.json", DockerManifest.maxSize),
      archive.path
    )
    const read = yield* Effect.forEach(listed, (entry, index) => image(archive, entry, `[${index}]`))
    const tagged = listed.some((entry) => tagsOf(entry).length > 0)
    if (tagged || !archive.index.members.has("repositories")) return read
    return yield* withRepositories(archive, read)
  })

/** The image as the engine takes it: the OCI manifest beside manifest.json where that describes compressed layers, else a draft. */
export const entryOf = (
  archive: ArchiveFile,
  files: LayoutGraph.LayoutFiles,
  layout: ReadonlyArray<LayoutGraph.LayoutImage>,
  { config, layers, names }: DockerImage
): Effect.Effect<ImageEntry, Failure> =>
  Effect.gen(function* () {
    const holder = layout.find(({ complete }) => complete.some((each) => each.config === config.descriptor.digest))
    if (holder !== undefined && (yield* isCompressed(files, holder, config.descriptor.digest))) {
      return { ...(yield* LayoutGraph.rootOf(archive.path, files, holder)), names }
    }
    const root: Root = { _tag: "Draft", config: config.descriptor, layers: layers.map(({ descriptor }) => descriptor) }
    return { root, names, missingPlatforms: [] }
  })

/** Reads and checks one entry of manifest.json; `at` is its place, `[0]`. */
export const image = (
  archive: ArchiveFile,
  entry: DockerManifest.DockerManifestEntry,
  at: string
): Effect.Effect<DockerImage, Failure> =>
  Effect.gen(function* () {
    const named = (path: string) => (error: TarReadError) =>
      error.reason === "MissingMember"
        ? new TarReadError({ ...error, entry: path, detail: `is named in manifest.json, but ${error.detail}` })
        : error
    const bytes = yield* Effect.mapError(archive.bytes(entry.Config, ImageConfig.maxSize), named(entry.Config))
    const value = yield* ImageConfig.decode(bytes, `${archive.path} ${entry.Config}`)
    const digest = Digest.fromBytes(bytes)
    yield* checkName(archive.path, entry.Config, digest)
    const paths = entry.Layers ?? []
    const diffIds = ImageConfig.diffIds(value)
    if (paths.length !== diffIds.length) {
      const message = `manifest.json${at} names ${paths.length} layers, its config has ${diffIds.length} diff_ids`
      return yield* Effect.fail(ValidationError.of("LayerMismatch", archive.path, message))
    }
    const layers = yield* Effect.forEach(diffIds, (diffId, index) => {
      const path = paths[index] ?? ""
      return Effect.catchTag(layer(archive, path, diffId), "TarReadError", (error) => Effect.fail(named(path)(error)))
    })
    const descriptor = Descriptor.make(MediaType.dockerConfig, digest, bytes.length)
    return {
      names: tagsOf(entry).map(parseRepositoryTag),
      config: { path: entry.Config, descriptor, value },
      layers
    }
  })

/** `LayerMismatch` where the bytes of a layer are not those of the digest that the config or manifest gives. */
export const checkLayer = (
  archive: string,
  path: string,
  actual: Digest.Digest,
  expected: Digest.Digest
): Effect.Effect<void, ValidationError> =>
  actual === expected
    ? Effect.void
    : Effect.fail(
        ValidationError.of("LayerMismatch", archive, `${path} is ${actual}, expected ${expected}`, {
          hint: "the archive is damaged: save the image again"
        })
      )

// internal

/** Docker has written `<none>:<none>` for an image without a name. */
const tagsOf = ({ RepoTags }: DockerManifest.DockerManifestEntry): ReadonlyArray<string> =>
  (RepoTags ?? []).filter((tag) => tag !== "" && !tag.startsWith("<none>"))

/** A config is named by its digest; another name's content was changed. */
const checkName = (archive: string, path: string, digest: Digest.Digest): Effect.Effect<void, ValidationError> => {
  const named = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1]
  return named === undefined || named === Digest.hex(digest)
    ? Effect.void
    : Effect.fail(ValidationError.of("DigestMismatch", archive, `the config ${path} has the digest ${digest}`))
}

const layer = (archive: ArchiveFile, path: string, diffId: Digest.Digest): Effect.Effect<DockerLayer, Failure> =>
  Effect.gen(function* () {
    const content = yield* archive.content(path)
    const algorithm = Compressor.Decompress.detect(yield* archive.head(path, Compressor.Decompress.headSize))
    if (algorithm === undefined) {
      return { path, diffId, descriptor: Descriptor.make(MediaType.dockerLayer, diffId, content.size) }
    }
    const hasher = yield* Hasher.Hasher
    const compressed = hasher.make("sha256")
    const plain = hasher.make(Digest.algorithm(diffId))
    const tapped = Stream.tap(content.stream, (chunk) => Effect.sync(() => compressed.update(chunk)))
    yield* Stream.runForEach(decompress(algorithm, tapped, { path: archive.path, entry: path }), (chunk) =>
      Effect.sync(() => plain.update(chunk))
    )
    yield* checkLayer(archive.path, `layer ${path}`, plain.digest(), diffId)
    const mediaType = algorithm === "zstd" ? MediaType.dockerLayerZstd : MediaType.dockerLayerGzip
    return { path, diffId, descriptor: Descriptor.make(mediaType, compressed.digest(), content.size) }
  })

/** Whether the layout's manifest for this config has layers that are compressed, so that it can be moved as it is. */
const isCompressed = (files: LayoutGraph.LayoutFiles, holder: LayoutGraph.LayoutImage, config: Digest.Digest) =>
  Effect.gen(function* () {
    const found = holder.complete.find((each) => each.config === config)
    if (found === undefined) return false
    const manifest = yield* LayoutGraph.manifest(files, found.descriptor)
    return (
      manifest._tag === "Image" &&
      manifest.value.layers.every(({ mediaType }) => MediaType.layerCompression(mediaType) !== "none")
    )
  })

/**
 * Old archives without RepoTags: `repositories` names the image by its last layer, by the id of the layer's folder or by
 * its diff ID. A tag that fits none or several images is an error, never a guess.
 */
const withRepositories = (archive: ArchiveFile, read: ReadonlyArray<DockerImage>) =>
  Effect.gen(function* () {
    const bytes = yield* archive.bytes("repositories", DockerManifest.maxSize)
    const tags = yield* DockerManifest.decodeRepositories(bytes, archive.path)
    const names = new Map<DockerImage, Array<ImageName>>(read.map((each) => [each, []]))
    for (const [repository, tag, layer] of tags) {
      const matches = yield* Effect.filter(read, (each) => isLastLayer(archive, each, layer))
      const [match, ...others] = matches
      if (match === undefined || others.length > 0) {
        const fit = match === undefined ? "no image" : `${matches.length} images`
        const message = `repositories gives ${repository}:${tag} to layer ${layer}, which is the last one of ${fit}`
        return yield* Effect.fail(ValidationError.of("InvalidArchive", archive.path, message))
      }
      names.get(match)?.push({ repository: Option.some(repository), tag: Option.some(tag) })
    }
    return read.map((each) => ({ ...each, names: names.get(each) ?? [] }))
  })

const isLastLayer = (archive: ArchiveFile, { layers }: DockerImage, id: string): Effect.Effect<boolean> => {
  const last = layers[layers.length - 1]
  if (last === undefined) return Effect.succeed(false)
  if (Digest.hex(last.diffId) === id || last.path === id || last.path.split("/")[0] === id) return Effect.succeed(true)
  // podman keeps the folder of the id with a link to the layer.
  return Effect.zipWith(
    TarIndex.resolve(archive.index, `${id}/layer.tar`, archive.path),
    TarIndex.resolve(archive.index, last.path, archive.path),
    (named, layer) => named.offset === layer.offset
  ).pipe(Effect.orElseSucceed(() => false))
}
