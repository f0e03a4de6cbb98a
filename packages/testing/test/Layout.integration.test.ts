/** Several that write to one layout folder. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { pull } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { Fixture, Walk } from "../src/index.js"
import { seed } from "./support/seed.js"
import { startEmbedded, temporaryFolder } from "./support/servers.js"

describe("OciLayout", () => {
  it.scopedLive("has the images of all that were pulled into it at once", () =>
    Effect.gen(function* () {
      const host = yield* startEmbedded()
      const path = join(yield* temporaryFolder, "layout")
      const tags = ["a", "b", "c", "d", "e"]
      for (const [at, tag] of tags.entries()) {
        yield* seed(`${host}/layout/app`, Fixture.image({ format: "oci", seed: at + 1, shared: 1 }), tag)
      }
      const all = tags.map((tag) => pull(`${host}/layout/app:${tag}`, OciLayout.target(path)))
      yield* Effect.all(all, { concurrency: "unbounded" })
      const index: { readonly manifests: ReadonlyArray<{ readonly annotations: Readonly<Record<string, string>> }> } =
        JSON.parse(yield* Effect.promise(() => readFile(join(path, "index.json"), "utf8")))
      const names = index.manifests.map(({ annotations }) => annotations["org.opencontainers.image.ref.name"])
      assert.deepStrictEqual(names.sort(), tags)
      assert.strictEqual((yield* Walk.layout(path)).length, tags.length)
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )
})
