import { assert, describe, it } from "@effect/vitest"
import { Json } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"

const limits = { subject: "the document", reason: "InvalidManifest", maxSize: 10_000 } as const
const bytes = (text: string) => new TextEncoder().encode(text)
const parse = (text: string) => Json.parse(bytes(text), limits)
const failure = (text: string) => Either.getOrThrow(Either.flip(parse(text)))

describe("Json", () => {
  describe("parse", () => {
    it("reads what JSON.stringify writes, whatever it is", () => {
      fc.assert(
        fc.property(fc.json({ maxDepth: 5 }), (text) => {
          fc.pre(!text.includes("__proto__"))
          const parsed = Either.getOrThrow(Json.parse(bytes(text), { ...limits, maxSize: 1e6 }))
          assert.deepStrictEqual(parsed.value, JSON.parse(text))
          assert.isUndefined(parsed.repeatedKey)
        })
      )
    })

    it("gives the keys of the top level, whatever stands around them", () => {
      const space = " \n\t\r".repeat(50)
      const text = `{"a"${space}:${space}{"inner":"x\\":{"}, "b\\"":["c",{"d":1}],"\\u0065":"f"}`
      const parsed = Either.getOrThrow(parse(text))
      assert.deepStrictEqual(parsed.topLevelKeys, ["a", 'b"', "e"])
      assert.isUndefined(parsed.repeatedKey)
    })

    it.each([
      ['{"a":1,"a":2}', "a"],
      [`{"a":1,"a"${" ".repeat(200)}:2}`, "a"],
      ['{"layers":1,"la\\u0079ers":2}', "layers"],
      ['{"x":[{"y":{"a":1,"b":2,"a":3}}]}', "a"],
      ['{"x":{"a":1},"y":{"a":1},"z":[{"a":1},{"a":1}]}', undefined],
      ['{"a":"a","b":["a","a"]}', undefined]
    ])("finds the repeated key in %s", (text, expected) => {
      assert.strictEqual(Either.getOrThrow(parse(text)).repeatedKey, expected)
    })

    it.each([
      ["", /is empty, expected JSON/],
      ["{", /is not JSON/],
      ["<html>", /is not JSON/],
      ['{"a":1}}', /is not JSON/],
      ['{"\\q":1}', /is not JSON/],
      ['"', /is not JSON/],
      ["\ufeff{}", /is not JSON/],
      ['{"a":{"__proto__":{"manifests":[]}}}', /__proto__/],
      ['{"__pr\\u006fto__":{}}', /__proto__/]
    ])("refuses %j", (text, message) => {
      const error = failure(text)
      assert.strictEqual(error.reason, "InvalidManifest")
      assert.match(error.message, message)
      assert.include(error.message, "the document: ")
    })

    it("refuses bytes that are not UTF-8", () => {
      const error = Either.getOrThrow(Either.flip(Json.parse(Uint8Array.of(0x22, 0xff, 0x22), limits)))
      assert.match(error.message, /is not JSON/)
    })

    it("takes 64 levels and no more, and does not recurse to find out", () => {
      const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth)
      assert.isTrue(Either.isRight(parse(nested(64))))
      assert.match(failure(nested(65)).message, /more than 64 levels/)
      const deep = Json.parse(bytes(nested(2_000_000)), { ...limits, maxSize: 10_000_000 })
      assert.match(Either.getOrThrow(Either.flip(deep)).message, /more than 64 levels/)
      assert.isTrue(Either.isRight(parse(`"${"[".repeat(100)}"`)))
    })

    it("refuses more bytes than the limit, before it looks at them", () => {
      const error = Either.getOrThrow(Either.flip(Json.parse(new Uint8Array(10_001), limits)))
      assert.strictEqual(error.reason, "TooLarge")
      assert.match(error.message, /10001 bytes, at most 10000/)
    })

    it("takes time in proportion to the size", () => {
      const text = `{${Array.from({ length: 200_000 }, (_, n) => `"k${n}"${" ".repeat(9)}:0`).join()}}`
      const start = performance.now()
      assert.isTrue(Either.isRight(Json.parse(bytes(text), { ...limits, maxSize: 1e7 })))
      assert.isBelow(performance.now() - start, 3000)
    })
  })

  describe("decode", () => {
    const schema = Schema.Struct({ layers: Schema.Array(Schema.Struct({ size: Schema.Int })) })

    it("keeps fields it does not know, at every depth", () => {
      const value = { layers: [{ size: 1, more: { x: null } }], other: [1] }
      assert.deepStrictEqual<unknown>(Either.getOrThrow(Json.decode(schema, value, limits)), value)
    })

    it("tells every mismatch with its path", () => {
      const error = Either.getOrThrow(Either.flip(Json.decode(schema, { layers: [{ size: "1" }, {}] }, limits)))
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["layers[0].size", "layers[1].size"]
      )
      assert.match(error.message, /^the document: layers\[0\]\.size: .* \(and 1 more\)$/)
    })

    it("tells twenty mismatches at most", () => {
      const value = { layers: Array.from({ length: 1000 }, () => ({})) }
      assert.strictEqual(Either.getOrThrow(Either.flip(Json.decode(schema, value, limits))).issues.length, 20)
    })
  })
})
