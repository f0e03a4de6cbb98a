import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { duration } from "../src/options.js"
import { hostsOf } from "../src/perform.js"

describe("options", () => {
  describe("duration", () => {
    it("reads the ways people write a time", () => {
      const cases = [
        ["90s", 90_000],
        ["5m", 300_000],
        ["1h30m", 5_400_000],
        ["250ms", 250],
        ["1.5s", 1500],
        ["30", 30_000],
        [" 5 minutes ", 300_000],
        ["1d", 86_400_000]
      ] as const
      for (const [text, milliseconds] of cases) {
        expect([text, Option.map(duration(text), Duration.toMillis)]).toEqual([text, Option.some(milliseconds)])
      }
    })
    it("takes nothing else", () => {
      for (const text of ["", "soon", "5x", "m5", "-5s", "0", "0s", "5m!", "1h x", "∞"]) {
        expect([text, duration(text)]).toEqual([text, Option.none()])
      }
    })
  })

  describe("hostsOf", () => {
    it("names the hosts of references and of the registry, each once", () => {
      expect(
        hostsOf(
          ["a.example:5000/x:1", "docker://a.example:5000/y", "local/app", "not a reference"],
          Option.some("http://b:1/")
        )
      ).toEqual(["a.example:5000", "b:1"])
    })
  })
})
