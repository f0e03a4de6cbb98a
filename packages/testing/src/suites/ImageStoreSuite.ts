/**
 * The contract of `ImageTarget` and `ImageSource`, as tests that every backend passes. `register` adds them to the file
 * that calls it; the test runner is handed in, so that this package can be used outside of one.
 *
 * ```ts
 * ImageStoreSuite.register({ describe, it }, "MemoryStore", Layer.empty, Effect.sync(() => {
 *   const store = MemoryStore.make()
 *   return { target: store.target, source: store.source }
 * }))
 * ```
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import { gunzipSync } from "node:zlib"
import type {
  BlobContent,
  BlobWrite,
  Descriptor,
  ImageName,
  ImageReader,
  ImageSource,
  ImageTarget,
  ImageWriter
} from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fixture from "../Fixture.js"
import * as TarBytes from "../TarBytes.js"

/** An empty store and what was written to it. */
export interface Store<out E, out R> {
  /** Opened once a test. */
  readonly target: ImageTarget<E, R>
  /** The image of this tag, or all; opened after the target's commit. */
  readonly source: (tag?: string) => ImageSource<E, R>
  /** The repository that names carry. Default `team/app`. */
  readonly repository?: string | undefined
}

export interface SuiteOptions {
  /** Whether the target takes content that is compressed on the way. Default `true`. */
  readonly compresses?: boolean | undefined
  /** Whether a target may be opened and closed again without a commit and then holds what it held. Default: where it has a `commit`. */
  readonly atomic?: boolean | undefined
}

/** What the suite needs of `@effect/vitest`. */
export interface Runner {
  readonly describe: (name: string, body: () => void) => unknown
  readonly it: {
    readonly scoped: (title: string, run: () => Effect.Effect<void, unknown, Scope.Scope>) => unknown
  }
}

