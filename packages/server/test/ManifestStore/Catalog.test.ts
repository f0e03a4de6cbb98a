import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Catalog from "../../src/ManifestStore/Catalog.js"
import * as Layout from "../../src/storage/Layout.js"

const folderOf = (...repositories: ReadonlyArray<string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "catalog-test-"))),
      (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
    ),
    (root) => {
      const layout = Layout.make(root)
      for (const repository of repositories) {
        const markers = layout.manifests(repository, "sha256")
        mkdirSync(markers, { recursive: true })
        writeFileSync(join(markers, "0".repeat(64)), "{}")
      }
      return layout
    }
  )

describe("Catalog", () => {
  describe("repositories", () => {
    it.scoped("walks the folders once, and follows what is said from then on", () =>
      Effect.gen(function* () {
        const layout = yield* folderOf("b", "a", "a/c")
        const visited: Array<string> = []
        const catalog = Catalog.make(layout, async (repository) => void visited.push(repository))
        const both = yield* Effect.promise(() => Promise.all([catalog.repositories(), catalog.repositories()]))
        assert.deepStrictEqual(both, [
          ["a", "a/c", "b"],
          ["a", "a/c", "b"]
        ])
        catalog.note("a", false)
        catalog.note("aa", true)
        catalog.note("b", true)
        assert.deepStrictEqual(yield* Effect.promise(catalog.repositories), ["a/c", "aa", "b"])
        assert.deepStrictEqual(visited.sort(), ["a", "a/c", "b"])
      })
    )

    it.scoped("has what comes and goes while it walks", () =>
      Effect.gen(function* () {
        const layout = yield* folderOf("a", "b")
        const [walking, go] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const catalog = Catalog.make(layout, () =>
          Effect.runPromise(Effect.zipRight(Deferred.succeed(walking, undefined), Deferred.await(go)))
        )
        const found = yield* Effect.fork(Effect.promise(catalog.repositories))
        yield* Deferred.await(walking)
        catalog.note("a", false)
        catalog.note("c", true)
        yield* Deferred.succeed(go, undefined)
        assert.deepStrictEqual(yield* Fiber.join(found), ["b", "c"])
        assert.deepStrictEqual(yield* Effect.promise(catalog.repositories), ["b", "c"])
      })
    )

    it.scoped("tries again where the folders could not be read", () =>
      Effect.gen(function* () {
        const layout = yield* folderOf("a")
        let fails = true
        const catalog = Catalog.make(layout, async () => {
          if (fails) throw new Error("no disk")
        })
        yield* Effect.flip(Effect.tryPromise(catalog.repositories))
        fails = false
        assert.deepStrictEqual(yield* Effect.promise(catalog.repositories), ["a"])
      })
    )
  })
})
