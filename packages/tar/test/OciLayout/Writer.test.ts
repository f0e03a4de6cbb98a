import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { copy, type Digest, MemoryStore } from "@effect-registry/core"
import { OciLayout, validateArchive } from "@effect-registry/tar"
import { Fixture } from "@effect-registry/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { file, folder } from "../support/files.js"
import * as Remote from "../support/remote.js"

const layer = NodeFileSystem.layer
const image = Fixture.image({ format: "oci", layers: 2, size: 100_000 })
const total = [...image.blobs.values()].reduce((sum, { length }) => sum + length, 0)
/** In the order they are pulled. */
const blobs = [...image.blobs].sort(([, a], [, b]) => b.length - a.length).map(([digest]) => digest)
const [first, second, last] = blobs
if (first === undefined || second === undefined || last === undefined) throw new Error("three blobs")

const part = (digest: Digest.Digest) => `.${digest.replace(":", "-")}.ereg-partial`
/** Files, relative to the folder. */
const filesIn = (path: string) =>
  Effect.promise(async () => {
    const all = await readdir(path, { recursive: true, withFileTypes: true })
    return all
      .filter((each) => !each.isDirectory())
      .map((each) => join(each.parentPath, each.name).slice(path.length + 1))
      .sort()
  })
const blobFile = (digest: Digest.Digest) => `blobs/${digest.replace(":", "/")}`
const complete = (...images: ReadonlyArray<Fixture.ImageFixture>) =>
  [
    ...new Set(images.flatMap((each) => [...each.blobs.keys(), each.descriptor.digest].map(blobFile))),
    "index.json",
    "oci-layout"
  ].sort()

/** Complete and right, with nothing else in it. */
const expectDone = (path: string) =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* filesIn(path), complete(image))
    assert.deepStrictEqual((yield* validateArchive(path)).problems, [])
    const { descriptor } = yield* copy(OciLayout.folder(path), MemoryStore.make().target)
    assert.strictEqual(descriptor.digest, image.descriptor.digest)
  })

const denied = (of: Fixture.ImageFixture) => Remote.make(of, () => Effect.fail(Remote.failure("Denied")))

