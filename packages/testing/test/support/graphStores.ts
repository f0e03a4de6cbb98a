/** Every kind of store that graphs are copied between: filled and read back by other ways than those under test. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import {
  copy,
  type ImageSource,
  type ImageTarget,
  MemoryStore,
  Registry,
  type RegistryConfig,
  type RegistryError,
  type ValidationError
} from "@effect-registry/core"
import { DockerArchive, OciArchive, OciLayout, type TarReadError } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { GraphFixture, TarBytes, Walk } from "../../src/index.js"

type Failure = RegistryError | ValidationError | TarReadError
export type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig | FileSystem.FileSystem

export type Source = ImageSource<Failure, Environment>
export type Target = ImageTarget<Failure, Environment>

/** What the tags of a store lead to. */
export type Contents = Pick<Walk.Contents, "tags" | "manifests" | "blobs" | "loose">

/** One store, empty or filled. */
export interface Place {
  /** The image that one of the tags names. */
  readonly source: (tag: string) => Source
  /** Takes the image with these tags: of archives, another one for each image. */
  readonly target: (tags: ReadonlyArray<string>) => Target
  readonly contents: Effect.Effect<Contents, Walk.WalkError>
}

export interface Kind {
  readonly limits: GraphFixture.Limits
  /** A new place for each graph; what is on a disk lies in `folder`, what is in a registry in the repository `name`. */
  readonly empty: (folder: string, name: string) => Place
  /** The same with a graph in it. */
  readonly filled: (
    folder: string,
    name: string,
    graph: GraphFixture.Graph
  ) => Effect.Effect<Place, Failure, Environment>
}

export const memory: Kind = {
  limits: {},
  empty: () => memoryPlace(MemoryStore.make()),
  filled: (_folder, _name, graph) => Effect.map(memoryOf(graph), memoryPlace)
}

export const layout: Kind = {
  limits: {},
  empty: (folder) => layoutPlace(join(folder, "layout")),
  filled: (folder, _name, graph) => {
    const path = join(folder, "filled")
    return Effect.as(GraphFixture.toLayout(path, graph), layoutPlace(path))
  }
}

/** A file for each image. */
export const archive: Kind = {
  limits: {},
  empty: (folder) => archivePlace(folder),
  filled: (folder, _name, graph) => written(archivePlace(join(folder, "filled")), graph)
}

/** Bytes that went through a pipe, for each image. */
export const pipe: Kind = {
  limits: {},
  empty: () => pipePlace(),
  filled: (_folder, _name, graph) => written(pipePlace(), graph)
}

export const registry = (host: string, referrersApi: boolean, limits: GraphFixture.Limits = {}): Kind => ({
  limits,
  empty: (_folder, name) => registryPlace(host, name),
  filled: (_folder, name, graph) => {
    const repository = { url: `http://${host}`, name: `filled/${name}`, referrersApi }
    return Effect.as(GraphFixture.toRegistry(repository, graph), registryPlace(host, repository.name))
  }
})

/**
 * Docker's registry 2.8: it has no referrers API, knows manifests by their sha256 only, and answers 500 to one with layers
 * that lie elsewhere unless it is told which hosts may hold them (tried).
 */
export const dockerRegistry = (host: string): Kind =>
  registry(host, false, { manifestsBySha512: false, foreign: false })

/** A store in memory that holds the graph, the unreachable parts of it too. */
export const memoryOf = (graph: GraphFixture.Graph): Effect.Effect<MemoryStore.MemoryStore, ValidationError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = MemoryStore.make()
      const writer = yield* store.target.open
      for (const { blobs } of graph.manifests.values()) {
        for (const { data: _, ...descriptor } of blobs) {
          const bytes = graph.blobs.get(descriptor.digest) ?? new Uint8Array()
          const content = Effect.succeed({ _tag: "Bytes" as const, bytes })
          yield* writer.writeBlob({
            descriptor: Option.some(descriptor),
            mediaType: descriptor.mediaType,
            content,
            alsoIn: []
          })
        }
      }
      for (const node of graph.manifests.values()) {
        const tags = [...graph.tags].filter(([, each]) => each.descriptor.digest === node.descriptor.digest)
        const { digest, mediaType, size } = node.descriptor
        const names = tags.map(([tag]) => ({ repository: Option.some("app"), tag: Option.some(tag) }))
        yield* writer.writeManifest({ digest, mediaType, size }, node.bytes, names)
      }
      yield* writer.commit ?? Effect.void
      return store
    })
  )

