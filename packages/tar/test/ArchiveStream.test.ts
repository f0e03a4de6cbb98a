import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gunzipSync, gzipSync } from "node:zlib"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { BlobInfoCache, BlobTransport, Compressor, copy, type Digest, MemoryStore } from "@effect-registry/core"
import { DockerArchive } from "@effect-registry/tar"
import { Fixture, TarBytes } from "@effect-registry/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Arrival } from "../src/ArchiveStream/Arrival.js"
import { Walker } from "../src/ArchiveStream/Walker.js"

const image = Fixture.image({ compressed: false, layers: 3, size: 30_000 })
const archive = Fixture.dockerArchive([{ image, tags: ["app:1"] }])
const layers = image.layers.map(({ diffId }) => diffId)

/** In pieces of a thousand bytes, one a pull. */
const size = 1000
const piecewise = (bytes: Uint8Array) =>
  Stream.rechunk(
    Stream.fromIterable(
      Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size))
    ),
    1
  )

/** A folder for the temporary files of the test alone. */
const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "stream-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
).pipe(
  Effect.map((folder) => ({
    left: () => readdirSync(folder),
    layer: Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (fs) => ({
        ...fs,
        makeTempFileScoped: (options?: FileSystem.MakeTempFileOptions) =>
          fs.makeTempFileScoped({ ...options, directory: folder })
      }))
    ).pipe(Layer.provide(NodeFileSystem.layer))
  }))
)

/** A compressor that counts what it is given. */
const counting = () => {
  const started: Array<string> = []
  const service: Compressor.Service = {
    ...Compressor.portable,
    compress: (algorithm, plain, onBytes) => {
      started.push(plain._tag)
      return Compressor.portable.compress(algorithm, plain, onBytes)
    }
  }
  return { started, service }
}

const open = (bytes: Stream.Stream<Uint8Array>, options: DockerArchive.StreamOptions = {}) =>
  Effect.map(DockerArchive.stream(bytes, options).open, (reader) => ({
    ...reader,
    find: (diffId: Digest.Digest, algorithm: "gzip" | "zstd" = "gzip") =>
      reader.compressed?.(diffId, algorithm) ?? Option.none()
  }))

describe("Arrival", () => {
  it("settles what was asked for when it is there, and rejects it when it never will be", async () => {
    const arrival = new Arrival()
    const settled: Array<string> = []
    const ask = (position: number) =>
      arrival.until(position).then(
        () => settled.push(`${position}`),
        () => settled.push(`${position} never`)
      )
    const [near, far] = [ask(10), ask(30)]
    arrival.reached(10)
    await near
    arrival.reached(20)
    await ask(20)
    arrival.stop()
    await Promise.all([far, ask(40), ask(5)])
    assert.deepStrictEqual(settled.slice(0, 2), ["10", "20"])
    assert.sameMembers(settled.slice(2), ["30 never", "40 never", "5"])
  })
})

describe("Walker", () => {
  const names = FastCheck.string({ minLength: 1, maxLength: 140, unit: FastCheck.constantFrom("a", "b", "é") })
  const members = FastCheck.uniqueArray(FastCheck.tuple(names, FastCheck.uint8Array({ maxLength: 1500 })), {
    selector: ([name]) => name,
    maxLength: 6
  })

  it("tells every file, whatever pieces the archive comes in", () => {
    FastCheck.assert(
      FastCheck.property(
        members,
        FastCheck.array(FastCheck.integer({ min: 1, max: 900 }), { minLength: 1 }),
        (files, cuts) => {
          const bytes = TarBytes.make([
            { name: "folder/", type: "directory" },
            ...files.map(([name, content]) => ({ name, content })),
            { name: "link", type: "symlink", link: "a" }
          ])
          const walker = new Walker()
          const found: Array<{ name: string; at: number; size: number; data: Array<Uint8Array>; ended: boolean }> = []
          for (let at = 0, n = 0; at < bytes.length; n++) {
            const length = cuts[n % cuts.length] ?? 1
            for (const part of walker.take(bytes.subarray(at, at + length))) {
              if (part._tag === "Begin")
                found.push({ name: part.name, at: part.offset, size: part.size, data: [], ended: false })
              if (part._tag === "Data") found.at(-1)?.data.push(part.bytes)
              if (part._tag === "End") Object.assign(found.at(-1) ?? {}, { ended: true })
            }
            at += length
          }
          assert.isTrue(walker.stopped)
          for (const { at, data, size } of found) {
            assert.deepStrictEqual(TarBytes.concat(data), bytes.subarray(at, at + size))
          }
          assert.deepStrictEqual(
            found.map(({ data, ended, name, size }) => [name, size, [...TarBytes.concat(data)], ended]),
            files.map(([name, content]) => [name, content.length, [...content], true])
          )
        }
      )
    )
  })

  it("says no more where it is no tar, or a member has holes", () => {
    const sparse = TarBytes.make([
      { name: "PaxHeader", type: "x", content: "22 GNU.sparse.major=1\n" },
      { name: "holes", content: "x" }
    ])
    for (const bytes of [Fixture.noise(5000, 1), sparse]) {
      const walker = new Walker()
      assert.deepStrictEqual(walker.take(bytes), [])
      assert.isTrue(walker.stopped)
    }
  })
})

