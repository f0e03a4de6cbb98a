import { assert, describe, it } from "@effect/vitest"
import { TagFilter } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"

const select = (filter: TagFilter.TagFilter, tags: ReadonlyArray<string>) =>
  Either.getOrThrow(TagFilter.compile(filter)).select(tags)

const issuesOf = (filter: TagFilter.TagFilter, options?: TagFilter.CompileOptions) =>
  Either.match(TagFilter.compile(filter, options), {
    onLeft: ({ issues }) => issues.map(({ message, path }) => `${path}: ${message}`),
    onRight: () => []
  })

const hex = "0123456789abcdef".repeat(4)
const versions = ["1.2", "v1.2.0", "1.10.3", "2.0.0-rc.1", "2.0.0", "3.20", "latest"]

const tag = FastCheck.stringOf(FastCheck.constantFrom(..."ab019.-_v"), { minLength: 1, maxLength: 12 })

describe("TagFilter", () => {
  describe("TagFilter", () => {
    it("is read from a document and written to it unchanged", () => {
      const document = { glob: ["1.*", "2.*"], regex: "[0-9.]+", semver: ">=1.2", exclude: "*-rc*", newest: 3 }
      assert.deepStrictEqual(Schema.decodeUnknownSync(TagFilter.TagFilter)(document), document)
      assert.deepStrictEqual(Schema.decodeUnknownSync(TagFilter.TagFilter)({}), {})
    })
    it("refuses a newest that is no whole number from 1", () => {
      for (const newest of [0, -1, 1.5, "3", Number.NaN]) {
        assert.isTrue(Either.isLeft(Schema.decodeUnknownEither(TagFilter.TagFilter)({ newest })))
      }
    })
  })
  describe("glob", () => {
    it("lets any of several match, with dots and dashes like any other character", () => {
      assert.deepStrictEqual(select({ glob: "pr-*" }, ["pr-1", "pr-1.2-x", "apr-1", "pr-"]), [
        "pr-1",
        "pr-1.2-x",
        "pr-"
      ])
      assert.deepStrictEqual(select({ glob: ["1.*", "latest"] }, ["1.2", "102", "latest", "2"]), ["1.2", "latest"])
    })
    it("knows ?, sets and alternatives", () => {
      const tags = ["a1", "a2", "b1", "ab", "a-", "a", "a.1"]
      assert.deepStrictEqual(select({ glob: "a?" }, tags), ["a1", "a2", "ab", "a-"])
      assert.deepStrictEqual(select({ glob: "a[0-9]" }, tags), ["a1", "a2"])
      assert.deepStrictEqual(select({ glob: "a[!0-9]" }, tags), ["ab", "a-"])
      assert.deepStrictEqual(select({ glob: "a[-1]" }, tags), ["a1", "a-"])
      assert.deepStrictEqual(select({ glob: "{a,b}{1,.*}" }, tags), ["a1", "b1", "a.1"])
    })
    it("says what is wrong, and where", () => {
      assert.deepStrictEqual(issuesOf({ glob: ["ok", "a/b"] }), ['glob[1]: character 2: no tag has a "/"'])
      assert.deepStrictEqual(issuesOf({ glob: "!a" }), ['glob: character 1: no tag has a "!"'])
      assert.match(issuesOf({ glob: "a[b" })[0] ?? "", /^glob: character 2: \[ begins a set/)
      assert.deepStrictEqual(issuesOf({ glob: "a{b,c" }), ["glob: a { is not closed"])
      assert.deepStrictEqual(issuesOf({ glob: "" }), ["glob: the pattern is empty"])
      assert.deepStrictEqual(issuesOf({ glob: [] }), ["glob: the list is empty"])
      assert.match(issuesOf({ glob: "[z-a]" })[0] ?? "", /^glob: invalid character class range/)
    })
    it("matches a tag by itself", () => {
      FastCheck.assert(
        FastCheck.property(tag, tag, (one, other) => {
          assert.deepStrictEqual(select({ glob: one }, [one, other]), one === other ? [one] : [one])
          assert.deepStrictEqual(select({ glob: `${one}*` }, [other]), other.startsWith(one) ? [other] : [])
        })
      )
    })
  })
  describe("regex", () => {
    it("matches the whole tag", () => {
      assert.deepStrictEqual(select({ regex: "1|2\\.0" }, ["1", "10", "2.0", "12.0", "2x0"]), ["1", "2.0"])
    })
    it("says what is wrong", () => {
      assert.match(issuesOf({ regex: "(" })[0] ?? "", /^regex: missing closing \)/)
      assert.match(issuesOf({ regex: "a(?!b)" })[0] ?? "", /^regex: invalid or unsupported Perl syntax/)
      assert.match(issuesOf({ regex: "a".repeat(1001) })[0] ?? "", /^regex: the pattern is longer/)
    })
    it("takes no longer for a pattern and a tag that were made to last", () => {
      const hostile = `${"a".repeat(127)}.`
      const began = performance.now()
      assert.deepStrictEqual(select({ regex: "(a+)+" }, [hostile]), [])
      assert.deepStrictEqual(select({ regex: "(a|aa)*(a|b|ab)*c" }, [hostile]), [])
      assert.deepStrictEqual(select({ glob: `${"*a".repeat(30)}*b` }, [hostile]), [])
      assert.isBelow(performance.now() - began, 2000)
    })
  })
  describe("semver", () => {
    it("takes a leading v and what is missing as 0", () => {
      assert.deepStrictEqual(select({ semver: ">=1.2 <2" }, versions), ["1.2", "v1.2.0", "1.10.3"])
      assert.deepStrictEqual(select({ semver: ">=1.2, <2" }, versions), ["1.2", "v1.2.0", "1.10.3"])
      assert.deepStrictEqual(select({ semver: "1.x || ^3" }, versions), ["1.2", "v1.2.0", "1.10.3", "3.20"])
      assert.deepStrictEqual(select({ semver: ">=22.04" }, ["22.04", "22.10", "22.3", "20.04"]), ["22.04", "22.10"])
    })
    it("takes pre-releases only where the range names one, or when told to", () => {
      const tags = ["1.3.0-rc.1", "1.3.0", "1.4.0-rc.1", "1.4-alpine"]
      assert.deepStrictEqual(select({ semver: ">=1.2" }, tags), ["1.3.0"])
      assert.deepStrictEqual(select({ semver: ">=1.3.0-rc.0" }, tags), ["1.3.0-rc.1", "1.3.0"])
      assert.deepStrictEqual(select({ semver: ">=1.2", includePrerelease: true }, tags), tags)
    })
    it("takes nothing for a version that is none", () => {
      const tags = ["latest", "20240501", "1.2.3.4", "v", "1.2.3_1", "1..2", "1.2.", `${"9".repeat(60)}.1`, "12345"]
      assert.deepStrictEqual(select({ semver: "*", includePrerelease: true }, tags), ["12345"])
    })
    it("says what is wrong", () => {
      assert.deepStrictEqual(issuesOf({ semver: "nonsense" }), ["semver: no range such as >=1.2 <2, 1.x or ^3"])
      assert.strictEqual(issuesOf({ semver: ">=1.2 nonsense" }).length, 1)
      assert.deepStrictEqual(issuesOf({ semver: " " }), ["semver: the range is empty"])
      assert.match(issuesOf({ includePrerelease: true })[0] ?? "", /^includePrerelease: /)
    })
  })
  describe("exclude", () => {
    it("leaves out what matches any glob, whatever else says", () => {
      assert.deepStrictEqual(select({ glob: "1.*", exclude: ["*-rc*", "1.0"] }, ["1.0", "1.1", "1.2-rc1"]), ["1.1"])
      assert.deepStrictEqual(select({ exclude: "latest" }, ["1", "latest"]), ["1"])
    })
  })
  describe("newest", () => {
    it("keeps the highest versions, in the order they came in", () => {
      assert.deepStrictEqual(select({ newest: 3 }, versions), ["2.0.0-rc.1", "2.0.0", "3.20"])
      assert.deepStrictEqual(select({ newest: 2 }, ["1.9", "1.10", "1.8"]), ["1.9", "1.10"])
    })
    it("puts versions before other tags, and those in natural order", () => {
      const tags = ["build-9", "build-10", "0.1"]
      assert.deepStrictEqual(select({ newest: 1 }, tags), ["0.1"])
      assert.deepStrictEqual(select({ newest: 2 }, tags), ["build-10", "0.1"])
      assert.deepStrictEqual(select({ newest: 2 }, ["20240501", "20240510", "20231231"]), ["20240501", "20240510"])
    })
    it("counts after all other filters", () => {
      assert.deepStrictEqual(select({ semver: "1.x", exclude: "1.10.3", newest: 1 }, versions), ["v1.2.0"])
    })
    it("chooses the same tags whatever their order", () => {
      FastCheck.assert(
        FastCheck.property(
          FastCheck.uniqueArray(tag, { maxLength: 8 }),
          FastCheck.integer({ min: 1, max: 4 }),
          (tags, newest) => {
            const chosen = [...select({ newest }, tags)].sort()
            assert.strictEqual(chosen.length, Math.min(newest, tags.length))
            assert.deepStrictEqual([...select({ newest }, [...tags].reverse())].sort(), chosen)
          }
        )
      )
    })
  })
  describe("compile", () => {
    it("chooses every tag where no field is given, each once", () => {
      assert.deepStrictEqual(select({}, ["b", "a", "b"]), ["b", "a"])
    })
    it("wants all filters to agree", () => {
      assert.deepStrictEqual(select({ glob: "1.*", regex: ".*[02]", semver: ">1.1" }, ["1.0", "1.1", "1.2", "2.2"]), [
        "1.2"
      ])
    })
    it("never chooses a tag that is made of a digest", () => {
      const tags = [`sha256-${hex}`, `sha256-${hex}.sig`, `sha512-${hex}`, "sha256-abc"]
      assert.deepStrictEqual(select({ glob: "sha*" }, tags), ["sha256-abc"])
      assert.isFalse(Either.getOrThrow(TagFilter.compile({})).matches(`sha256-${hex}.att`))
    })
    it("names every field that is wrong, with its path in the document", () => {
      const error = Either.getOrThrow(
        Either.flip(
          TagFilter.compile({ glob: "a/b", semver: "x y" }, { subject: "sync.yaml", path: "sources[0].tags" })
        )
      )
      assert.strictEqual(error.reason, "InvalidConfig")
      assert.deepStrictEqual(
        error.issues.map(({ path }) => path),
        ["sources[0].tags.glob", "sources[0].tags.semver"]
      )
      assert.strictEqual(error.message, 'sync.yaml: sources[0].tags.glob: character 2: no tag has a "/" (and 1 more)')
    })
  })
})
