import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Rename from "../../src/Sync/Rename.js"

const rename = (...rules: ReadonlyArray<readonly [match: string, to: string]>) =>
  Either.getOrThrow(Rename.compile(rules.map(([match, to]) => ({ match, to }))))

describe("Rename", () => {
  describe("apply", () => {
    it("replaces the first match, each rule after the one before", () => {
      assert.strictEqual(rename(["a", "b"], ["^b", "x-"]).apply("aaa"), "x-aa")
      assert.strictEqual(rename(["(.*)", "v$1"]).apply("1.0"), "v1.0")
      assert.strictEqual(rename(["^(\\w+)-(\\w+)$", "$2-$1"]).apply("one-two"), "two-one")
      assert.strictEqual(rename(["nothing", "x"]).apply("1.0"), "1.0")
      assert.strictEqual(rename(["x", "$$"]).apply("x"), "$")
    })
    it("takes no longer for a pattern that would hold others for years", () => {
      const before = Date.now()
      rename(["^(a+)+$", "x"]).apply(`${"a".repeat(127)}!`)
      assert.isBelow(Date.now() - before, 1000)
    })
  })
  describe("sources", () => {
    for (const [match, to, source, renamed] of [
      ["^v", "", "v1.0", "1.0"],
      ["^", "old-", "1.0", "old-1.0"],
      ["-alpine$", "", "3-alpine", "3"],
      ["^latest$", "stable", "latest", "stable"],
      ["^v(.*)$", "release-$1", "v1", "release-1"],
      ["^(\\d+)\\.0$", "$1", "3.0", "3"],
      ["^app_(.+)-x$", "$1-y", "app_1-x", "1-y"]
    ] as const) {
      it(`undoes ${match} to ${JSON.stringify(to)}`, () => {
        assert.include(rename([match, to]).sources(renamed), source)
      })
    }
    it("finds only what the rules make the very same name of", () => {
      // The group takes digits alone, so this one was made of nothing.
      assert.deepStrictEqual(rename(["^v(\\d+)$", "r$1"]).sources("rx"), ["rx"])
      assert.deepStrictEqual(rename(["^v", ""]).sources("v1"), ["vv1"])
      assert.deepStrictEqual(rename().sources("1.0"), ["1.0"])
    })
    it("undoes rules one after the other", () => {
      assert.include(rename(["^v", ""], ["^(.*)$", "x-$1"]).sources("x-1"), "v1")
    })
    it("finds nothing but untouched names where a rule cannot be undone", () => {
      assert.deepStrictEqual(rename(["^v(.)(.*)$", "r$1$2"]).sources("r10"), ["r10"])
      assert.deepStrictEqual(rename(["[ab]", "c"]).sources("c"), ["c"])
      assert.deepStrictEqual(rename(["^(a|b)$", "same"]).sources("same"), ["same"])
    })
  })
  describe("compile", () => {
    for (const [match, to, field, message] of [
      ["(", "x", "match", /missing closing/],
      ["", "x", "match", /empty/],
      ["a(?=b)", "x", "match", /./],
      ["(a)", "$2", "to", /\$2 is no group of "\(a\)", which has 1/],
      ["a", "$x", "to", /a \$ is followed by/]
    ] as const) {
      it(`refuses ${JSON.stringify(match)} to ${JSON.stringify(to)}`, () => {
        const wrong = Either.getOrThrow(Either.flip(Rename.compile([{ match, to }])))
        assert.strictEqual(wrong.field, field)
        assert.match(wrong.message, message)
      })
    }
  })
})
