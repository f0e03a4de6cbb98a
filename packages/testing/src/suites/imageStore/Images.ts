/** What is written can be read, under its names and no others. */
import { ok } from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Fixture from "../../Fixture.js"
import type { Test, TypedError } from "./Contract.js"
import { expectAbsent, expectGraph, writeAll, written } from "./Support.js"

export const cases = <E extends TypedError, R>(test: Test<E, R>): void => {
  for (const format of ["docker", "oci"] as const) {
    test(`reads a written ${format} image back byte for byte`, (store) =>
      Effect.gen(function* () {
        const image = Fixture.image({ format, seed: 11 })
        yield* written(store, image, ["1.0"])
        yield* expectGraph(store.source("1.0"), image)
      }))
  }

  test("reads a written index back with all its images", (store) =>
    Effect.gen(function* () {
      const platforms = ["amd64", "arm64"].map((architecture) => ({ os: "linux", architecture }))
      const images = platforms.map((platform, at) =>
        Fixture.image({ format: "oci", seed: 20 + at, shared: 1, platform })
      )
      const index = Fixture.index(images)
      yield* written(store, index, ["1.0"])
      yield* expectGraph(store.source("1.0"), index)
    }))

  test("knows an image by every tag it was given", (store) =>
    Effect.gen(function* () {
      const image = Fixture.image({ seed: 31 })
      yield* written(store, image, ["1.0", "latest"])
      for (const tag of ["1.0", "latest"]) {
        const reader = yield* store.source(tag).open
        const [entry] = yield* reader.images
        ok(
          entry?.names.some((each) => Option.contains(each.tag, tag)),
          `no name with the tag ${tag}`
        )
      }
    }))

  test("keeps two images under their own tags", (store) =>
    Effect.gen(function* () {
      const [a, b] = [Fixture.image({ seed: 41, shared: 1 }), Fixture.image({ seed: 42, shared: 1 })]
      const writer = yield* store.target.open
      yield* writeAll(store, writer, a, ["a"])
      yield* writeAll(store, writer, b, ["b"])
      yield* writer.commit ?? Effect.void
      yield* expectGraph(store.source("a"), a)
      yield* expectGraph(store.source("b"), b)
    }))

  test("fails for a tag that is not there", (store) =>
    Effect.gen(function* () {
      yield* written(store, Fixture.image({ seed: 51 }), ["1.0"])
      yield* expectAbsent(store.source("2.0"))
    }))
}
