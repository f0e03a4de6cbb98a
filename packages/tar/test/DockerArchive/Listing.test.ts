import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { type Digest, formatName, MediaType, Progress } from "@effect-registry/core"
import { DockerArchive } from "@effect-registry/tar"
import { Fixture, TarBytes, TarRead } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import { folder } from "../support/files.js"
import { image, other, type Part, sbom, write } from "../support/referring.js"

const layer = NodeFileSystem.layer
const plain = Fixture.image({ format: "oci", seed: 7, shared: 1, compressed: false })

/** An image manifest of these layers, which are whatever bytes. */
const made = (layers: ReadonlyArray<{ readonly mediaType: string; readonly algorithm?: "sha512" }>): Part => {
  const content = TarBytes.bytes("a layer")
  const described = layers.map(({ algorithm, mediaType }) => ({
    mediaType,
    size: content.length,
    digest: (algorithm === undefined
      ? Fixture.digest(content)
      : `sha512:${createHash("sha512").update(content).digest("hex")}`) as Digest.Digest
  }))
  const manifest = TarBytes.bytes(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      config: image.configDescriptor,
      layers: described
    })
  )
  const descriptor = Fixture.describeBytes(MediaType.ociManifest, manifest)
  return {
    type: "",
    manifest,
    descriptor,
    blobs: new Map([
      [image.configDescriptor.digest, image.config],
      ...described.map(({ digest }) => [digest, content] as const)
    ]),
    manifests: new Map([[descriptor.digest, manifest]])
  }
}

const archive = (parts: ReadonlyArray<{ readonly part: Part; readonly tags?: ReadonlyArray<string> }>) =>
  Effect.gen(function* () {
    const path = join(yield* folder, "app.tar")
    const warnings: Array<string> = []
    const emit = (event: Progress.ProgressEvent) => event._tag === "Warning" && warnings.push(event.message)
    yield* write(DockerArchive.target(path), parts).pipe(
      Effect.provideService(Progress.Progress, { emit: (event) => void emit(event) })
    )
    const bytes = new Uint8Array(yield* Effect.promise(() => readFile(path)))
    const files = TarRead.read(bytes)
    const listed: ReadonlyArray<{
      readonly RepoTags: ReadonlyArray<string> | null
      readonly Layers: ReadonlyArray<string>
    }> = JSON.parse(new TextDecoder().decode(files.get("manifest.json") ?? TarBytes.bytes("[]")))
    return { path, files, listed, warnings }
  })
const found = (path: string) =>
  Effect.scoped(
    Effect.flatMap(DockerArchive.file(path).open, (reader) =>
      Effect.map(reader.images, (all) =>
        all.map(({ names, root }) => [names.map(formatName), root._tag === "Draft" ? "draft" : root.descriptor.digest])
      )
    )
  )

describe("manifest.json of a written archive", () => {
  for (const [what, part] of [
    ["an artifact", Fixture.artifact({ type: "application/vnd.example.chart", content: "chart" })],
    ["a layer with a sha512 digest", made([{ mediaType: MediaType.ociLayer, algorithm: "sha512" }])],
    ["a layer compressed with zstd", made([{ mediaType: MediaType.ociLayerZstd }])]
  ] as const) {
    it.scopedLive(`lists the image alone beside ${what}, and both are read back`, () =>
      Effect.gen(function* () {
        const { files, listed, path, warnings } = yield* archive([
          { part, tags: ["odd"] },
          { part: image, tags: ["1", "latest"] }
        ])
        assert.deepStrictEqual(
          listed.map(({ RepoTags }) => RepoTags),
          [["team/app:1", "team/app:latest"]]
        )
        assert.strictEqual(warnings.length, 1)
        assert.include(warnings[0], "docker load will not find docker.io/team/app:odd in the archive")
        for (const digest of part.blobs.keys()) assert.isTrue(files.has(`blobs/${digest.replace(":", "/")}`), digest)
        assert.deepStrictEqual(yield* found(path), [
          [["team/app:1", "team/app:latest"], image.descriptor.digest],
          [["docker.io/team/app:odd"], part.descriptor.digest]
        ])
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("is not there where docker can load nothing", () =>
    Effect.gen(function* () {
      const { files } = yield* archive([{ part: made([{ mediaType: MediaType.ociLayerZstd }]), tags: ["1"] }])
      assert.isFalse(files.has("manifest.json"))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("lists no referrer, and nobody is warned of that", () =>
    Effect.gen(function* () {
      const { listed, path, warnings } = yield* archive([{ part: sbom }, { part: image, tags: ["1"] }])
      assert.deepStrictEqual([listed.length, warnings], [1, []])
      assert.deepStrictEqual(yield* found(path), [[["team/app:1"], image.descriptor.digest]])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("lists no image whose foreign layer is elsewhere", () =>
    Effect.gen(function* () {
      const foreign = made([{ mediaType: MediaType.dockerForeignLayer }])
      const [config] = [...foreign.blobs]
      if (config === undefined) return assert.fail("no config")
      const { files, warnings } = yield* archive([{ part: { ...foreign, blobs: new Map([config]) }, tags: ["1"] }])
      assert.isFalse(files.has("manifest.json"))
      assert.strictEqual(warnings.length, 1)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("names a layer that two images share, which lies there once", () =>
    Effect.gen(function* () {
      const twin = Fixture.image({ format: "oci", seed: 9, shared: 1 })
      const { files, listed } = yield* archive([
        { part: other, tags: ["1"] },
        { part: twin, tags: ["2"] }
      ])
      assert.strictEqual(listed[0]?.Layers[0], listed[1]?.Layers[0])
      const blobs = new Set([...other.blobs.keys(), ...twin.blobs.keys()]).size + 2
      assert.strictEqual([...files.keys()].filter((name) => name.startsWith("blobs/")).length, blobs)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("does not mix up manifests of one configuration", () =>
    Effect.gen(function* () {
      // Same config, because diff IDs are those of the tars.
      assert.strictEqual(plain.configDescriptor.digest, image.configDescriptor.digest)
      const { path } = yield* archive([
        { part: image, tags: ["gzip"] },
        { part: plain, tags: ["plain"] }
      ])
      assert.deepStrictEqual(yield* found(path), [
        [["team/app:gzip"], image.descriptor.digest],
        [["team/app:plain"], plain.descriptor.digest]
      ])
    }).pipe(Effect.provide(layer))
  )
})
