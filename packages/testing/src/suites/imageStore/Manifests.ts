/** How manifests are taken, and when they can be seen. */
import { strictEqual } from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Fixture from "../../Fixture.js"
import * as TarBytes from "../../TarBytes.js"
import type { SuiteOptions, Test, TypedError } from "./Contract.js"
import { expectAbsent, expectTyped, names, plain, writeAll, writeBlobs } from "./Support.js"

export const cases = <E extends TypedError, R>(test: Test<E, R>, options: SuiteOptions): void => {
  test("says of a manifest that was not written that it is not there", (store) =>
    Effect.gen(function* () {
      const writer = yield* store.target.open
      strictEqual(yield* writer.hasManifest(plain(Fixture.image({ seed: 121 }).descriptor)), false)
    }))

  test("refuses a manifest whose bytes are not those of its digest", (store) =>
    Effect.gen(function* () {
      const image = Fixture.image({ seed: 131 })
      const writer = yield* store.target.open
      yield* writeBlobs(writer, image)
      const other = TarBytes.bytes(`${new TextDecoder().decode(image.manifest)} `)
      yield* expectTyped(writer.writeManifest(plain(image.descriptor), other, names(store, ["1.0"])))
    }))

  test("shows nothing before its commit", (store) =>
    Effect.gen(function* () {
      const committed = yield* Effect.scoped(
        Effect.gen(function* () {
          const writer = yield* store.target.open
          yield* writeAll(store, writer, Fixture.image({ seed: 141 }), ["1.0"])
          return writer.commit === undefined
        })
      )
      if (!committed && options.atomic !== false) yield* expectAbsent(store.source("1.0"))
    }))
}
