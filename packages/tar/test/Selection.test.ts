import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { formatName } from "@effect-registry/core"
import { DockerArchive } from "@effect-registry/tar"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import { file } from "./support/files.js"

const choose = (path: string, image: string | number) =>
  Effect.scoped(Effect.flatMap(DockerArchive.file(path, { image }).open, (reader) => reader.images)).pipe(
    Effect.map((entries) => entries.map(({ names }) => names.map(formatName)))
  )

/** One image for each list of tags. */
const archive = (...images: ReadonlyArray<ReadonlyArray<string>>) =>
  file(
    Fixture.dockerArchive(
      images.map((tags, seed) => ({ image: Fixture.image({ compressed: false, seed: seed + 1 }), tags }))
    )
  )

describe("choose", () => {
  it.scopedLive("takes the image of that name, not one before it whose tag has the same letters", () =>
    Effect.gen(function* () {
      const path = yield* archive(["nginx:alpine"], ["alpine:latest", "alpine:3"])
      assert.deepStrictEqual(yield* choose(path, "alpine"), [["alpine:latest"]])
      assert.deepStrictEqual(yield* choose(path, "nginx:alpine"), [["nginx:alpine"]])
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )

  it.scopedLive("takes a tag that one image has, and never the first of several", () =>
    Effect.gen(function* () {
      const path = yield* archive(["a:1.0", "a:latest"], ["b:1.0"])
      assert.deepStrictEqual(yield* choose(path, "latest"), [["a:latest"]])
      assert.deepStrictEqual(yield* choose(path, 1), [["b:1.0"]])
      const error = yield* Effect.flip(choose(path, "1.0"))
      assert.deepStrictEqual([error._tag, error.reason], ["ValidationError", "SeveralImages"])
      assert.isTrue(error.message.startsWith(path))
      assert.include(error.message, "holds 2 images 1.0; there is a:1.0, a:latest; b:1.0")
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})
