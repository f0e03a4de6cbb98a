import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { copy, MemoryStore } from "@effect-registry/core"
import { OciLayout } from "@effect-registry/tar"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { folder } from "../support/files.js"
import { copyTo, image, other, sbom, signature, store, write } from "../support/referring.js"

const layer = NodeFileSystem.layer

interface Entry {
  readonly digest: string
  readonly annotations?: Readonly<Record<string, string>>
}
const entries = (path: string) =>
  Effect.promise(
    async (): Promise<ReadonlyArray<Entry>> => JSON.parse(await readFile(join(path, "index.json"), "utf8")).manifests
  )
const refName = "org.opencontainers.image.ref.name"
const refs = (path: string) => Effect.map(entries(path), (all) => all.map(({ annotations }) => annotations?.[refName]))
const name = (repository: string, tag: string) => ({ repository: Option.some(repository), tag: Option.some(tag) })

describe("target", () => {
  it.scopedLive("does nothing the second time", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const before = yield* Effect.promise(() => stat(join(path, "index.json")))
      const again = yield* copyTo(OciLayout.target(path))
      assert.deepStrictEqual(again.blobs, { sent: 0, mounted: 0, existing: 0, bytesSent: 0 })
      const after = yield* Effect.promise(() => stat(join(path, "index.json")))
      assert.deepStrictEqual([after.ino, after.mtimeMs], [before.ino, before.mtimeMs])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("adds only the referrers that it lacks, and lists nothing twice", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      const memory = yield* store
      yield* copy(memory.source("1"), OciLayout.target(path))
      assert.strictEqual((yield* entries(path)).length, 1)
      for (let run = 0; run < 2; run++) {
        yield* copy(memory.source("1"), OciLayout.target(path), { referrers: true, forceRecursive: true })
        assert.deepStrictEqual(
          (yield* entries(path)).map(({ digest }) => digest).sort(),
          [image, sbom, signature].map(({ descriptor }) => `${descriptor.digest}`).sort()
        )
      }
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("knows what it has only where all of that is there", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const ask = Effect.scoped(
        Effect.gen(function* () {
          const writer = yield* OciLayout.target(path).open
          const none = Effect.dieMessage("cannot say")
          return [
            yield* writer.isTagged?.(image.descriptor, name("team/app", "1")) ?? none,
            yield* writer.isTagged?.(image.descriptor, name("team/app", "2")) ?? none,
            yield* writer.isTagged?.(other.descriptor, name("team/app", "1")) ?? none,
            (yield* writer.referrers?.(image.descriptor) ?? none).length
          ]
        })
      )
      assert.deepStrictEqual(yield* ask, [true, false, false, 1])
      for (const { blobs } of [image, sbom]) {
        const [, last] = [...blobs.keys()]
        yield* Effect.promise(() => rm(join(path, "blobs", (last ?? "").replace(":", "/"))))
      }
      assert.deepStrictEqual(yield* ask, [false, false, false, 0])
      yield* copyTo(OciLayout.target(path))
      assert.deepStrictEqual(yield* ask, [true, false, false, 1])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("tells the referrers that are there whole, though another one is not", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const second = Fixture.artifact({ type: "application/x", content: "lost", subject: image.descriptor })
      yield* write(OciLayout.target(path), [{ part: second }])
      const [, lost = ""] = [...second.blobs.keys()]
      yield* Effect.promise(() => rm(join(path, "blobs", lost.replace(":", "/"))))
      const writer = yield* OciLayout.target(path).open
      const found = yield* writer.referrers?.(image.descriptor) ?? Effect.dieMessage("cannot say")
      assert.deepStrictEqual(
        found.map(({ digest }) => digest),
        [sbom.descriptor.digest]
      )
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("gives an image that had no name its name, and lists no child of an index", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      const index = Fixture.index([image, other])
      yield* write(OciLayout.target(path), [{ part: index }])
      assert.deepStrictEqual(yield* refs(path), [undefined])
      yield* write(OciLayout.target(path), [{ part: index, tags: ["1"] }])
      assert.deepStrictEqual(yield* refs(path), ["1"])
      yield* write(OciLayout.target(path), [{ part: index }])
      assert.deepStrictEqual(yield* refs(path), ["1"])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("keeps what others put there, and what they say about it", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* Fixture.ociLayout(path, [{ image, tags: ["old"] }])
      const file = join(path, "index.json")
      const before = JSON.parse(yield* Effect.promise(() => readFile(file, "utf8")))
      before.annotations = { "org.example": "kept" }
      yield* Effect.promise(() => writeFile(file, JSON.stringify(before)))
      yield* write(OciLayout.target(path), [{ part: other, tags: ["new"] }])
      const after = JSON.parse(yield* Effect.promise(() => readFile(file, "utf8")))
      assert.deepStrictEqual(after.manifests[0], before.manifests[0])
      assert.deepStrictEqual(after.annotations, before.annotations)
      assert.deepStrictEqual(yield* refs(path), ["old", "new"])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("keeps an entry of the same image without a name where it says something else", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* write(OciLayout.target(path), [{ part: image }])
      const file = join(path, "index.json")
      const index = JSON.parse(yield* Effect.promise(() => readFile(file, "utf8")))
      const annotations = { "org.example.scan": "passed" }
      index.manifests = [{ ...index.manifests[0], annotations }, ...index.manifests]
      yield* Effect.promise(() => writeFile(file, JSON.stringify(index)))
      yield* write(OciLayout.target(path), [{ part: image, tags: ["1"] }])
      const after = yield* entries(path)
      assert.deepStrictEqual(
        after.map((entry) => [entry.digest, entry.annotations?.["org.example.scan"], entry.annotations?.[refName]]),
        [
          [image.descriptor.digest, "passed", undefined],
          [image.descriptor.digest, undefined, "1"]
        ]
      )
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("never lets one reference mean two images", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      const writer = yield* OciLayout.target(path).open
      const memory = MemoryStore.make()
      yield* write(memory.target, [
        { part: image, tags: ["a"] },
        { part: other, tags: ["b"] }
      ])
      const reader = yield* memory.source().open
      for (const [part, repository] of [
        [image, "one/app"],
        [other, "two/app"]
      ] as const) {
        for (const digest of part.blobs.keys()) {
          const size = part.blobs.get(digest)?.length ?? 0
          const descriptor = { mediaType: "application/octet-stream", digest, size }
          const content = reader.blob(descriptor)
          yield* writer.writeBlob({ ...descriptor, descriptor: Option.some(descriptor), content, alsoIn: [] })
        }
        yield* writer.writeManifest(part.descriptor, part.manifest, [name(repository, "1")])
      }
      yield* writer.commit ?? Effect.void
      assert.deepStrictEqual(yield* refs(path), ["1", "docker.io/two/app:1"])
      const found = yield* copy(OciLayout.folder(path, { image: "two/app:1" }), MemoryStore.make().target)
      assert.strictEqual(found.descriptor.digest, other.descriptor.digest)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("holds several images, and the layer they share once", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* write(OciLayout.target(path), [
        { part: image, tags: ["1"] },
        { part: other, tags: ["2"] }
      ])
      for (const [tag, part] of [
        ["1", image],
        ["2", other]
      ] as const) {
        const source = OciLayout.folder(path, { image: `team/app:${tag}` })
        assert.strictEqual((yield* copy(source, MemoryStore.make().target)).descriptor.digest, part.descriptor.digest)
      }
      const files = yield* Effect.promise(() => readdir(join(path, "blobs/sha256")))
      assert.strictEqual(files.length, new Set([...image.blobs.keys(), ...other.blobs.keys()]).size + 2)
    }).pipe(Effect.provide(layer))
  )
})
