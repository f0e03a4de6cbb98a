/** What every store of manifests does, sentence by sentence of its contract. */
import { assert, describe, it } from "@effect/vitest"
import { type Digest, MediaType } from "@effect-registry/core"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Put } from "../../src/ManifestStore.js"
import { bytesOf, digestOf } from "../support.js"
import type { Backend, Opened, Stores } from "./Backends.js"
import { collect, push } from "./BlobStoreSuite.js"

/** A manifest that nothing else is, under these tags. */
const manifest = (text: string, tags: ReadonlyArray<string> = [], more: Partial<Put> = {}): Put => {
  const bytes = bytesOf(JSON.stringify({ schemaVersion: 2, text }))
  const algorithm = more.digest?.startsWith("sha512") === true ? "sha512" : "sha256"
  const digest = digestOf(bytes, algorithm)
  return { mediaType: MediaType.ociManifest, bytes, tags, children: [], refersTo: undefined, ...more, digest }
}

/** One that refers to another. */
const referrer = (text: string, subject: Digest.Digest) => {
  const put = manifest(text)
  const { bytes, digest, mediaType } = put
  const as = { mediaType, digest, size: bytes.length, artifactType: "text/x", annotations: { text } }
  return { ...put, refersTo: { subject, as } }
}

const put = ({ manifests }: Stores, repository: string, ...all: ReadonlyArray<Put>) =>
  manifests.change(repository, (edit) => Effect.forEach(all, edit.put, { discard: true }))

const remove = ({ manifests }: Stores, repository: string, digest: Digest.Digest) =>
  manifests.change(repository, (edit) => edit.remove(digest))

const untag = ({ manifests }: Stores, repository: string, tag: string) =>
  manifests.change(repository, (edit) => edit.untag(tag))

const resolve = ({ manifests }: Stores, repository: string, tag: string) =>
  Effect.map(manifests.resolve(repository, tag), Option.getOrUndefined)

const tagsOf = ({ manifests }: Stores, repository: string) =>
  Effect.map(manifests.tags(repository), Option.getOrUndefined)

const has = ({ manifests }: Stores, repository: string, digest: Digest.Digest) =>
  Effect.map(manifests.describe(repository, digest), Option.isSome)

const unknown = digestOf("never pushed")

