import { assert, describe, it } from "@effect/vitest"
import { Platform } from "@effect-registry/core"
import * as Either from "effect/Either"

const platform = (text: string): Platform.Platform => Either.getOrThrow(Platform.parse(text))

describe("Platform", () => {
  describe("parse", () => {
    it.each([
      ["linux/amd64", "linux/amd64"],
      ["linux/arm/v7", "linux/arm/v7"],
      ["linux/x86_64", "linux/amd64"],
      ["linux/aarch64", "linux/arm64"],
      ["linux/armhf", "linux/arm/v7"],
      ["linux/armel", "linux/arm/v6"],
      ["linux/ppc64", "linux/ppc64"],
      ["linux/ppc64le", "linux/ppc64le"],
      ["macos/arm64", "darwin/arm64"],
      ["linux/constructor", "linux/constructor"]
    ])("reads %s as %s", (text, expected) => {
      assert.strictEqual(Platform.format(platform(text)), expected)
    })

    it.each(["", "linux", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x", "Linux/amd64", "linux/amd64 "])(
      "refuses %j",
      (text) => {
        const error = Either.getOrThrow(Either.flip(Platform.parse(text)))
        assert.strictEqual(error.reason, "InvalidPlatform")
        assert.match(error.message, /os\/architecture\[\/variant\]/)
      }
    )
  })

  describe("matches", () => {
    it.each<[string, string, boolean]>([
      ["linux/amd64", "linux/amd64", true],
      ["linux/amd64", "linux/arm64", false],
      ["linux/amd64", "windows/amd64", false],
      ["linux/arm64", "linux/arm64/v8", true],
      ["linux/arm64/v8", "linux/arm64", true],
      ["linux/arm64", "linux/arm64/v9", false],
      ["linux/arm64/v9", "linux/arm64", true],
      ["linux/arm", "linux/arm/v7", true],
      ["linux/arm", "linux/arm/v6", true],
      ["linux/arm", "linux/arm/v8", false],
      ["linux/arm/v6", "linux/arm/v7", false],
      ["linux/arm/7", "linux/arm/v7", true],
      ["linux/amd64", "linux/amd64/v1", true],
      ["linux/amd64", "linux/amd64/v3", false],
      ["linux/amd64/v3", "linux/amd64/v2", true],
      ["linux/amd64/v3", "linux/amd64", true],
      ["linux/riscv64/a", "linux/riscv64/b", false],
      ["linux/arm/odd", "linux/arm/odd", true],
      ["linux/arm/odd", "linux/arm", false]
    ])("%s is served by %s: %s", (want, have, expected) => {
      assert.strictEqual(Platform.matches(platform(want), platform(have)), expected)
    })

    it("takes an empty variant for none", () => {
      assert.isTrue(Platform.matches(platform("linux/amd64"), { os: "linux", architecture: "amd64", variant: "" }))
    })

    it("compares the os.version where one is asked for", () => {
      const windows = (version?: string) => ({
        os: "windows",
        architecture: "amd64",
        ...(version === undefined ? {} : { "os.version": version })
      })
      assert.isTrue(Platform.matches(windows(), windows("10.0.1")))
      assert.isTrue(Platform.matches(windows("10.0.1"), windows("10.0.1")))
      assert.isFalse(Platform.matches(windows("10.0.1"), windows("10.0.2")))
    })
  })

  describe("best", () => {
    const choose = (want: string, have: ReadonlyArray<string>) => Platform.best(platform(want), have, platform)

    it("takes the nearest variant that runs, wherever it stands in the list", () => {
      assert.strictEqual(choose("linux/arm", ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"]), "linux/arm/v7")
      assert.strictEqual(choose("linux/arm/v6", ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"]), "linux/arm/v6")
      assert.strictEqual(choose("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"]), "linux/arm/v6")
      assert.strictEqual(
        choose("linux/amd64/v3", ["linux/amd64", "linux/amd64/v4", "linux/amd64/v2"]),
        "linux/amd64/v2"
      )
    })

    it("takes the first of equals, and nothing where nothing runs", () => {
      assert.strictEqual(choose("linux/arm64", ["linux/arm64/v8", "linux/arm64"]), "linux/arm64/v8")
      assert.isUndefined(choose("linux/amd64", ["linux/arm64"]))
      assert.isUndefined(Platform.best(platform("linux/amd64"), [null, undefined], (entry) => entry))
    })
  })

  describe("linux", () => {
    it.each([
      ["x64", "linux/amd64"],
      ["ia32", "linux/386"],
      ["arm64", "linux/arm64"],
      ["arm", "linux/arm"],
      ["ppc64", "linux/ppc64le"],
      ["s390x", "linux/s390x"]
    ])("knows Node's %s as %s", (architecture, expected) => {
      assert.strictEqual(Platform.format(Platform.linux(architecture)), expected)
    })
  })

  it("knows the entries that run nowhere", () => {
    assert.isTrue(Platform.isUnknown(platform("unknown/unknown")))
    assert.isFalse(Platform.isUnknown(platform("linux/unknown")))
  })
})
