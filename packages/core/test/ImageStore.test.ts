import { assert, describe, it } from "@effect/vitest"
import { Descriptor, Digest, type ImageName, Manifest, MediaType, MemoryStore } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const bytes = (text: string) => new TextEncoder().encode(text)
const described = (mediaType: string, content: Uint8Array) =>
  Descriptor.make(mediaType, Digest.fromBytes(content), content.length)
const name = (repository: string | undefined, tag: string | undefined): ImageName => ({
  repository: Option.fromNullable(repository),
  tag: Option.fromNullable(tag)
})

/** Writes an image of one layer under these names. */
const write = (store: MemoryStore.MemoryStore, layer: string, names: ReadonlyArray<ImageName>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* store.target.open
      const parts = [
        { mediaType: MediaType.ociConfig, content: bytes("{}") },
        { mediaType: MediaType.ociLayer, content: bytes(layer) }
      ]
      const [config, ...layers] = yield* Effect.forEach(parts, ({ content, mediaType }) =>
        Effect.map(
          writer.writeBlob({
            descriptor: Option.some(described(mediaType, content)),
            mediaType,
            content: Effect.succeed({ _tag: "Bytes", bytes: content }),
            alsoIn: []
          }),
          ({ descriptor }) => descriptor
        )
      )
      if (config === undefined) return yield* Effect.dieMessage("no config")
      const made = Manifest.assemble("oci", config, layers)
      yield* writer.writeManifest(made.descriptor, made.bytes, names)
      yield* writer.commit ?? Effect.void
      return made.descriptor
    })
  )

const images = (store: MemoryStore.MemoryStore, tag?: string) =>
  Effect.scoped(Effect.flatMap(store.source(tag).open, (reader) => reader.images))

describe("MemoryStore", () => {
  it.effect("lists an image once with all its names", () =>
    Effect.gen(function* () {
      const store = MemoryStore.make()
      const names = [name("team/app", "1"), name("team/app", "2"), name(undefined, "3")]
      const descriptor = yield* write(store, "a", names)
      const entries = yield* images(store)
      assert.deepStrictEqual(entries, [{ root: { _tag: "Manifest", descriptor }, names, missingPlatforms: [] }])
      assert.deepStrictEqual([...store.names.keys()], ["team/app:1", "team/app:2", "3"])
    })
  )

  it.effect("moves a name to the image that got it last", () =>
    Effect.gen(function* () {
      const store = MemoryStore.make()
      yield* write(store, "a", [name("app", "1")])
      const second = yield* write(store, "b", [name("app", "1")])
      assert.strictEqual(store.names.get("app:1")?.digest, second.digest)
      const [entry, ...others] = yield* images(store, "1")
      assert.strictEqual(others.length, 0)
      assert.strictEqual(entry?.root._tag === "Manifest" ? entry.root.descriptor.digest : "", second.digest)
    })
  )

  it.effect("fails with NoImage where it is empty or lacks the tag", () =>
    Effect.gen(function* () {
      const store = MemoryStore.make("the store")
      const empty = yield* Effect.flip(images(store))
      assert.strictEqual(empty.reason, "NoImage")
      assert.strictEqual(empty.message, "the store: holds no image")
      yield* write(store, "a", [name("app", "1")])
      assert.strictEqual((yield* Effect.flip(images(store, "2"))).message, "the store: holds no tag 2")
    })
  )

  it.effect("fails with MissingContent for what it does not hold", () =>
    Effect.gen(function* () {
      const store = MemoryStore.make()
      const reader = yield* store.source().open
      const unknown = described(MediaType.ociLayer, bytes("?"))
      assert.strictEqual((yield* Effect.flip(reader.blob(unknown))).reason, "MissingContent")
      assert.strictEqual((yield* Effect.flip(reader.manifest(unknown))).reason, "MissingContent")
    }).pipe(Effect.scoped)
  )

  it.effect("lists what refers to a manifest once it is committed", () =>
    Effect.gen(function* () {
      const store = MemoryStore.make()
      const image = yield* write(store, "a", [name("app", "1")])
      const document = { schemaVersion: 2, artifactType: "application/vnd.example.sbom", manifests: [], subject: image }
      const content = bytes(JSON.stringify(document))
      const sbom = described(MediaType.ociIndex, content)
      const writer = yield* store.target.open
      yield* writer.writeManifest(sbom, content, [])
      const reader = yield* store.source().open
      const listed = () =>
        Effect.all([reader.referrers?.(image), writer.referrers?.(image)].map((each) => each ?? Effect.die("none")))
      assert.deepStrictEqual(yield* listed(), [[], []])
      yield* writer.commit ?? Effect.void
      const referrer = { ...sbom, artifactType: "application/vnd.example.sbom" }
      assert.deepStrictEqual(yield* listed(), [[referrer], [referrer]])
    }).pipe(Effect.scoped)
  )

  it.effect("knows what a tag names, and whether it names exactly this", () =>
    Effect.gen(function* () {
      const store = MemoryStore.make()
      const first = yield* write(store, "a", [name("app", "1")])
      const second = yield* write(store, "b", [name("app", "2")])
      const reader = yield* store.source().open
      const writer = yield* store.target.open
      assert.deepStrictEqual(yield* reader.tagged?.("2") ?? Effect.die("none"), Option.some(second))
      assert.deepStrictEqual(yield* reader.tagged?.("3") ?? Effect.die("none"), Option.none())
      assert.isTrue(yield* writer.isTagged?.(first, name("app", "1")) ?? Effect.die("none"))
      assert.isFalse(yield* writer.isTagged?.(second, name("app", "1")) ?? Effect.die("none"))
      assert.isFalse(yield* writer.isTagged?.(first, name("other", "1")) ?? Effect.die("none"))
    }).pipe(Effect.scoped)
  )
})