export const suite = ({ name, open }: Backend) => {
  const test = (title: string, run: (opened: Opened) => Effect.Effect<unknown, unknown>) =>
    it.scopedLive(title, () => Effect.flatMap(open(), run))

  describe(`ManifestStore of ${name}`, () => {
    describe("read", () => {
      test("has the exact bytes, the media type and the size", (stores) =>
        Effect.gen(function* () {
          const mediaTypes = [MediaType.ociManifest, MediaType.dockerManifest, "application/vnd.unknown+json"]
          for (const mediaType of mediaTypes) {
            const { bytes, digest, ...rest } = manifest(` ${mediaType}\n`, [], { mediaType })
            yield* put(stores, "team/app", { bytes, digest, ...rest })
            const expected = { digest, mediaType, size: bytes.length }
            assert.deepEqual(Option.getOrThrow(yield* stores.manifests.describe("team/app", digest)), expected)
            const stored = Option.getOrThrow(yield* stores.manifests.read("team/app", digest))
            assert.deepEqual({ ...stored, bytes: [...stored.bytes] }, { ...expected, bytes: [...bytes] })
          }
        }))
      test("has manifests of sha512 and of several mebibytes", (stores) =>
        Effect.gen(function* () {
          const bytes = bytesOf(`{"annotations":{"x":"${"y".repeat(3_500_000)}"}}`)
          for (const algorithm of ["sha256", "sha512"] as const) {
            const digest = digestOf(bytes, algorithm)
            yield* put(stores, "a", { ...manifest("", [algorithm]), bytes, digest })
            const stored = Option.getOrThrow(yield* stores.manifests.read("a", digest))
            assert.isTrue(Buffer.from(stored.bytes).equals(bytes))
            assert.strictEqual(yield* resolve(stores, "a", algorithm), digest)
          }
          assert.strictEqual((yield* stores.manifests.list("a")).length, 2)
        }))
      test("has nothing of other repositories, nor of blobs that are no manifests", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one")
          yield* put(stores, "team", one)
          const blob = yield* push(stores.blobs, "team", bytesOf("{}"))
          for (const other of ["team/app", "tea", "teams", "nowhere"]) {
            assert.isFalse(yield* has(stores, other, one.digest))
            assert.isTrue(Option.isNone(yield* stores.manifests.read(other, one.digest)))
          }
          for (const digest of [blob, unknown]) {
            assert.isFalse(yield* has(stores, "team", digest))
            assert.isTrue(Option.isNone(yield* stores.manifests.read("team", digest)))
          }
        }))
    })

    describe("put", () => {
      test("sets all tags it is given, and moves those that named another", (stores) =>
        Effect.gen(function* () {
          const [one, two] = [manifest("one", ["1.0", "latest"]), manifest("two", ["2.0", "latest"])]
          yield* put(stores, "a", one)
          yield* put(stores, "a", two)
          assert.deepEqual(yield* tagsOf(stores, "a"), ["1.0", "2.0", "latest"])
          assert.strictEqual(yield* resolve(stores, "a", "1.0"), one.digest)
          assert.strictEqual(yield* resolve(stores, "a", "latest"), two.digest)
        }))
      test("keeps the tags of a manifest that comes again", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1.0"])
          yield* put(stores, "a", one)
          yield* put(stores, "a", { ...one, tags: [] })
          yield* put(stores, "a", { ...one, tags: ["1"] })
          assert.deepEqual(yield* tagsOf(stores, "a"), ["1", "1.0"])
          assert.deepEqual(yield* stores.manifests.list("a"), [one.digest])
        }))
      test("takes the last media type of a manifest that comes again", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one")
          yield* put(stores, "a", one)
          yield* put(stores, "a", { ...one, mediaType: MediaType.dockerManifest })
          const found = Option.getOrThrow(yield* stores.manifests.describe("a", one.digest))
          assert.strictEqual(found.mediaType, MediaType.dockerManifest)
        }))
      test("takes an index, with children that are there and ones that are not", (stores) =>
        Effect.gen(function* () {
          const child = manifest("child")
          const index = manifest("index", ["all"], { mediaType: MediaType.ociIndex, children: [child.digest, unknown] })
          yield* put(stores, "a", child, index)
          assert.strictEqual(yield* resolve(stores, "a", "all"), index.digest)
          assert.deepEqual([...(yield* stores.manifests.list("a"))].sort(), [child.digest, index.digest].sort())
          yield* remove(stores, "a", child.digest)
          assert.deepEqual(
            [yield* has(stores, "a", child.digest), yield* has(stores, "a", index.digest)],
            [false, true]
          )
        }))
      test("makes it a blob of the repository too", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1"])
          yield* put(stores, "a", one)
          const blob = Option.getOrThrow(yield* stores.blobs.find("a", one.digest))
          const { bytes } = yield* collect(blob.open(0, blob.size - 1))
          assert.deepEqual(bytes, Uint8Array.from(one.bytes))
          assert.deepEqual(
            (yield* stores.blobs.list("a")).map(({ digest, size }) => ({ digest, size })),
            [{ digest: one.digest, size: one.bytes.length }]
          )
          assert.deepEqual(yield* stores.blobs.repositories, ["a"])
        }))
      test("is as good where a blob of that digest was pushed before", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1"])
          yield* push(stores.blobs, "a", one.bytes)
          yield* put(stores, "a", one)
          const stored = Option.getOrThrow(yield* stores.manifests.read("a", one.digest))
          assert.strictEqual(stored.size, one.bytes.length)
        }))
    })

    describe("remove", () => {
      test("takes the manifest and every tag that names it, and no other", (stores) =>
        Effect.gen(function* () {
          const [one, two] = [manifest("one", ["1.0", "1", "latest"]), manifest("two", ["2.0", "2"])]
          yield* put(stores, "a", one, two)
          yield* put(stores, "b", one)
          assert.isTrue(yield* remove(stores, "a", one.digest))
          assert.isFalse(yield* has(stores, "a", one.digest))
          assert.deepEqual(yield* tagsOf(stores, "a"), ["2", "2.0"])
          assert.isUndefined(yield* resolve(stores, "a", "latest"))
          assert.isFalse(yield* remove(stores, "a", one.digest))
          assert.isFalse(yield* remove(stores, "nowhere", one.digest))
          assert.strictEqual(yield* resolve(stores, "b", "latest"), one.digest)
          yield* put(stores, "a", { ...one, tags: [] })
          assert.deepEqual(yield* tagsOf(stores, "a"), ["2", "2.0"])
        }))
      test("takes its entry among the referrers of its subject", (stores) =>
        Effect.gen(function* () {
          const [one, two] = [referrer("one", unknown), referrer("two", unknown)]
          yield* put(stores, "a", one, two)
          yield* remove(stores, "a", one.digest)
          assert.deepEqual(yield* stores.manifests.referrers("a", unknown), [two.refersTo.as])
        }))
      test("leaves one that was pushed or asked for since the time given", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1"])
          yield* put(stores, "a", one)
          const before = Date.now() - 3_600_000
          assert.isFalse(yield* stores.manifests.change("a", (edit) => edit.remove(one.digest, before)))
          assert.strictEqual(yield* resolve(stores, "a", "1"), one.digest)
          const after = Date.now() + 3_600_000
          assert.isTrue(yield* stores.manifests.change("a", (edit) => edit.remove(one.digest, after)))
          assert.isFalse(yield* has(stores, "a", one.digest))
          assert.deepEqual(yield* tagsOf(stores, "a"), [])
        }))
      test("leaves its bytes as a blob, which another manifest may name", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1"])
          yield* put(stores, "a", one)
          yield* remove(stores, "a", one.digest)
          const blob = Option.getOrThrow(yield* stores.blobs.find("a", one.digest))
          const { bytes } = yield* collect(blob.open(0, blob.size - 1))
          assert.deepEqual(bytes, Uint8Array.from(one.bytes))
          assert.isTrue(Option.isNone(yield* stores.manifests.read("a", one.digest)))
          assert.deepEqual(yield* stores.manifests.repositories, [])
          yield* put(stores, "a", one)
          assert.isTrue(yield* has(stores, "a", one.digest))
        }))
      test("takes its bytes along with a time, for a collection knows that nothing names them", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1"])
          yield* put(stores, "a", one)
          yield* stores.manifests.change("a", (edit) => edit.remove(one.digest, Date.now() + 3_600_000))
          assert.isTrue(Option.isNone(yield* stores.blobs.find("a", one.digest)))
        }))
      test("does not touch a blob that is no manifest", (stores) =>
        Effect.gen(function* () {
          const digest = yield* push(stores.blobs, "a", bytesOf("layer"))
          assert.isFalse(yield* remove(stores, "a", digest))
          assert.isTrue(Option.isSome(yield* stores.blobs.find("a", digest)))
        }))
    })

    describe("untag", () => {
      test("takes a tag and nothing else", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1.0", "latest"])
          yield* put(stores, "a", one)
          assert.isTrue(yield* untag(stores, "a", "latest"))
          assert.deepEqual(yield* tagsOf(stores, "a"), ["1.0"])
          assert.isTrue(yield* has(stores, "a", one.digest))
          assert.isFalse(yield* untag(stores, "a", "latest"))
          assert.isFalse(yield* untag(stores, "nowhere", "latest"))
          yield* untag(stores, "a", "1.0")
          assert.deepEqual(yield* tagsOf(stores, "a"), [])
          assert.isTrue(yield* has(stores, "a", one.digest))
        }))
    })

    describe("change", () => {
      test("gives what the function gives, and fails as it fails", ({ manifests }) =>
        Effect.gen(function* () {
          assert.strictEqual(yield* manifests.change("a", () => Effect.succeed(7)), 7)
          assert.strictEqual(yield* Effect.flip(manifests.change("a", () => Effect.fail("no"))), "no")
          assert.strictEqual(yield* manifests.change("a", () => Effect.succeed("still free")), "still free")
        }))
      test("is exclusive: what it has seen holds until it is done", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1"])
          const [entered, proceed] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          yield* put(stores, "a", one)
          const changing = yield* Effect.fork(
            stores.manifests.change("a", () =>
              Effect.gen(function* () {
                yield* Deferred.succeed(entered, undefined)
                yield* Deferred.await(proceed)
                return yield* resolve(stores, "a", "1")
              })
            )
          )
          yield* Deferred.await(entered)
          const others = yield* Effect.forEach(
            [untag(stores, "a", "1"), remove(stores, "a", one.digest), put(stores, "a", manifest("two", ["1"]))],
            (other) => Effect.fork(other)
          )
          yield* put(stores, "a/b", manifest("elsewhere", ["1"]))
          yield* Effect.sleep("20 millis")
          yield* Deferred.succeed(proceed, undefined)
          assert.strictEqual(yield* Fiber.join(changing), one.digest)
          yield* Effect.forEach(others, (fiber) => Fiber.join(fiber))
        }))
      test("lets the next one in after an interruption", (stores) =>
        Effect.gen(function* () {
          const entered = yield* Deferred.make<void>()
          const hanging = yield* Effect.fork(
            stores.manifests.change("a", () => Effect.zipRight(Deferred.succeed(entered, undefined), Effect.never))
          )
          yield* Deferred.await(entered)
          yield* Fiber.interrupt(hanging)
          yield* put(stores, "a", manifest("one", ["1"])).pipe(Effect.timeout("2 seconds"))
          assert.deepEqual(yield* tagsOf(stores, "a"), ["1"])
        }))
      test("stands many at once: no manifest or tag is lost, and a tag names one that was put", (stores) =>
        Effect.gen(function* () {
          const all = Array.from({ length: 30 }, (_, n) => manifest(`${n}`, [`t${n}`, "latest"]))
          yield* Effect.forEach(all, (each) => put(stores, "a", each), { concurrency: "unbounded" })
          assert.strictEqual((yield* stores.manifests.list("a")).length, 30)
          for (const { digest, tags } of all) assert.strictEqual(yield* resolve(stores, "a", tags[0] ?? ""), digest)
          const latest = yield* resolve(stores, "a", "latest")
          assert.isTrue(all.some(({ digest }) => digest === latest))
        }))
      test("never leaves a tag that names what was removed at the same time", (stores) =>
        Effect.gen(function* () {
          const one = manifest("one", ["1"])
          for (let round = 0; round < 20; round++) {
            const both = [put(stores, "a", one), remove(stores, "a", one.digest)]
            yield* Effect.all(round % 2 === 0 ? both : both.reverse(), { concurrency: 2 })
            const tagged = (yield* resolve(stores, "a", "1")) !== undefined
            assert.strictEqual(tagged, yield* has(stores, "a", one.digest))
          }
        }))
    })

    describe("list", () => {
      test("has all manifests of a repository, and no blobs", (stores) =>
        Effect.gen(function* () {
          const all = [manifest("one", ["1"]), manifest("two"), referrer("three", unknown)]
          yield* put(stores, "a", ...all)
          yield* put(stores, "a/b", manifest("other"))
          yield* push(stores.blobs, "a", bytesOf("layer"))
          assert.deepEqual([...(yield* stores.manifests.list("a"))].sort(), all.map(({ digest }) => digest).sort())
          assert.deepEqual(yield* stores.manifests.list("nowhere"), [])
        }))
    })

    describe("tags", () => {
      test("are sorted by code unit", (stores) =>
        Effect.gen(function* () {
          const names = ["b", "B", "a.1", "a-1", "a_1", "a", "10", "9", "1.10", "1.9", "Z", "_x", "A"]
          yield* put(stores, "a", manifest("one", names))
          const expected = ["1.10", "1.9", "10", "9", "A", "B", "Z", "_x", "a", "a-1", "a.1", "a_1", "b"]
          assert.deepEqual(yield* tagsOf(stores, "a"), expected)
          yield* put(stores, "b", manifest("two", ["a".repeat(128), "nested"]))
          assert.deepEqual(yield* tagsOf(stores, "b"), ["a".repeat(128), "nested"])
        }))
      test("are none where there is no such repository, and empty where nothing is tagged", (stores) =>
        Effect.gen(function* () {
          yield* put(stores, "team/app", manifest("one"))
          yield* push(stores.blobs, "blobs/only", bytesOf("x"))
          assert.deepEqual(yield* tagsOf(stores, "team/app"), [])
          assert.deepEqual(yield* tagsOf(stores, "blobs/only"), [])
          for (const other of ["team", "team/app/more", "nowhere"]) assert.isUndefined(yield* tagsOf(stores, other))
        }))
      test("differ by case", (stores) =>
        Effect.gen(function* () {
          const [lower, upper] = [manifest("lower", ["tag"]), manifest("upper", ["TAG"])]
          yield* put(stores, "a", lower, upper)
          assert.strictEqual(yield* resolve(stores, "a", "tag"), lower.digest)
          assert.strictEqual(yield* resolve(stores, "a", "TAG"), upper.digest)
          assert.isUndefined(yield* resolve(stores, "a", "Tag"))
        }))
    })

    describe("repositories", () => {
      test("are those that hold a manifest, sorted by code unit", (stores) =>
        Effect.gen(function* () {
          assert.deepEqual(yield* stores.manifests.repositories, [])
          const one = manifest("one", ["1"])
          const names = ["b", "a/b", "a", "a-b", "a/b/c", "a0", "a.b", "a_b", "b/blobs", "b/tags", "b/manifests/x"]
          for (const each of names) yield* put(stores, each, one)
          yield* push(stores.blobs, "blobs-only", bytesOf("x"))
          yield* put(stores, "gone", one)
          yield* remove(stores, "gone", one.digest)
          const expected = ["a", "a-b", "a.b", "a/b", "a/b/c", "a0", "a_b", "b", "b/blobs", "b/manifests/x", "b/tags"]
          assert.deepEqual(yield* stores.manifests.repositories, expected)
          for (const each of names) assert.deepEqual(yield* tagsOf(stores, each), ["1"], each)
        }))
    })

    describe("referrers", () => {
      test("are sorted by digest and as they were put", (stores) =>
        Effect.gen(function* () {
          const all = Array.from({ length: 12 }, (_, n) => referrer(`${n}`, unknown))
          yield* put(stores, "a", ...all, referrer("of another", digestOf("another")))
          yield* put(stores, "b", referrer("elsewhere", unknown))
          const expected = all
            .map(({ refersTo }) => refersTo.as)
            .sort((a, b) => ((a?.digest ?? "") < (b?.digest ?? "") ? -1 : 1))
          assert.deepEqual(yield* stores.manifests.referrers("a", unknown), expected)
        }))
      test("need no subject that is there, and outlive it", (stores) =>
        Effect.gen(function* () {
          const subject = manifest("subject", ["1"])
          const refers = referrer("signature", subject.digest)
          yield* put(stores, "a", refers)
          const expected = [refers.refersTo.as]
          assert.deepEqual(yield* stores.manifests.referrers("a", subject.digest), expected)
          yield* put(stores, "a", subject)
          yield* remove(stores, "a", subject.digest)
          assert.deepEqual(yield* stores.manifests.referrers("a", subject.digest), expected)
        }))
      test("are none where nothing refers, and once where it was put twice", (stores) =>
        Effect.gen(function* () {
          assert.deepEqual(yield* stores.manifests.referrers("nowhere", unknown), [])
          const refers = referrer("signature", unknown)
          yield* put(stores, "a", refers, refers)
          assert.strictEqual((yield* stores.manifests.referrers("a", unknown)).length, 1)
          assert.deepEqual(yield* stores.manifests.referrers("a", refers.digest), [])
        }))
    })

    describe("restart", () => {
      it.scopedLive("has everything that was put, where there is something to start from", (context) =>
        Effect.gen(function* () {
          const { restart, ...before } = yield* open()
          if (restart === undefined) return context.skip()
          const one = manifest("one", ["1.0", "latest"])
          const refers = referrer("signature", one.digest)
          yield* put(before, "team/app", one, refers, manifest("gone", ["gone"]))
          yield* remove(before, "team/app", manifest("gone").digest)
          const stores = yield* restart
          assert.deepEqual(yield* tagsOf(stores, "team/app"), ["1.0", "latest"])
          assert.strictEqual(yield* resolve(stores, "team/app", "latest"), one.digest)
          const stored = Option.getOrThrow(yield* stores.manifests.read("team/app", one.digest))
          assert.deepEqual([...stored.bytes], [...one.bytes])
          assert.deepEqual(yield* stores.manifests.referrers("team/app", one.digest), [refers.refersTo.as])
          assert.strictEqual((yield* stores.manifests.list("team/app")).length, 2)
          assert.deepEqual(yield* stores.manifests.repositories, ["team/app"])
        })
      )
    })
  })
}
