import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Challenge from "../../src/Registry/Challenge.js"

const bearer = (realm: string, service?: string, ...scopes: ReadonlyArray<string>): Challenge.Challenge => ({
  _tag: "Bearer",
  realm,
  service: Option.fromNullable(service),
  scopes
})

describe("Challenge", () => {
  describe("parse", () => {
    it.each<[string, ReadonlyArray<Challenge.Challenge>]>([
      ['Basic realm="x"', [{ _tag: "Basic" }]],
      ["basic", [{ _tag: "Basic" }]],
      ['Bearer realm="https://a/token",service="reg"', [bearer("https://a/token", "reg")]],
      [
        'Bearer realm="https://a/t?x=1,2",service="r",scope="repository:a/b:pull,push repository:c:pull"',
        [bearer("https://a/t?x=1,2", "r", "repository:a/b:pull,push", "repository:c:pull")]
      ],
      // Registries differ in case, spaces and quotes.
      ["BEARER Realm = https://a/t , SERVICE=r", [bearer("https://a/t", "r")]],
      ['Bearer realm="a\\"b\\\\c"', [bearer('a"b\\c')]],
      [
        'Negotiate abc==, Basic realm="x", Bearer realm="https://a/t", Digest qop="auth", nonce="n"',
        [{ _tag: "Basic" }, bearer("https://a/t")]
      ],
      [
        'Bearer realm="https://a/t",scope="s:a:pull", Basic realm="y, z"',
        [bearer("https://a/t", undefined, "s:a:pull"), { _tag: "Basic" }]
      ],
      ['Bearer realm="https://a/t",error="insufficient_scope"', [bearer("https://a/t")]],
      ["Bearer", []],
      ['Bearer service="r"', []],
      ["", []],
      [",,,", []],
      ['Bearer realm="never ends', []]
    ])("reads %s", (header, expected) => {
      assert.deepStrictEqual(Challenge.parse(header), expected)
    })
    it("has none without a header", () => {
      assert.deepStrictEqual(Challenge.parse(undefined), [])
    })
    it("takes time in proportion to a header made to confuse it", () => {
      const began = Date.now()
      for (const header of [
        'Bearer realm="'.repeat(50_000),
        `Bearer ${"a=,".repeat(100_000)}`,
        `x ${'\\"'.repeat(100_000)}`
      ]) {
        Challenge.parse(header)
      }
      assert.isBelow(Date.now() - began, 1000)
    })
  })

  describe("choose", () => {
    it("prefers a token to a password", () => {
      const both = Challenge.parse('Basic realm="x", Bearer realm="https://a/t"')
      assert.deepStrictEqual(Challenge.choose(both), Option.some(bearer("https://a/t")))
    })
    it("has nothing to choose from nothing", () => {
      assert.isTrue(Option.isNone(Challenge.choose([])))
    })
  })
})
