import { execFileSync } from "node:child_process"
import { cp, link, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { copy, MemoryStore, RegistryError, ValidationError } from "@effect-registry/core"
import { DockerArchive, OciArchive, TarReadError, validateArchive } from "@effect-registry/tar"
import { Fixture, TarRead } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { file, folder } from "../support/files.js"
import * as Remote from "../support/remote.js"

const layer = NodeFileSystem.layer
const image = Fixture.image({ format: "oci", layers: 2, size: 100_000 })
const total = [...image.blobs.values()].reduce((sum, { length }) => sum + length, 0)
/** In the order they are pulled. */
const blobs = [...image.blobs].sort(([, a], [, b]) => b.length - a.length).map(([digest]) => digest)
const [first, second, last] = blobs
if (first === undefined || second === undefined || last === undefined) throw new Error("three blobs")

const names = (path: string) => Effect.promise(() => readdir(path))
const modeOf = (path: string) => Effect.promise(async () => (await stat(path)).mode & 0o777)
const membersOf = (path: string) =>
  Effect.promise(async () => [...TarRead.read(new Uint8Array(await readFile(path))).keys()].sort())
/** What an archive of the image holds, and nothing else. */
const membersFor = (of: Fixture.ImageFixture) =>
  [
    ...[...of.blobs.keys(), of.descriptor.digest].map((digest) => `blobs/${digest.replace(":", "/")}`),
    "index.json",
    "manifest.json",
    "oci-layout"
  ].sort()

/** Alone in its folder, complete and right. */
const expectDone = (path: string, of: Fixture.ImageFixture = image) =>
  Effect.gen(function* () {
    assert.deepStrictEqual(yield* names(join(path, "..")), [path.slice(path.lastIndexOf("/") + 1)])
    assert.deepStrictEqual((yield* validateArchive(path)).problems, [])
    const store = MemoryStore.make()
    const { descriptor } = yield* copy(OciArchive.file(path), store.target)
    assert.strictEqual(descriptor.digest, of.descriptor.digest)
    if (!/(?:gz|zst)$/.test(path)) assert.deepStrictEqual(yield* membersOf(path), membersFor(of))
  })

const partial = (path: string) => `${path}.ereg-partial`
const list = (path: string) => `${path}.ereg-partial.json`

describe("target", () => {
  for (const [what, digest, byte, finished] of [
    ["in the middle of the first blob", first, 40_960, []],
    ["between two blobs", second, 0, [first]],
    ["in the middle of the second blob", second, 61_440, [first]],
    ["before the last blob", last, 0, [first, second]]
  ] as const) {
    for (const name of ["out.tar", "out.tar.gz", "out.tar.zst"]) {
      it.scopedLive(`goes on with ${name} that was interrupted ${what}`, () =>
        Effect.gen(function* () {
          const path = join(yield* folder, name)
          const before = yield* Remote.interrupted(image, digest, byte, DockerArchive.target(path))
          assert.deepStrictEqual(yield* names(join(path, "..")), [`${name}.ereg-partial`, `${name}.ereg-partial.json`])
          assert.deepStrictEqual([yield* modeOf(partial(path)), yield* modeOf(list(path))], [0o600, 0o600])
          const after = Remote.make(image)
          const { blobs: counts } = yield* Remote.pull(after, DockerArchive.target(path))
          assert.deepStrictEqual(
            after.asked.map(({ digest, from }) => [digest, from]),
            blobs
              .filter((each) => !finished.some((done) => done === each))
              .map((each) => [each, each === digest ? byte : 0])
          )
          assert.strictEqual(before.sent() + after.sent(), total)
          assert.strictEqual(counts.existing, finished.length)
          assert.strictEqual(yield* modeOf(path), yield* modeOf(yield* file("", "usual")))
          yield* expectDone(path)
        }).pipe(Effect.provide(layer))
      )
    }
  }

  it.scopedLive("writes the same bytes whether it was interrupted or not", () =>
    Effect.gen(function* () {
      const [once, twice] = [join(yield* folder, "out.tar"), join(yield* folder, "out.tar")]
      yield* Remote.pull(Remote.make(image), DockerArchive.target(once))
      yield* Remote.interrupted(image, second, 20_480, DockerArchive.target(twice))
      // As a run leaves it that was killed while it compressed.
      yield* Effect.promise(() => writeFile(partial(twice), new Uint8Array(300_000).fill(1), { flag: "a" }))
      yield* Remote.pull(Remote.make(image), DockerArchive.target(twice))
      const [a, b] = yield* Effect.promise(() => Promise.all([readFile(once), readFile(twice)]))
      assert.isTrue(a.equals(b))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("goes on after any number of interruptions", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      let sent = 0
      for (const byte of [4096, 20_480, 40_960, 81_920]) {
        sent += (yield* Remote.interrupted(image, second, byte, DockerArchive.target(path))).sent()
      }
      const end = Remote.make(image)
      yield* Remote.pull(end, DockerArchive.target(path))
      assert.strictEqual(sent + end.sent(), total)
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("replaces no pipe or device, nor a link to one, with force or without", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "pipe")
      execFileSync("mkfifo", [path])
      const linked = join(path, "..", "link")
      yield* Effect.promise(() => symlink(path, linked))
      for (const target of [path, linked, "/dev/null"]) {
        for (const force of [false, true]) {
          const error = yield* Effect.flip(Remote.pull(Remote.make(image), DockerArchive.target(target, { force })))
          assert.instanceOf(error, TarReadError)
          assert.strictEqual(error.reason, "NotSeekable")
          assert.strictEqual(error.message, `${target}: is no regular file and is not replaced`)
          assert.strictEqual(error.hint, "- writes to standard output")
        }
      }
      assert.deepStrictEqual(yield* names(join(path, "..")), ["link", "pipe"])
      assert.isTrue((yield* Effect.promise(() => stat(path))).isFIFO())
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("leaves nothing where no byte of a blob came", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      yield* Remote.interrupted(image, first, 0, DockerArchive.target(path))
      assert.deepStrictEqual(yield* names(join(path, "..")), [])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("goes on after its process was killed, from what the list was told last", () =>
    Effect.gen(function* () {
      const [there, copied] = [yield* folder, yield* folder]
      const { reached, remote } = yield* Remote.stopping(image, second, 40_960)
      const fiber = yield* Effect.fork(Remote.pull(remote, DockerArchive.target(join(there, "out.tar"))))
      yield* reached
      yield* Effect.sleep("120 millis")
      yield* Effect.promise(() => cp(there, copied, { recursive: true }))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual((yield* names(copied)).length, 3)
      const after = Remote.make(image)
      yield* Remote.pull(after, DockerArchive.target(join(copied, "out.tar")))
      assert.strictEqual(remote.sent() + after.sent(), total)
      yield* expectDone(join(copied, "out.tar"))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("keeps what it has where the network or the registry gave way, and for no other failure", () =>
    Effect.gen(function* () {
      for (const reason of ["Unreachable", "ConnectionLost", "Timeout", "RateLimited", "ServerError"] as const) {
        const path = join(yield* folder, "out.tar")
        const broken = Remote.make(image, (digest, at) =>
          digest === second && at > 0 ? Effect.fail(Remote.failure(reason)) : Effect.void
        )
        const error = yield* Effect.flip(Remote.pull(broken, DockerArchive.target(path)))
        assert.isTrue(error instanceof RegistryError && error.reason === reason)
        assert.strictEqual((yield* names(join(path, ".."))).length, 2, reason)
      }
      for (const reason of ["Unauthorized", "Denied", "DigestMismatch", "NotFound"] as const) {
        const path = join(yield* folder, "out.tar")
        yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path))
        const broken = Remote.make(image, () => Effect.fail(Remote.failure(reason)))
        yield* Effect.flip(Remote.pull(broken, DockerArchive.target(path)))
        assert.deepStrictEqual(yield* names(join(path, "..")), [], reason)
      }
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("keeps nothing without the right to its name", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      const { reached, remote } = yield* Remote.stopping(image, second, 40_960)
      yield* Effect.raceFirst(Effect.orDie(copy(remote.source, DockerArchive.target(path))), reached)
      assert.deepStrictEqual(yield* names(join(path, "..")), [])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("removes what is there without resume, and leaves nothing", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path))
      yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path, { resume: false }))
      assert.deepStrictEqual(yield* names(join(path, "..")), [])
      yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path))
      const after = Remote.make(image)
      yield* Remote.pull(after, DockerArchive.target(path, { resume: false }))
      assert.strictEqual(after.sent(), total)
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("uses the blobs of a tag that moved, and leaves the others behind", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      const old = Fixture.image({ format: "oci", layers: 3, size: 100_000, seed: 2, shared: 1 })
      const moved = Fixture.image({ format: "oci", layers: 2, size: 100_000, seed: 3, shared: 1 })
      yield* Remote.interrupted(old, old.configDescriptor.digest, 0, DockerArchive.target(path))
      const after = Remote.make(moved)
      yield* Remote.pull(after, DockerArchive.target(path))
      const shared = old.layers[0]?.descriptor.digest
      assert.isFalse(after.asked.some(({ digest }) => digest === shared))
      assert.strictEqual(after.asked.length, 2)
      yield* expectDone(path, moved)
      assert.strictEqual(yield* modeOf(path), yield* modeOf(yield* file("", "usual")))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("ignores a torn last line of the list", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path))
      yield* Effect.promise(() => writeFile(list(path), `{"digest":"${second}","wri`, { flag: "a" }))
      const after = Remote.make(image)
      yield* Remote.pull(after, DockerArchive.target(path))
      assert.deepStrictEqual(after.asked[0], { digest: second, from: 40_960 })
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )

  const reserved = (digest: string, size: number, offset: number) => JSON.stringify({ digest, size, offset })
  const sizeOf = (digest: typeof first) => image.blobs.get(digest)?.length ?? 0
  const behind = 512 + Math.ceil(sizeOf(first) / 512) * 512
  for (const [what, lines] of [
    ["an offset below zero", [reserved(first, sizeOf(first), -512)]],
    ["an offset outside", [reserved(first, sizeOf(first), 2 ** 40)]],
    ["places that overlap", [reserved(first, sizeOf(first), 0), reserved(second, sizeOf(second), 512)]],
    ["a digest twice", [reserved(first, sizeOf(first), 0), reserved(first, sizeOf(first), behind)]],
    ["more bytes than the blob has", [reserved(first, 10, 0), JSON.stringify({ digest: first, written: 11 })]],
    ["progress of a blob without a place", [JSON.stringify({ digest: first, written: 1 })]],
    ["a size that is no number", [`{"digest":"${first}","size":"9","offset":0}`]],
    ["a digest that is a path", [reserved("sha256:../../x", 1, 0)]],
    ["a size beyond numbers", [reserved(first, 1e300, 0)]],
    ["no JSON", ["\0\0\0\0"]]
  ] as const) {
    it.scopedLive(`starts anew where the list has ${what}`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "out.tar")
        yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path))
        yield* Effect.promise(() => writeFile(list(path), `${lines.join("\n")}\n`))
        const after = Remote.make(image)
        yield* Remote.pull(after, DockerArchive.target(path))
        assert.strictEqual(after.sent(), total)
        yield* expectDone(path)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("believes no list that promises more than the file has", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      const done = JSON.stringify({ digest: first, written: sizeOf(first) })
      yield* Effect.promise(async () => {
        await writeFile(partial(path), new Uint8Array(600))
        await writeFile(list(path), `${reserved(first, sizeOf(first), 0)}\n${done}\n`)
      })
      const after = Remote.make(image)
      yield* Remote.pull(after, DockerArchive.target(path))
      // The 88 bytes that are there are tried, and are wrong.
      assert.deepStrictEqual(
        after.asked.filter(({ digest }) => digest === first).map(({ from }) => from),
        [88, 0]
      )
      yield* expectDone(path)
    }).pipe(Effect.provide(layer))
  )

  for (const [what, position, asked] of [
    [
      "a finished blob",
      512 + 700,
      [
        [first, 0],
        [second, 40_960],
        [last, 0]
      ]
    ],
    [
      "a part of a blob",
      behind + 512 + 700,
      [
        [second, 40_960],
        [second, 0],
        [last, 0]
      ]
    ],
    [
      "a header",
      3,
      [
        [second, 40_960],
        [last, 0]
      ]
    ]
  ] as const) {
    it.scopedLive(`gets anew what was damaged on the disk: ${what}`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "out.tar")
        yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path))
        yield* Effect.promise(async () => {
          const bytes = await readFile(partial(path))
          bytes[position] = (bytes[position] ?? 0) ^ 1
          await writeFile(partial(path), bytes)
        })
        const after = Remote.make(image)
        yield* Remote.pull(after, DockerArchive.target(path))
        assert.deepStrictEqual(
          after.asked,
          asked.map(([digest, from]) => ({ digest, from }))
        )
        yield* expectDone(path)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("writes through no link that stands in place of its file", () =>
    Effect.gen(function* () {
      for (const make of [symlink, link]) {
        const [there, outside] = [yield* folder, yield* file("precious".repeat(20_000))]
        const path = join(there, "out.tar")
        yield* Remote.interrupted(image, second, 40_960, DockerArchive.target(path))
        const saved = yield* Effect.promise(() => readFile(list(path)))
        yield* Remote.interrupted(image, second, 0, DockerArchive.target(path, { resume: false }))
        yield* Effect.promise(async () => {
          await make(outside, partial(path))
          await writeFile(list(path), saved)
        })
        const after = Remote.make(image)
        yield* Remote.pull(after, DockerArchive.target(path))
        assert.strictEqual(after.sent(), total)
        assert.strictEqual(yield* Effect.promise(() => readFile(outside, "utf8")), "precious".repeat(20_000))
        yield* expectDone(path)
      }
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("starts anew where something else has the name of its file", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      yield* Effect.promise(() => mkdir(partial(path)))
      yield* Remote.pull(Remote.make(image), DockerArchive.target(path))
      assert.deepStrictEqual((yield* validateArchive(path)).problems, [])
      assert.deepStrictEqual(yield* names(join(path, "..")), ["out.tar", "out.tar.ereg-partial"])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("is written by two at once, and is never a mixture", () =>
    Effect.gen(function* () {
      for (const force of [false, true]) {
        const path = join(yield* folder, "out.tar")
        const other = Fixture.image({ format: "oci", layers: 2, size: 100_000, seed: 9 })
        const lock = Remote.locks()
        const slow = () => Effect.sleep("1 millis")
        const results = yield* Effect.forEach(
          [image, other],
          (each) => Effect.either(Remote.pull(Remote.make(each, slow), DockerArchive.target(path, { force }), lock)),
          { concurrency: 2 }
        )
        const winners = [image, other].filter((_, n) =>
          results.some((result, at) => at === n && Either.isRight(result))
        )
        assert.strictEqual(winners.length, force ? 2 : 1)
        for (const result of results) {
          if (Either.isLeft(result)) assert.strictEqual(result.left.reason, "TargetExists")
        }
        const store = MemoryStore.make()
        const { descriptor } = yield* copy(OciArchive.file(path), store.target)
        const written = winners.find((each) => each.descriptor.digest === descriptor.digest)
        if (written === undefined) return assert.fail("an image that nobody wrote")
        yield* expectDone(path, written)
      }
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("goes on with several images in one archive", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      const other = Fixture.image({ format: "oci", layers: 1, size: 100_000, seed: 9 })
      const [layerOf] = other.layers
      if (layerOf === undefined) return assert.fail("no layer")
      const both = (a: Remote.Remote, b: Remote.Remote) => ({
        ...a.source,
        open: Effect.gen(function* () {
          const [readerA, readerB] = [yield* a.source.open, yield* b.source.open]
          const index = Fixture.index([image, other])
          const [entry] = yield* readerA.images
          return {
            images: Effect.succeed([
              {
                names: entry?.names ?? [],
                missingPlatforms: [],
                root: { _tag: "Manifest" as const, descriptor: index.descriptor }
              }
            ]),
            manifest: ({ digest }: { readonly digest: string }) =>
              Effect.succeed([...index.manifests].find(([each]) => each === digest)?.[1] ?? new Uint8Array(0)),
            blob: (descriptor: typeof image.descriptor) =>
              image.blobs.has(descriptor.digest) ? readerA.blob(descriptor) : readerB.blob(descriptor)
          }
        })
      })
      const broken = Remote.make(other, (digest, at) =>
        digest === layerOf.descriptor.digest && at >= 8192 ? Effect.fail(Remote.failure("Timeout")) : Effect.void
      )
      const start = { asked: [], sent: () => 0, source: both(Remote.make(image), broken) }
      yield* Effect.flip(Remote.pull(start, DockerArchive.target(path)))
      const [a, b] = [Remote.make(image), Remote.make(other)]
      yield* Remote.pull({ asked: [], sent: () => 0, source: both(a, b) }, DockerArchive.target(path))
      assert.strictEqual(b.asked.find(({ digest }) => digest === layerOf.descriptor.digest)?.from, 8192)
      assert.deepStrictEqual((yield* validateArchive(path)).problems, [])
      assert.deepStrictEqual(yield* names(join(path, "..")), ["out.tar"])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("refuses a blob with more bytes than announced before they reach the next one", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "out.tar")
      const [one, two] = [Fixture.noise(1024, 1), Fixture.noise(1024, 2)]
      yield* Effect.scoped(
        Effect.gen(function* () {
          const writer = yield* DockerArchive.target(path).open
          const write = (bytes: Uint8Array, content: Uint8Array) =>
            writer.writeBlob({
              descriptor: Option.some(Fixture.describeBytes("application/octet-stream", bytes)),
              mediaType: "application/octet-stream",
              content: Effect.succeed({ _tag: "Bytes", bytes: content }),
              alsoIn: []
            })
          yield* Effect.either(write(one, new Uint8Array(10)))
          yield* write(two, two)
          const error = yield* Effect.flip(write(one, Fixture.noise(4096, 3)))
          assert.isTrue(error instanceof ValidationError && error.reason === "DigestMismatch")
          yield* write(one, one)
          yield* writer.commit ?? Effect.void
        })
      )
      const read = TarRead.read(new Uint8Array(yield* Effect.promise(() => readFile(path))))
      for (const bytes of [one, two]) {
        assert.deepStrictEqual(read.get(`blobs/${Fixture.digest(bytes).replace(":", "/")}`), bytes)
      }
    }).pipe(Effect.provide(layer))
  )
})
