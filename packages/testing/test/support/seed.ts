import type * as HttpClient from "@effect/platform/HttpClient"
import {
  type Descriptor,
  type ImageWriter,
  MemoryStore,
  Registry,
  type RegistryConfig,
  type RegistryError,
  type ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Fixture } from "../../src/index.js"

/** Writes a fixture's blobs, whatever the store. */
const writeBlobs = <E, R>(writer: ImageWriter<E, R>, { blobs }: Pick<Fixture.ImageFixture, "blobs">) =>
  Effect.forEach(
    blobs,
    ([digest, bytes]) => {
      const mediaType = "application/octet-stream"
      return writer.writeBlob({
        descriptor: Option.some({ mediaType, digest, size: bytes.length }),
        mediaType,
        content: Effect.succeed({ _tag: "Bytes", bytes }),
        alsoIn: []
      })
    },
    { discard: true }
  )

/** A store in memory that holds a fixture as `app:1`. */
export const inMemory = (image: Fixture.ImageFixture) =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = MemoryStore.make()
      const writer = yield* store.target.open
      yield* writeBlobs(writer, image)
      const names = [{ repository: Option.some("app"), tag: Option.some("1") }]
      yield* writer.writeManifest(image.descriptor, image.manifest, names)
      yield* writer.commit ?? Effect.void
      return store
    })
  )

/** Writes a fixture to `host/repository` under a tag, blobs first. */
export const seed = (
  repository: string,
  image: Fixture.ImageFixture | Fixture.IndexFixture,
  tag: string
): Effect.Effect<
  { readonly descriptor: Descriptor.Descriptor },
  RegistryError | ValidationError,
  HttpClient.HttpClient | RegistryConfig.RegistryConfig
> =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* Registry.repository(repository).open
      yield* writeBlobs(writer, image)
      for (const [digest, bytes] of image.manifests) {
        if (digest === image.descriptor.digest) continue
        const child =
          "children" in image ? image.children.find(({ descriptor }) => descriptor.digest === digest) : undefined
        if (child !== undefined) yield* writer.writeManifest(child.descriptor, bytes, [])
      }
      yield* writer.writeManifest(image.descriptor, image.manifest, [
        { repository: Option.none(), tag: Option.some(tag) }
      ])
      return { descriptor: image.descriptor }
    })
  )

/** Writes what refers to something, to `host/repository`, with a tag of its own where one is given. */
export const attach = (
  repository: string,
  artifact: Fixture.ArtifactFixture,
  tag?: string
): Effect.Effect<void, RegistryError | ValidationError, HttpClient.HttpClient | RegistryConfig.RegistryConfig> =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* Registry.repository(repository).open
      yield* writeBlobs(writer, artifact)
      const names = tag === undefined ? [] : [{ repository: Option.none(), tag: Option.some(tag) }]
      yield* writer.writeManifest(artifact.descriptor, artifact.manifest, names)
    })
  )
