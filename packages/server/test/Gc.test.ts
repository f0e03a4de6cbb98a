import { assert, describe, it } from "@effect/vitest"
import { type Digest, Progress } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { StorageError } from "../src/StorageError.js"
import { collect, heldBy, hour, later, manifestOf, naming, now, put } from "./Gc/support.js"
import { all, memory, type Opened, type Stores } from "./suites/Backends.js"
import { bodyOf, push } from "./suites/BlobStoreSuite.js"
import { bytesOf } from "./support.js"

const blob = ({ blobs }: Stores, repository: string, text: string, algorithm?: Digest.Algorithm) =>
  push(blobs, repository, bytesOf(text), algorithm)

const sorted = (...digests: ReadonlyArray<Digest.Digest>) => [...digests].sort()

/** Somebody does something at the moment when the repository is about to be changed. */
const interfering = (stores: Stores, meanwhile: Effect.Effect<unknown, StorageError>): Stores => {
  let once = Effect.asVoid(meanwhile)
  return {
    ...stores,
    manifests: {
      ...stores.manifests,
      change: (repository, f) =>
        Effect.suspend(() => {
          const first = Effect.orDie(once)
          once = Effect.void
          return Effect.zipRight(first, stores.manifests.change(repository, f))
        })
    }
  }
}

