import { assert, describe, it } from "@effect/vitest"
import { Sync } from "@effect-registry/core"
import * as Either from "effect/Either"

const entry = { from: "localhost:15000/team/app", to: "localhost:15000/mirror/app" }
const of = (fields: Record<string, unknown>) => ({ sync: [{ ...entry, ...fields }] })

const issues = (value: unknown): ReadonlyArray<string> => {
  const decoded = Sync.decode(value)
  if (Either.isRight(decoded)) return []
  assert.strictEqual(decoded.left.reason, "InvalidConfig")
  return decoded.left.issues.map(({ message, path }) => `${path}: ${message}`)
}

describe("Sync", () => {
  describe("decode", () => {
    it("takes everything that is documented", () => {
      const value = {
        concurrency: 10,
        images: 2,
        sync: [
          {
            from: "docker.io/library/alpine",
            to: "localhost:15000/mirror/",
            tags: { glob: ["3.*"], regex: "3.*", semver: ">=3.18", exclude: "*-rc*", newest: 3 },
            platforms: ["linux/amd64", "linux/arm/v7"],
            referrers: true,
            digestTags: true,
            rename: { tags: [{ match: "^v", to: "" }], repositories: [{ match: "alpine", to: "alp" }] },
            prune: true,
            maxDelete: "10%"
          },
          { from: "localhost:15000/**", to: "localhost:15000/copies/", tags: ["latest"] }
        ]
      }
      assert.deepStrictEqual(Either.getOrThrow(Sync.decode(value)), value)
    })
    it("takes numbers for tags and versions", () => {
      const { sync } = Either.getOrThrow(Sync.decode(of({ tags: [1, "2.0", 3.5] })))
      assert.deepStrictEqual(sync[0]?.tags, ["1", "2.0", "3.5"])
      const filter = Either.getOrThrow(Sync.decode(of({ tags: { semver: 1.2, glob: [1] } })))
      assert.deepStrictEqual(filter.sync[0]?.tags, { semver: "1.2", glob: ["1"] })
    })
    it("refuses fields that it does not know, with their place and what was probably meant", () => {
      const value = {
        concurency: 1,
        sync: [
          {
            ...entry,
            form: "x",
            tags: { semvers: "1", newst: 1 },
            rename: { tag: [], tags: [{ match: "a", to: "b", with: "c" }] },
            [`${"x".repeat(5000)}`]: 1
          }
        ]
      }
      assert.deepStrictEqual(
        issues(value).map((text) => text.replace(/x{100,}/, "x…").replace(/; there are .*/, "; …")),
        [
          "concurency: there is no such field; did you mean concurrency?",
          "sync[0].form: there is no such field; did you mean from?",
          "sync[0].x…: there is no such field; …",
          "sync[0].tags.semvers: there is no such field; did you mean semver?",
          "sync[0].tags.newst: there is no such field; did you mean newest?",
          "sync[0].rename.tag: there is no such field; did you mean tags?",
          "sync[0].rename.tags[0].with: there is no such field; …"
        ]
      )
      assert.match(
        issues(JSON.parse('{"__proto__":{"sync":[]},"sync":[]}')).join(),
        /__proto__: there is no such field/
      )
    })
    for (const [name, value, expected] of [
      ["nothing", null, /^: is empty$/],
      ["a list", [], /expected|missing/],
      ["no entries", { sync: [] }, /sync/],
      ["no source", { sync: [{ to: "a" }] }, /sync\[0\]\.from: is missing/],
      ["a source with a tag", of({ from: "a/b:1" }), /sync\[0\]\.from: character 4: .*without a tag/],
      ["a source that is none", of({ from: "A B" }), /sync\[0\]\.from/],
      ["a pattern of nothing", of({ from: "localhost:1/a b*", to: "x/" }), /stands in no repository's name/],
      ["a pattern for a host", of({ from: "reg.example*/a", to: "x/" }), /sync\[0\]\.from/],
      ["a pattern into one repository", of({ from: "a/*" }), /sync\[0\]\.to: has to end in \//],
      ["a semver that is none", of({ tags: { semver: "newest" } }), /sync\[0\]\.tags\.semver: .*no range/],
      ["a regex that is none", of({ tags: { regex: "(" } }), /sync\[0\]\.tags\.regex/],
      ["a tag that is none", of({ tags: ["a b"] }), /sync\[0\]\.tags.*expected a tag/],
      ["no tags", of({ tags: [] }), /sync\[0\]\.tags/],
      ["a platform that is none", of({ platforms: ["linux"] }), /sync\[0\]\.platforms\[0\]: expected os\/arch/],
      [
        "a rename that is none",
        of({ rename: { tags: [{ match: "(", to: "" }] } }),
        /sync\[0\]\.rename\.tags\[0\]\.match/
      ],
      ["a limit without prune", of({ maxDelete: 3 }), /sync\[0\]\.maxDelete: .*prune is off/],
      ["a limit that is none", of({ prune: true, maxDelete: "120%" }), /sync\[0\]\.maxDelete/],
      ["a concurrency of nothing", { ...of({}), concurrency: 0 }, /concurrency/]
    ] as const) {
      it(`refuses ${name}`, () => assert.match(issues(value).join("\n"), expected))
    }
    it("says what a field has to be, each once and without a word of the schema", () => {
      const kinds = { from: 1, to: [], tags: "latest", platforms: "linux/amd64", prune: "yes", maxDelete: "many" }
      assert.deepStrictEqual(issues({ concurrency: "many", sync: [null, kinds] }), [
        "concurrency: expected a number, 1 to 100",
        "sync[0]: expected an entry with the fields from and to",
        "sync[1].from: expected a repository, or a pattern such as registry.example/team/*",
        "sync[1].to: expected a repository, or a prefix that ends in /",
        'sync[1].tags: expected a filter such as { semver: ">=1" }, or a list of tags such as [1.0, latest]',
        "sync[1].platforms: expected a list such as [linux/amd64]",
        "sync[1].prune: expected true or false",
        "sync[1].maxDelete: expected a whole number, or a percentage such as 10%"
      ])
      assert.deepStrictEqual(issues(of({ tags: { newest: "x", glob: {} }, platforms: [1], rename: [1] })), [
        "sync[0].tags.glob: expected a pattern such as 1.*, or a list of patterns",
        "sync[0].tags.newest: expected a whole number, 1 or more",
        "sync[0].platforms[0]: expected os/architecture[/variant], as linux/amd64",
        "sync[0].rename: expected lists of rules, in the fields tags and repositories"
      ])
      assert.deepStrictEqual(
        issues(of({ tags: ["a b"], rename: { tags: [{ match: 1, to: "" }], repositories: "x" } })),
        [
          "sync[0].tags[0]: expected a tag: letters, digits and . _ -, 128 at most",
          "sync[0].rename.tags[0].match: expected a text",
          "sync[0].rename.repositories: expected a list of rules with match and to, 16 at most"
        ]
      )
      assert.deepStrictEqual(issues("text"), [": expected fields, of which sync is a list of entries"])
      const wrong = Either.getOrThrow(Either.flip(Sync.decode({ sync: 1 })))
      assert.strictEqual(wrong.hint, "docs/sync.md describes every field")
    })
    it("names the file", () => {
      const wrong = Either.getOrThrow(Either.flip(Sync.decode({}, { subject: "mirror.yaml" })))
      assert.match(wrong.message, /^mirror\.yaml: /)
    })
  })

  describe("decodePlan", () => {
    const digest = `sha256:${"a".repeat(64)}`
    const copy = {
      action: "copy",
      from: `r.example/a:1@${digest}`,
      to: "r.example/b:1",
      digest,
      replaces: null,
      bytes: 1,
      platforms: ["linux/amd64"],
      referrers: false,
      digestTags: false
    }
    const gone = {
      action: "delete",
      from: "r.example/a:1",
      sources: ["r.example/a:1", "r.example/a:v1"],
      to: "r.example/b:2",
      digest
    }
    const plan = (...actions: ReadonlyArray<unknown>) => ({
      version: 1,
      concurrency: null,
      images: 4,
      bytes: 1,
      actions,
      warnings: []
    })
    const refusal = (value: unknown) =>
      Either.match(Sync.decodePlan(value), {
        onLeft: ({ issues }) => issues.map(({ message, path }) => `${path}: ${message}`).join("\n"),
        onRight: () => "taken"
      })

    it("takes what a plan's JSON is", () => {
      const error = { tag: "RegistryError", reason: "NotFound", message: "gone", hint: null }
      const value = plan(copy, { ...copy, action: "update", to: "r.example/b:3", replaces: digest }, gone, {
        action: "failed",
        from: "r.example/*",
        to: null,
        error
      })
      assert.strictEqual(refusal(value), "taken")
    })
    for (const [name, value, expected] of [
      ["another version", { ...plan(), version: 2 }, /version/],
      ["a field more", { ...plan(), force: true }, /force: there is no such field/],
      ["a field more in an action", plan({ ...copy, force: true }), /actions\[0\]\.force: there is no such field/],
      ["a source without a digest", plan({ ...copy, from: "r.example/a:1" }), /actions\[0\]\.from/],
      ["a source without a host", plan({ ...copy, from: `a:1@${digest}` }), /actions\[0\]\.from/],
      ["a target with a digest", plan({ ...copy, to: `r.example/b:1@${digest}` }), /actions\[0\]\.to/],
      ["an escape from the path", plan({ ...copy, to: "r.example/../b:1" }), /actions\[0\]\.to/],
      ["a copy that replaces", plan({ ...copy, replaces: digest }), /actions\[0\]\.replaces/],
      ["an update that does not", plan({ ...copy, action: "update" }), /actions\[0\]\.replaces/],
      ["a platform that is none", plan({ ...copy, platforms: ["x"] }), /actions\[0\]\.platforms/],
      [
        "the deletion of a digest's tag",
        plan({ ...gone, to: `r.example/b:sha256-${"0".repeat(64)}` }),
        /never deleted/
      ],
      ["a deletion without its source", plan({ ...gone, sources: [] }), /actions\[0\]\.sources: expected what from/],
      ["a source to look for that is none", plan({ ...gone, sources: [gone.from, "x"] }), /actions\[0\]\.sources\[1\]/],
      [
        "two actions for one tag",
        plan(copy, { ...gone, to: copy.to }),
        /actions\[1\]\.to: another action has r\.example\/b:1 already/
      ],
      ["no plan", "plan", /Expected/]
    ] as const) {
      it(`refuses ${name}`, () => assert.match(refusal(value), expected))
    }
  })
})
