import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import type { Config } from "../../src/Sync/Config.js"
import * as Prune from "../../src/Sync/Prune.js"
import * as Rule from "../../src/Sync/Rule.js"

const rule = (fields: Partial<Config["sync"][number]> = {}) => {
  const [first] = Either.getOrThrow(
    Rule.compileAll({ sync: [{ from: "r.example/a", to: "r.example/b", ...fields }] }, "test")
  )
  if (first === undefined) throw new Error("one entry gives one rule")
  return first
}
const nobody = () => false
const orphans = (candidates: Prune.Candidates) => candidates.orphans.map(({ targetTag }) => targetTag)
const digestTag = `sha256-${"0".repeat(64)}`

describe("Prune", () => {
  describe("candidates", () => {
    it("are tags that the filter takes and the source has no more", () => {
      const found = Prune.candidates(
        rule({ tags: { glob: "v*" } }),
        new Set(["v2", "x"]),
        new Set(["v1", "v2", "mine", digestTag, `${digestTag}.sig`]),
        nobody
      )
      assert.deepStrictEqual(found, { matching: 2, orphans: [{ targetTag: "v1", tag: "v1", sources: ["v1"] }] })
    })
    it("are none of the newest only because others are newer", () => {
      const found = Prune.candidates(rule({ tags: { newest: 1 } }), new Set(["1", "2"]), new Set(["1", "2"]), nobody)
      assert.deepStrictEqual(orphans(found), [])
    })
    it("are not what a tag that the filter does not take has become", () => {
      const renamed = rule({ tags: { glob: "v*" }, rename: { tags: [{ match: "^[vw]", to: "" }] } })
      assert.deepStrictEqual(orphans(Prune.candidates(renamed, new Set(["w1"]), new Set(["1"]), nobody)), [])
    })
    it("are not what others own", () => {
      const found = Prune.candidates(rule(), new Set(["3"]), new Set(["1", "2", "3"]), (tag) => tag === "1")
      assert.deepStrictEqual(orphans(found), ["2"])
    })
    it("have every name that would become the tag as a source, first of all a renamed one", () => {
      const renamed = rule({ rename: { tags: [{ match: "^v", to: "" }] } })
      const found = Prune.candidates(renamed, new Set(["v2"]), new Set(["1", "2"]), nobody)
      assert.deepStrictEqual(found.orphans, [{ targetTag: "1", tag: "v1", sources: ["1", "v1"] }])
    })
    it("are not what a rule that cannot be undone may have made", () => {
      const renamed = rule({ rename: { tags: [{ match: "[+]", to: "_" }] } })
      const found = Prune.candidates(renamed, new Set(["3"]), new Set(["1_0", "2"]), nobody)
      assert.deepStrictEqual(orphans(found), ["2"])
    })
    it("are not what other entries make of the source's tags, filter or not", () => {
      const other = rule({ tags: ["x"], rename: { tags: [{ match: "^w", to: "" }] } })
      const found = Prune.candidates(rule(), new Set(["3", "w1"]), new Set(["1", "2"]), nobody, [other])
      assert.deepStrictEqual(found.orphans, [{ targetTag: "2", tag: "2", sources: ["2", "w2"] }])
    })
    it("are of a list only what it names", () => {
      const found = Prune.candidates(rule({ tags: ["1", "2"] }), new Set(["2"]), new Set(["1", "2", "3"]), nobody)
      assert.deepStrictEqual(found, { matching: 2, orphans: [{ targetTag: "1", tag: "1", sources: ["1"] }] })
    })
  })
  describe("isAllowed", () => {
    it("takes half of them where nothing else is said", () => {
      assert.isTrue(Prune.isAllowed(5, 10, undefined))
      assert.isFalse(Prune.isAllowed(6, 10, undefined))
      assert.isTrue(Prune.isAllowed(0, 0, undefined))
    })
    it("takes a number or a percentage", () => {
      assert.isTrue(Prune.isAllowed(6, 6, 6))
      assert.isFalse(Prune.isAllowed(1, 10, 0))
      assert.isTrue(Prune.isAllowed(1, 10, "10%"))
      assert.isFalse(Prune.isAllowed(2, 10, "10%"))
      assert.isTrue(Prune.isAllowed(10, 10, "100%"))
    })
  })
})