describe("target", () => {
  for (const [what, digest, byte, finished] of [
    ["in the middle of the first blob", first, 40_960, []],
    ["between two blobs", second, 0, [first]],
    ["in the middle of the second blob", second, 61_440, [first]]
  ] as const) {
    for (const exists of [false, true]) {
      it.scopedLive(`goes on with ${exists ? "an empty" : "a new"} folder after an interruption ${what}`, () =>
        Effect.gen(function* () {
          const path = join(yield* folder, "layout")
          if (exists) yield* Effect.promise(() => mkdir(path))
          const before = yield* Remote.interrupted(image, digest, byte, OciLayout.target(path))
          assert.deepStrictEqual(yield* Effect.promise(() => readdir(path)), ["blobs"])
          assert.deepStrictEqual(
            yield* filesIn(path),
            ["blobs/.ereg-partial", ...finished.map(blobFile), ...(byte > 0 ? [`blobs/${part(digest)}`] : [])].sort()
          )
          const after = Remote.make(image)
          const { blobs: counts } = yield* Remote.pull(after, OciLayout.target(path))
          assert.deepStrictEqual(
            after.asked,
            blobs
              .filter((each) => !finished.some((done) => done === each))
              .map((each) => ({ digest: each, from: each === digest ? byte : 0 }))
          )
          assert.strictEqual(before.sent() + after.sent(), total)
          assert.strictEqual(counts.existing, finished.length)
          yield* expectDone(path)
        }).pipe(Effect.provide(layer))
      )
    }
  }

  it.scopedLive("leaves nothing of a new folder where no byte of a blob came", () =>
    Effect.gen(function* () {
      const there = yield* folder
      yield* Remote.interrupted(image, first, 0, OciLayout.target(join(there, "layout")))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(there)), [])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("goes on after its process was killed", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const [path, copied] = [join(there, "layout"), join(there, "copied")]
      const { reached, remote } = yield* Remote.stopping(image, second, 40_960)
      const fiber = yield* Effect.fork(Remote.pull(remote, OciLayout.target(path)))
      yield* reached
      yield* Effect.promise(() => cp(path, copied, { recursive: true }))
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* filesIn(copied)).filter((name) => name.endsWith(".lock")).length, 2)
      const after = Remote.make(image)
      yield* Remote.pull(after, OciLayout.target(copied))
      assert.strictEqual(remote.sent() + after.sent(), total)
      yield* expectDone(copied)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("removes a folder that it made, and empties one that was there, after a failure for good", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const path = join(there, "layout")
      const broken = () =>
        Remote.make(image, (digest) => (digest === first ? Effect.void : Effect.fail(Remote.failure("Denied"))))
      yield* Effect.flip(Remote.pull(broken(), OciLayout.target(path)))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(there)), [])
      yield* Remote.interrupted(image, second, 40_960, OciLayout.target(path))
      yield* Effect.flip(Remote.pull(broken(), OciLayout.target(path)))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(path)), [])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("keeps a new folder where the network or the registry gave way", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      const broken = Remote.make(image, (_, at) =>
        at > 0 ? Effect.fail(Remote.failure("ConnectionLost")) : Effect.void
      )
      yield* Effect.flip(Remote.pull(broken, OciLayout.target(path)))
      assert.deepStrictEqual(yield* filesIn(path), ["blobs/.ereg-partial", `blobs/${part(first)}`])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("takes no folder with blobs for its own that it did not begin", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* Remote.interrupted(image, second, 40_960, OciLayout.target(path))
      yield* Effect.promise(() => rm(join(path, "blobs", ".ereg-partial")))
      const error = yield* Effect.flip(Remote.pull(Remote.make(image), OciLayout.target(path)))
      assert.strictEqual(error.reason, "TargetExists")
      assert.include(yield* filesIn(path), blobFile(first))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("removes parts without resume, and leaves none", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const path = join(there, "layout")
      yield* Remote.interrupted(image, second, 40_960, OciLayout.target(path, { resume: false }))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(there)), [])
      yield* Remote.interrupted(image, second, 40_960, OciLayout.target(path))
      const after = Remote.make(image)
      yield* Remote.pull(after, OciLayout.target(path, { resume: false }))
      assert.deepStrictEqual(after.asked[0], { digest: second, from: 0 })
      yield* expectDone(path)
      const other = Fixture.image({ format: "oci", layers: 1, size: 100_000, seed: 6 })
      yield* Remote.interrupted(other, other.layers[0]?.descriptor.digest ?? first, 8192, OciLayout.target(path))
      const unrelated = Fixture.image({ format: "oci", seed: 7 })
      yield* Effect.flip(Remote.pull(denied(unrelated), OciLayout.target(path, { resume: false })))
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )

  for (const [what, damage, asked] of [
    ["a part with a flipped byte", (bytes: Buffer) => bytes.fill(1, 700, 701), [40_960, 0]],
    ["a part that is longer than the blob", (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(200_000)]), [0]],
    [
      "a part of the blob's size with other bytes",
      (_: Buffer) => Buffer.alloc(image.blobs.get(second)?.length ?? 0),
      [0]
    ],
    ["a whole blob that was not renamed", (_: Buffer) => Buffer.from(image.blobs.get(second) ?? []), []]
  ] as const) {
    it.scopedLive(`finds out what is wrong with ${what}`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "layout")
        yield* Remote.interrupted(image, second, 40_960, OciLayout.target(path))
        const name = join(path, "blobs", part(second))
        yield* Effect.promise(async () => writeFile(name, damage(await readFile(name))))
        const after = Remote.make(image)
        yield* Remote.pull(after, OciLayout.target(path))
        assert.deepStrictEqual(
          after.asked.filter(({ digest }) => digest === second).map(({ from }) => from),
          [...asked]
        )
        yield* expectDone(path)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("writes through no symlink in place of a part", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      const outside = yield* file("precious")
      yield* Remote.interrupted(image, second, 0, OciLayout.target(path))
      yield* Effect.promise(() => symlink(outside, join(path, "blobs", part(second))))
      yield* Remote.pull(Remote.make(image), OciLayout.target(path))
      assert.strictEqual(yield* Effect.promise(() => readFile(outside, "utf8")), "precious")
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("removes what others left in a layout when it succeeds, and its own parts when it fails for good", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      const base = Fixture.image({ format: "oci", layers: 1, seed: 5 })
      yield* Remote.pull(Remote.make(base, undefined, "base"), OciLayout.target(path))
      const other = Fixture.image({ format: "oci", layers: 1, size: 100_000, seed: 6 })
      const left = other.layers[0]?.descriptor.digest ?? first
      yield* Remote.interrupted(other, left, 8192, OciLayout.target(path))
      yield* Remote.interrupted(image, first, 8192, OciLayout.target(path))
      yield* Effect.flip(Remote.pull(denied(image), OciLayout.target(path)))
      assert.deepStrictEqual(yield* filesIn(path), [`blobs/${part(left)}`, ...complete(base)])
      yield* Remote.pull(Remote.make(image), OciLayout.target(path))
      assert.deepStrictEqual(yield* filesIn(path), complete(base, image))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("leaves a new folder to another writer when it fails", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const path = join(there, "layout")
      const gate = yield* Deferred.make<void>()
      const reached = yield* Deferred.make<void>()
      // Stands between two blobs, with none in flight.
      const slow = Remote.make(image, (digest, at) =>
        digest === second && at === 0
          ? Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(gate))
          : Effect.void
      )
      const between = {
        ...slow.source,
        open: Effect.map(slow.source.open, (reader) => ({
          ...reader,
          blob: (descriptor: Parameters<typeof reader.blob>[0]) =>
            descriptor.digest === second
              ? Deferred.succeed(reached, undefined).pipe(
                  Effect.zipRight(Deferred.await(gate)),
                  Effect.zipRight(reader.blob(descriptor))
                )
              : reader.blob(descriptor)
        }))
      }
      const fiber = yield* Effect.fork(Remote.pull({ ...slow, source: between }, OciLayout.target(path)))
      yield* Deferred.await(reached)
      yield* Effect.flip(Remote.pull(denied(Fixture.image({ format: "oci", seed: 7 })), OciLayout.target(path)))
      yield* Effect.flip(Effect.scoped(Effect.zipRight(OciLayout.target(path).open, Effect.fail("without locks"))))
      assert.include(yield* filesIn(path), blobFile(first))
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("is written by two at once, and keeps the blobs of both", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      const started = yield* Deferred.make<void>()
      const other = Fixture.image({ format: "oci", layers: 2, size: 100_000, seed: 2, shared: 1 })
      const base = Fixture.image({ format: "oci", layers: 2, size: 100_000, seed: 3, shared: 1 })
      const slow = () => Effect.zipRight(Deferred.succeed(started, undefined), Effect.sleep("1 millis"))
      const run = (each: Fixture.ImageFixture, tag: string) =>
        Remote.pull(Remote.make(each, slow, tag), OciLayout.target(path))
      yield* Effect.all([run(other, "a"), Effect.zipRight(Deferred.await(started), run(base, "b"))], { concurrency: 2 })
      assert.deepStrictEqual((yield* validateArchive(path)).problems, [])
      const files = yield* filesIn(path)
      assert.includeMembers(files, [...other.blobs.keys(), ...base.blobs.keys()].map(blobFile))
      assert.deepStrictEqual(
        files.filter((name) => /partial|lock/.test(name)),
        []
      )
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("takes a folder that another writer has only just made", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* Effect.promise(() => mkdir(join(path, "blobs", "sha256"), { recursive: true }))
      yield* Remote.pull(Remote.make(image), OciLayout.target(path))
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )
})
