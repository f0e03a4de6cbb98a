import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { open } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Files from "../../src/storage/Files.js"

const folderIn = (parent: string) =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(parent, "files-test-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )

const setup = Effect.map(folderIn(tmpdir()), (root) => {
  const tmp = join(root, "tmp")
  mkdirSync(tmp)
  return { root, tmp, files: Files.make(tmp, true) }
})

describe("Files", () => {
  it.scoped("writes whole files, replaces them, and makes the folders they need", () =>
    Effect.gen(function* () {
      const { files, root, tmp } = yield* setup
      const path = join(root, "a", "b", "c")
      for (const text of ["first", "second"]) {
        yield* Files.attempt("write", () => files.write(path, text))
        assert.strictEqual(readFileSync(path, "utf8"), text)
      }
      assert.deepEqual(readdirSync(tmp), [])
    })
  )

  it.scoped("leaves nothing of a write that fails, and says what was being done", () =>
    Effect.gen(function* () {
      const { files, root, tmp } = yield* setup
      mkdirSync(join(root, "folder", "full"), { recursive: true })
      const error = yield* Effect.flip(Files.attempt("store it", () => files.write(join(root, "folder"), "x")))
      assert.strictEqual(error._tag, "StorageError")
      assert.match(error.message, /^store it: /)
      assert.deepEqual(readdirSync(tmp), [])
    })
  )

  it.scoped("links a file under another name and keeps one that is there", () =>
    Effect.gen(function* () {
      const { files, root } = yield* setup
      const [from, to] = [join(root, "from"), join(root, "x", "to")]
      writeFileSync(from, "one")
      yield* Files.attempt("link", () => files.link(from, to))
      assert.strictEqual(statSync(from).ino, statSync(to).ino)
      const other = join(root, "other")
      writeFileSync(other, "two")
      yield* Files.attempt("link", () => files.link(other, to))
      assert.strictEqual(readFileSync(to, "utf8"), "one")
    })
  )

  const elsewhere = "/dev/shm"
  const isElsewhere = existsSync(elsewhere) && statSync(elsewhere).dev !== statSync(tmpdir()).dev
  it.scoped.skipIf(!isElsewhere)("copies where no link can be made", () =>
    Effect.gen(function* () {
      const { files, root, tmp } = yield* setup
      const from = join(yield* folderIn(elsewhere), "from")
      writeFileSync(from, "content")
      const to = join(root, "x", "to")
      yield* Files.attempt("link", () => files.link(from, to))
      assert.strictEqual(readFileSync(to, "utf8"), "content")
      assert.deepEqual(readdirSync(tmp), [])
    })
  )

  it.scoped("takes what is not there for a value", () =>
    Effect.gen(function* () {
      const { root } = yield* setup
      const missing = join(root, "missing", "file")
      const found = yield* Files.attempt("look", async () => [
        await Files.remove(missing),
        await Files.readText(missing),
        await Files.sizeOf(missing),
        (await Files.list(missing)).length
      ])
      assert.deepEqual(found, [false, undefined, undefined, 0])
    })
  )

  it.scoped("says whether a name was free", () =>
    Effect.gen(function* () {
      const { files, root } = yield* setup
      const [from, to] = [join(root, "from"), join(root, "to")]
      writeFileSync(from, "one")
      const made = yield* Files.attempt("name", async () => [await files.name(from, to), await files.name(from, to)])
      assert.deepEqual(made, [true, false])
      const error = yield* Effect.flip(
        Files.attempt("name", () => files.name(join(root, "missing"), join(root, "a", "b")))
      )
      assert.match(error.message, /ENOENT/)
    })
  )

  it.scoped("lets those who sync one folder together wait once, and never for what was before them", () =>
    Effect.gen(function* () {
      const { files, root } = yield* setup
      const ends: Array<number> = []
      yield* Files.attempt("sync", () =>
        Promise.all([0, 1, 2, 3].map((index) => files.syncFolder(root).then(() => void ends.push(index))))
      )
      assert.deepEqual(ends, [0, 1, 2, 3])
      const [first, second, third, other] = [files.sync(root), files.sync(root), files.sync(root), files.sync(tmpdir())]
      assert.notStrictEqual(first, second)
      assert.strictEqual(second, third)
      assert.notStrictEqual(other, first)
      yield* Effect.promise(() => Promise.all([first, second, third, other]))
      const error = yield* Effect.flip(Files.attempt("sync", () => files.sync(join(root, "missing"))))
      assert.match(error.message, /ENOENT/)
      assert.notStrictEqual(files.sync(root), first)
      yield* Effect.promise(() => files.sync(root))
    })
  )

  it.scoped("begins to force one file at a time, and none where writes are not forced", () =>
    Effect.gen(function* () {
      const { files, root, tmp } = yield* setup
      const handle = yield* Effect.acquireRelease(
        Effect.promise(() => open(join(root, "file"), "w")),
        (handle) => Effect.promise(() => handle.close())
      )
      const first = files.ahead(handle)
      assert.isDefined(first)
      assert.isUndefined(files.ahead(handle))
      yield* Effect.promise(async () => first)
      const second = files.ahead(handle)
      assert.isDefined(second)
      yield* Effect.promise(async () => second)
      assert.isUndefined(Files.make(tmp, false).ahead(handle))
    })
  )
})
