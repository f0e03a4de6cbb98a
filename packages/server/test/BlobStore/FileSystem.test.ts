import { createHash, randomUUID } from "node:crypto"
import * as Fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { PassThrough } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FileBlobs from "../../src/BlobStore/FileSystem.js"
import type * as Limits from "../../src/Limits.js"
import * as Files from "../../src/storage/Files.js"
import * as Layout from "../../src/storage/Layout.js"
import { bodyOf, collect, push } from "../suites/BlobStoreSuite.js"
import { bytesOf, digestOf, random } from "../support.js"

const hour = 3_600_000

const folder = Effect.gen(function* () {
  const root = yield* Effect.acquireRelease(
    Effect.promise(() => Fs.mkdtemp(join(tmpdir(), "file-blobs-"))),
    (path) => Effect.promise(() => Fs.rm(path, { recursive: true, force: true, maxRetries: 3 }))
  )
  const layout = Layout.make(root)
  yield* Effect.promise(async () => {
    for (const path of [layout.repositories, layout.tmp]) await Fs.mkdir(path, { recursive: true })
  })
  const open = (limits: Limits.Options = {}, files: Files.Files = Files.make(layout.tmp, false)) =>
    FileBlobs.make({ layout, files, limits })
  return { layout, open }
})

const age = (path: string, millis: number) => {
  const then = new Date(Date.now() - millis)
  return Effect.promise(() => Fs.utimes(path, then, then))
}

const mtimeOf = (path: string) => Effect.promise(async () => (await Fs.stat(path)).mtimeMs)

