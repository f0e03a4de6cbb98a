/** The folder of a registry is one of OCI layouts that other programs read, while it runs and after. */
import { execFileSync } from "node:child_process"
import { cpSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type CopyOptions, copy, Registry } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry } from "@effect-registry/server"
import { OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { ereg } from "../../cli/test/support.js"
import { Fixture, GraphFixture, Tools, Walk } from "../src/index.js"
import { seed } from "./support/seed.js"
import { startEmbedded, temporaryFolder } from "./support/servers.js"
import * as Signed from "./support/signed.js"

const everything: CopyOptions = { referrers: true, digestTags: true }
const name = "team/app"

/** A registry with a signed image of several platforms, closed again; its root. */
const filled = Effect.gen(function* () {
  const root = join(yield* temporaryFolder, "registry")
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { host, url } = yield* EmbeddedRegistry.make({ root })
      yield* GraphFixture.toRegistry({ url, name, referrersApi: true }, Signed.graph)
      yield* seed(`${host}/team/app/blobs`, Fixture.image({ format: "oci", seed: 7 }), "other")
      yield* seed(`${host}/team`, Fixture.image({ format: "oci", seed: 8 }), "other")
    })
  )
  return root
}).pipe(Effect.provide(NodeRegistry.layer({ state: false })))

const layoutOf = (root: string, repository: string) => join(root, "repositories", repository, "_layout")

describe("the folder of a registry", () => {
  it.scopedLive("has a whole OCI layout for each repository, whatever its name", () =>
    Effect.gen(function* () {
      const root = yield* filled
      const contents = yield* Walk.folder(layoutOf(root, name))
      assert.sameMembers([...contents.manifests.keys()], [...Signed.graph.manifests.keys()])
      assert.sameMembers([...contents.blobs.keys()], [...Signed.graph.blobs.keys()])
      assert.deepStrictEqual(contents.loose, [])
      for (const repository of ["team", "team/app/blobs"]) {
        assert.deepStrictEqual([...(yield* Walk.folder(layoutOf(root, repository))).tags.keys()], ["other"])
      }
    })
  )

  it.scopedLive("is copied from as a layout, with all that refers to the image", () =>
    Effect.gen(function* () {
      const root = yield* filled
      const to = yield* startEmbedded()
      const { referrers } = yield* copy(
        OciLayout.folder(layoutOf(root, name), { image: "1.0" }),
        Registry.repository(`${to}/${name}`),
        everything
      )
      assert.strictEqual(referrers, 4)
      const contents = yield* Walk.repository(`http://${to}`, name)
      assert.deepStrictEqual(Object.fromEntries(contents.referrers), Signed.listed)
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )

  it.scopedLive("is validated and inspected by the command", () =>
    Effect.gen(function* () {
      const root = yield* filled
      const { code, stdout } = yield* ereg(["digest", `oci:${layoutOf(root, name)}:1.0`])
      assert.deepStrictEqual([code, stdout.trim()], [0, Signed.root.descriptor.digest])
      assert.strictEqual((yield* ereg(["validate", layoutOf(root, name)])).code, 0)
    })
  )

  it.scopedLive("is a backup when it is copied: the copy serves the same", () =>
    Effect.gen(function* () {
      const root = yield* filled
      const copied = join(yield* temporaryFolder, "copy")
      yield* Effect.sync(() => cpSync(root, copied, { recursive: true }))
      const { url } = yield* EmbeddedRegistry.make({ root: copied })
      const contents = yield* Walk.repository(url, name)
      assert.sameMembers([...contents.manifests.keys()], [...Signed.graph.manifests.keys()])
      assert.deepStrictEqual(Object.fromEntries(contents.referrers), Signed.listed)
    })
  )

  Tools.needing(it.scopedLive, "skopeo")("is read by skopeo, by tag and by digest", () =>
    Effect.gen(function* () {
      const root = yield* filled
      const inspect = (repository: string, tag: string): { readonly Digest: string } =>
        JSON.parse(
          execFileSync("skopeo", ["inspect", `oci:${layoutOf(root, repository)}:${tag}`], { encoding: "utf8" })
        )
      assert.strictEqual(
        inspect("team", "other").Digest,
        Fixture.image({ format: "oci", seed: 8 }).descriptor.digest as string
      )
      const raw = execFileSync("skopeo", ["inspect", "--raw", `oci:${layoutOf(root, name)}:1.0`])
      assert.strictEqual(Fixture.digest(raw), Signed.root.descriptor.digest)
      const target = join(yield* temporaryFolder, "all")
      execFileSync("skopeo", ["copy", "--all", `oci:${layoutOf(root, name)}:1.0`, `oci:${target}:1.0`])
      assert.strictEqual((yield* Walk.layout(target)).length, 1)
    })
  )
})