/** `make` is run for each test, in a scope of its own; `layer` has what the store needs, and is built for each test too. */
export const register = <E extends TypedError, R>(
  runner: Runner,
  name: string,
  layer: Layer.Layer<R, unknown>,
  make: Effect.Effect<Store<E, NoInfer<R>>, unknown, NoInfer<R> | Scope.Scope>,
  options: SuiteOptions = {}
): void => {
  const { describe, it } = runner
  const test = (title: string, run: (store: Store<E, R>) => Effect.Effect<void, unknown, R | Scope.Scope>) =>
    it.scoped(title, () => Effect.provide(Effect.flatMap(make, run), layer))

  describe(`${name} as an image store`, () => {
    for (const format of ["docker", "oci"] as const) {
      test(`reads a written ${format} image back byte for byte`, (store) =>
        Effect.gen(function* () {
          const image = Fixture.image({ format, seed: 11 })
          yield* written(store, image, ["1.0"])
          yield* expectGraph(store.source("1.0"), image)
        }))
    }

    test("reads a written index back with all its images", (store) =>
      Effect.gen(function* () {
        const platforms = ["amd64", "arm64"].map((architecture) => ({ os: "linux", architecture }))
        const images = platforms.map((platform, at) =>
          Fixture.image({ format: "oci", seed: 20 + at, shared: 1, platform })
        )
        const index = Fixture.index(images)
        yield* written(store, index, ["1.0"])
        yield* expectGraph(store.source("1.0"), index)
      }))

    test("knows an image by every tag it was given", (store) =>
      Effect.gen(function* () {
        const image = Fixture.image({ seed: 31 })
        yield* written(store, image, ["1.0", "latest"])
        for (const tag of ["1.0", "latest"]) {
          const reader = yield* store.source(tag).open
          const [entry] = yield* reader.images
          ok(
            entry?.names.some((each) => Option.contains(each.tag, tag)),
            `no name with the tag ${tag}`
          )
        }
      }))

    test("keeps two images under their own tags", (store) =>
      Effect.gen(function* () {
        const [a, b] = [Fixture.image({ seed: 41, shared: 1 }), Fixture.image({ seed: 42, shared: 1 })]
        const writer = yield* store.target.open
        yield* writeAll(store, writer, a, ["a"])
        yield* writeAll(store, writer, b, ["b"])
        yield* writer.commit ?? Effect.void
        yield* expectGraph(store.source("a"), a)
        yield* expectGraph(store.source("b"), b)
      }))

    test("fails for a tag that is not there", (store) =>
      Effect.gen(function* () {
        yield* written(store, Fixture.image({ seed: 51 }), ["1.0"])
        yield* expectAbsent(store.source("2.0"))
      }))

    test("writes a blob that is there already no second time, and does not read it", (store) =>
      Effect.gen(function* () {
        const writer = yield* store.target.open
        const layer = layerOf(61)
        strictEqual((yield* writer.writeBlob(blobWrite(layer.descriptor, layer.gzip))).outcome, "Sent")
        let reads = 0
        const again = yield* writer.writeBlob({
          ...blobWrite(layer.descriptor, layer.gzip),
          content: Effect.sync(() => {
            reads++
            return { _tag: "Bytes" as const, bytes: layer.gzip }
          })
        })
        strictEqual(again.outcome, "Exists")
        strictEqual(reads, 0)
        deepStrictEqual(identity(again.descriptor), identity(layer.descriptor))
      }))

    test("takes one blob from several writers at once", (store) =>
      Effect.gen(function* () {
        const image = Fixture.image({ seed: 71, layers: 1, size: 200_000 })
        const writer = yield* store.target.open
        yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => writeBlobs(writer, image), { concurrency: "unbounded" })
        yield* writer.writeManifest(plain(image.descriptor), image.manifest, names(store, ["1.0"]))
        yield* writer.commit ?? Effect.void
        yield* expectGraph(store.source("1.0"), image)
      }))

    test("takes a blob as a stream of uneven chunks", (store) =>
      Effect.gen(function* () {
        const image = Fixture.image({ seed: 81, layers: 1, size: 100_000 })
        const writer = yield* store.target.open
        yield* writeBlobs(writer, image, (bytes) => ({
          _tag: "Stream",
          size: bytes.length,
          stream: Stream.fromIterable(pieces(bytes, [1, 0, 511, 513, 40_000]))
        }))
        yield* writer.writeManifest(plain(image.descriptor), image.manifest, names(store, ["1.0"]))
        yield* writer.commit ?? Effect.void
        yield* expectGraph(store.source("1.0"), image)
      }))

    test("takes a blob that has no bytes", (store) =>
      Effect.gen(function* () {
        const writer = yield* store.target.open
        const empty = Fixture.describeBytes("application/octet-stream", new Uint8Array())
        const { descriptor } = yield* writer.writeBlob(blobWrite(empty, new Uint8Array()))
        deepStrictEqual(identity(descriptor), identity(empty))
      }))

    for (const [what, damage] of Object.entries(damages)) {
      test(`refuses a blob ${what}, and does not keep it`, (store) =>
        Effect.gen(function* () {
          const writer = yield* store.target.open
          const layer = layerOf(91)
          yield* expectTyped(writer.writeBlob(blobWrite(layer.descriptor, damage(layer.gzip))))
          const repaired = yield* writer.writeBlob(blobWrite(layer.descriptor, layer.gzip))
          strictEqual(repaired.outcome, "Sent")
        }))
    }

    test("refuses a blob whose descriptor tells another size", (store) =>
      Effect.gen(function* () {
        const writer = yield* store.target.open
        const layer = layerOf(101)
        const descriptor = { ...layer.descriptor, size: layer.descriptor.size + 1 }
        yield* expectTyped(writer.writeBlob(blobWrite(descriptor, layer.gzip)))
      }))

    test("passes on the error of a blob that cannot be read, and does not keep it", (store) =>
      Effect.gen(function* () {
        const writer = yield* store.target.open
        const layer = layerOf(111)
        const broken = new SourceBroke()
        const atOnce = yield* Effect.flip(
          writer.writeBlob({ ...blobWrite(layer.descriptor, layer.gzip), content: Effect.fail(broken) })
        )
        strictEqual(atOnce, broken)
        const midway = Stream.concat(Stream.make(layer.gzip.subarray(0, 100)), Stream.fail(broken))
        const content = Effect.succeed({ _tag: "Stream" as const, size: layer.gzip.length, stream: midway })
        strictEqual(
          yield* Effect.flip(writer.writeBlob({ ...blobWrite(layer.descriptor, layer.gzip), content })),
          broken
        )
        strictEqual((yield* writer.writeBlob(blobWrite(layer.descriptor, layer.gzip))).outcome, "Sent")
      }))

    test("says of a manifest that was not written that it is not there", (store) =>
      Effect.gen(function* () {
        const writer = yield* store.target.open
        strictEqual(yield* writer.hasManifest(plain(Fixture.image({ seed: 121 }).descriptor)), false)
      }))

    test("refuses a manifest whose bytes are not those of its digest", (store) =>
      Effect.gen(function* () {
        const image = Fixture.image({ seed: 131 })
        const writer = yield* store.target.open
        yield* writeBlobs(writer, image)
        const other = TarBytes.bytes(`${new TextDecoder().decode(image.manifest)} `)
        yield* expectTyped(writer.writeManifest(plain(image.descriptor), other, names(store, ["1.0"])))
      }))

    test("shows nothing before its commit", (store) =>
      Effect.gen(function* () {
        const committed = yield* Effect.scoped(
          Effect.gen(function* () {
            const writer = yield* store.target.open
            yield* writeAll(store, writer, Fixture.image({ seed: 141 }), ["1.0"])
            return writer.commit === undefined
          })
        )
        if (!committed && options.atomic !== false) yield* expectAbsent(store.source("1.0"))
      }))

    if (options.compresses === false) return

    test("compresses a layer on the way and says what it became", (store) =>
      Effect.gen(function* () {
        const layer = layerOf(151)
        const writer = yield* store.target.open
        const { descriptor } = yield* writer.writeBlob(compressedWrite(layer, layer.tar))
        const config = Fixture.image({ seed: 151, layers: 1 })
        yield* writer.writeBlob(blobWrite(config.configDescriptor, config.config))
        const manifest = TarBytes.bytes(
          JSON.stringify({
            schemaVersion: 2,
            mediaType: config.descriptor.mediaType,
            config: config.configDescriptor,
            layers: [descriptor]
          })
        )
        const described = Fixture.describeBytes(config.descriptor.mediaType, manifest)
        yield* writer.writeManifest(described, manifest, names(store, ["1.0"]))
        yield* writer.commit ?? Effect.void
        const reader = yield* store.source("1.0").open
        const bytes = yield* contentOf(yield* reader.blob(descriptor))
        strictEqual(Fixture.digest(bytes), descriptor.digest)
        strictEqual(bytes.length, descriptor.size)
        strictEqual(Fixture.digest(gunzipSync(bytes)), layer.diffId)
      }))

    test("refuses a layer that is not what its diff ID says", (store) =>
      Effect.gen(function* () {
        const layer = layerOf(161)
        const writer = yield* store.target.open
        yield* expectTyped(writer.writeBlob(compressedWrite(layer, damages["with a flipped byte"](layer.tar))))
      }))
  })
}

