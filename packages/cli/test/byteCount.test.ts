import { describe, expect, it } from "@effect/vitest"
import * as Option from "effect/Option"
import { parse } from "../src/byteCount.js"

describe("byteCount", () => {
  describe("parse", () => {
    it.each([
      ["1", 1],
      ["1000", 1000],
      ["64k", 64_000],
      ["64KiB", 65_536],
      ["1.5 MB", 1_500_000],
      ["10G", 10e9],
      ["10gib", 10 * 1024 ** 3],
      ["2T", 2e12]
    ])("reads %s as %d", (text, bytes) => expect(parse(text)).toEqual(Option.some(bytes)))

    it.each(["", "0", "0.5", "-1", "1x", "G", "1 000", "1e3", "99999999999T", "1i"])("takes %j for nothing", (text) =>
      expect(parse(text)).toEqual(Option.none())
    )
  })
})
