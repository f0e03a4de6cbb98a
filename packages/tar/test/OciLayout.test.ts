import { createHash } from "node:crypto"
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { copy, MediaType, MemoryStore } from "@effect-registry/core"
import { DockerArchive, OciArchive, OciLayout, validateArchive } from "@effect-registry/tar"
import { Fixture, TarBytes } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import { file, folder } from "./support/files.js"

/** An archive whose only layer has a digest of sha512. */
const sha512Archive = Effect.suspend(() => {
  const hex = (algorithm: string, text: string) => createHash(algorithm).update(text).digest("hex")
  const part = (mediaType: string, text: string, algorithm = "sha256") => ({
    mediaType,
    digest: `${algorithm}:${hex(algorithm, text)}`,
    size: text.length
  })
  const rootfs = { type: "layers", diff_ids: [`sha256:${hex("sha256", "layer")}`] }
  const config = JSON.stringify({ architecture: "amd64", os: "linux", rootfs })
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: part(MediaType.ociConfig, config),
    layers: [part("application/vnd.oci.image.layer.v1.tar", "layer", "sha512")]
  })
  const index = JSON.stringify({ schemaVersion: 2, manifests: [part(MediaType.ociManifest, manifest)] })
  return file(
    TarBytes.make([
      { name: "oci-layout", content: JSON.stringify({ imageLayoutVersion: "1.0.0" }) },
      { name: "index.json", content: index },
      { name: `blobs/sha256/${hex("sha256", config)}`, content: config },
      { name: `blobs/sha256/${hex("sha256", manifest)}`, content: manifest },
      { name: "././@LongLink", type: "L", content: `blobs/sha512/${hex("sha512", "layer")}\0` },
      { name: "blobs/sha512/layer", content: "layer" }
    ])
  )
})

describe("target", () => {
  it.scopedLive("replaces a blob of the right name and size that has other bytes", () =>
    Effect.gen(function* () {
      const image = Fixture.image({ format: "oci" })
      const source = OciArchive.file(yield* file(Fixture.ociArchive([{ image, tags: ["1"] }])))
      const path = join(yield* folder, "layout")
      yield* copy(source, OciLayout.target(path))
      const layer = image.layers[0]?.descriptor
      if (layer === undefined) return assert.fail("no layer")
      const blob = join(path, "blobs", "sha256", layer.digest.slice(7))
      yield* Effect.promise(() => writeFile(blob, new Uint8Array(layer.size)))
      assert.isFalse((yield* validateArchive(path)).valid)
      yield* copy(source, OciLayout.target(path), { forceRecursive: true })
      assert.isTrue((yield* validateArchive(path)).valid)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("keeps blobs of sha512 as an archive does", () =>
    Effect.gen(function* () {
      const source = OciArchive.file(yield* sha512Archive)
      const there = yield* folder
      const [layout, archive] = [join(there, "layout"), join(there, "out.tar")]
      yield* copy(source, OciLayout.target(layout))
      yield* copy(source, DockerArchive.target(archive))
      for (const path of [layout, archive]) assert.deepStrictEqual((yield* validateArchive(path)).problems, [])
      const store = MemoryStore.make()
      const first = yield* copy(source, MemoryStore.make().target)
      const back = yield* copy(DockerArchive.file(archive), store.target)
      assert.strictEqual(back.descriptor.digest, first.descriptor.digest)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("writes nothing through a symlink in place of the folder of an algorithm", () =>
    Effect.gen(function* () {
      const [there, outside] = [yield* folder, yield* folder]
      yield* Effect.promise(async () => {
        await mkdir(join(there, "blobs"))
        await writeFile(join(there, "oci-layout"), "{}")
        await symlink(outside, join(there, "blobs", "sha512"))
      })
      const error = yield* Effect.flip(copy(OciArchive.file(yield* sha512Archive), OciLayout.target(there)))
      assert.deepStrictEqual([error._tag, error.reason], ["TarReadError", "UnsafePath"])
      assert.include(error.message, `"blobs/sha512": is a symlink`)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(outside)), [])
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})
