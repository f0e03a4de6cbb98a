import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Yaml from "../src/yaml.js"

const parse = (text: string) => Yaml.parse(text, "file.yaml")

describe("yaml", () => {
  describe("parse", () => {
    it.effect("keeps numbers that are not written as they would be printed as text", () =>
      Effect.gen(function* () {
        const value = yield* parse("tags: [1.0, 2.1, 007, 1e3, 0x10, latest]\nimages: 4\nprune: true")
        assert.deepStrictEqual(value, { tags: ["1.0", 2.1, "007", "1e3", "0x10", "latest"], images: 4, prune: true })
      })
    )
    it.effect("knows anchors, merges and JSON", () =>
      Effect.gen(function* () {
        const value = yield* parse("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a")
        assert.deepStrictEqual(value, { a: { x: 1 }, b: { x: 1, y: 2 }, c: { x: 1 } })
        assert.deepStrictEqual(yield* parse('{"sync": [{"from": "a"}]}'), { sync: [{ from: "a" }] })
      })
    )
    for (const [name, text, expected] of [
      ["what is no YAML", "a: [1", /^file\.yaml: is no YAML: .*line 1, column/],
      ["a key that stands there twice", "a: 1\na: 2", /unique.*line 2/],
      ["two documents", "a: 1\n---\nb: 2", /^file\.yaml: is no YAML: there are several documents, and one is wanted$/],
      ["types of other languages", "a: !!js/function 'x'", /Unresolved tag/],
      [
        "a few lines that name a billion things",
        `a0: &a0 [x, x]\n${Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}]`).join("\n")}`,
        /alias/
      ],
      ["a depth without end", "[".repeat(100_000), /is no YAML/]
    ] as const) {
      it.effect(`refuses ${name}`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(parse(text))
          assert.strictEqual(error.reason, "InvalidConfig")
          assert.match(error.message, expected)
        })
      )
    }
  })
})
