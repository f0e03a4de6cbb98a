import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Commit from "../../src/storage/Commit.js"
import * as Files from "../../src/storage/Files.js"

/** Files that say what was forced to the disk, and what was there at that moment. */
const setup = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "commit-test-"))),
    (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
  ),
  (root) => {
    const tmp = join(root, "tmp")
    mkdirSync(tmp)
    const real = Files.make(tmp, true)
    const synced: Array<string> = []
    const sync = async (path: string) => {
      synced.push(path.startsWith(tmp) ? "a new file" : path.slice(root.length + 1))
      await real.sync(path)
    }
    const files: Files.Files = { ...real, sync, syncFolder: sync }
    const commit = (...steps: ReadonlyArray<ReadonlyArray<Commit.Entry>>) =>
      Effect.tryPromise(() => Commit.commit(files, tmp, steps))
    return { root, tmp, files, synced, commit }
  }
)

describe("Commit", () => {
  describe("commit", () => {
    it.scoped("writes, replaces and links, making the folders that are missing", () =>
      Effect.gen(function* () {
        const { commit, root, tmp } = yield* setup
        const [content, own, tag] = [join(root, "blobs/1"), join(root, "app/blobs/1"), join(root, "app/tags/a")]
        yield* commit([Commit.write(content, "bytes"), Commit.link(content, own)], [Commit.write(tag, "one")])
        yield* commit([Commit.link(content, own)], [Commit.write(tag, "two")])
        assert.strictEqual(statSync(content).ino, statSync(own).ino)
        assert.strictEqual(readFileSync(tag, "utf8"), "two")
        assert.deepStrictEqual(readdirSync(tmp), [])
      })
    )

    it.scoped("has every file and folder of a step on the disk before the next appears", () =>
      Effect.gen(function* () {
        const { files, root, synced, tmp } = yield* setup
        const [marker, tag] = [join(root, "app/markers/m"), join(root, "app/tags/t")]
        const seen: Array<boolean> = []
        const sync = (path: string) => {
          seen.push(existsSync(tag))
          return files.sync(path)
        }
        const watched = { ...files, sync, syncFolder: sync }
        yield* Effect.promise(() =>
          Commit.commit(watched, tmp, [[Commit.write(marker, "m")], [Commit.write(tag, "t")]])
        )
        const [first, second, ...folders] = synced
        assert.deepStrictEqual([first, second], ["a new file", "a new file"])
        // The root and `app` too, which have new entries.
        assert.sameMembers(folders, ["", "app", "app/markers", "app", "app/tags"])
        assert.deepStrictEqual(seen, [false, false, false, false, false, true, true])
      })
    )

    it.scoped("leaves nothing in the temporary folder when it fails, and nothing of later steps", () =>
      Effect.gen(function* () {
        const { commit, root, tmp } = yield* setup
        writeFileSync(join(root, "file"), "")
        const [good, bad, tag] = [join(root, "a/1"), join(root, "file/2"), join(root, "tags/t")]
        yield* Effect.flip(commit([Commit.write(good, "1"), Commit.write(bad, "2")], [Commit.write(tag, "t")]))
        assert.deepStrictEqual(readdirSync(tmp), [])
        assert.isFalse(existsSync(tag))
      })
    )
  })

  describe("remove", () => {
    it.scoped("goes in the order given, and says what was there", () =>
      Effect.gen(function* () {
        const { files, root, synced } = yield* setup
        for (const path of ["tags", "markers"]) mkdirSync(join(root, path))
        for (const path of ["tags/a", "tags/b", "markers/m"]) writeFileSync(join(root, path), "")
        const paths = ["tags/a", "tags/b", "tags/c", "markers/m"].map((path) => join(root, path))
        const removed = yield* Effect.promise(() => Commit.remove(files, paths))
        assert.deepStrictEqual(removed, [true, true, false, true])
        assert.deepStrictEqual(synced, ["tags", "markers"])
      })
    )
  })
})