// internal

const memoryPlace = (store: MemoryStore.MemoryStore): Place => ({
  source: store.source,
  target: () => store.target,
  contents: Effect.sync(() => {
    const visited = ([digest, bytes]: readonly [string, Uint8Array]) =>
      [digest, { mediaType: "", size: bytes.length, bytes }] as const
    return {
      tags: new Map([...store.names].map(([name, { digest }]) => [name.slice(name.lastIndexOf(":") + 1), digest])),
      manifests: new Map([...store.manifests].map(visited)),
      blobs: new Map([...store.blobs].map(visited)),
      loose: []
    }
  })
})

const layoutPlace = (path: string): Place => ({
  source: (image) => OciLayout.folder(path, { image }),
  target: () => OciLayout.target(path, { resume: false }),
  contents: Walk.folder(path)
})

const archivePlace = (folder: string): Place => {
  const paths = new Map<string, string>()
  return {
    source: (tag) => OciArchive.file(paths.get(tag) ?? join(folder, "none")),
    target: (tags) => {
      mkdirSync(folder, { recursive: true })
      const path = join(folder, `${tags[0]}.tar`)
      for (const tag of tags) paths.set(tag, path)
      return DockerArchive.target(path, { resume: false })
    },
    contents: Effect.suspend(() => Effect.map(Effect.forEach(new Set(paths.values()), Walk.archive), together))
  }
}

const pipePlace = (): Place => {
  const archives = new Map<string, Array<Uint8Array>>()
  return {
    source: (tag) => DockerArchive.stream(Stream.fromIterable(uneven(TarBytes.concat(archives.get(tag) ?? [])))),
    target: (tags) => {
      const chunks: Array<Uint8Array> = []
      for (const tag of tags) archives.set(tag, chunks)
      return DockerArchive.pipe((bytes) => Effect.sync(() => void chunks.push(Uint8Array.from(bytes))))
    },
    contents: Effect.suspend(() => {
      const whole = [...new Set(archives.values())].map(TarBytes.concat)
      return Effect.map(Effect.forEach(whole, Walk.archiveBytes), together)
    })
  }
}

/** As a pipe gives them. */
const uneven = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += 1000) pieces.push(bytes.subarray(at, at + 1000))
  return pieces
}

/** Several archives as one store. */
const together = (all: ReadonlyArray<Walk.Contents>): Contents => ({
  tags: new Map(all.flatMap(({ tags }) => [...tags])),
  manifests: new Map(all.flatMap(({ manifests }) => [...manifests])),
  blobs: new Map(all.flatMap(({ blobs }) => [...blobs])),
  loose: all.flatMap(({ loose }) => loose)
})

const registryPlace = (host: string, name: string): Place => ({
  source: (tag) => Registry.image(`${host}/${name}:${tag}`),
  target: () => Registry.repository(`${host}/${name}`),
  contents: Walk.repository(`http://${host}`, name)
})

/** Filled by a copy from memory. */
const written = (place: Place, graph: GraphFixture.Graph): Effect.Effect<Place, Failure, Environment> =>
  Effect.gen(function* () {
    const store = yield* memoryOf(graph)
    for (const { tags } of GraphFixture.roots(graph)) {
      yield* copy(store.source(tags[0]), place.target(tags), { tags, referrers: true })
    }
    return place
  })
