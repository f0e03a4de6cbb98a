import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Address } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { folder } from "./support/files.js"

const layer = NodeFileSystem.layer
const parse = (text: string) => Effect.provide(Address.parse(text), layer)
const message = (text: string) => Effect.map(Effect.flip(parse(text)), (error) => error.message)

describe("Address", () => {
  it.effect("takes for a path what starts or ends like one, whether it exists or not", () =>
    Effect.gen(function* () {
      for (const text of ["/x/app", "./app", "../app", "C:\\app", "app.tar", "app.tar.gz", "app.tgz", "app.tar.zst"]) {
        assert.deepStrictEqual(yield* parse(text), { _tag: "Archive", path: text, image: Option.none() }, text)
      }
    })
  )

  it.effect("takes everything else for a reference, also where a file of that name exists", () =>
    Effect.gen(function* () {
      for (const text of ["app", "team/app:1.0", "localhost:5000/app", "docker://localhost:5000/app"]) {
        assert.strictEqual((yield* parse(text))._tag, "Reference", text)
      }
      assert.strictEqual((yield* parse("-"))._tag, "Standard")
      assert.strictEqual((yield* parse("/dev/stdin"))._tag, "Standard")
    })
  )

  it.effect("knows the schemes with and without an image", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* parse("docker-archive:a.tar:app:1.0"), {
        _tag: "Archive",
        path: "a.tar",
        image: Option.some("app:1.0")
      })
      assert.deepStrictEqual(yield* parse("docker-archive:a.tar:@2"), {
        _tag: "Archive",
        path: "a.tar",
        image: Option.some(2)
      })
      assert.deepStrictEqual(yield* parse("oci:dir:1.0"), { _tag: "OciLayout", path: "dir", image: Option.some("1.0") })
      assert.deepStrictEqual(yield* parse("oci-archive:a.tar"), {
        _tag: "OciArchive",
        path: "a.tar",
        image: Option.none()
      })
      assert.strictEqual(Address.format(yield* parse("docker-archive:a.tar:@2")), "docker-archive:a.tar:@2")
      assert.strictEqual(Address.format(yield* parse("localhost:5000/app:1")), "localhost:5000/app:1")
    })
  )

  it.scopedLive("ends the path at the longest prefix that exists, and sees a layout in a bare folder", () =>
    Effect.gen(function* () {
      const there = yield* folder
      yield* Effect.promise(async () => {
        await writeFile(join(there, "a:b.tar"), "")
        await mkdir(join(there, "layout"))
        await writeFile(join(there, "layout", "oci-layout"), "{}")
      })
      assert.deepStrictEqual(yield* parse(`docker-archive:${there}/a:b.tar:app:1`), {
        _tag: "Archive",
        path: `${there}/a:b.tar`,
        image: Option.some("app:1")
      })
      assert.deepStrictEqual(yield* parse(`${there}/layout`), {
        _tag: "OciLayout",
        path: `${there}/layout`,
        image: Option.none()
      })
    })
  )

  it.effect("points at the wrong character and says the rule", () =>
    Effect.gen(function* () {
      assert.include(yield* message("oci:"), "character 5: the path is missing")
      assert.include(yield* message("oci-archive::1"), "character 13: the path is missing")
      assert.include(yield* message("docker:app"), "a reference is written docker://")
      assert.include(yield* message("docker-archive:a.tar:App:1"), "character 22:")
      assert.include(yield* message("team/App"), "repository names are lower case")
    })
  )
})
