import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Hasher } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"

describe("Hasher", () => {
  it.effect("hashes chunk by chunk what it would hash whole, by default with the portable implementation", () =>
    Effect.gen(function* () {
      const hasher = yield* Hasher.Hasher
      assert.strictEqual(hasher, Hasher.portable)
      fc.assert(
        fc.property(
          fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 6 }),
          fc.constantFrom("sha256" as const, "sha512" as const),
          (chunks, algorithm) => {
            const hash = hasher.make(algorithm)
            for (const chunk of chunks) hash.update(chunk)
            const expected = createHash(algorithm).update(Buffer.concat(chunks)).digest("hex")
            assert.strictEqual(hash.digest(), `${algorithm}:${expected}`)
          }
        )
      )
    })
  )

  it.effect("is replaced like any service", () =>
    Effect.gen(function* () {
      const other: Hasher.Service = { make: Hasher.portable.make }
      const seen = yield* Effect.provideService(Hasher.Hasher, Hasher.Hasher, other)
      assert.strictEqual(seen, other)
    })
  )
})