// internal

type TypedError = { readonly _tag: "RegistryError" | "TarReadError" | "ValidationError" }

class SourceBroke extends Data.TaggedError("SourceBroke")<object> {}

const damages = {
  "with a flipped byte": (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, at) => (at === 700 ? byte ^ 1 : byte)),
  "that is too short": (bytes: Uint8Array) => bytes.subarray(0, -1),
  "that is too long": (bytes: Uint8Array) => TarBytes.concat([bytes, new Uint8Array(1)]),
  "without bytes": () => new Uint8Array()
}

const layerOf = (seed: number): Fixture.LayerFixture => {
  const [layer] = Fixture.image({ seed, layers: 1 }).layers
  if (layer === undefined) throw new Error("a fixture without layers")
  return layer
}

const names = (store: Store<unknown, unknown>, tags: ReadonlyArray<string>): ReadonlyArray<ImageName> =>
  tags.map((tag) => ({ repository: Option.some(store.repository ?? "team/app"), tag: Option.some(tag) }))

const plain = ({ digest, mediaType, size }: Descriptor.Descriptor): Descriptor.Descriptor => ({
  mediaType,
  digest,
  size
})
const identity = ({ digest, size }: Descriptor.Descriptor) => ({ digest, size })

const blobWrite = (descriptor: Descriptor.Descriptor, bytes: Uint8Array): BlobWrite => ({
  descriptor: Option.some(plain(descriptor)),
  mediaType: descriptor.mediaType,
  content: Effect.succeed({ _tag: "Bytes", bytes }),
  alsoIn: []
})

