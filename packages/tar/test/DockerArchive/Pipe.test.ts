import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { copy, type ImageTarget, MemoryStore, type RegistryError } from "@effect-registry/core"
import { DockerArchive, type TarReadError } from "@effect-registry/tar"
import { Fixture, TarBytes, TarRead, Walk } from "@effect-registry/testing"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { dockerArchive } from "../support/files.js"
import { copyTo, image, other, sbom, signature, write } from "../support/referring.js"
import * as Remote from "../support/remote.js"

const layer = NodeFileSystem.layer

/** A pipe whose bytes are kept. */
const collecting = () => {
  const chunks: Array<Uint8Array> = []
  return {
    target: DockerArchive.pipe((bytes) => Effect.sync(() => void chunks.push(Uint8Array.from(bytes)))),
    bytes: () => TarBytes.concat(chunks)
  }
}
const ended = (bytes: Uint8Array) => bytes.length > 1024 && bytes.subarray(-1024).every((byte) => byte === 0)
const read = (bytes: Uint8Array) => DockerArchive.stream(Stream.succeed(bytes))

/** The temporary files of these effects alone. */
const ownTemporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "pipe-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
).pipe(
  Effect.map((folder) => ({
    left: () => readdirSync(folder),
    layer: Layer.map(NodeFileSystem.layer, (context) => {
      const fs = context.unsafeMap.get(FileSystem.FileSystem.key) as FileSystem.FileSystem
      return FileSystem.FileSystem.context({
        ...fs,
        makeTempFileScoped: (options) => fs.makeTempFileScoped({ ...options, directory: folder })
      })
    })
  }))
)

class Closed extends Data.TaggedError("Closed")<object> {}

