import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Digest } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as fc from "fast-check"

describe("Digest", () => {
  describe("fromBytes", () => {
    it("agrees with OpenSSL on any bytes", () => {
      fc.assert(
        fc.property(
          fc.uint8Array({ maxLength: 300 }),
          fc.constantFrom("sha256" as const, "sha512" as const),
          (bytes, name) => {
            assert.strictEqual(Digest.fromBytes(bytes, name), `${name}:${createHash(name).update(bytes).digest("hex")}`)
          }
        )
      )
    })
  })

  describe("parse", () => {
    it("takes what fromBytes gives", () => {
      for (const name of ["sha256", "sha512"] as const) {
        const digest = Digest.fromBytes(new Uint8Array(3), name)
        assert.strictEqual(Either.getOrThrow(Digest.parse(digest)), digest)
        assert.strictEqual(Digest.algorithm(digest), name)
        assert.strictEqual(`${name}:${Digest.hex(digest)}`, digest)
        assert.strictEqual(Digest.short(digest), Digest.hex(digest).slice(0, 12))
      }
    })

    it.each<[string, RegExp]>([
      ["", /ALGORITHM:HEX/],
      ["0".repeat(64), /ALGORITHM:HEX/],
      [`sha384:${"0".repeat(96)}`, /"sha384" is not/],
      [`SHA256:${"0".repeat(64)}`, /"SHA256" is not/],
      ["sha256:", /64 hex digits, this has 0/],
      [`sha256:${"0".repeat(65)}`, /64 hex digits, this has 65/],
      [`sha512:${"0".repeat(64)}`, /128 hex digits, this has 64/],
      [`sha256:${"F".repeat(64)}`, /lower-case/],
      [`sha256:${"0".repeat(64)}\n`, /lower-case/],
      [`sha256:${"0".repeat(62)}/.`, /lower-case/]
    ])("refuses %j", (text, rule) => {
      const error = Either.getOrThrow(Either.flip(Digest.parse(text)))
      assert.strictEqual(error.reason, "InvalidDigest")
      assert.match(error.message, rule)
      assert.isFalse(Digest.is(text))
    })
  })
})
