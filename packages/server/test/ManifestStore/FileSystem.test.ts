/** What only the backend in a folder has: files that are damaged or left over, what is remembered, and index.json. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type Digest, MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as FileSystem from "../../src/ManifestStore/FileSystem.js"
import type { Put } from "../../src/ManifestStore.js"
import type { StorageError } from "../../src/StorageError.js"
import * as Files from "../../src/storage/Files.js"
import * as Layout from "../../src/storage/Layout.js"
import * as Root from "../../src/storage/Root.js"
import { bytesOf, digestOf } from "../support.js"

const manifest = (text: string, more: Partial<Put> = {}): Put => {
  const bytes = bytesOf(JSON.stringify({ schemaVersion: 2, text }))
  const digest = digestOf(bytes)
  return { mediaType: MediaType.ociManifest, bytes, tags: [], children: [], refersTo: undefined, ...more, digest }
}

const referring = (text: string, subject: Digest.Digest): Put => {
  const { bytes, digest, mediaType, ...rest } = manifest(text)
  return { ...rest, bytes, digest, mediaType, refersTo: { subject, as: { mediaType, digest, size: bytes.length } } }
}

const folder = Effect.gen(function* () {
  const root = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "manifests-test-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const layout = Layout.make(root)
  yield* Effect.orDie(Root.prepare(layout))
  const real = Files.make(layout.tmp, true)
  /** Folders that end so cannot be forced to the disk. */
  const broken = new Set<string>()
  /** Done before a new file is forced to the disk, and so before it has its name. */
  const before: { run: Effect.Effect<unknown> } = { run: Effect.void }
  const files: Files.Files = {
    ...real,
    sync: (path) =>
      path.startsWith(layout.tmp) ? Effect.runPromise(before.run).then(() => real.sync(path)) : real.sync(path),
    syncFolder: (path) =>
      [...broken].some((end) => path.endsWith(end)) ? Promise.reject(new Error("no disk")) : real.syncFolder(path)
  }
  const open = Effect.map(FileSystem.make({ layout, files }), (store) => ({
    store,
    put: (...all: ReadonlyArray<Put>) =>
      store.change("app", (edit) => Effect.forEach(all, edit.put, { discard: true })),
    remove: (digest: Digest.Digest) => store.change("app", (edit) => edit.remove(digest)),
    untag: (tag: string) => store.change("app", (edit) => edit.untag(tag)),
    resolve: (tag: string) => Effect.map(store.resolve("app", tag), Option.getOrUndefined),
    text: (digest: Digest.Digest) =>
      Effect.map(store.read("app", digest), (found) =>
        Option.getOrUndefined(Option.map(found, ({ bytes }) => Buffer.from(bytes).toString()))
      )
  }))
  return { layout, open, broken, before }
})

const textOf = ({ bytes }: Put) => Buffer.from(bytes).toString()

const entriesOf = (layout: Layout.Layout): ReadonlyArray<readonly [string | undefined, string]> => {
  const index: {
    readonly manifests: ReadonlyArray<{ readonly digest: string; readonly annotations?: Record<string, string> }>
  } = JSON.parse(readFileSync(layout.index("app"), "utf8"))
  return index.manifests.map(({ annotations, digest }) => [annotations?.["org.opencontainers.image.ref.name"], digest])
}

const eventually = (condition: () => boolean) =>
  Effect.promise(async () => {
    for (let tries = 0; tries < 1000 && !condition(); tries++) await new Promise((resolve) => setTimeout(resolve, 10))
    assert.isTrue(condition())
  })