describe("BlobStore/FileSystem", () => {
  describe("startUpload", () => {
    it.scopedLive("counts what another process left open, and what is finished or cancelled no more", () =>
      Effect.gen(function* () {
        const { open } = yield* folder
        yield* (yield* open()).startUpload("team/left", "sha256")
        const blobs = yield* open({ openUploads: 2 })
        const { id } = yield* blobs.startUpload("a", "sha256")
        for (let round = 0; round < 3; round++) {
          const error = yield* Effect.flip(blobs.startUpload("b", "sha256"))
          assert.deepInclude(error, { _tag: "UploadError", reason: "TooMany" })
        }
        yield* blobs.finish("a", id, digestOf(""))
        const other = yield* blobs.startUpload("b", "sha256")
        assert.isTrue(yield* blobs.cancel("b", other.id))
        assert.isFalse(yield* blobs.cancel("b", other.id))
        yield* blobs.startUpload("c", "sha256")
        yield* Effect.flip(blobs.startUpload("c", "sha256"))
      })
    )
  })

  describe("append", () => {
    it.scopedLive("refuses a body that says it is too large before a byte of it is read, and drops the upload", () =>
      Effect.gen(function* () {
        const { open } = yield* folder
        const blobs = yield* open({ uploadSize: 1000 })
        const { id } = yield* blobs.startUpload("a", "sha256")
        yield* blobs.append("a", id, bodyOf(random(600)), undefined, 600)
        const body = new PassThrough()
        body.write("never read")
        const error = yield* Effect.flip(blobs.append("a", id, body, undefined, 401))
        assert.deepInclude(error, { _tag: "UploadError", reason: "TooLarge" })
        assert.strictEqual(body.readableLength, 10)
        assert.isTrue(Option.isNone(yield* blobs.findUpload("a", id)))
      })
    )
  })

  describe("finish", () => {
    const bytes = random(1_300_000)

    it.scopedLive("takes a digest of the algorithm that was not announced", () =>
      Effect.gen(function* () {
        const blobs = yield* (yield* folder).open()
        for (const algorithm of ["sha256", "sha512"] as const) {
          const { id } = yield* blobs.startUpload("a", algorithm === "sha256" ? "sha512" : "sha256")
          yield* blobs.append("a", id, bodyOf(bytes), undefined)
          yield* blobs.finish("a", id, digestOf(bytes, algorithm))
        }
        assert.strictEqual((yield* blobs.list("a")).length, 2)
      })
    )

    it.scopedLive("reads again what it did not hash itself: of another process, or changed behind its back", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const first = yield* open()
        const { id } = yield* first.startUpload("a", "sha256")
        yield* first.append("a", id, bodyOf(bytes.subarray(0, 900_000)), undefined, 900_000)
        const second = yield* open()
        yield* second.append("a", id, bodyOf(bytes.subarray(900_000)), 900_000)
        yield* second.finish("a", id, digestOf(bytes))
        const cut = yield* second.startUpload("a", "sha256")
        yield* second.append("a", cut.id, bodyOf(bytes), undefined)
        yield* Effect.promise(() => Fs.truncate(layout.upload("a", cut.id), 1000))
        const error = yield* Effect.flip(second.finish("a", cut.id, digestOf(bytes)))
        assert.deepInclude(error, { reason: "DigestMismatch" })
      })
    )

    it.scopedLive("goes on where a sweep takes the shared file between two steps", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const plain = Files.make(layout.tmp, false)
        const content = layout.content(digestOf(bytes))
        let sweeps = 0
        const sweeping: Files.Files = {
          ...plain,
          name: async (from, to) => {
            if (from === content && sweeps++ < 3) await Fs.rm(content)
            return plain.name(from, to)
          }
        }
        yield* Effect.promise(async () => {
          await Fs.mkdir(dirname(content), { recursive: true })
          await Fs.writeFile(content, bytes)
        })
        const blobs = yield* open({}, sweeping)
        const { id } = yield* blobs.startUpload("a", "sha256")
        yield* blobs.append("a", id, bodyOf(bytes), undefined)
        yield* blobs.finish("a", id, digestOf(bytes))
        assert.strictEqual(sweeps, 4)
        const found = Option.getOrThrow(yield* blobs.find("a", digestOf(bytes)))
        assert.deepEqual((yield* collect(found.open(0, found.size - 1))).bytes, bytes)
      })
    )

    it.scopedLive("goes on where the blob that was there is taken from the repository between two steps", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const plain = Files.make(layout.tmp, false)
        const own = layout.blob("a", digestOf(bytes))
        let taken = 0
        const taking: Files.Files = {
          ...plain,
          name: async (from, to) => {
            const isNew = await plain.name(from, to)
            if (to === own && !isNew && taken++ < 3) await Fs.rm(own)
            return isNew
          }
        }
        const blobs = yield* open({}, taking)
        yield* push(blobs, "a", bytes)
        yield* push(blobs, "a", bytes)
        assert.strictEqual(taken, 1)
        assert.isTrue(Option.isSome(yield* blobs.find("a", digestOf(bytes))))
      })
    )

    it.scopedLive("makes a blob that counts as pushed now, however long ago its last byte came", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const blobs = yield* open()
        for (const shared of ["nowhere", "b"]) {
          const content = random(10)
          if (shared === "b") {
            yield* push(blobs, "b", content)
            yield* age(layout.content(digestOf(content)), 3 * hour)
          }
          const { id } = yield* blobs.startUpload(`to-${shared}`, "sha256")
          yield* blobs.append(`to-${shared}`, id, bodyOf(content), undefined)
          yield* age(layout.upload(`to-${shared}`, id), 3 * hour)
          yield* blobs.finish(`to-${shared}`, id, digestOf(content))
          const [held] = yield* blobs.list(`to-${shared}`)
          assert.isAbove(held?.touched ?? 0, Date.now() - 60_000, shared)
        }
      })
    )

    it.scopedLive("touches the blob that is there also where the shared file is not", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const blobs = yield* open()
        const digest = yield* push(blobs, "a", bytesOf("x"))
        yield* age(layout.blob("a", digest), 3 * hour)
        yield* Effect.promise(() => Fs.rm(layout.content(digest)))
        yield* push(blobs, "a", bytesOf("x"))
        assert.isAbove(yield* mtimeOf(layout.blob("a", digest)), Date.now() - 60_000)
      })
    )

    it.scopedLive("is not undone by an expiry, which leaves the upload at once", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const plain = Files.make(layout.tmp, false)
        let expiring: Promise<boolean> | undefined
        const slow: Files.Files = {
          ...plain,
          sync: async (path) => {
            expiring ??= Effect.runPromise(blobs.cancel("a", id, Date.now() + hour))
            await expiring
            return plain.sync(path)
          }
        }
        const blobs = yield* open({}, slow)
        const { id } = yield* blobs.startUpload("a", "sha256")
        yield* blobs.append("a", id, bodyOf(bytes), undefined)
        yield* blobs.finish("a", id, digestOf(bytes)).pipe(Effect.timeout("5 seconds"))
        assert.isFalse(yield* Effect.promise(() => expiring ?? Promise.resolve(true)))
        assert.isTrue(Option.isSome(yield* blobs.find("a", digestOf(bytes))))
      })
    )

    it.scopedLive("forces bytes and folders to the disk before it is done", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const plain = Files.make(layout.tmp, true)
        const synced: Array<string> = []
        const note = (sync: (path: string) => Promise<void>) => (path: string) =>
          sync(path).then(() => void synced.push(path))
        const blobs = yield* open({}, { ...plain, sync: note(plain.sync), syncFolder: note(plain.syncFolder) })
        const digest = digestOf(bytes)
        const { id } = yield* blobs.startUpload("a", "sha256")
        yield* blobs.append("a", id, bodyOf(bytes), undefined)
        yield* blobs.finish("a", id, digest)
        assert.strictEqual(synced[0], layout.upload("a", id))
        assert.sameMembers(synced.slice(1), [dirname(layout.content(digest)), dirname(layout.blob("a", digest))])
      })
    )
  })

  describe("find", () => {
    it.scopedLive("touches a blob that was not asked for in a while, and no other", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const blobs = yield* open()
        const digest = yield* push(blobs, "a", bytesOf("x"))
        const path = layout.blob("a", digest)
        yield* age(path, 5 * 60_000)
        yield* blobs.find("a", digest)
        assert.isBelow(yield* mtimeOf(path), Date.now() - 4 * 60_000)
        yield* age(path, 11 * 60_000)
        assert.isTrue(Option.isSome(yield* blobs.find("a", digest)))
        assert.isAbove(yield* mtimeOf(path), Date.now() - 60_000)
      })
    )
  })

  describe("mount", () => {
    it.scopedLive("makes the shared file again from a repository that still has the blob", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const blobs = yield* open()
        const digest = yield* push(blobs, "a", bytesOf("x"))
        yield* Effect.promise(() => Fs.rm(layout.content(digest)))
        assert.isTrue(yield* blobs.mount("b", digest, "a"))
        const [own, shared] = yield* Effect.promise(() =>
          Promise.all([Fs.stat(layout.blob("b", digest)), Fs.stat(layout.content(digest))])
        )
        assert.strictEqual(own.ino, shared.ino)
      })
    )
  })

  describe("remove with a time", () => {
    /** A store in which `remove` starts as soon as the blob's name was found taken, and gets the time to run. */
    const racing = Effect.gen(function* () {
      const { layout, open } = yield* folder
      const plain = Files.make(layout.tmp, false)
      const digest = digestOf("x")
      const own = layout.blob("a", digest)
      let removing: Promise<boolean> | undefined
      const race = async (to: string) => {
        if (to !== own || removing !== undefined) return
        removing = Effect.runPromise(blobs.remove("a", digest, Date.now() - hour))
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      const files: Files.Files = {
        ...plain,
        link: (from, to) => plain.link(from, to).then(() => race(to)),
        name: async (from, to) => {
          const isNew = await plain.name(from, to)
          if (!isNew) await race(to)
          return isNew
        }
      }
      const blobs = yield* open({}, files)
      yield* push(blobs, "a", bytesOf("x"))
      yield* push(blobs, "b", bytesOf("x"))
      yield* age(own, 3 * hour)
      return { blobs, digest, removed: Effect.promise(() => removing ?? Promise.resolve(true)) }
    })

    it.scopedLive("waits for a push of the blob, and leaves it", () =>
      Effect.gen(function* () {
        const { blobs, digest, removed } = yield* racing
        yield* push(blobs, "a", bytesOf("x"))
        assert.isFalse(yield* removed)
        assert.isTrue(Option.isSome(yield* blobs.find("a", digest)))
      })
    )

    it.scopedLive("waits for a mount of the blob, and leaves it", () =>
      Effect.gen(function* () {
        const { blobs, digest, removed } = yield* racing
        assert.isTrue(yield* blobs.mount("a", digest, "b"))
        assert.isFalse(yield* removed)
        assert.isTrue(Option.isSome(yield* blobs.find("a", digest)))
      })
    )

    it.scopedLive("never takes what a push or mount at the same time says is there", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const blobs = yield* open()
        const digest = yield* push(blobs, "b", bytesOf("x"))
        const own = layout.blob("a", digest)
        const anyTime = Effect.suspend(() => Effect.sleep(Math.random() * 3))
        for (let round = 0; round < 100; round++) {
          yield* push(blobs, "a", bytesOf("x"))
          yield* age(own, 3 * hour)
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("x")), undefined)
          const stored =
            round % 2 === 0 ? Effect.as(blobs.finish("a", id, digest), true) : blobs.mount("a", digest, "b")
          const [isStored] = yield* Effect.all(
            [Effect.zipRight(anyTime, stored), Effect.zipRight(anyTime, blobs.remove("a", digest, Date.now() - hour))],
            { concurrency: 2 }
          )
          if (isStored) assert.isTrue(Option.isSome(yield* blobs.find("a", digest)), `round ${round}`)
          if (round % 2 === 1) yield* blobs.cancel("a", id)
        }
      })
    )
  })

  describe("sweep", () => {
    it.scopedLive("frees the shared file where repositories have copies, and they keep theirs", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const blobs = yield* open()
        const digest = yield* push(blobs, "a", bytesOf("copied"))
        const own = layout.blob("a", digest)
        yield* Effect.promise(async () => {
          await Fs.copyFile(own, `${own}.copy`)
          await Fs.rename(`${own}.copy`, own)
        })
        const before = Date.now() + hour
        assert.deepEqual(yield* blobs.sweep({ before, dryRun: false }), { blobs: 1, bytes: 6 })
        assert.isTrue(Option.isSome(yield* blobs.find("a", digest)))
        assert.deepEqual(yield* Effect.promise(() => Fs.readdir(layout.tmp)), [])
      })
    )

    it.scopedLive("looks at no file that is not a blob, and lists none", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const blobs = yield* open()
        const digest = yield* push(blobs, "a", bytesOf("x"))
        const stray = join(dirname(layout.blob("a", digest)), randomUUID())
        yield* Effect.promise(() => Fs.writeFile(stray, "not a blob"))
        assert.deepEqual(
          (yield* blobs.list("a")).map((held) => held.digest),
          [digest]
        )
        const sum = createHash("sha256").update("x").digest("hex")
        assert.strictEqual(digest, `sha256:${sum}`)
      })
    )
  })
})
