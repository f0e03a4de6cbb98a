/** What the cases of the suite share: writing fixtures, and finding them again. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import type {
  BlobContent,
  BlobWrite,
  Descriptor,
  ImageName,
  ImageReader,
  ImageSource,
  ImageWriter
} from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Fixture from "../../Fixture.js"
import * as TarBytes from "../../TarBytes.js"
import type { Store } from "./Contract.js"

type Anything = Fixture.ImageFixture | Fixture.IndexFixture | Fixture.ArtifactFixture

export class SourceBroke extends Data.TaggedError("SourceBroke")<object> {}

export const damages = {
  "with a flipped byte": (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, at) => (at === 700 ? byte ^ 1 : byte)),
  "that is too short": (bytes: Uint8Array) => bytes.subarray(0, -1),
  "that is too long": (bytes: Uint8Array) => TarBytes.concat([bytes, new Uint8Array(1)]),
  "without bytes": () => new Uint8Array()
}

export const layerOf = (seed: number): Fixture.LayerFixture => {
  const [layer] = Fixture.image({ seed, layers: 1 }).layers
  if (layer === undefined) throw new Error("a fixture without layers")
  return layer
}

export const names = (store: Store<unknown, unknown>, tags: ReadonlyArray<string>): ReadonlyArray<ImageName> =>
  tags.map((tag) => ({ repository: Option.some(store.repository ?? "team/app"), tag: Option.some(tag) }))

export const plain = ({ digest, mediaType, size }: Descriptor.Descriptor): Descriptor.Descriptor => ({
  mediaType,
  digest,
  size
})
export const identity = ({ digest, size }: Descriptor.Descriptor) => ({ digest, size })

export const blobWrite = (descriptor: Descriptor.Descriptor, bytes: Uint8Array): BlobWrite => ({
  descriptor: Option.some(plain(descriptor)),
  mediaType: descriptor.mediaType,
  content: Effect.succeed({ _tag: "Bytes", bytes }),
  alsoIn: []
})

export const compressedWrite = (layer: Fixture.LayerFixture, tar: Uint8Array): BlobWrite => ({
  descriptor: Option.none(),
  mediaType: layer.descriptor.mediaType,
  content: Effect.succeed({
    _tag: "Compressed",
    algorithm: "gzip",
    plain: { _tag: "Bytes", bytes: tar },
    diffId: layer.diffId
  }),
  alsoIn: []
})

export const writeBlobs = <E, R>(
  writer: ImageWriter<E, R>,
  image: Anything,
  content: (bytes: Uint8Array) => BlobContent = (bytes) => ({ _tag: "Bytes", bytes })
) =>
  Effect.forEach(describeBlobs(image), (descriptor) => {
    const bytes = image.blobs.get(descriptor.digest) ?? new Uint8Array()
    return writer.writeBlob({ ...blobWrite(descriptor, bytes), content: Effect.succeed(content(bytes)) })
  })

/** By digest and size alone: what a blob is called is up to its manifest. */
const describeBlobs = (image: Anything): ReadonlyArray<Descriptor.Descriptor> =>
  [...image.blobs].map(([digest, { length: size }]) => ({ mediaType: "application/octet-stream", digest, size }))

/** Blobs, children, root: in the order the engine writes. */
export const writeAll = <E, R>(
  store: Store<E, R>,
  writer: ImageWriter<E, R>,
  image: Anything,
  tags: ReadonlyArray<string>
): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    if ("children" in image) yield* Effect.forEach(image.children, (child) => writeAll(store, writer, child, []))
    else yield* writeBlobs(writer, image)
    yield* writer.writeManifest(plain(image.descriptor), image.manifest, names(store, tags))
  })

export const written = <E, R>(store: Store<E, R>, image: Anything, tags: ReadonlyArray<string>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* store.target.open
      yield* writeAll(store, writer, image, tags)
      yield* writer.commit ?? Effect.void
    })
  )

/** The source has exactly this image, manifests and blobs with the same bytes. */
export const expectGraph = <E, R>(source: ImageSource<E, R>, image: Anything) =>
  Effect.gen(function* () {
    const reader = yield* source.open
    const entries = yield* reader.images
    strictEqual(entries.length, 1)
    const root = entries[0]?.root
    strictEqual(root?._tag, "Manifest")
    deepStrictEqual(identity(root.descriptor), identity(image.descriptor))
    strictEqual(root.descriptor.mediaType, image.descriptor.mediaType)
    yield* expectBelow(reader, image)
    yield* reader.unchanged ?? Effect.void
  })

export const expectBelow = <E, R>(reader: ImageReader<E, R>, image: Anything): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    deepStrictEqual(Buffer.from(yield* reader.manifest(plain(image.descriptor))), Buffer.from(image.manifest))
    if ("children" in image)
      return yield* Effect.forEach(image.children, (child) => expectBelow(reader, child), { discard: true })
    for (const descriptor of describeBlobs(image)) {
      const bytes = yield* contentOf(yield* reader.blob(descriptor))
      ok(Buffer.from(image.blobs.get(descriptor.digest) ?? []).equals(bytes), `other bytes of ${descriptor.digest}`)
    }
  })

export const contentOf = <E, R>(content: BlobContent<E, R>): Effect.Effect<Uint8Array, E, R> => {
  if (content._tag === "Bytes") return Effect.succeed(content.bytes)
  if (content._tag === "Compressed")
    return Effect.dieMessage("a source gave content to compress for a blob that exists")
  return Effect.map(Stream.runCollect(content.stream), (chunks) => TarBytes.concat(Chunk.toReadonlyArray(chunks)))
}

/** Fails, with one of the three errors. */
export const expectTyped = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const tag: unknown = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
    ok(tag === "ValidationError" || tag === "RegistryError" || tag === "TarReadError", `untyped: ${String(error)}`)
  })

export const expectAbsent = <E, R>(source: ImageSource<E, R>) =>
  expectTyped(Effect.scoped(Effect.flatMap(source.open, (reader) => reader.images)))

export const pieces = (bytes: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  let at = 0
  for (let n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? 1
    parts.push(bytes.subarray(at, at + size))
    at += size
  }
  return parts
}