for (const { name, open } of all) {
  const test = (title: string, run: (stores: Opened) => Effect.Effect<unknown, unknown>) =>
    it.scoped(title, () => now.pipe(Effect.zipRight(open()), Effect.flatMap(run)))

  describe(`Gc over ${name}`, () => {
    describe("collect", () => {
      test("keeps what a push has sent for an hour, and for the time given", (stores) =>
        Effect.gen(function* () {
          const digest = yield* blob(stores, "a", "layer")
          yield* later(0.9 * hour)
          assert.strictEqual((yield* collect(stores)).removedCount, 0)
          assert.strictEqual((yield* collect(stores, { grace: "2 hours" })).removedCount, 0)
          // Ten minutes of use need not be recorded.
          yield* later(1.1 * hour)
          assert.strictEqual((yield* collect(stores)).removedCount, 0)
          yield* later(1.2 * hour)
          assert.strictEqual((yield* collect(stores, { grace: "2 hours" })).removedCount, 0)
          const { blobs, bytes, removed, repositories } = yield* collect(stores)
          assert.deepEqual(removed, [{ repository: "a", kind: "blob", digest, size: 5 }])
          assert.deepEqual({ blobs, bytes, repositories }, { blobs: 1, bytes: 5, repositories: 1 })
        }))

      test("changes nothing in a dry run", (stores) =>
        Effect.gen(function* () {
          const digest = yield* blob(stores, "a", "layer")
          yield* stores.blobs.startUpload("a", "sha256")
          yield* later(48 * hour)
          const would = yield* collect(stores, { dryRun: true })
          assert.deepEqual([would.blobs, would.bytes, would.uploads, would.removedCount], [1, 5, 1, 2])
          assert.deepEqual(yield* heldBy(stores, "a"), [digest])
          assert.deepEqual(yield* collect(stores), would)
        }))

      test("keeps whatever a manifest of any type names in any way", (stores) =>
        Effect.gen(function* () {
          const named: Array<Digest.Digest> = []
          for (const n of [1, 2, 3, 4, 5, 6, 7]) {
            named.push(yield* blob(stores, "a", `named ${n}`, n === 2 ? "sha512" : "sha256"))
          }
          const [plain, long, key, escaped, repeated, inline, inner] = named
          const hidden = escaped?.replace("sha", "\\u0073ha")
          const data = Buffer.from(JSON.stringify({ data: Buffer.from(`["${inner}"]`).toString("base64"), x: inline }))
          const text = `{"a":["${plain}",{"${long}":1}],"${key}":0,"b":"${hidden}","c":"${repeated}","c":"","data":"${data.toString("base64")}"}`
          const manifest = manifestOf(text, { mediaType: "application/vnd.unheard-of" })
          yield* put(stores, "a", manifest)
          const other = yield* blob(stores, "a", "not named")
          yield* later(2 * hour)
          assert.deepEqual(
            (yield* collect(stores)).removed.map((entry) => entry.kind !== "upload" && entry.digest),
            [other]
          )
          assert.deepEqual(yield* heldBy(stores, "a"), sorted(...named, manifest.digest))
        }))

      test("keeps a manifest's blobs, and a manifest that another one names as a layer", (stores) =>
        Effect.gen(function* () {
          const layer = yield* blob(stores, "a", "layer")
          const inner = naming([layer])
          const outer = naming([inner.digest], { tags: ["1"] })
          yield* put(stores, "a", inner, outer)
          yield* later(2 * hour)
          assert.strictEqual((yield* collect(stores, { untagged: true })).removedCount, 0)
        }))

      test("leaves all of a repository alone where a manifest cannot be understood, says so, and cleans the others", (stores) =>
        Effect.gen(function* () {
          for (const repository of ["a", "b"]) yield* blob(stores, repository, "loose")
          const strange = manifestOf("\u0000 no JSON")
          yield* put(stores, "a", strange, naming([]))
          yield* later(2 * hour)
          const { blobs, kept, removed } = yield* collect(stores, { untagged: true })
          assert.deepEqual(kept, [
            {
              repository: "a",
              digest: strange.digest,
              why: "what this manifest names cannot be read, so everything stays"
            }
          ])
          assert.deepEqual([removed.map(({ repository }) => repository), blobs], [["b"], 0])
          assert.strictEqual((yield* heldBy(stores, "a")).length, 3)
        }))

      test("frees nothing that another repository holds", (stores) =>
        Effect.gen(function* () {
          const layer = yield* blob(stores, "a", "layer")
          yield* stores.blobs.mount("b", layer, "a")
          yield* put(stores, "b", naming([layer]))
          yield* later(2 * hour)
          const would = yield* collect(stores, { dryRun: true })
          assert.deepEqual([would.blobs, would.bytes, would.removedCount], [0, 0, 1])
          assert.deepEqual(yield* collect(stores), would)
          assert.include(yield* heldBy(stores, "b"), layer)
          yield* stores.manifests.change("b", (edit) => edit.remove(naming([layer]).digest))
          const { blobs, bytes } = yield* collect(stores)
          assert.deepEqual({ blobs, bytes }, { blobs: 2, bytes: 5 + naming([layer]).bytes.length })
        }))

      test("keeps every manifest unless told otherwise; then those that a tag leads to", (stores) =>
        Effect.gen(function* () {
          const [child, lone] = [naming([yield* blob(stores, "a", "one")]), naming([yield* blob(stores, "a", "two")])]
          const index = naming([child.digest], { tags: ["1"] })
          const signature = naming([], { subject: child.digest, mediaType: "text/signature" })
          const signed = naming([], { subject: lone.digest, tags: ["signature"] })
          const loneChild = naming([yield* blob(stores, "a", "three")], { mediaType: "text/x" })
          const loneIndex = naming([loneChild.digest])
          yield* put(stores, "a", child, lone, index, signature, loneChild, loneIndex)
          yield* later(2 * hour)
          assert.strictEqual((yield* collect(stores)).removedCount, 0)
          const first = yield* collect(stores, { untagged: true })
          const order = first.removed.map((entry) => (entry.kind === "upload" ? entry.id : entry.digest))
          assert.isBelow(
            order.indexOf(loneIndex.digest),
            order.indexOf(loneChild.digest),
            "an index goes before its child"
          )
          assert.strictEqual(first.manifests, 3)
          yield* put(stores, "a", lone, signed)
          yield* later(2 * hour)
          assert.strictEqual((yield* collect(stores, { untagged: true })).manifests, 0, "a signature keeps its image")
          const left = [child, index, signature, signed, lone].map(({ digest }) => digest)
          const manifests = yield* stores.manifests.list("a")
          assert.deepEqual([...manifests].sort(), sorted(...left))
        }))

      it.scopedLive("keeps what came to be named or tagged after it looked, and what that leads to", () =>
        Effect.gen(function* () {
          const stores = yield* open()
          const layer = yield* blob(stores, "a", "layer")
          const image = naming([layer], { tags: ["1"] })
          yield* Effect.sleep(20)
          const named = yield* collect(interfering(stores, put(stores, "a", image)), { grace: 0 })
          assert.deepEqual([named.removedCount, yield* heldBy(stores, "a")], [0, sorted(layer, image.digest)])

          const child = naming([], { mediaType: "text/child" })
          const index = naming([child.digest], { mediaType: "text/index" })
          const parent = naming([child.digest, child.digest], { mediaType: "text/parent", tags: ["3"] })
          const signature = naming([], { subject: index.digest, mediaType: "text/signature" })
          const dead = manifestOf("[]")
          yield* put(stores, "a", child, index, signature, dead)
          yield* Effect.sleep(20)
          yield* collect(interfering(stores, put(stores, "a", { ...index, tags: ["2"] })), { grace: 0, untagged: true })
          const after = (...puts: ReadonlyArray<{ readonly digest: Digest.Digest }>) =>
            Effect.map(stores.manifests.list("a"), (left) =>
              assert.deepEqual([...left].sort(), sorted(image.digest, ...puts.map(({ digest }) => digest)))
            )
          yield* after(child, index, signature)
          yield* stores.manifests.change("a", (edit) => edit.untag("2"))
          yield* Effect.sleep(20)
          yield* collect(interfering(stores, put(stores, "a", parent)), { grace: 0, untagged: true })
          yield* after(child, parent)
        })
      )

      test("goes on where a repository cannot be read, and tells of it", (stores) =>
        Effect.gen(function* () {
          for (const repository of ["a", "b"]) yield* blob(stores, repository, repository)
          yield* later(2 * hour)
          const broken = new StorageError({ operation: "list manifests", cause: new Error("disk is on fire") })
          const list: typeof stores.manifests.list = (repository) =>
            repository === "a" ? Effect.fail(broken) : stores.manifests.list(repository)
          const { kept, removed } = yield* collect({ ...stores, manifests: { ...stores.manifests, list } })
          assert.deepEqual(kept, [{ repository: "a", digest: undefined, why: "list manifests: disk is on fire" }])
          assert.deepEqual(
            removed.map(({ repository }) => repository),
            ["b"]
          )
        }))

      test("removes uploads that got no byte for a day, or the time given", (stores) =>
        Effect.gen(function* () {
          const { id } = yield* stores.blobs.startUpload("a", "sha256")
          yield* stores.blobs.append("a", id, bodyOf(bytesOf("some")), undefined)
          yield* later(23 * hour)
          assert.strictEqual((yield* collect(stores)).uploads, 0)
          assert.strictEqual((yield* collect(stores, { dryRun: true, uploadExpiry: "1 hour" })).uploads, 1)
          yield* later(25 * hour)
          const { bytes, removed, uploads } = yield* collect(stores)
          assert.deepEqual([uploads, bytes, removed], [1, 4, [{ kind: "upload", repository: "a", id, size: 4 }]])
          assert.deepEqual(yield* stores.blobs.uploads, [])
        }))
    })
  })
}

