import { assert, describe, it } from "@effect/vitest"
import { Digest, MediaType } from "@effect-registry/core"
import { TarBytes } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as LayoutGraph from "../src/LayoutGraph.js"

const index = (manifests: ReadonlyArray<unknown>) =>
  TarBytes.bytes(JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }))
const describeIt = (bytes: Uint8Array) => ({
  mediaType: MediaType.ociIndex,
  digest: Digest.fromBytes(bytes),
  size: bytes.length
})

describe("images", () => {
  it.effect("looks once at an index that others name many times", () =>
    Effect.gen(function* () {
      const files = new Map<string, Uint8Array>()
      let top = index([])
      // Ten levels of ten: 10^10 ways to the bottom.
      for (let level = 0; level < 10; level++) {
        files.set(LayoutGraph.blobPath(Digest.fromBytes(top)), top)
        const child = describeIt(top)
        top = index(Array.from({ length: 10 }, (_, n) => ({ ...child, annotations: { n: String(n) } })))
      }
      files.set(LayoutGraph.blobPath(Digest.fromBytes(top)), top)
      files.set("index.json", index([describeIt(top)]))
      let reads = 0
      const found = yield* LayoutGraph.images({
        name: "layout",
        size: (path) => Effect.succeed(Option.map(Option.fromNullable(files.get(path)), ({ length }) => length)),
        content: () => Effect.dieMessage("there is no layer"),
        bytes: (path) => {
          reads++
          return reads > 1000
            ? Effect.dieMessage("walks every way")
            : Effect.succeed(files.get(path) ?? new Uint8Array(0))
        }
      })
      assert.strictEqual(found.length, 1)
    })
  )
})