describe("stream", () => {
  for (const algorithm of ["gzip", "zstd"] as const) {
    it.scopedLive(`has each layer compressed by ${algorithm} when it ends, the bytes of a push of the file`, () =>
      Effect.gen(function* () {
        const reader = yield* open(piecewise(archive), { compress: algorithm })
        for (const layer of image.layers) {
          const ready = Option.getOrThrow(reader.find(layer.diffId, algorithm))
          const { bytes } = yield* BlobTransport.collect(ready.content)
          assert.strictEqual(Fixture.digest(bytes), ready.descriptor.digest)
          assert.strictEqual(bytes.length, ready.descriptor.size)
          const direct = Compressor.portable.compress<never, never>(
            algorithm,
            { _tag: "Bytes", bytes: layer.tar },
            () => {}
          )
          yield* Stream.runDrain(direct.stream)
          assert.strictEqual(Option.getOrThrow(direct.result()).digest, ready.descriptor.digest)
          if (algorithm === "gzip") assert.strictEqual(Fixture.digest(gunzipSync(bytes)), layer.diffId)
        }
        assert.isTrue(Option.isNone(reader.find(image.configDescriptor.digest, algorithm)))
        assert.isTrue(
          Option.isNone(reader.find(layers[0] ?? image.descriptor.digest, algorithm === "gzip" ? "zstd" : "gzip"))
        )
      }).pipe(Effect.provide(NodeFileSystem.layer))
    )
  }

  it.scopedLive("is not compressed again by the copy", () =>
    Effect.gen(function* () {
      const { service, started } = counting()
      const piped = yield* copy(DockerArchive.stream(piecewise(archive)), MemoryStore.make().target).pipe(
        Effect.provideService(Compressor.Compressor, service)
      )
      assert.deepStrictEqual(started, ["File", "File", "File"])
      const direct = yield* copy(
        DockerArchive.stream(piecewise(archive), { compress: "none" }),
        MemoryStore.make().target
      )
      assert.strictEqual(piped.descriptor.digest, direct.descriptor.digest)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("compresses while it arrives: the layers are done before the last member is there", () =>
    Effect.gen(function* () {
      const rest = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const { service } = counting()
      let compressed = 0
      const watching: Compressor.Service = {
        ...service,
        compress: (algorithm, plain, onBytes) => {
          const all = service.compress(algorithm, plain, onBytes)
          const told = Effect.suspend(() => (++compressed === 3 ? Deferred.succeed(done, undefined) : Effect.void))
          return { ...all, stream: Stream.ensuring(all.stream, told) }
        }
      }
      const listing = archive.length - 2048
      const input = Stream.concat(
        piecewise(archive.subarray(0, listing)),
        Stream.unwrap(Effect.as(Deferred.await(rest), piecewise(archive.subarray(listing))))
      )
      const fiber = yield* Effect.fork(
        Effect.provideService(Effect.scoped(open(input)), Compressor.Compressor, watching)
      )
      yield* Deferred.await(done)
      yield* Deferred.succeed(rest, undefined)
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("takes the pipe to its end, however far the compressor is behind, and then waits for it", () =>
    Effect.gen(function* () {
      const read = yield* Deferred.make<void>()
      const input = Stream.ensuring(piecewise(archive), Deferred.succeed(read, undefined))
      const stuck: Compressor.Service = {
        ...Compressor.portable,
        compress: () => ({ stream: Stream.never, result: Option.none })
      }
      const fiber = yield* Effect.fork(Effect.provideService(Effect.scoped(open(input)), Compressor.Compressor, stuck))
      yield* Deferred.await(read)
      yield* Effect.sleep("50 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("hands a compressor nothing that is not written yet", () =>
    Effect.gen(function* () {
      const [first] = image.layers
      if (first === undefined) return assert.fail("no layer")
      const half = 20_000
      const rest = yield* Deferred.make<void>()
      const asked: Array<string> = []
      const asking: Compressor.Service = {
        ...Compressor.portable,
        compress: (algorithm, plain, onBytes) => {
          if (plain._tag === "File" && plain.arrived !== undefined) {
            const { arrived, offset } = plain
            void arrived(offset).then(() => asked.push("begin"))
            void arrived(half + 1000).then(() => asked.push("rest"))
          }
          return Compressor.portable.compress(algorithm, plain, onBytes)
        }
      }
      const input = Stream.concat(
        piecewise(archive.subarray(0, half)),
        Stream.unwrap(Effect.as(Deferred.await(rest), piecewise(archive.subarray(half))))
      )
      const fiber = yield* Effect.fork(Effect.provideService(Effect.scoped(open(input)), Compressor.Compressor, asking))
      yield* Effect.sleep("100 millis")
      assert.deepStrictEqual(asked, ["begin"])
      yield* Deferred.succeed(rest, undefined)
      const reader = yield* Fiber.join(fiber)
      assert.deepStrictEqual(asked.slice(0, 2), ["begin", "rest"])
      assert.isTrue(Option.isSome(reader.find(first.diffId)))
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("leaves layers alone that were compressed at another time, and what is compressed already", () =>
    Effect.gen(function* () {
      const { service, started } = counting()
      const cache = yield* BlobInfoCache.makeMemory
      const [first] = layers
      if (first === undefined) return assert.fail("no layer")
      yield* cache.recordCompressed(first, "gzip", { digest: first, size: 1 })
      const blobs = Fixture.dockerArchive([{ image, tags: ["app:1"] }], { layout: "blobs" })
      yield* Effect.scoped(open(piecewise(blobs))).pipe(
        Effect.provideService(Compressor.Compressor, service),
        Effect.provideService(BlobInfoCache.BlobInfoCache, cache)
      )
      assert.strictEqual(started.length, 2)
      const oci = Fixture.ociArchive([{ image: Fixture.image({ format: "oci" }), tags: ["1"] }])
      yield* Effect.provideService(Effect.scoped(open(piecewise(oci))), Compressor.Compressor, service)
      assert.strictEqual(started.length, 2)
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("reads an archive that is compressed as a whole", () =>
    Effect.gen(function* () {
      const direct = yield* copy(DockerArchive.stream(piecewise(archive)), MemoryStore.make().target)
      const zstd = yield* Stream.runCollect(
        Compressor.portable.compress<never, never>("zstd", { _tag: "Bytes", bytes: archive }, () => {}).stream
      )
      for (const bytes of [new Uint8Array(gzipSync(archive)), TarBytes.concat([...zstd])]) {
        // The first piece is shorter than what tells how it is compressed.
        const input = Stream.concat(piecewise(bytes.subarray(0, 3)), piecewise(bytes.subarray(3)))
        const reader = yield* open(input)
        assert.isTrue(layers.every((diffId) => Option.isSome(reader.find(diffId))))
        const copied = yield* copy(DockerArchive.stream(input), MemoryStore.make().target)
        assert.strictEqual(copied.descriptor.digest, direct.descriptor.digest)
      }
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("is Truncated wherever it is cut, and damaged gzip is no archive", () =>
    Effect.gen(function* () {
      for (const length of [512, 5_000, 40_000, archive.length - 1024, archive.length - 512]) {
        const error = yield* Effect.flip(Effect.scoped(open(piecewise(archive.subarray(0, length)))))
        assert.strictEqual(error.reason, "Truncated", `${length}`)
      }
      const zipped = new Uint8Array(gzipSync(archive))
      const cut = yield* Effect.flip(Effect.scoped(open(piecewise(zipped.subarray(0, zipped.length / 2)))))
      assert.strictEqual(cut.reason, "Truncated")
      assert.strictEqual((yield* Effect.flip(Effect.scoped(open(Stream.empty)))).reason, "Empty")
      assert.strictEqual(
        (yield* Effect.flip(Effect.scoped(open(Stream.succeed(Fixture.noise(4000, 1)))))).reason,
        "NotATar"
      )
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("finds a layer that is not what its configuration says", () =>
    Effect.gen(function* () {
      const broken = Fixture.dockerArchive([{ image, tags: ["app:1"] }], { broken: "LayerMismatch" })
      const error = yield* Effect.flip(copy(DockerArchive.stream(piecewise(broken)), MemoryStore.make().target))
      assert.strictEqual(error.reason, "LayerMismatch")
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("fails as the compressor does, and does not wait for more", () =>
    Effect.gen(function* () {
      const failing: Compressor.Service = {
        ...Compressor.portable,
        compress: () => ({ stream: Stream.fail(Compressor.Form.wrongBlock("gzip", 0)), result: Option.none })
      }
      const endless = Stream.concat(piecewise(archive), Stream.never)
      const error = yield* Effect.flip(
        Effect.provideService(Effect.scoped(open(endless)), Compressor.Compressor, failing)
      )
      assert.strictEqual(error.reason, "DigestMismatch")
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("leaves no file behind, also where it is interrupted", () =>
    Effect.gen(function* () {
      const { layer, left } = yield* temporary
      let during = 0
      const whole = open(piecewise(archive)).pipe(
        Effect.tap(() => Effect.sync(() => (during = left().length))),
        Effect.scoped,
        Effect.provide(layer)
      )
      yield* whole
      assert.isAbove(during, 0)
      assert.deepStrictEqual(left(), [])
      const waiting = Stream.concat(piecewise(archive.subarray(0, 20_000)), Stream.never)
      const fiber = yield* Effect.fork(Effect.provide(Effect.scoped(open(waiting)), layer))
      yield* Effect.sleep("100 millis")
      assert.isAbove(left().length, 0)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(left(), [])
    })
  )
})
