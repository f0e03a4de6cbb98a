/** What every store of blobs does, sentence by sentence of its contract. */
import { PassThrough, Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import type { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { bytesOf, digestOf, random } from "../support.js"
import type { Backend, Opened } from "./Backends.js"

type Blobs = Opened["blobs"]

/** All bytes of a body, and the sizes of its chunks. */
export const collect = (body: Readable) =>
  Effect.promise(async () => {
    const chunks: Array<Uint8Array> = []
    for await (const chunk of body) chunks.push(chunk)
    return { bytes: new Uint8Array(Buffer.concat(chunks)), sizes: chunks.map(({ length }) => length) }
  })

/** `bytes` as a body, in chunks as a socket has them. */
export const bodyOf = (bytes: Uint8Array, chunk = 65_536): Readable => {
  const chunks: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += chunk) chunks.push(bytes.subarray(at, at + chunk))
  return Readable.from(chunks, { objectMode: false })
}

export const push = (blobs: Blobs, repository: string, bytes: Uint8Array, algorithm: Digest.Algorithm = "sha256") =>
  Effect.gen(function* () {
    const { id } = yield* blobs.startUpload(repository, algorithm)
    yield* blobs.append(repository, id, bodyOf(bytes), undefined)
    const digest = digestOf(bytes, algorithm)
    yield* blobs.finish(repository, id, digest)
    return digest
  })

const read = (blobs: Blobs, repository: string, digest: Digest.Digest, start = 0, end?: number) =>
  Effect.flatMap(blobs.find(repository, digest), (found) =>
    Option.isNone(found)
      ? Effect.succeed(undefined)
      : Effect.map(collect(found.value.open(start, end ?? found.value.size - 1)), ({ bytes }) => bytes)
  )

const has = (blobs: Blobs, repository: string, digest: Digest.Digest) =>
  Effect.map(blobs.find(repository, digest), Option.isSome)

const sizeOf = (blobs: Blobs, repository: string, id: string) =>
  Effect.map(blobs.findUpload(repository, id), (found) => Option.getOrUndefined(found)?.size)

/** Waits until so many bytes of an upload are there. */
const arrived = (blobs: Blobs, repository: string, id: string, size: number) =>
  sizeOf(blobs, repository, id).pipe(
    Effect.tap(() => Effect.sleep("2 millis")),
    Effect.repeat({ until: (actual) => actual === size }),
    Effect.timeout("5 seconds")
  )

const hour = 3_600_000
const unknown = digestOf("never pushed")

export const suite = ({ name, open }: Backend) => {
  const test = (
    title: string,
    run: (opened: Opened) => Effect.Effect<unknown, unknown>,
    limits?: Parameters<Backend["open"]>[0]
  ) => it.scopedLive(title, () => Effect.flatMap(open(limits), run))

  describe(`BlobStore of ${name}`, () => {
    describe("find", () => {
      test("has the blob with its size, whole or in part, both ends included", ({ blobs }) =>
        Effect.gen(function* () {
          const bytes = random(3_500_000)
          const digest = yield* push(blobs, "team/app", bytes)
          const found = Option.getOrThrow(yield* blobs.find("team/app", digest))
          assert.strictEqual(found.size, bytes.length)
          const whole = yield* collect(found.open(0, bytes.length - 1))
          assert.deepEqual(whole.bytes, bytes)
          assert.isAtMost(Math.max(...whole.sizes), 1 << 20)
          assert.isAtMost(whole.sizes.length, 5)
          for (const [start, end] of [
            [0, 0],
            [1, 1],
            [(1 << 20) - 1, 1 << 20],
            [1 << 20, 1 << 20],
            [1_000_000, 3_000_000],
            [3_499_999, 3_499_999]
          ] as const) {
            const part = yield* collect(found.open(start, end))
            assert.deepEqual(part.bytes, bytes.slice(start, end + 1), `${start}-${end}`)
          }
        }))
      test("has nothing of what was not pushed, or pushed to another repository", ({ blobs }) =>
        Effect.gen(function* () {
          const digest = yield* push(blobs, "team", bytesOf("x"))
          assert.isFalse(yield* has(blobs, "team", unknown))
          for (const other of ["team/app", "tea", "teams", "nowhere"]) assert.isFalse(yield* has(blobs, other, digest))
        }))
      test("lets a reader that began finish, whatever is removed meanwhile", ({ blobs }) =>
        Effect.gen(function* () {
          const bytes = random(5_000_000)
          const digest = yield* push(blobs, "a", bytes)
          const body = Option.getOrThrow(yield* blobs.find("a", digest)).open(0, bytes.length - 1)
          yield* Effect.promise(() => new Promise<void>((done) => body.once("readable", done)))
          yield* blobs.remove("a", digest)
          yield* blobs.sweep({ before: Date.now() + hour, dryRun: false })
          assert.deepEqual((yield* collect(body)).bytes, bytes)
        }))
    })

    describe("mount", () => {
      test("takes a blob over from the repository named, which keeps it", ({ blobs }) =>
        Effect.gen(function* () {
          const digest = yield* push(blobs, "from", bytesOf("layer"))
          assert.isTrue(yield* blobs.mount("deep/er/to", digest, "from"))
          assert.deepEqual(yield* read(blobs, "deep/er/to", digest), bytesOf("layer"))
          assert.isTrue(yield* blobs.mount("deep/er/to", digest, "from"))
          assert.isTrue(yield* has(blobs, "from", digest))
          assert.isTrue(yield* blobs.mount("from", digest, "from"))
        }))
      test("says false where that repository does not have it, though another does", ({ blobs }) =>
        Effect.gen(function* () {
          const digest = yield* push(blobs, "from", bytesOf("layer"))
          assert.isFalse(yield* blobs.mount("to", digest, "another"))
          assert.isFalse(yield* blobs.mount("to", unknown, "from"))
          assert.isFalse(yield* has(blobs, "to", digest))
        }))
      test("takes it from any repository where none is named", ({ blobs }) =>
        Effect.gen(function* () {
          const digest = yield* push(blobs, "from", bytesOf("layer"))
          assert.isTrue(yield* blobs.mount("to", digest, undefined))
          assert.deepEqual(yield* read(blobs, "to", digest), bytesOf("layer"))
          assert.isFalse(yield* blobs.mount("to", unknown, undefined))
        }))
      test("does not bring back what no repository holds any more", ({ blobs }) =>
        Effect.gen(function* () {
          const digest = yield* push(blobs, "from", bytesOf("secret"))
          yield* blobs.remove("from", digest)
          assert.isFalse(yield* blobs.mount("to", digest, undefined))
          assert.isFalse(yield* blobs.mount("to", digest, "from"))
        }))
    })

    describe("remove", () => {
      test("takes a blob out of one repository and leaves it to others", ({ blobs }) =>
        Effect.gen(function* () {
          const digest = yield* push(blobs, "a", bytesOf("layer"))
          yield* blobs.mount("b", digest, "a")
          assert.isTrue(yield* blobs.remove("a", digest))
          assert.deepEqual([yield* has(blobs, "a", digest), yield* has(blobs, "b", digest)], [false, true])
          assert.isFalse(yield* blobs.remove("a", digest))
          assert.isFalse(yield* blobs.remove("nowhere", digest))
          yield* push(blobs, "a", bytesOf("layer"))
          assert.deepEqual(yield* read(blobs, "a", digest), bytesOf("layer"))
        }))
    })

    describe("remove with a time", () => {
      test("leaves what was touched since, in that repository", ({ blobs }) =>
        Effect.gen(function* () {
          const digest = yield* push(blobs, "a", bytesOf("layer"))
          assert.isFalse(yield* blobs.remove("a", digest, Date.now() - hour))
          assert.isTrue(yield* has(blobs, "a", digest))
          assert.isFalse(yield* blobs.remove("b", digest, Date.now() + hour))
          assert.isTrue(yield* blobs.remove("a", digest, Date.now() + hour))
          assert.isFalse(yield* has(blobs, "a", digest))
        }))
    })

    describe("startUpload", () => {
      test("gives an empty upload with an id of its own", ({ blobs }) =>
        Effect.gen(function* () {
          const uploads = yield* Effect.replicateEffect(blobs.startUpload("a/b", "sha256"), 20)
          assert.strictEqual(new Set(uploads.map(({ id }) => id)).size, 20)
          for (const { id, size } of uploads) {
            assert.strictEqual(size, 0)
            assert.strictEqual(yield* sizeOf(blobs, "a/b", id), 0)
          }
        }))
      for (const algorithm of ["sha256", "sha512"] as const) {
        for (const other of ["sha256", "sha512"] as const) {
          test(`hashes with ${algorithm}, and takes a digest of ${other} in the end`, ({ blobs }) =>
            Effect.gen(function* () {
              const bytes = random(1_500_000)
              const { id } = yield* blobs.startUpload("a", algorithm)
              yield* blobs.append("a", id, bodyOf(bytes), 0)
              yield* blobs.finish("a", id, digestOf(bytes, other))
              assert.deepEqual(yield* read(blobs, "a", digestOf(bytes, other)), bytes)
              const wrong = yield* blobs.startUpload("a", algorithm)
              const error = yield* Effect.flip(blobs.finish("a", wrong.id, digestOf(bytes, other)))
              assert.deepInclude(error, { reason: "DigestMismatch" })
            }))
        }
      }
      test(
        "is refused while as many are open as may be, in whatever repository",
        ({ blobs }) =>
          Effect.gen(function* () {
            const first = yield* blobs.startUpload("a", "sha256")
            yield* blobs.startUpload("b", "sha256")
            const error = yield* Effect.flip(blobs.startUpload("c", "sha256"))
            assert.deepInclude(error, { _tag: "UploadError", reason: "TooMany" })
            yield* blobs.cancel("a", first.id)
            const third = yield* blobs.startUpload("c", "sha256")
            assert.strictEqual((yield* Effect.flip(blobs.startUpload("a", "sha256")))._tag, "UploadError")
            yield* blobs.finish("c", third.id, digestOf(""))
            yield* blobs.startUpload("a", "sha256")
          }),
        { openUploads: 2 }
      )
    })

    describe("findUpload", () => {
      test("knows an upload in its own repository only", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("12345")), undefined)
          assert.strictEqual(yield* sizeOf(blobs, "a", id), 5)
          assert.isUndefined(yield* sizeOf(blobs, "b", id))
          assert.isUndefined(yield* sizeOf(blobs, "a", crypto.randomUUID()))
        }))
    })

    describe("append", () => {
      test("adds all bytes behind those that are there, however they are cut", ({ blobs }) =>
        Effect.gen(function* () {
          const bytes = random(2_500_000)
          const { id } = yield* blobs.startUpload("a", "sha256")
          const cuts = [0, 1, 1000, 1000, 70_000, 1_048_576, 1_048_577, 2_500_000]
          for (const [index, start] of cuts.slice(0, -1).entries()) {
            const end = cuts[index + 1] ?? 0
            const body = bodyOf(bytes.subarray(start, end), [1 << 16, 7, 1 << 20][index % 3])
            const upload = yield* blobs.append("a", id, body, index % 2 === 0 ? start : undefined)
            assert.deepEqual(upload, { id, size: end })
          }
          yield* blobs.finish("a", id, digestOf(bytes))
          assert.deepEqual(yield* read(blobs, "a", digestOf(bytes)), bytes)
        }))
      test("refuses bytes that start elsewhere, says where it ends, and takes none", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("123")), 0)
          for (const start of [0, 2, 4, 1000]) {
            const error = yield* Effect.flip(blobs.append("a", id, bodyOf(bytesOf("x")), start))
            assert.deepInclude(error, { _tag: "UploadError", reason: "OutOfOrder", size: 3 })
          }
          yield* blobs.append("a", id, bodyOf(bytesOf("45")), 3)
          yield* blobs.finish("a", id, digestOf("12345"))
        }))
      test("knows no upload of another repository", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          for (const [repository, upload] of [
            ["b", id],
            ["a", crypto.randomUUID()]
          ] as const) {
            const error = yield* Effect.flip(blobs.append(repository, upload, bodyOf(bytesOf("x")), undefined))
            assert.deepInclude(error, { _tag: "UploadError", reason: "Unknown" })
          }
          assert.strictEqual(yield* sizeOf(blobs, "a", id), 0)
        }))
      for (const size of [10, 3_000_000]) {
        test(`keeps all ${size} bytes of a body that breaks off, and goes on from there`, ({ blobs }) =>
          Effect.gen(function* () {
            const bytes = random(size + 1000)
            const { id } = yield* blobs.startUpload("a", "sha256")
            const breaking = Readable.from(
              (async function* () {
                yield* bodyOf(bytes.subarray(0, size))
                await new Promise((resolve) => setTimeout(resolve, 5))
                throw new Error("reset")
              })(),
              { objectMode: false }
            )
            const error = yield* Effect.flip(blobs.append("a", id, breaking, undefined))
            assert.deepInclude(error, { _tag: "UploadError", reason: "ConnectionLost" })
            assert.strictEqual(yield* sizeOf(blobs, "a", id), size)
            yield* blobs.append("a", id, bodyOf(bytes.subarray(size)), size)
            yield* blobs.finish("a", id, digestOf(bytes))
            assert.deepEqual(yield* read(blobs, "a", digestOf(bytes)), bytes)
          }))
      }
      test("keeps every byte that came before it was interrupted, and is free for the next one", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          const body = new PassThrough()
          const fiber = yield* Effect.fork(blobs.append("a", id, body, undefined))
          body.write("12345")
          yield* Effect.sleep("20 millis")
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(yield* sizeOf(blobs, "a", id), 5)
          yield* blobs.append("a", id, bodyOf(bytesOf("6")), 5)
          yield* blobs.finish("a", id, digestOf("123456"))
        }))
      test("fails with a body that is gone already, and takes one that has ended for empty", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          const gone = new PassThrough()
          gone.destroy()
          const error = yield* Effect.flip(blobs.append("a", id, gone, undefined))
          assert.deepInclude(error, { reason: "ConnectionLost" })
          const ended = bodyOf(new Uint8Array(0))
          ended.resume()
          yield* Effect.promise(() => new Promise((resolve) => ended.once("end", resolve)))
          assert.strictEqual((yield* blobs.append("a", id, ended, undefined)).size, 0)
        }))
      test(
        "counts a sender as gone that falls silent, and keeps what it sent",
        ({ blobs }) =>
          Effect.gen(function* () {
            const { id } = yield* blobs.startUpload("a", "sha256")
            const body = new PassThrough()
            body.write("12345")
            const error = yield* Effect.flip(blobs.append("a", id, body, undefined))
            assert.deepInclude(error, { _tag: "UploadError", reason: "ConnectionLost" })
            assert.strictEqual(yield* sizeOf(blobs, "a", id), 5)
          }).pipe(Effect.timeout("5 seconds")),
        { idle: "50 millis" }
      )
      test(
        "drops an upload that grows too large, and does not take its bytes",
        ({ blobs }) =>
          Effect.gen(function* () {
            for (const [already, more] of [
              [0, 1001],
              [1000, 1],
              [999, 5_000_000]
            ] as const) {
              const { id } = yield* blobs.startUpload("a", "sha256")
              yield* blobs.append("a", id, bodyOf(random(already)), undefined)
              const error = yield* Effect.flip(blobs.append("a", id, bodyOf(random(more)), undefined))
              assert.deepInclude(error, { _tag: "UploadError", reason: "TooLarge" })
              assert.isUndefined(yield* sizeOf(blobs, "a", id))
            }
            assert.deepEqual(yield* blobs.uploads, [])
            yield* push(blobs, "a", random(1000))
          }),
        { uploadSize: 1000 }
      )
      test("lets one body after the other into an upload, never two at once", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          const first = new PassThrough()
          const sending = yield* Effect.fork(blobs.append("a", id, first, 0))
          first.write("first ")
          yield* Effect.sleep("10 millis")
          const second = yield* Effect.fork(blobs.append("a", id, bodyOf(bytesOf("second")), undefined))
          const late = yield* Effect.fork(Effect.flip(blobs.append("a", id, bodyOf(bytesOf("x")), 6)))
          yield* Effect.sleep("10 millis")
          first.end("body ")
          assert.strictEqual((yield* Fiber.join(sending)).size, 11)
          assert.strictEqual((yield* Fiber.join(second)).size, 17)
          assert.deepInclude(yield* Fiber.join(late), { reason: "OutOfOrder", size: 17 })
          yield* blobs.finish("a", id, digestOf("first body second"))
        }))
    })

    describe("finish", () => {
      test("makes the upload a blob, and the upload is no more", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("layer")), undefined)
          assert.isFalse(yield* has(blobs, "a", digestOf("layer")))
          yield* blobs.finish("a", id, digestOf("layer"))
          assert.deepEqual(yield* read(blobs, "a", digestOf("layer")), bytesOf("layer"))
          assert.isUndefined(yield* sizeOf(blobs, "a", id))
          const again = yield* Effect.flip(blobs.finish("a", id, digestOf("layer")))
          assert.deepInclude(again, { _tag: "UploadError", reason: "Unknown" })
        }))
      test("takes the empty blob", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.finish("a", id, digestOf(""))
          assert.strictEqual(Option.getOrThrow(yield* blobs.find("a", digestOf(""))).size, 0)
        }))
      test("refuses bytes of another digest, drops them and makes no blob", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("layer")), undefined)
          const error = yield* Effect.flip(blobs.finish("a", id, digestOf("other")))
          assert.deepInclude(error, { _tag: "UploadError", reason: "DigestMismatch" })
          assert.isUndefined(yield* sizeOf(blobs, "a", id))
          for (const text of ["layer", "other"]) assert.isFalse(yield* has(blobs, "a", digestOf(text)))
          assert.deepEqual(yield* blobs.list("a"), [])
        }))
      test("does not finish an upload of another repository", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          const error = yield* Effect.flip(blobs.finish("b", id, digestOf("")))
          assert.deepInclude(error, { _tag: "UploadError", reason: "Unknown" })
          assert.strictEqual(yield* sizeOf(blobs, "a", id), 0)
        }))
      test("stands several finishes of one digest at once, in one repository and in others", ({ blobs }) =>
        Effect.gen(function* () {
          const bytes = random(200_000)
          const names = ["a", "a", "a", "b", "b/c", "d"]
          yield* Effect.forEach(names, (each) => push(blobs, each, bytes), { concurrency: "unbounded" })
          for (const each of names) assert.deepEqual(yield* read(blobs, each, digestOf(bytes)), bytes)
          assert.strictEqual((yield* blobs.list("a")).length, 1)
          assert.deepEqual(yield* blobs.uploads, [])
        }))
      test("finishes an upload once, when it is asked twice at the same time", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("layer")), undefined)
          const finish = Effect.either(blobs.finish("a", id, digestOf("layer")))
          const outcomes = yield* Effect.all([finish, finish], { concurrency: 2 })
          assert.deepEqual(outcomes.map(({ _tag }) => _tag).sort(), ["Left", "Right"])
          assert.deepEqual(yield* read(blobs, "a", digestOf("layer")), bytesOf("layer"))
        }))
    })

    describe("cancel", () => {
      test("forgets an upload and its bytes; false where there was none", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("layer")), undefined)
          assert.isFalse(yield* blobs.cancel("b", id))
          assert.isTrue(yield* blobs.cancel("a", id))
          assert.isFalse(yield* blobs.cancel("a", id))
          assert.isFalse(yield* blobs.cancel("a", crypto.randomUUID()))
          assert.isUndefined(yield* sizeOf(blobs, "a", id))
          assert.isFalse(yield* has(blobs, "a", digestOf("layer")))
        }))
    })

    describe("append of a body that is held back", () => {
      test(
        "asks for it once nothing else is in the way",
        ({ blobs }) =>
          Effect.gen(function* () {
            let asked = 0
            const ready = () => {
              asked += 1
            }
            const { id } = yield* blobs.startUpload("a", "sha256")
            const send = (id: string, start: number | undefined, announced: number) =>
              Effect.suspend(() => blobs.append("a", id, bodyOf(random(announced)), start, announced, ready))
            yield* Effect.flip(send(crypto.randomUUID(), undefined, 10))
            yield* Effect.flip(send(id, 7, 10))
            assert.strictEqual(asked, 0)
            yield* send(id, 0, 600)
            assert.strictEqual(asked, 1)
            const error = yield* Effect.flip(send(id, 600, 401))
            assert.deepInclude(error, { _tag: "UploadError", reason: "TooLarge" })
            assert.strictEqual(asked, 1)
            assert.isUndefined(yield* sizeOf(blobs, "a", id))
          }),
        { uploadSize: 1000 }
      )
    })

    describe("cancel with a time", () => {
      test("leaves an upload that had a byte since, and one that is being written, without waiting", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          assert.isFalse(yield* blobs.cancel("a", id, Date.now() - hour))
          const body = new PassThrough()
          const sending = yield* Effect.fork(blobs.append("a", id, body, undefined))
          body.write("12345")
          yield* Effect.sleep("10 millis")
          assert.isFalse(yield* blobs.cancel("a", id, Date.now() + hour).pipe(Effect.timeout("1 second")))
          body.end()
          yield* Fiber.join(sending)
          assert.strictEqual(yield* sizeOf(blobs, "a", id), 5)
          assert.isTrue(yield* blobs.cancel("a", id, Date.now() + hour))
          assert.isFalse(yield* blobs.cancel("a", id, Date.now() + hour))
          assert.deepEqual(yield* blobs.uploads, [])
        }))
    })

    describe("repositories", () => {
      test("are those that hold a blob or an unfinished upload", ({ blobs }) =>
        Effect.gen(function* () {
          assert.deepEqual(yield* blobs.repositories, [])
          const digest = yield* push(blobs, "team/app", bytesOf("x"))
          yield* push(blobs, "team", bytesOf("x"))
          yield* push(blobs, "gone/away", bytesOf("x"))
          yield* blobs.remove("gone/away", digest)
          const { id } = yield* blobs.startUpload("team/app/uploading", "sha256")
          assert.deepEqual([...(yield* blobs.repositories)].sort(), ["team", "team/app", "team/app/uploading"])
          yield* blobs.cancel("team/app/uploading", id)
          assert.deepEqual([...(yield* blobs.repositories)].sort(), ["team", "team/app"])
        }))
    })

    describe("list", () => {
      test("has every blob with its size and when it was touched", ({ blobs }) =>
        Effect.gen(function* () {
          const before = Date.now()
          const [one, two] = [
            yield* push(blobs, "a", random(1000)),
            yield* push(blobs, "a", random(2000), "sha512")
          ] as const
          yield* push(blobs, "a/b", random(3000))
          const listed = yield* blobs.list("a")
          const sizes = Object.fromEntries(listed.map(({ digest, size }) => [digest, size]))
          assert.deepEqual(sizes, { [one]: 1000, [two]: 2000 })
          for (const { touched } of listed) {
            assert.isAtLeast(touched, before - 10 * 60_000)
            assert.isAtMost(touched, Date.now() + 10 * 60_000)
          }
          assert.deepEqual(yield* blobs.list("nowhere"), [])
        }))
    })

    describe("uploads", () => {
      test("are those not finished, with repository, size and when the last byte came", ({ blobs }) =>
        Effect.gen(function* () {
          assert.deepEqual(yield* blobs.uploads, [])
          const before = Date.now()
          const first = yield* blobs.startUpload("a", "sha256")
          const second = yield* blobs.startUpload("a/b", "sha512")
          yield* blobs.append("a/b", second.id, bodyOf(random(5000)), undefined)
          yield* push(blobs, "a", bytesOf("finished"))
          const uploads = [...(yield* blobs.uploads)].sort((a, b) => a.size - b.size)
          assert.deepEqual(
            uploads.map(({ id, repository, size }) => ({ id, repository, size })),
            [
              { id: first.id, repository: "a", size: 0 },
              { id: second.id, repository: "a/b", size: 5000 }
            ]
          )
          // Disks keep the time of a file a little coarser.
          for (const { touched } of uploads) {
            assert.isAtLeast(touched, before - 2000)
            assert.isAtMost(touched, Date.now() + 2000)
          }
        }))
    })

    describe("sweep", () => {
      const later = () => Date.now() + hour

      test("frees what no repository holds, once, and says how much", ({ blobs }) =>
        Effect.gen(function* () {
          const bytes = random(5000)
          const digest = yield* push(blobs, "a", bytes)
          yield* blobs.mount("b", digest, "a")
          const kept = yield* push(blobs, "a", random(7000))
          assert.deepEqual(yield* blobs.sweep({ before: later(), dryRun: false }), { blobs: 0, bytes: 0 })
          yield* blobs.remove("a", digest)
          assert.deepEqual(yield* blobs.sweep({ before: later(), dryRun: false }), { blobs: 0, bytes: 0 })
          yield* blobs.remove("b", digest)
          assert.deepEqual(yield* blobs.sweep({ before: later(), dryRun: true }), { blobs: 1, bytes: 5000 })
          assert.deepEqual(yield* blobs.sweep({ before: later(), dryRun: false }), { blobs: 1, bytes: 5000 })
          assert.deepEqual(yield* blobs.sweep({ before: later(), dryRun: false }), { blobs: 0, bytes: 0 })
          assert.isTrue(yield* has(blobs, "a", kept))
          yield* push(blobs, "b", bytes)
          assert.deepEqual(yield* read(blobs, "b", digest), bytes)
        }))
      test("frees nothing that was touched since", ({ blobs }) =>
        Effect.gen(function* () {
          yield* blobs.remove("a", yield* push(blobs, "a", random(5000)))
          assert.deepEqual(yield* blobs.sweep({ before: Date.now() - hour, dryRun: false }), { blobs: 0, bytes: 0 })
          assert.deepEqual(yield* blobs.sweep({ before: later(), dryRun: false }), { blobs: 1, bytes: 5000 })
        }))
      test("leaves unfinished uploads alone", ({ blobs }) =>
        Effect.gen(function* () {
          const { id } = yield* blobs.startUpload("a", "sha256")
          yield* blobs.append("a", id, bodyOf(bytesOf("layer")), undefined)
          assert.deepEqual(yield* blobs.sweep({ before: later(), dryRun: false }), { blobs: 0, bytes: 0 })
          yield* blobs.finish("a", id, digestOf("layer"))
          assert.isTrue(yield* has(blobs, "a", digestOf("layer")))
        }))
      test("takes nothing from pushes and mounts that go on meanwhile", ({ blobs }) =>
        Effect.gen(function* () {
          const contents = Array.from({ length: 20 }, () => random(2000))
          const rounds = Effect.forEach(
            contents,
            (bytes, index) =>
              Effect.gen(function* () {
                for (let round = 0; round < 3; round++) {
                  const digest = yield* push(blobs, `r${index}`, bytes)
                  assert.deepEqual(yield* read(blobs, `r${index}`, digest), bytes)
                  if (round < 2) yield* blobs.remove(`r${index}`, digest)
                }
              }),
            { concurrency: 8 }
          )
          const sweeping = yield* Effect.fork(Effect.forever(blobs.sweep({ before: later(), dryRun: false })))
          yield* rounds
          yield* Fiber.interrupt(sweeping)
          for (const [index, bytes] of contents.entries()) {
            assert.deepEqual(yield* read(blobs, `r${index}`, digestOf(bytes)), bytes)
          }
        }))
    })

    describe("restart", () => {
      it.scopedLive("has blobs and the bytes of uploads, where there is something to start from", (context) =>
        Effect.gen(function* () {
          const { blobs: before, restart } = yield* open()
          if (restart === undefined) return context.skip()
          const bytes = random(1_500_000)
          const digest = yield* push(before, "a/b", bytes)
          const { id } = yield* before.startUpload("a", "sha512")
          yield* before.append("a", id, bodyOf(bytes.subarray(0, 700_000)), undefined)
          const { blobs } = yield* restart
          assert.deepEqual(yield* read(blobs, "a/b", digest), bytes)
          assert.strictEqual(yield* sizeOf(blobs, "a", id), 700_000)
          yield* blobs.append("a", id, bodyOf(bytes.subarray(700_000)), 700_000)
          yield* blobs.finish("a", id, digestOf(bytes, "sha512"))
          assert.deepEqual(yield* read(blobs, "a", digestOf(bytes, "sha512")), bytes)
          assert.deepEqual([...(yield* blobs.repositories)].sort(), ["a", "a/b"])
        })
      )
      it.scopedLive("has what came of an upload whose sender was still sending", (context) =>
        Effect.gen(function* () {
          const { blobs: before, restart } = yield* open()
          if (restart === undefined) return context.skip()
          const bytes = random(2_000_000)
          const { id } = yield* before.startUpload("a", "sha256")
          const body = new PassThrough()
          const fiber = yield* Effect.fork(before.append("a", id, body, undefined))
          body.write(bytes.subarray(0, 1_500_000))
          yield* Effect.sleep("30 millis")
          yield* Fiber.interrupt(fiber)
          const { blobs } = yield* restart
          yield* arrived(blobs, "a", id, 1_500_000)
          yield* blobs.append("a", id, bodyOf(bytes.subarray(1_500_000)), 1_500_000)
          yield* blobs.finish("a", id, digestOf(bytes))
        })
      )
    })
  })
}