const compressedWrite = (layer: Fixture.LayerFixture, tar: Uint8Array): BlobWrite => ({
  descriptor: Option.none(),
  mediaType: layer.descriptor.mediaType,
  content: Effect.succeed({ _tag: "Compressed", plain: { _tag: "Bytes", bytes: tar }, diffId: layer.diffId }),
  alsoIn: []
})

const writeBlobs = <E, R>(
  writer: ImageWriter<E, R>,
  image: Fixture.ImageFixture | Fixture.IndexFixture,
  content: (bytes: Uint8Array) => BlobContent = (bytes) => ({ _tag: "Bytes", bytes })
) =>
  Effect.forEach(descriptorsOf(image), (descriptor) => {
    const bytes = image.blobs.get(descriptor.digest) ?? new Uint8Array()
    return writer.writeBlob({ ...blobWrite(descriptor, bytes), content: Effect.succeed(content(bytes)) })
  })

const descriptorsOf = (image: Fixture.ImageFixture | Fixture.IndexFixture): ReadonlyArray<Descriptor.Descriptor> =>
  "children" in image
    ? image.children.flatMap(descriptorsOf)
    : [image.configDescriptor, ...image.layers.map(({ descriptor }) => descriptor)]

/** Blobs, children, root: in the order the engine writes. */
const writeAll = <E, R>(
  store: Store<E, R>,
  writer: ImageWriter<E, R>,
  image: Fixture.ImageFixture | Fixture.IndexFixture,
  tags: ReadonlyArray<string>
): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    if ("children" in image) yield* Effect.forEach(image.children, (child) => writeAll(store, writer, child, []))
    else yield* writeBlobs(writer, image)
    yield* writer.writeManifest(plain(image.descriptor), image.manifest, names(store, tags))
  })

const written = <E, R>(
  store: Store<E, R>,
  image: Fixture.ImageFixture | Fixture.IndexFixture,
  tags: ReadonlyArray<string>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* store.target.open
      yield* writeAll(store, writer, image, tags)
      yield* writer.commit ?? Effect.void
    })
  )

/** The source has exactly this image, manifests and blobs with the same bytes. */
const expectGraph = <E, R>(source: ImageSource<E, R>, image: Fixture.ImageFixture | Fixture.IndexFixture) =>
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

const expectBelow = <E, R>(
  reader: ImageReader<E, R>,
  image: Fixture.ImageFixture | Fixture.IndexFixture
): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    deepStrictEqual(Buffer.from(yield* reader.manifest(plain(image.descriptor))), Buffer.from(image.manifest))
    if ("children" in image)
      return yield* Effect.forEach(image.children, (child) => expectBelow(reader, child), { discard: true })
    for (const descriptor of descriptorsOf(image)) {
      const bytes = yield* contentOf(yield* reader.blob(descriptor))
      ok(Buffer.from(image.blobs.get(descriptor.digest) ?? []).equals(bytes), `other bytes of ${descriptor.digest}`)
    }
  })

const contentOf = <E, R>(content: BlobContent<E, R>): Effect.Effect<Uint8Array, E, R> => {
  if (content._tag === "Bytes") return Effect.succeed(content.bytes)
  if (content._tag === "Compressed")
    return Effect.dieMessage("a source gave content to compress for a blob that exists")
  return Effect.map(Stream.runCollect(content.stream), (chunks) => TarBytes.concat(Chunk.toReadonlyArray(chunks)))
}

/** Fails, with one of the three errors. */
const expectTyped = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const tag: unknown = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
    ok(tag === "ValidationError" || tag === "RegistryError" || tag === "TarReadError", `untyped: ${String(error)}`)
  })

const expectAbsent = <E, R>(source: ImageSource<E, R>) =>
  expectTyped(Effect.scoped(Effect.flatMap(source.open, (reader) => reader.images)))

const pieces = (bytes: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  let at = 0
  for (let n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? 1
    parts.push(bytes.subarray(at, at + size))
    at += size
  }
  return parts
}