describe("FileSystem", () => {
  describe("files that make no sense", () => {
    it.scopedLive("a manifest whose marker is torn fails alone, and is whole again when it is pushed again", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const [one, two] = [manifest("one", { tags: ["a"] }), manifest("two", { tags: ["b"] })]
        yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(one, two)))
        writeFileSync(layout.manifest("app", one.digest), '{"mediaType":"appl')
        const { put, resolve, store, text } = yield* open
        const readings = [store.describe("app", one.digest), text(one.digest), resolve("a")].map((reading) =>
          Effect.asVoid<unknown, StorageError, never>(reading)
        )
        for (const reading of readings) {
          const error = yield* Effect.flip(reading)
          assert.strictEqual(error._tag, "StorageError")
          assert.include(error.message, `${layout.manifest("app", one.digest)} makes no sense`)
        }
        assert.strictEqual(yield* text(two.digest), textOf(two))
        assert.deepStrictEqual(Option.getOrUndefined(yield* store.tags("app")), ["a", "b"])
        yield* put(one)
        assert.strictEqual(yield* resolve("a"), one.digest)
        assert.strictEqual(yield* text(one.digest), textOf(one))
      })
    )

    it.scopedLive("can be removed", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const one = manifest("one", { tags: ["a"] })
        yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(one)))
        writeFileSync(layout.manifest("app", one.digest), "")
        const { remove, resolve, store } = yield* open
        assert.isTrue(yield* remove(one.digest))
        assert.isTrue(Option.isNone(yield* store.describe("app", one.digest)))
        assert.isUndefined(yield* resolve("a"))
      })
    )

    it.scopedLive("a tag that is torn fails alone, and can be set again or removed", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const one = manifest("one", { tags: ["a", "b", "c"] })
        yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(one)))
        for (const tag of ["a", "b"]) writeFileSync(layout.tag("app", tag), "sha256:12")
        const { put, resolve, untag } = yield* open
        assert.include((yield* Effect.flip(resolve("a"))).message, `${layout.tag("app", "a")} makes no sense`)
        assert.strictEqual(yield* resolve("c"), one.digest)
        yield* put({ ...one, tags: ["a"] })
        assert.strictEqual(yield* resolve("a"), one.digest)
        assert.isTrue(yield* untag("b"))
        assert.isUndefined(yield* resolve("b"))
      })
    )

    it.scopedLive(
      "bytes that are not those of the digest are never served, and replaced by those that are pushed",
      () =>
        Effect.gen(function* () {
          const { layout, open } = yield* folder
          const one = manifest("one")
          yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(one)))
          writeFileSync(layout.blob("app", one.digest), textOf(one).replace("one", "two"))
          const { put, text } = yield* open
          assert.include((yield* Effect.flip(text(one.digest))).message, "has another digest")
          yield* put(one)
          assert.strictEqual(yield* text(one.digest), textOf(one))
          for (const path of [layout.blob("app", one.digest), layout.content(one.digest)]) {
            assert.strictEqual(readFileSync(path, "utf8"), textOf(one))
          }
        })
    )

    it.scopedLive("files of others among the tags are none", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(manifest("one", { tags: ["a"] }))))
        writeFileSync(layout.tag("app", ".a.swp"), "")
        const { store } = yield* open
        assert.deepStrictEqual(Option.getOrUndefined(yield* store.tags("app")), ["a"])
      })
    )
  })

  describe("what a killed process leaves", () => {
    it.scopedLive("a referrer whose manifest is not there is not listed, until it is pushed again", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const subject = digestOf("subject")
        const one = referring("one", subject)
        yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(one)))
        rmSync(layout.manifest("app", one.digest))
        const { put, store } = yield* open
        assert.deepStrictEqual(yield* store.referrers("app", subject), [])
        yield* put(one)
        assert.deepStrictEqual(
          (yield* store.referrers("app", subject)).map(({ digest }) => digest),
          [one.digest]
        )
      })
    )

    it.scopedLive("a tag whose manifest is not there names nothing", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const one = manifest("one", { tags: ["a"] })
        yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(one)))
        rmSync(layout.manifest("app", one.digest))
        assert.isUndefined(yield* (yield* open).resolve("a"))
      })
    )
  })

  describe("what is remembered", () => {
    it.scopedLive("is as the files are, whatever is read while it changes", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const { put, remove, resolve, store, text, untag } = yield* open
        const all = [1, 2, 3, 4].map((n) => referring(`${n}`, digestOf("subject")))
        const first = all[0]?.digest ?? digestOf("")
        const readers = Effect.all(
          [
            resolve("a"),
            text(first),
            store.tags("app"),
            store.list("app"),
            store.referrers("app", digestOf("subject"))
          ],
          { concurrency: "unbounded", discard: true }
        )
        const isTrue = Effect.gen(function* () {
          const tags = existsSync(layout.tags("app")) ? readdirSync(layout.tags("app")).sort() : []
          const digests = readdirSync(layout.manifests("app", "sha256")).map((hex) => `sha256:${hex}`)
          assert.deepStrictEqual(Option.getOrUndefined(yield* store.tags("app")), tags)
          assert.sameMembers<string>([...(yield* store.list("app"))], digests)
          assert.sameMembers(
            (yield* store.referrers("app", digestOf("subject"))).map(({ digest }) => digest as string),
            digests
          )
          const named = tags.includes("a") ? readFileSync(layout.tag("app", "a"), "utf8") : undefined
          assert.strictEqual(yield* resolve("a"), named)
        })
        for (let round = 0; round < 15; round++) {
          const one = all[round % 4]
          if (one === undefined) return
          const changes = [put({ ...one, tags: ["a", `${round % 3}`] }), untag(`${round % 3}`), remove(one.digest)]
          for (const change of round % 4 === 3 ? changes : changes.slice(0, 1 + (round % 2))) {
            yield* Effect.all([readers, change, readers], { concurrency: "unbounded" })
            yield* isTrue
          }
        }
      })
    )

    it.scopedLive("serves what was read once without its files", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const one = manifest("one", { tags: ["a"] })
        const { put, resolve, text } = yield* open
        yield* put(one)
        rmSync(layout.repository("app"), { recursive: true })
        assert.strictEqual(yield* resolve("a"), one.digest)
        assert.strictEqual(yield* text(one.digest), textOf(one))
      })
    )

    it.scopedLive("does not keep what was read just before a change", () =>
      Effect.gen(function* () {
        const { before, open } = yield* folder
        const { put, resolve, store } = yield* open
        const subject = digestOf("subject")
        const [one, two] = [referring("one", subject), { ...referring("two", subject), tags: ["a"] }]
        yield* put({ ...one, tags: ["a"] })
        before.run = Effect.orDie(Effect.all([resolve("a"), store.referrers("app", subject), store.list("app")]))
        yield* put(two)
        assert.strictEqual(yield* resolve("a"), two.digest)
        assert.strictEqual((yield* store.referrers("app", subject)).length, 2)
        assert.sameMembers<string>([...(yield* store.list("app"))], [one.digest, two.digest])
      })
    )

    it.scopedLive("forgets a change that fails halfway", () =>
      Effect.gen(function* () {
        const { broken, layout, open } = yield* folder
        const { put, resolve, store } = yield* open
        const [one, two] = [manifest("one", { tags: ["a"] }), manifest("two", { tags: ["a", "b"] })]
        yield* put(one)
        assert.deepStrictEqual(Option.getOrUndefined(yield* store.tags("app")), ["a"])
        broken.add("_tags")
        assert.match((yield* Effect.flip(put(two))).message, /no disk/)
        assert.strictEqual(readFileSync(layout.tag("app", "a"), "utf8"), two.digest)
        assert.strictEqual(yield* resolve("a"), two.digest)
        assert.deepStrictEqual(Option.getOrUndefined(yield* store.tags("app")), ["a", "b"])
      })
    )
  })

  describe("remove with a time", () => {
    it.scopedLive("leaves the bytes to who pushes them as a blob meanwhile", () =>
      Effect.gen(function* () {
        const { layout } = yield* folder
        const one = manifest("one")
        const own = layout.blob("app", one.digest)
        const plain = Files.make(layout.tmp, false)
        const files: Files.Files = {
          ...plain,
          syncFolder: async (path) => {
            if (path === dirname(layout.manifest("app", one.digest)) && removes) utimesSync(own, new Date(), new Date())
            return plain.syncFolder(path)
          }
        }
        let removes = false
        const store = yield* FileSystem.make({ layout, files })
        yield* store.change("app", (edit) => edit.put(one))
        const before = new Date(Date.now() - 3_600_000)
        utimesSync(own, 0, 0)
        removes = true
        assert.isTrue(yield* store.change("app", (edit) => edit.remove(one.digest, before.getTime())))
        assert.isTrue(Option.isNone(yield* store.describe("app", one.digest)))
        assert.strictEqual(readFileSync(own, "utf8"), textOf(one))
        assert.deepStrictEqual(readdirSync(layout.tmp), [])
      })
    )
  })

  describe("index.json", () => {
    it.scopedLive("follows what is put and removed", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const { put, remove, untag } = yield* open
        const [one, two] = [manifest("one", { tags: ["a", "b"] }), manifest("two")]
        const parent = manifest("parent", { mediaType: MediaType.ociIndex, tags: ["p"], children: [two.digest] })
        const is = (...entries: ReadonlyArray<readonly [string | undefined, string]>) =>
          eventually(
            () => existsSync(layout.index("app")) && JSON.stringify(entriesOf(layout)) === JSON.stringify(entries)
          )
        yield* put(one, two)
        yield* is(["a", one.digest], ["b", one.digest], [undefined, two.digest])
        yield* put(parent)
        yield* is(["a", one.digest], ["b", one.digest], ["p", parent.digest])
        yield* untag("a")
        yield* remove(parent.digest)
        yield* is(["b", one.digest], [undefined, two.digest])
      })
    )

    it.scopedLive("is there when the store is closed, and made anew at a start where it is stale", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const [one, two] = [manifest("one", { tags: ["a"] }), manifest("two", { tags: ["b"] })]
        yield* Effect.scoped(Effect.flatMap(open, ({ put }) => put(one, two)))
        const whole = entriesOf(layout)
        assert.deepStrictEqual(whole, [
          ["a", one.digest],
          ["b", two.digest]
        ])
        rmSync(layout.tag("app", "b"))
        yield* open
        yield* eventually(() => entriesOf(layout).length === 2 && entriesOf(layout)[1]?.[0] === undefined)
      })
    )

    it.scopedLive("is left alone at a start where nothing changed", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const { put } = yield* open
        yield* put(manifest("one", { tags: ["a"] }))
        yield* eventually(() => existsSync(layout.index("app")))
        const { ino } = statSync(layout.index("app"))
        yield* Effect.scoped(Effect.zipRight(open, Effect.sleep("400 millis")))
        assert.strictEqual(statSync(layout.index("app")).ino, ino)
      })
    )
  })

  describe("repositories", () => {
    it.scopedLive("are found below each other, and those that hold nothing any more are none", () =>
      Effect.gen(function* () {
        const { layout, open } = yield* folder
        const names = ["a", "a/b", "a/b/c", "d/e"]
        const one = manifest("one", { tags: ["1"] })
        yield* Effect.scoped(
          Effect.flatMap(open, ({ store }) =>
            Effect.forEach([...names, "gone"], (name) => store.change(name, (edit) => edit.put(one)))
          )
        )
        mkdirSync(join(dirname(layout.repository("a")), "empty"))
        const { store } = yield* open
        yield* store.change("gone", (edit) => edit.remove(one.digest))
        assert.deepStrictEqual(yield* store.repositories, names)
        yield* store.change("b", (edit) => edit.put(one))
        yield* store.change("a", (edit) => edit.remove(one.digest))
        assert.deepStrictEqual(yield* store.repositories, ["a/b", "a/b/c", "b", "d/e"])
      })
    )
  })
})
