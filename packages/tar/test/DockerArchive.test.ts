import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { gzipSync } from "node:zlib"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import {
  copy,
  type Descriptor,
  formatName,
  type ImageSource,
  MediaType,
  MemoryStore,
  type ValidationError
} from "@effect-registry/core"
import { DockerArchive, OciArchive, OciLayout, type TarReadError } from "@effect-registry/tar"
import { Fixture, TarBytes, TarRead, Tools, Walk } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { archiveOf, dockerArchive, file, folder } from "./support/files.js"
import { zstd } from "./support/zstd.js"

const { archives, known } = Fixture
const layer = NodeFileSystem.layer
type Source = ImageSource<TarReadError | ValidationError, FileSystem.FileSystem>

const images = (source: Source) => Effect.scoped(Effect.flatMap(source.open, (reader) => reader.images))
const configOf = (root: { readonly _tag: string }) =>
  "config" in root ? (root.config as Descriptor.Descriptor).digest : undefined
const tagsOf = (source: Source) => Effect.map(images(source), (all) => all.map(({ names }) => names.map(formatName)))

describe("DockerArchive", () => {
  describe("file", () => {
    const expected = [
      ["docker20-multi", archives.docker20Multi, [known.configs.docker20App, known.configs.docker20Web]],
      ["docker26-multi", archives.docker26Multi, [known.configs.docker26App, known.configs.docker26Web]],
      ["docker26-untagged", archives.docker26Untagged, [known.configs.docker26App]],
      ["podman-multi", archives.podmanMulti, [known.configs.docker26App, known.configs.docker26Web]]
    ] as const
    for (const [name, path, configs] of expected) {
      it.effect(`reads ${name} as drafts of its configs and diff IDs`, () =>
        Effect.gen(function* () {
          const found = yield* images(DockerArchive.file(path))
          assert.deepStrictEqual(
            found.map(({ root }) => configOf(root)),
            [...configs]
          )
          const last = found[found.length - 1]?.root
          if (last?._tag !== "Draft") return assert.fail("not a draft")
          assert.isTrue(last.layers.every(({ mediaType }) => mediaType === MediaType.dockerLayer))
          if (name !== "docker20-multi" && name !== "docker26-untagged") {
            assert.deepStrictEqual(
              last.layers.map(({ digest }) => digest),
              [...known.webDiffIds]
            )
          }
        }).pipe(Effect.provide(layer))
      )
    }

    it.effect("knows the names as they are written, none for an untagged image", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* tagsOf(DockerArchive.file(archives.docker26Multi)), [
          ["fixture/app:1.0", "fixture/app:latest"],
          ["fixture/web:2.0", "localhost:15000/team/web:2.0"]
        ])
        assert.deepStrictEqual(yield* tagsOf(DockerArchive.file(archives.docker26Untagged)), [[]])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("takes <none>:<none> for no name", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ compressed: false })
        const path = yield* file(Fixture.dockerArchive([{ image, tags: ["<none>:<none>", "app:1"] }]))
        assert.deepStrictEqual(yield* tagsOf(DockerArchive.file(path)), [["app:1"]])
      }).pipe(Effect.provide(layer))
    )

    it.effect("takes the manifest that describes compressed layers, and says which platforms are missing", () =>
      Effect.gen(function* () {
        const [entry] = yield* images(DockerArchive.file(archives.docker26Partial))
        assert.strictEqual(entry?.root._tag, "Manifest")
        assert.strictEqual(
          entry?.root._tag === "Manifest" && entry.root.descriptor.digest,
          known.manifests.docker26Partial
        )
        assert.deepStrictEqual(entry?.missingPlatforms, ["linux/arm64", "linux/ppc64le"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("makes an index of the complete platforms where several are there", () =>
      Effect.gen(function* () {
        const child = (architecture: string, seed: number) =>
          Fixture.image({ format: "oci", seed, platform: { os: "linux", architecture } })
        const whole = [child("amd64", 1), child("arm64", 2), child("s390x", 3)] as const
        const index = Fixture.index(whole)
        const all = TarBytes.concat([Fixture.ociArchive([{ image: index, tags: ["1"] }])])
        const without = [...(yield* Effect.sync(() => TarRead.read(all)))].filter(
          ([name]) => !name.includes(whole[2].descriptor.digest.slice(7))
        )
        const first = whole[0]
        const manifest = JSON.stringify([
          {
            Config: `blobs/sha256/${first.configDescriptor.digest.slice(7)}`,
            RepoTags: ["app:1"],
            Layers: first.layers.map(({ descriptor }) => `blobs/sha256/${descriptor.digest.slice(7)}`)
          }
        ])
        const path = yield* file(
          TarBytes.make([
            ...without.map(([name, content]) => ({ name, content })),
            { name: "manifest.json", content: manifest }
          ])
        )
        const [entry] = yield* images(DockerArchive.file(path))
        assert.deepStrictEqual(entry?.missingPlatforms, ["linux/s390x"])
        assert.strictEqual(entry?.root._tag, "Made")
        const store = MemoryStore.make()
        yield* copy(DockerArchive.file(path), store.target)
        assert.strictEqual(store.manifests.size, 3)
      }).pipe(Effect.provide(layer))
    )

    it.effect("chooses an image by name, as docker reads names, or by its place", () =>
      Effect.gen(function* () {
        const choose = (image: string | number) => tagsOf(DockerArchive.file(archives.docker26Multi, { image }))
        assert.deepStrictEqual(yield* choose("fixture/app:1.0"), [["fixture/app:1.0"]])
        assert.deepStrictEqual(yield* choose("docker.io/fixture/app"), [["fixture/app:latest"]])
        assert.deepStrictEqual(yield* choose("localhost:15000/team/web:2.0"), [["localhost:15000/team/web:2.0"]])
        assert.deepStrictEqual(yield* choose(1), [["fixture/web:2.0", "localhost:15000/team/web:2.0"]])
        const error = yield* Effect.flip(choose("fixture/app:9"))
        assert.strictEqual(error.reason, "NoImage")
        assert.include(
          error.message,
          "holds no image fixture/app:9; there is fixture/app:1.0, fixture/app:latest; fixture/web:2.0"
        )
        assert.strictEqual((yield* Effect.flip(choose(2))).reason, "NoImage")
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("reads an archive that is compressed, and one from a pipe", () =>
      Effect.gen(function* () {
        const bytes = yield* Effect.promise(() => readFile(archives.docker26Multi))
        const zipped = yield* file(gzipSync(bytes), "app.tgz")
        const pieces = Stream.fromIterable(
          Array.from(
            { length: Math.ceil(bytes.length / 5000) },
            (_, n) => new Uint8Array(bytes.subarray(n * 5000, n * 5000 + 5000))
          )
        )
        const packed = yield* file(yield* zstd(bytes), "app.tar.zst")
        for (const source of [
          DockerArchive.file(zipped, { image: 0 }),
          DockerArchive.file(packed, { image: 0 }),
          DockerArchive.stream(pieces, { image: 0 })
        ]) {
          const store = MemoryStore.make()
          const result = yield* copy(source, store.target, { compress: "none" })
          assert.strictEqual(result.blobs.sent, 3)
          assert.isTrue(store.blobs.has(known.configs.docker26App))
        }
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("says that a named pipe has to be handed over as a stream", () =>
      Effect.gen(function* () {
        const pipe = join(yield* folder, "pipe")
        yield* Effect.promise(() => promisify(execFile)("mkfifo", [pipe]))
        const error = yield* Effect.flip(images(DockerArchive.file(pipe)))
        assert.deepStrictEqual(
          [error.reason, error.message],
          ["NotSeekable", `${pipe}: is a pipe, which cannot be read by position`]
        )
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("moves a layer that is compressed already as it is, when its plain bytes are the diff ID's", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ compressed: false, layers: 1 })
        const tar = image.layers[0]?.tar ?? new Uint8Array(0)
        const make = (layer: Uint8Array) =>
          archiveOf(
            [{ Config: "config.json", RepoTags: ["app:1"], Layers: ["layer.tar.gz"] }],
            [
              { name: "config.json", content: image.config },
              { name: "layer.tar.gz", content: layer }
            ]
          )
        for (const [compress, mediaType] of [
          [(bytes: Uint8Array) => Effect.succeed(new Uint8Array(gzipSync(bytes))), MediaType.dockerLayerGzip],
          [zstd, MediaType.ociLayerZstd]
        ] as const) {
          const layer = yield* compress(tar)
          const store = MemoryStore.make()
          const { descriptor } = yield* copy(DockerArchive.file(yield* make(layer)), store.target)
          assert.deepStrictEqual(Buffer.from(store.blobs.get(Fixture.digest(layer)) ?? []), Buffer.from(layer))
          const manifest = JSON.parse(new TextDecoder().decode(store.manifests.get(descriptor.digest)))
          assert.deepStrictEqual(manifest.layers, [{ mediaType, digest: Fixture.digest(layer), size: layer.length }])
          const other = yield* compress(Buffer.from("other"))
          const wrong = yield* Effect.flip(copy(DockerArchive.file(yield* make(other)), store.target))
          assert.strictEqual(wrong.reason, "LayerMismatch")
          const cut = yield* Effect.flip(copy(DockerArchive.file(yield* make(layer.subarray(0, 50))), store.target))
          assert.strictEqual(cut.reason, "Truncated")
          assert.include(cut.message, '"layer.tar.gz": its ')
        }
      }).pipe(Effect.provide(layer))
    )

    describe("without RepoTags", () => {
      const archive = (repositories: unknown, images: ReadonlyArray<Fixture.ImageFixture>) =>
        archiveOf(
          images.map((image, n) => ({
            Config: `config-${n}.json`,
            RepoTags: null,
            Layers: image.layers.map((_, index) => `image-${n}-layer-${index}/layer.tar`)
          })),
          [
            { name: "repositories", content: JSON.stringify(repositories) },
            ...images.flatMap((image, n) => [
              { name: `config-${n}.json`, content: image.config },
              ...image.layers.map(({ tar }, index) => ({ name: `image-${n}-layer-${index}/layer.tar`, content: tar }))
            ])
          ]
        )
      const two = [Fixture.image({ compressed: false, seed: 1 }), Fixture.image({ compressed: false, seed: 2 })]

      it.scopedLive("gives a tag to the image whose last layer it names, by path or diff ID", () =>
        Effect.gen(function* () {
          const second = two[1]?.layers[1]?.diffId.slice(7) ?? ""
          const path = yield* archive({ one: { "1": "image-0-layer-1" }, two: { "2": second } }, two)
          assert.deepStrictEqual(yield* tagsOf(DockerArchive.file(path)), [["one:1"], ["two:2"]])
        }).pipe(Effect.provide(layer))
      )

      it.scopedLive("refuses a tag that fits no image, or several, rather than guess", () =>
        Effect.gen(function* () {
          const none = yield* archive({ one: { "1": "image-0-layer-0" } }, two)
          const error = yield* Effect.flip(images(DockerArchive.file(none)))
          assert.strictEqual(error.reason, "InvalidArchive")
          assert.include(
            error.message,
            "repositories gives one:1 to layer image-0-layer-0, which is the last one of no image"
          )
          const twins = [
            Fixture.image({ compressed: false, seed: 1 }),
            Fixture.image({ compressed: false, seed: 1, config: { author: "other" } })
          ]
          const several = yield* archive({ one: { "1": twins[0]?.layers[1]?.diffId.slice(7) } }, twins)
          assert.include((yield* Effect.flip(images(DockerArchive.file(several)))).message, "the last one of 2 images")
        }).pipe(Effect.provide(layer))
      )
    })
  })

  describe("target", () => {
    it.scopedLive("writes what is an OCI layout and a docker load archive at once, the digests unchanged", () =>
      Effect.gen(function* () {
        const there = yield* folder
        const store = MemoryStore.make()
        const { descriptor } = yield* copy(DockerArchive.file(archives.docker26Multi, { image: 1 }), store.target)
        const path = join(there, "out.tar")
        yield* copy(store.source(), DockerArchive.target(path))
        const [graph] = yield* Walk.ociArchive(path)
        assert.strictEqual(graph?.root, descriptor.digest)
        const [loaded] = yield* Walk.dockerArchive(path)
        assert.deepStrictEqual(loaded?.tags, ["fixture/web:2.0", "localhost:15000/team/web:2.0"])
        assert.strictEqual(loaded?.config, known.configs.docker26Web)
        const index = JSON.parse(
          new TextDecoder().decode(TarRead.read(yield* Effect.promise(() => readFile(path))).get("index.json"))
        )
        assert.deepStrictEqual(
          index.manifests.map(
            (each: { annotations: Record<string, string> }) => each.annotations["io.containerd.image.name"]
          ),
          ["docker.io/fixture/web:2.0", "localhost:15000/team/web:2.0"]
        )
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("compresses where the name says so, and reads that back", () =>
      Effect.gen(function* () {
        const there = yield* folder
        for (const [name, magic] of [
          ["out.tar.gz", [0x1f, 0x8b]],
          ["out.tgz", [0x1f, 0x8b]],
          ["out.tar.zst", [0x28, 0xb5]]
        ] as const) {
          const path = join(there, name)
          const first = yield* copy(OciArchive.file(archives.ociArchive), DockerArchive.target(path))
          const bytes = yield* Effect.promise(() => readFile(path))
          assert.deepStrictEqual([...bytes.subarray(0, 2)], [...magic])
          const again = yield* copy(DockerArchive.file(path), MemoryStore.make().target)
          assert.strictEqual(again.descriptor.digest, first.descriptor.digest)
        }
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("lets docker load find this machine's image of an index, and has a copy without names", () =>
      Effect.gen(function* () {
        const there = yield* folder
        const path = join(there, "multi.tar")
        const platform = { os: "linux", architecture: "arm64" }
        yield* copy(OciArchive.file(archives.ociMultiarch), DockerArchive.target(path, { platform }))
        const manifest = TarRead.read(yield* Effect.promise(() => readFile(path))).get("manifest.json")
        const [entry] = JSON.parse(new TextDecoder().decode(manifest))
        assert.include(entry.Config, "263234c4a9473b9d46ec7e15e96b342c3759418137f0095a7445813adbc15f89")
        const untagged = join(there, "untagged.tar")
        yield* copy(OciArchive.file(archives.ociArchive), DockerArchive.target(untagged), { tags: [] })
        const [loaded] = yield* Walk.dockerArchive(untagged)
        assert.deepStrictEqual(loaded?.tags ?? [], [])
      }).pipe(Effect.provide(layer))
    )
  })
})

describe("OciLayout", () => {
  it.scopedLive("adds images to a layout that is there, and replaces one of the same name", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copy(OciArchive.file(archives.ociArchive), OciLayout.target(path))
      yield* copy(OciArchive.file(archives.ociMultiarch), OciLayout.target(path))
      assert.deepStrictEqual((yield* tagsOf(OciLayout.folder(path))).flat().length, 2)
      const plain = yield* dockerArchive()
      yield* copy(DockerArchive.file(plain), OciLayout.target(path), { tags: ["2"] })
      yield* copy(DockerArchive.file(plain), OciLayout.target(path), { tags: ["2"], format: "oci" })
      assert.deepStrictEqual((yield* tagsOf(OciLayout.folder(path))).flat().length, 3)
      const graphs = yield* Walk.layout(path)
      assert.strictEqual(graphs.length, 3)
    }).pipe(Effect.provide(layer))
  )
})

Tools.needing(describe, "skopeo")("what is written", () => {
  it.scopedLive("is read by skopeo as docker-archive, oci-archive and oci", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const path = join(there, "out.tar")
      const layout = join(there, "layout")
      const web = DockerArchive.file(archives.docker20Multi, { image: "fixture/web:2.0" })
      // By a tag skopeo 1.9 finds manifests of OCI's own types alone.
      yield* copy(web, DockerArchive.target(path), { format: "oci" })
      yield* copy(web, OciLayout.target(layout))
      for (const address of [`docker-archive:${path}:fixture/web:2.0`, `oci-archive:${path}:2.0`, `oci:${layout}`]) {
        const { stdout } = yield* Effect.promise(() => promisify(execFile)("skopeo", ["inspect", "--config", address]))
        assert.strictEqual(JSON.parse(stdout).architecture, "amd64", address)
      }
    }).pipe(Effect.provide(layer))
  )
})
