import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Layout from "../../src/storage/Layout.js"
import * as Root from "../../src/storage/Root.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "root-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const refused = (path: string) => Effect.flip(Root.prepare(Layout.make(path)))

describe("Root", () => {
  describe("prepare", () => {
    it.scoped("makes a folder that is missing, and takes it again", () =>
      Effect.gen(function* () {
        const root = join(yield* folder, "a", "b")
        for (let time = 0; time < 2; time++) yield* Root.prepare(Layout.make(root))
        assert.deepStrictEqual(JSON.parse(readFileSync(join(root, "registry.json"), "utf8")), { format: 1 })
        assert.sameMembers(readdirSync(root), ["registry.json", "repositories", "tmp"])
        assert.deepStrictEqual(readdirSync(join(root, "tmp")), [])
      })
    )

    it.scoped("takes an empty file system, and what a start left that was killed at once", () =>
      Effect.gen(function* () {
        const root = yield* folder
        for (const name of ["lost+found", "tmp"]) mkdirSync(join(root, name))
        yield* Root.prepare(Layout.make(root))
        assert.isTrue(existsSync(join(root, "registry.json")))
      })
    )

    it.scoped("refuses a cache's folder for a registry or another cache, and a registry's for a cache", () =>
      Effect.gen(function* () {
        const [own, cache] = [join(yield* folder, "own"), join(yield* folder, "cache")]
        const [nothing, one, other] = [undefined, "https://one.example", "https://other.example"]
        const prepare = (root: string, cacheOf: string | undefined) => Root.prepare(Layout.make(root), { cacheOf })
        for (let time = 0; time < 2; time++) {
          yield* prepare(own, nothing)
          yield* prepare(cache, one)
        }
        const messages = [
          (yield* Effect.flip(prepare(own, one))).message,
          (yield* Effect.flip(prepare(cache, nothing))).message,
          (yield* Effect.flip(prepare(cache, other))).message
        ]
        assert.deepStrictEqual(messages, [
          `cannot keep a registry in ${own}: it is a registry, not a cache of ${one}`,
          `cannot keep a registry in ${cache}: it is a cache of ${one}, not a registry`,
          `cannot keep a registry in ${cache}: it is a cache of ${one}, not a cache of ${other}`
        ])
        yield* Root.prepare(Layout.make(cache))
      })
    )

    it.scoped("refuses a folder that holds something else, and leaves it as it is", () =>
      Effect.gen(function* () {
        const root = yield* folder
        writeFileSync(join(root, "thesis.txt"), "years of work")
        const error = yield* refused(root)
        assert.strictEqual(error.reason, "RootUnusable")
        assert.strictEqual(
          error.message,
          `cannot keep a registry in ${root}: it is not empty and has no registry.json, but "thesis.txt"`
        )
        assert.match(error.hint, /empty folder/)
        assert.deepStrictEqual(readdirSync(root), ["thesis.txt"])
      })
    )

    it.scoped("refuses a version that it does not know, and leaves it as it is", () =>
      Effect.gen(function* () {
        const root = yield* folder
        for (const [text, said] of [
          ['{"format":2}', "format 2"],
          ["{", "no format that makes sense"]
        ] as const) {
          writeFileSync(join(root, "registry.json"), text)
          const error = yield* refused(root)
          assert.strictEqual(error.reason, "RootUnusable")
          assert.include(error.message, `its registry.json names ${said}, and this program knows format 1`)
          assert.match(error.hint, /ereg sync/)
          assert.deepStrictEqual(readdirSync(root), ["registry.json"])
        }
      })
    )

    it.scoped("refuses a file", () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "file")
        writeFileSync(path, "")
        assert.strictEqual((yield* refused(path)).reason, "RootUnusable")
      })
    )
  })

  describe("clear", () => {
    it.scoped("empties the temporary folder when a registry starts", () =>
      Effect.gen(function* () {
        const root = yield* folder
        yield* Root.prepare(Layout.make(root))
        writeFileSync(join(root, "tmp", "half"), "")
        yield* EmbeddedRegistry.make({ root })
        assert.deepStrictEqual(readdirSync(join(root, "tmp")), [])
      })
    )
  })
})