describe("pipe", () => {
  it.scopedLive("writes an archive that docker loads, blobs first and what lists them last", () =>
    Effect.gen(function* () {
      const pipe = collecting()
      yield* write(pipe.target, [
        { part: image, tags: ["1"] },
        { part: other, tags: ["2"] }
      ])
      const names = [...TarRead.read(pipe.bytes()).keys()]
      assert.deepStrictEqual(names.slice(-3), ["oci-layout", "index.json", "manifest.json"])
      // The layer that both have lies there once: a second one would be refused.
      yield* Effect.flatMap(read(pipe.bytes()).open, (reader) => reader.images)
      assert.strictEqual(names.length, new Set([...image.blobs.keys(), ...other.blobs.keys()]).size + 2 + 3)
      assert.isTrue(ended(pipe.bytes()))
      const contents = yield* Walk.archiveBytes(pipe.bytes())
      assert.deepStrictEqual(
        [...contents.tags.values()].sort(),
        [image, other].map(({ descriptor }) => descriptor.digest).sort()
      )
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("gives the bytes of the archive that goes to a file, referrers included", () =>
    Effect.gen(function* () {
      const pipe = collecting()
      yield* copyTo(pipe.target)
      const memory = MemoryStore.make()
      yield* copy(read(pipe.bytes()), memory.target, { referrers: true })
      for (const { descriptor, manifest } of [image, sbom, signature]) {
        assert.deepStrictEqual(memory.manifests.get(descriptor.digest), manifest)
      }
    }).pipe(Effect.provide(layer))
  )

  for (const order of ["a layer before it is a manifest", "a manifest before it is a layer"]) {
    it.scopedLive(`writes once what is ${order}`, () =>
      Effect.gen(function* () {
        const about = Fixture.artifact({ type: "application/x", content: new TextDecoder().decode(image.manifest) })
        assert.isTrue(about.blobs.has(image.descriptor.digest))
        const pipe = collecting()
        const parts = [{ part: about }, { part: image, tags: ["1"] }]
        yield* write(pipe.target, order.startsWith("a layer") ? parts : parts.reverse())
        const memory = MemoryStore.make()
        yield* copy(DockerArchive.stream(Stream.succeed(pipe.bytes()), { image: "team/app:1" }), memory.target)
        assert.deepStrictEqual(memory.manifests.get(image.descriptor.digest), image.manifest)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("knows a layer's size before its bytes where it is compressed on the way, and leaves no file", () =>
    Effect.gen(function* () {
      const { layer, left } = yield* ownTemporary
      const path = yield* dockerArchive(undefined, { layers: 3, size: 50_000 })
      const pipe = collecting()
      const piped = yield* copy(DockerArchive.file(path), pipe.target).pipe(Effect.provide(layer))
      const direct = yield* copy(DockerArchive.file(path), MemoryStore.make().target)
      assert.strictEqual(piped.descriptor.digest, direct.descriptor.digest)
      assert.strictEqual(
        (yield* copy(read(pipe.bytes()), MemoryStore.make().target)).descriptor.digest,
        direct.descriptor.digest
      )
      assert.deepStrictEqual(left(), [])
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("reads nothing that is not taken", () =>
    Effect.gen(function* () {
      const big = Fixture.image({ layers: 1, size: 400_000 })
      const open = yield* Deferred.make<void>()
      let handedOut = 0
      const content = (bytes: Uint8Array) => ({
        _tag: "Stream" as const,
        size: bytes.length,
        stream: Stream.map(Stream.rechunk(Stream.fromIterable(pieces(bytes)), 1), (piece) => {
          handedOut += piece.length
          return piece
        })
      })
      const writer = yield* DockerArchive.pipe((bytes) => (bytes.length === step ? Deferred.await(open) : Effect.void))
        .open
      const fiber = yield* Effect.fork(
        Effect.forEach(
          [...big.blobs],
          ([digest, bytes]) => {
            const descriptor = { mediaType: "application/octet-stream", digest, size: bytes.length }
            const described = { mediaType: descriptor.mediaType, descriptor: Option.some(descriptor) }
            return writer.writeBlob({ ...described, content: Effect.succeed(content(bytes)), alsoIn: [] })
          },
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.sleep("50 millis")
      const [config = 0] = [...big.blobs.values()].map(({ length }) => length)
      assert.isAtMost(handedOut, config + 2 * step)
      yield* Deferred.succeed(open, undefined)
      yield* Fiber.join(fiber)
      assert.strictEqual(
        handedOut,
        [...big.blobs.values()].reduce((sum, { length }) => sum + length, 0)
      )
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("has no end where a source fails in the middle, and takes nothing more", () =>
    Effect.gen(function* () {
      const chunks: Array<Uint8Array> = []
      const target = DockerArchive.pipe((bytes) => Effect.sync(() => void chunks.push(Uint8Array.from(bytes))))
      const writer = yield* target.open
      const [first, second] = [...image.blobs]
      if (first === undefined || second === undefined) return assert.fail("two blobs")
      const blob = (
        [digest, bytes]: readonly [(typeof first)[0], Uint8Array],
        stream: Stream.Stream<Uint8Array, Closed>
      ) => {
        const descriptor = { mediaType: "application/octet-stream", digest, size: bytes.length }
        return writer.writeBlob({
          mediaType: descriptor.mediaType,
          descriptor: Option.some(descriptor),
          content: Effect.succeed({ _tag: "Stream" as const, size: bytes.length, stream }),
          alsoIn: []
        })
      }
      const cut = Stream.concat(Stream.succeed(first[1].subarray(0, 100)), Stream.fail(new Closed()))
      assert.strictEqual((yield* Effect.flip(blob(first, cut)))._tag, "Closed")
      const refused = yield* Effect.flip(blob(second, Stream.succeed(second[1])))
      assert.include("message" in refused ? refused.message : "", "an earlier member of the archive was cut off")
      yield* Effect.flip(writer.commit ?? Effect.void)
      const bytes = TarBytes.concat(chunks)
      assert.isFalse(ended(bytes))
      const error = yield* Effect.flip(copy(read(bytes), MemoryStore.make().target))
      assert.strictEqual(error.reason, "Truncated")
    }).pipe(Effect.provide(layer))
  )

  for (const [what, damage] of [
    ["other bytes", (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, at) => (at === 50 ? byte ^ 1 : byte))],
    ["too few bytes", (bytes: Uint8Array) => bytes.subarray(1)],
    ["too many bytes", (bytes: Uint8Array) => TarBytes.concat([bytes, new Uint8Array(2000)])]
  ] as const) {
    it.scopedLive(`fails with DigestMismatch for a blob of ${what}, and never writes more than its size`, () =>
      Effect.gen(function* () {
        const pipe = collecting()
        const writer = yield* pipe.target.open
        const [first] = [...image.blobs]
        if (first === undefined) return assert.fail("no blob")
        const [digest, bytes] = first
        const descriptor = { mediaType: "application/octet-stream", digest, size: bytes.length }
        const error = yield* Effect.flip(
          writer.writeBlob({
            mediaType: descriptor.mediaType,
            descriptor: Option.some(descriptor),
            content: Effect.succeed({ _tag: "Bytes", bytes: damage(bytes) }),
            alsoIn: []
          })
        )
        assert.strictEqual(error.reason, "DigestMismatch")
        assert.isAtMost(pipe.bytes().length, 512 + bytes.length)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("passes on what its reader fails with", () =>
    Effect.gen(function* () {
      const target: ImageTarget<
        Closed | TarReadError | RegistryError | { readonly _tag: "ValidationError" },
        FileSystem.FileSystem
      > = DockerArchive.pipe(() => Effect.fail(new Closed()))
      assert.strictEqual((yield* Effect.flip(copyTo(target)))._tag, "Closed")
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("ends without an end of archive where it is interrupted", () =>
    Effect.gen(function* () {
      const plain = Fixture.image({ format: "oci", layers: 2, size: 100_000 })
      const [digest] = [...plain.blobs.keys()]
      if (digest === undefined) return assert.fail("no blob")
      const { reached, remote } = yield* Remote.stopping(plain, digest, 0)
      const pipe = collecting()
      yield* Effect.raceFirst(Effect.orDie(Remote.pull(remote, pipe.target)), reached)
      assert.isFalse(ended(pipe.bytes()))
    }).pipe(Effect.provide(layer))
  )
})

// internal

const step = 4096

const pieces = (bytes: Uint8Array): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / step) }, (_, at) => bytes.subarray(at * step, (at + 1) * step))
