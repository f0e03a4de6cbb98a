import { createHash, randomBytes } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Buffers from "../../src/storage/Buffers.js"
import * as Hashing from "../../src/storage/Hashing.js"

const shared = (bytes: Uint8Array): Uint8Array => {
  const copy = new Uint8Array(new SharedArrayBuffer(bytes.length))
  copy.set(bytes)
  return copy
}

const updated = (hash: Hashing.Hash, bytes: Uint8Array) =>
  Effect.async<void>((resume) => hash.update(bytes, () => resume(Effect.void)))

describe("Hashing", () => {
  for (const where of ["here", "inThread"] as const) {
    for (const algorithm of ["sha256", "sha512"] as const) {
      it.scoped(`has the ${algorithm} of what came so far, ${where}`, () =>
        Effect.gen(function* () {
          const hash = (yield* Hashing.make)[where](algorithm)
          const whole = createHash(algorithm)
          for (const size of [1, 0, 65_536, Buffers.size, Buffers.size - 1, 7]) {
            const bytes = shared(randomBytes(size))
            whole.update(bytes)
            yield* updated(hash, bytes)
            assert.strictEqual(yield* Effect.promise(hash.digest), whole.copy().digest("hex"))
          }
        })
      )
    }
  }

  it.scoped("keeps many hashes apart", () =>
    Effect.gen(function* () {
      const hashing = yield* Hashing.make
      const each = Array.from({ length: 20 }, () => ({
        hash: hashing.inThread("sha256"),
        bytes: shared(randomBytes(5000))
      }))
      for (const { bytes, hash } of each) hash.update(bytes.subarray(0, 1000), () => {})
      for (const { bytes, hash } of each) hash.update(bytes.subarray(1000), () => {})
      for (const { bytes, hash } of each) {
        assert.strictEqual(yield* Effect.promise(hash.digest), createHash("sha256").update(bytes).digest("hex"))
        hash.drop()
      }
    })
  )

  it.effect("lets nobody wait for a thread that has ended", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const hashing = yield* Scope.extend(Hashing.make, scope)
      const hash = hashing.inThread("sha256")
      yield* updated(hash, shared(randomBytes(10)))
      yield* Scope.close(scope, Exit.void)
      yield* updated(hash, shared(randomBytes(10)))
      assert.isUndefined(yield* Effect.promise(hash.digest))
      assert.isDefined(yield* Effect.promise(hashing.inThread("sha256").digest))
    })
  )
})
