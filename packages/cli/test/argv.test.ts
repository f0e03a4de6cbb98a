import { describe, expect, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { canonical, commandIndex, has, isOption, nearest, wantsJson } from "../src/argv.js"

describe("argv", () => {
  describe("canonical", () => {
    const kinds = {
      "--output": "value",
      "--platform": "value",
      "--quiet": "flag",
      "--plain-http": "optional",
      "--insecure-skip-tls-verify": "optional",
      "--mirror": "value",
      "--log-level": "value"
    } as const
    const words = (...line: ReadonlyArray<string>) =>
      Either.map(canonical("push", line, kinds), (sorted) => sorted.words.join(" "))
    const misuse = (...line: ReadonlyArray<string>) => Either.flip(canonical("push", line, kinds))

    it("puts options in front and arguments behind --", () => {
      expect(words("app.tar", "--output", "json", "ref", "--quiet")).toEqual(
        Either.right("push --output json --quiet -- app.tar ref")
      )
    })
    it("keeps an argument behind a flag an argument", () => {
      expect(words("--quiet", "1", "-")).toEqual(Either.right("push --quiet -- 1 -"))
    })
    it("splits values from options, also where an option is repeated", () => {
      expect(words("--platform=linux/amd64", "--platform", "linux/arm64", "--output=json")).toEqual(
        Either.right("push --platform linux/amd64 --platform linux/arm64 --output json --")
      )
    })
    it("gives a bare --plain-http the value that means every host, and takes no argument for it", () => {
      expect(words("--plain-http", "host:5000")).toEqual(Either.right("push --plain-http * -- host:5000"))
      expect(words("--plain-http=host:5000")).toEqual(Either.right("push --plain-http host:5000 --"))
    })
    it("treats --insecure-skip-tls-verify and --mirror alike where they are repeated", () => {
      expect(
        words("--insecure-skip-tls-verify", "--insecure-skip-tls-verify=b:1", "--mirror=a=x", "--mirror", "b=y")
      ).toEqual(
        Either.right("push --insecure-skip-tls-verify * --insecure-skip-tls-verify b:1 --mirror a=x --mirror b=y --")
      )
    })
    it("takes everything behind -- for arguments", () => {
      expect(words("--quiet", "--", "--nope", "--")).toEqual(Either.right("push --quiet -- --nope --"))
    })
    it("takes the log level out", () => {
      expect(canonical("push", ["--log-level", "debug"], kinds)).toEqual(
        Either.right({ words: ["push", "--"], logLevel: Option.some("debug") })
      )
    })
    it("finds unknown options, also those that look like members of every object", () => {
      expect(misuse("a", "--ouput=json")).toEqual(Either.right({ _tag: "UnknownOption", name: "--ouput" }))
      expect(misuse("-x")).toEqual(Either.right({ _tag: "UnknownOption", name: "-x" }))
      expect(words("__proto__")).toEqual(Either.right("push -- __proto__"))
    })
    it("says what is wrong with an option", () => {
      expect(misuse("--output")).toEqual(Either.right({ _tag: "Other", why: "--output wants a value" }))
      expect(misuse("--output=")).toEqual(Either.right({ _tag: "Other", why: "--output wants a value" }))
      expect(misuse("--quiet=yes")).toEqual(Either.right({ _tag: "Other", why: "--quiet takes no value" }))
      expect(misuse("--output=a", "--output=b")).toEqual(
        Either.right({ _tag: "Other", why: "--output is given twice" })
      )
    })
  })

  describe("commandIndex", () => {
    it("skips the value of an option", () => {
      expect(commandIndex(["--output", "json", "tags"])).toBe(2)
      expect(commandIndex(["--output=json", "tags"])).toBe(1)
      for (const option of ["--authfile", "--cert-dir", "--mirror", "--registry"]) {
        expect([option, commandIndex([option, "value", "tags"])]).toEqual([option, 2])
      }
    })
    it("finds none in options alone, nor behind --", () => {
      expect(commandIndex(["--quiet"])).toBe(-1)
      expect(commandIndex(["--output", "json"])).toBe(-1)
      expect(commandIndex(["--", "push"])).toBe(-1)
    })
  })

  describe("isOption", () => {
    it("takes a single dash for an address", () => {
      expect(isOption("-")).toBe(false)
      expect(isOption("-q")).toBe(true)
      expect(isOption("app.tar")).toBe(false)
    })
  })

  describe("has", () => {
    it("looks in front of -- only", () => {
      expect(has(["push", "-h"], "--help", "-h")).toBe(true)
      expect(has(["push", "--", "-h"], "--help", "-h")).toBe(false)
    })
  })

  describe("wantsJson", () => {
    it("knows both ways to write it", () => {
      expect(wantsJson(["push", "--output=json"])).toBe(true)
      expect(wantsJson(["push", "--output", "json"])).toBe(true)
      expect(wantsJson(["push", "--output", "text", "json"])).toBe(false)
    })
  })

  describe("nearest", () => {
    const commands = ["push", "pull", "copy", "list", "inspect", "delete"]
    it("suggests the command that a slip of the finger meant", () => {
      expect(nearest("psuh", commands)).toEqual(Option.some("push"))
      expect(nearest("pul", commands)).toEqual(Option.some("pull"))
      expect(nearest("inspct", commands)).toEqual(Option.some("inspect"))
      expect(nearest("del", commands)).toEqual(Option.some("delete"))
    })
    it("suggests nothing for another word", () => {
      expect(nearest("frobnicate", commands)).toEqual(Option.none())
    })
  })
})
