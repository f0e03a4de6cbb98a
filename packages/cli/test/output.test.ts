import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Output from "../src/output.js"
import { memoryStdio } from "./support.js"

describe("output", () => {
  describe("escape", () => {
    it("writes control characters so that a terminal shows them", () => {
      expect(Output.escape("a\u001b[31mred\u0007\n\r\tb")).toBe("a\\x1b[31mred\\x07\\n\\r\\tb")
      expect(Output.escape("\u009b2J\u007f")).toBe("\\x9b2J\\x7f")
    })
    it("writes marks that reorder or hide text", () => {
      expect(Output.escape("a\u202eb\u200bc\u2028d")).toBe("a\\u202eb\\u200bc\\u2028d")
    })
    it("leaves every other letter alone", () => {
      expect(Output.escape("한국어 äöü 🚢 sha256:abc")).toBe("한국어 äöü 🚢 sha256:abc")
    })
  })

  describe("json", () => {
    it("escapes what JSON allows and terminals obey", () => {
      expect(Output.json({ a: "\u009b2J\u202e" }, false)).toBe('{"a":"\\u009b2J\\u202e"}\n')
      expect(JSON.parse(Output.json({ a: "\u009b\u202e" }, true))).toEqual({ a: "\u009b\u202e" })
    })
  })

  describe("size", () => {
    it("counts in powers of ten", () => {
      expect([0, 999, 1000, 999_949, 999_950, 12_345_678, 3e12].map(Output.size)).toEqual([
        "0 B",
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
        "12.3 MB",
        "3.0 TB"
      ])
    })
  })

  describe("count", () => {
    it("says one and many", () => {
      expect([Output.count(1, "blob"), Output.count(0, "blob"), Output.count(2, "index", "indexes")]).toEqual([
        "1 blob",
        "0 blobs",
        "2 indexes"
      ])
    })
  })

  describe("table", () => {
    it("aligns by what is shown and leaves no blanks at the end", () => {
      expect(
        Output.table([
          ["a\n", "1"],
          ["bbbb", ""]
        ])
      ).toEqual(["a\\n   1", "bbbb"])
    })
  })

  describe("fields", () => {
    it("leaves out what is absent", () => {
      expect(
        Output.fields([
          ["os", "linux"],
          ["author", undefined],
          ["user", ""],
          ["architecture", "amd64"]
        ])
      ).toEqual(["os:            linux", "architecture:  amd64"])
    })
  })

  describe("make", () => {
    it.effect("prints lines as text, the document as JSON", () =>
      Effect.gen(function* () {
        const { stdio, stdout } = memoryStdio()
        const lines: Array<string> = []
        const options = { quiet: false, line: (text: string) => void lines.push(text) }
        const text = Output.make(stdio, { ...options, format: "text" })
        const json = Output.make(stdio, { ...options, format: "json" })
        yield* text.print(["one", "t\u001bwo"], { n: 2 })
        yield* text.print([], { n: 0 })
        yield* json.print(["one"], { n: 1 })
        expect(stdout()).toBe('one\nt\\x1bwo\n{"n":1}\n')
        expect(lines).toEqual([])
      })
    )
    it.effect("keeps warnings and errors with --quiet, and drops notes", () =>
      Effect.gen(function* () {
        const { stdio } = memoryStdio()
        const lines: Array<string> = []
        const quiet = Output.make(stdio, { quiet: true, format: "text", line: (text) => void lines.push(text) })
        yield* quiet.note("a note")
        yield* quiet.warn("look\u0007")
        yield* quiet.error({ what: "pushing a\nb", why: "no", hint: "yes" })
        expect(lines).toEqual(["warning: look\\x07", "error: pushing a\\nb\n  why: no\n  try: yes"])
      })
    )
  })
})