describe("Gc", () => {
  describe("collect", () => {
    it.scoped("keeps an untagged manifest that was asked for, and all that it leads to", () =>
      Effect.gen(function* () {
        yield* now
        const stores = yield* memory.open()
        const layer = yield* blob(stores, "a", "layer")
        const child = naming([layer])
        const index = naming([child.digest])
        yield* put(stores, "a", child, index)
        yield* later(2 * hour)
        const asks = stores.manifests.describe("a", index.digest)
        assert.strictEqual((yield* collect(interfering(stores, asks), { untagged: true })).removedCount, 0)
        assert.strictEqual((yield* collect(stores, { untagged: true })).removedCount, 0)
        yield* later(4 * hour)
        assert.strictEqual((yield* collect(stores, { untagged: true })).removedCount, 3)
      })
    )

    it.scoped("keeps a blob that somebody was told about while it ran", () =>
      Effect.gen(function* () {
        yield* now
        const stores = yield* memory.open()
        const layer = yield* blob(stores, "a", "layer")
        yield* later(2 * hour)
        const asks = stores.blobs.find("a", layer)
        assert.strictEqual((yield* collect(interfering(stores, asks))).removedCount, 0)
        assert.deepEqual(yield* heldBy(stores, "a"), [layer])
      })
    )

    it.scoped("lists a thousand of what it removes, and counts the rest", () =>
      Effect.gen(function* () {
        yield* now
        const stores = yield* memory.open()
        for (let n = 0; n < 1100; n++)
          yield* put(stores, "a", naming([], { mediaType: `text/${n}` }), manifestOf(`[${n}]`))
        yield* later(2 * hour)
        const told: Array<string> = []
        const { manifests, removed, removedCount } = yield* Effect.provideService(
          collect(stores, { untagged: true }),
          Progress.Progress,
          { emit: (event) => event._tag === "Looking" && told.push(`${event.done} of ${event.total} ${event.what}`) }
        )
        assert.deepEqual([manifests, removed.length, removedCount], [1101, 1000, 1101])
        assert.deepEqual(told, ["0 of 1 repositories", "0 of 1101 manifests of a", "1000 of 1101 manifests of a"])
      })
    )
  })
})
