import { assert, describe, it } from "@effect/vitest"
import { type Digest, Manifest, Referrer, Retention } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import * as Fake from "./support/FakeRepository.js"

const now = Date.UTC(2024, 5, 1)
const daysAgo = (days: number): string => new Date(now - days * 86_400_000).toISOString()
const annotation = "org.opencontainers.image.created"

/** The plan, on the first of June 2024. */
const planOf = (repository: ReturnType<typeof Fake.make>, policy: Retention.Policy) =>
  Effect.zipRight(TestClock.setTime(now), Retention.plan("r.example/a", policy)).pipe(Effect.provide(repository.layer))

const applied = (repository: ReturnType<typeof Fake.make>, policy: Retention.Policy) =>
  Effect.flatMap(planOf(repository, policy), (plan) =>
    Effect.map(Effect.provide(Retention.apply(plan), repository.layer), (report) => ({ plan, report }))
  )

const going = (plan: Retention.Plan) => plan.delete.map(({ tag }) => tag)
const staying = (plan: Retention.Plan) => Object.fromEntries(plan.keep.map(({ reason, tag }) => [tag, reason]))
const outcomes = (report: Retention.Report) =>
  Object.fromEntries(report.tags.map(({ outcome, tag }) => [tag, outcome._tag]))

/** Tags `1`, `2` …, so many days old. */
const aged = (repository: ReturnType<typeof Fake.make>, ...days: ReadonlyArray<number>) =>
  days.map((age, at) => repository.tag(String(at + 1), repository.image({ created: daysAgo(age) })))

describe("Retention", () => {
  describe("plan", () => {
    it.effect("lets a tag go only where every rule says so, and tells the first that kept each", () => {
      const repository = Fake.make()
      for (const [name, age] of [
        ["pr-1", 50],
        ["pr-2", 40],
        ["pr-3", 20],
        ["pr-4", 60],
        ["main", 90]
      ] as const) {
        repository.tag(name, repository.image({ created: daysAgo(age) }))
      }
      repository.tag(`sha256-${"0".repeat(64)}.sig`, repository.image({ created: daysAgo(90) }))
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { match: "pr-*", keepLast: 1, olderThan: "45 days" })
        assert.deepStrictEqual(going(plan), ["pr-4", "pr-1"])
        assert.deepStrictEqual(staying(plan), {
          "pr-2": "TooYoung",
          "pr-3": "KeepLast",
          main: "NotChosen",
          [`sha256-${"0".repeat(64)}.sig`]: "DigestTag"
        })
        assert.deepStrictEqual(plan.delete[0], {
          tag: "pr-4",
          digest: repository.tags.get("pr-4") ?? assert.fail("pr-4 is gone"),
          created: daysAgo(60),
          reason: "Rules"
        })
        assert.deepStrictEqual(plan.manifests, [])
        assert.isFalse(repository.lines().some((line) => line.includes("/manifests/main")))
      })
    })
    it.effect("is JSON as it is", () => {
      const repository = Fake.make()
      aged(repository, 50, 40, 1)
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { match: ["*"], keepLast: 1, olderThan: "30 days", manifests: true })
        const again = yield* Schema.decodeUnknown(Retention.Plan)(JSON.parse(JSON.stringify(plan)))
        assert.deepStrictEqual(again, plan)
        assert.strictEqual(plan.made, "2024-06-01T00:00:00.000Z")
      })
    })
    it.effect("refuses a policy that does not say what goes", () => {
      const repository = Fake.make()
      return Effect.gen(function* () {
        for (const policy of [{}, { exclude: "x" }, { manifests: true }]) {
          const error = yield* Effect.flip(planOf(repository, policy))
          assert.strictEqual(error.reason, "InvalidOption")
        }
        for (const policy of [{ keepLast: 0 }, { keepLast: 1.5 }, { olderThan: "0 days" }, { match: "a/b" }] as const) {
          const error = yield* Effect.flip(planOf(repository, policy))
          assert.strictEqual(error.reason, "InvalidConfig")
        }
        const error = yield* Effect.flip(planOf(repository, { match: ["ok", "a/b"], semver: "newest" }))
        assert.strictEqual(error.message, 'retention policy: match[1]: character 2: no tag has a "/" (and 1 more)')
        assert.strictEqual(repository.seen.length, 0)
      })
    })
    it.effect("keeps the newest by age, and of the same age the higher version", () => {
      const repository = Fake.make()
      for (const name of ["1.9", "1.10", "1.2"]) repository.tag(name, repository.image({ created: daysAgo(9) }))
      repository.tag("old", repository.image({ created: daysAgo(10) }))
      return Effect.gen(function* () {
        assert.deepStrictEqual(going(yield* planOf(repository, { keepLast: 2 })), ["old", "1.2"])
        assert.deepStrictEqual(going(yield* planOf(repository, { keepLast: 9 })), [])
      })
    })
    it.effect("does not delete what is exactly as old as the limit", () => {
      const repository = Fake.make()
      aged(repository, 30, 30.00001)
      return Effect.map(planOf(repository, { olderThan: "30 days" }), (plan) =>
        assert.deepStrictEqual(going(plan), ["2"])
      )
    })
    it.effect("takes the annotation first, then the config, and of an index the newest image", () => {
      const repository = Fake.make()
      const [old, young] = [repository.image({ created: daysAgo(90) }), repository.image({ created: daysAgo(2) })]
      const attestation = repository.image()
      repository.tag("annotated", repository.image({ created: daysAgo(2), annotations: { [annotation]: daysAgo(90) } }))
      repository.tag("config", old)
      repository.tag("index", repository.index([old, young]))
      repository.tag("nested", repository.index([repository.index([old, young])]))
      repository.tag("old-index", repository.index([old, attestation], { unknown: [attestation] }))
      repository.tag("annotated-index", repository.index([young], { annotations: { [annotation]: daysAgo(90) } }))
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { olderThan: "30 days" })
        assert.sameMembers(going(plan), ["annotated", "config", "old-index", "annotated-index"])
        assert.deepStrictEqual(staying(plan), { index: "TooYoung", nested: "TooYoung" })
      })
    })
    it.effect("keeps what has no age that can be believed, and counts it nowhere", () => {
      const repository = Fake.make()
      const values: ReadonlyArray<unknown> = [
        undefined,
        null,
        "",
        "yesterday",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01+00:00",
        "0001-01-01T00:00:00Z",
        "1980-01-01T00:00:01Z",
        "2024-06-01T00:00:00.001Z",
        "9999-12-31T23:59:59Z",
        "2020-13-01T00:00:00Z",
        "2020-01-01",
        "Wed, 01 Jan 2020 00:00:00 GMT",
        `2020-01-01T00:00:00${"9".repeat(100)}Z`,
        "-271821-04-20T00:00:00Z",
        1577836800,
        { $date: 1 },
        ["2020-01-01T00:00:00Z"]
      ]
      for (const [at, created] of values.entries()) repository.tag(`odd-${at}`, repository.image({ created }))
      repository.tag("future", repository.image({ created: daysAgo(90), annotations: { [annotation]: daysAgo(-1) } }))
      repository.tag("empty", repository.index([]))
      repository.tag("half", repository.index([repository.image({ created: daysAgo(90) }), repository.image()]))
      const lost = repository.tag("lost", repository.image({ created: daysAgo(90) }))
      const config = repository.manifests.get(lost)
      if (config?._tag === "Image") repository.blobs.delete(config.value.config.digest)
      aged(repository, 60, 50)
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { keepLast: 1, olderThan: "30 days" })
        assert.deepStrictEqual(going(plan), ["1"])
        const unknown = plan.keep.filter(({ reason }) => reason === "UnknownAge")
        assert.strictEqual(unknown.length, values.length + 4)
        assert.isTrue(unknown.every(({ created }) => created === null))
      })
    })
    it.effect("takes dates in every form of RFC 3339", () => {
      const repository = Fake.make()
      const forms = ["2020-01-01T00:00:00Z", "2020-01-01t00:00:00.123456789z", "2020-01-01 00:00:00+05:30"]
      for (const [at, created] of forms.entries()) repository.tag(`t${at}`, repository.image({ created }))
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { olderThan: "30 days" })
        assert.deepStrictEqual(
          plan.delete.map(({ created, tag }) => [tag, created]),
          [
            ["t2", "2019-12-31T18:30:00.000Z"],
            ["t0", "2020-01-01T00:00:00.000Z"],
            ["t1", "2020-01-01T00:00:00.123Z"]
          ]
        )
      })
    })
    it.effect("asks nothing of ages where only names are given", () => {
      const repository = Fake.make()
      repository.tag("pr-1", repository.image())
      repository.tag("pr-2", repository.image({ created: daysAgo(1) }))
      return Effect.map(planOf(repository, { regex: "pr-[0-9]+", exclude: "pr-2" }), (plan) =>
        assert.deepStrictEqual(going(plan), ["pr-1"])
      )
    })
    it.effect("reads each manifest and config once, however many tags name it", () => {
      const repository = Fake.make()
      const digest = repository.image({ created: daysAgo(90) })
      for (const name of ["a", "b", "c"]) repository.tag(name, digest)
      return Effect.gen(function* () {
        assert.deepStrictEqual(going(yield* planOf(repository, { olderThan: "1 day" })), ["a", "b", "c"])
        assert.strictEqual(repository.lines().filter((line) => line.startsWith("GET ")).length, 3)
      })
    })
    it.effect("fails where the list of tags does, or comes round again", () => {
      const list = "/v2/a/tags/list"
      const odd: ReadonlyArray<readonly [Fake.Options["change"], string, RegExp]> = [
        [({ path }) => (path.startsWith(list) ? { status: 403 } : undefined), "Denied", /list tags of r\.example\/a/],
        [
          ({ path }) =>
            path.startsWith(list)
              ? { status: 200, body: `{"tags":["1"]}`, headers: { link: `<${list}?n=1000>; rel="next"` } }
              : undefined,
          "Protocol",
          /may not be complete/
        ],
        [
          ({ path }) =>
            path.includes("last=")
              ? { status: 500 }
              : path.startsWith(list)
                ? { status: 200, body: `{"tags":["1"]}`, headers: { link: `<${list}?last=1>; rel="next"` } }
                : undefined,
          "ServerError",
          /list tags/
        ],
        [
          ({ path }) => (path.startsWith(list) ? { status: 200, body: `{"tags":["1","../x"]}` } : undefined),
          "Protocol",
          /"\.\.\/x" is no tag/
        ]
      ]
      return Effect.gen(function* () {
        for (const [change, reason, message] of odd) {
          const repository = Fake.make({ change })
          aged(repository, 90)
          const error = yield* Effect.flip(
            TestClock.adjust("1 hour").pipe(Effect.forever, Effect.raceFirst(planOf(repository, { match: "*" })))
          )
          assert.strictEqual(error.reason, reason)
          assert.match(error.message, message)
          assert.isTrue(repository.seen.every(({ path }) => path.startsWith(list)))
        }
      })
    })
    it.effect("fails where a manifest cannot be read for a reason that passes", () => {
      const repository = Fake.make({
        change: ({ method, path }) =>
          method === "GET" && path.includes("manifests/sha256") ? { status: 403 } : undefined
      })
      aged(repository, 90)
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(planOf(repository, { olderThan: "1 day" }))).reason, "Denied")
      })
    })
  })

  describe("apply", () => {
    it.effect("deletes the tags of the plan and leaves every manifest", () => {
      const repository = Fake.make()
      const [old = Manifest.ofIndex({ schemaVersion: 2, manifests: [] }).descriptor.digest] = aged(
        repository,
        90,
        60,
        1
      )
      repository.tag("alias", old)
      return Effect.gen(function* () {
        const { report } = yield* applied(repository, { match: "[0-9]", olderThan: "30 days" })
        assert.deepStrictEqual(outcomes(report), { "1": "Deleted", "2": "Deleted" })
        assert.isFalse(report.failed)
        assert.sameMembers([...repository.tags.keys()], ["3", "alias"])
        assert.strictEqual(repository.manifests.size, 3)
      })
    })
    it.effect("leaves tags that moved or went since the plan was made", () => {
      const repository = Fake.make()
      aged(repository, 90, 80, 70)
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { match: "*", manifests: true })
        repository.tag("1", repository.image())
        repository.tags.delete("2")
        const report = yield* Effect.provide(Retention.apply(plan), repository.layer)
        assert.deepStrictEqual(outcomes(report), { "1": "Changed", "2": "Gone", "3": "Deleted" })
        assert.deepStrictEqual([...repository.tags.keys()], ["1"])
        assert.deepStrictEqual(
          report.manifests.map(({ outcome }) => outcome._tag),
          ["Kept", "Deleted", "Deleted"]
        )
      })
    })
    it.effect("goes on after a deletion that failed, and reports it", () => {
      const repository = Fake.make({
        change: ({ method, path }) => (method === "DELETE" && path.endsWith("/1") ? { status: 403 } : undefined)
      })
      aged(repository, 90, 80)
      return Effect.gen(function* () {
        const { report } = yield* applied(repository, { olderThan: "30 days" })
        assert.deepStrictEqual(outcomes(report), { "1": "Failed", "2": "Deleted" })
        assert.isTrue(report.failed)
        const [first] = report.tags
        assert.match(first?.outcome._tag === "Failed" ? first.outcome.error.message : "", /^delete r\.example\/a:1: /)
      })
    })
    it.effect("asks a registry without deletes once, and reports every tag", () => {
      const repository = Fake.make({ change: ({ method }) => (method === "DELETE" ? { status: 405 } : undefined) })
      aged(repository, 90, 80, 70, 60)
      return Effect.gen(function* () {
        const { report } = yield* applied(repository, { olderThan: "30 days" })
        assert.isTrue(
          report.tags.every(({ outcome }) => outcome._tag === "Failed" && outcome.error.reason === "DeleteDisabled")
        )
        assert.strictEqual(repository.tags.size, 4)
        assert.isBelow(repository.lines().filter((line) => line.startsWith("DELETE")).length, 8)
      })
    })
    it.effect("keeps the other tags of a digest where the registry deletes by digest only, one tag at a time", () => {
      let running = 0
      let most = 0
      const repository = Fake.make({
        deletesByDigestOnly: true,
        change: ({ method, path }) => {
          // From the throwaway under a tag to its deletion.
          if (method === "PUT" && !path.includes("sha256")) most = Math.max(most, ++running)
          if (method === "DELETE" && path.includes("sha256") && running > 0) running = 0
          return undefined
        }
      })
      const digests = aged(repository, ...Array.from({ length: 20 }, (_, at) => 60 + at))
      for (const [at, digest] of digests.entries()) repository.tag(`keep-${at}`, digest)
      return Effect.gen(function* () {
        const { report } = yield* applied(repository, { match: "{?,??}", olderThan: "30 days" })
        assert.isTrue(report.tags.every(({ outcome }) => outcome._tag === "Deleted"))
        assert.isTrue([...repository.tags.keys()].every((tag) => tag.startsWith("keep-")))
        assert.strictEqual(repository.tags.size, 20)
        assert.strictEqual(repository.manifests.size, 20)
        assert.strictEqual(most, 1)
        // One more for each that was under way when the registry refused first.
        const byTag = repository.lines().filter((line) => /^DELETE .*\/\d+$/.test(line))
        assert.isAtMost(byTag.length, 25)
      })
    })
    it.effect("finishes a deletion that was cut off, whatever its age", () => {
      const repository = Fake.make({ deletesByDigestOnly: true })
      const throwaway = Manifest.ofIndex({
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.index.v1+json",
        manifests: [],
        annotations: { "io.github.effect-registry.deleted-tag": "pr-1 0123" }
      })
      repository.tag("pr-1", repository.store(throwaway))
      repository.tag("pr-2", repository.image({ created: daysAgo(1) }))
      return Effect.gen(function* () {
        const { plan } = yield* applied(repository, { match: "pr-*", olderThan: "30 days" })
        assert.deepStrictEqual(
          plan.delete.map(({ reason, tag }) => [tag, reason]),
          [["pr-1", "Unfinished"]]
        )
        assert.deepStrictEqual([...repository.tags.keys()], ["pr-2"])
      })
    })
  })

  describe("apply with manifests", () => {
    it.effect("deletes an index with its children, referrers and signatures, in that order", () => {
      const repository = Fake.make()
      const child = repository.image({ created: daysAgo(90) })
      const whole = repository.tag("old", repository.index([child]))
      const signature = repository.image({ subject: whole })
      const deeper = repository.image({ subject: signature })
      const cosign = repository.tag(`${Referrer.fallbackTag(child)}.sig`, repository.image())
      const kept = repository.tag("new", repository.image({ created: daysAgo(1) }))
      return Effect.gen(function* () {
        const { plan, report } = yield* applied(repository, { olderThan: "30 days", manifests: true })
        assert.deepStrictEqual(plan.manifests, [
          { digest: whole, after: [] },
          { digest: child, after: [whole] },
          { digest: signature, after: [whole] },
          { digest: cosign, after: [child] },
          { digest: deeper, after: [signature] }
        ])
        assert.deepStrictEqual(
          plan.delete.map(({ reason }) => reason),
          ["Rules", "BelongsToDeleted"]
        )
        assert.isTrue([...report.tags, ...report.manifests].every(({ outcome }) => outcome._tag === "Deleted"))
        assert.deepStrictEqual([...repository.manifests.keys()], [kept])
        assert.deepStrictEqual([...repository.tags.keys()], ["new"])
      })
    })
    it.effect("keeps what a tag that stays leads to, and what refers to that", () => {
      const repository = Fake.make()
      const shared = repository.image({ created: daysAgo(90) })
      const signature = repository.image({ subject: shared })
      const cosign = repository.tag(`${Referrer.fallbackTag(shared)}.sig`, repository.image())
      const about = repository.tag("old-too", repository.image({ created: daysAgo(90), subject: shared }))
      const old = repository.tag("old", repository.index([shared]))
      const young = repository.tag("new", repository.index([shared, repository.image({ created: daysAgo(1) })]))
      return Effect.gen(function* () {
        const { plan } = yield* applied(repository, { olderThan: "30 days", manifests: true })
        assert.deepStrictEqual(plan.manifests, [{ digest: old, after: [] }])
        for (const digest of [shared, signature, cosign, young, about]) assert.isTrue(repository.manifests.has(digest))
        assert.sameMembers([...repository.tags.keys()], ["new", `${Referrer.fallbackTag(shared)}.sig`])
      })
    })
    it.effect("keeps what an index names, whatever type it says that this has, and all that this leads to", () => {
      const repository = Fake.make()
      const child = repository.image({ created: daysAgo(90) })
      const inner = repository.tag("old-1", repository.index([child]))
      const signature = repository.image({ subject: inner })
      const kept = repository.tag("keep", repository.index([inner], { mediaType: "application/json" }))
      return Effect.gen(function* () {
        const { plan, report } = yield* applied(repository, { match: "old-*", manifests: true })
        assert.deepStrictEqual(plan.manifests, [])
        assert.deepStrictEqual(outcomes(report), { "old-1": "Deleted" })
        for (const digest of [child, inner, signature, kept]) assert.isTrue(repository.manifests.has(digest))
      })
    })
    it.effect("keeps what an index names that came since the plan, whatever type it says that this has", () => {
      const repository = Fake.make()
      const old = repository.tag("old-1", repository.image({ created: daysAgo(90) }))
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { match: "old-*", manifests: true })
        repository.tag("new", repository.index([old], { mediaType: "application/json" }))
        const report = yield* Effect.provide(Retention.apply(plan), repository.layer)
        assert.deepStrictEqual(
          report.manifests.map(({ outcome }) => outcome._tag),
          ["Kept"]
        )
        assert.isTrue(repository.manifests.has(old))
      })
    })
    it.effect("does not take along what an index does not say is a manifest", () => {
      const repository = Fake.make()
      const child = repository.image({ created: daysAgo(90) })
      const whole = repository.tag("old-1", repository.index([child], { mediaType: "application/json" }))
      return Effect.gen(function* () {
        const { plan } = yield* applied(repository, { match: "old-*", manifests: true })
        assert.deepStrictEqual(plan.manifests, [{ digest: whole, after: [] }])
        assert.isTrue(repository.manifests.has(child))
      })
    })
    it.effect("keeps what an index leads to that refers to what stays", () => {
      const repository = Fake.make()
      const kept = repository.tag("new", repository.image({ created: daysAgo(1) }))
      const child = repository.tag("old", repository.image({ created: daysAgo(90) }))
      const untagged = repository.index([child], { subject: kept })
      return Effect.gen(function* () {
        const { report } = yield* applied(repository, { match: "old", manifests: true })
        assert.deepStrictEqual(outcomes(report), { old: "Deleted" })
        for (const digest of [kept, child, untagged]) assert.isTrue(repository.manifests.has(digest))
      })
    })
    it.effect("keeps what refers to something that stays, where the registry lists no referrers", () => {
      const repository = Fake.make({ referrers: false })
      const kept = repository.tag("new", repository.image({ created: daysAgo(1) }))
      const signature = repository.image({ subject: kept })
      const deeper = repository.tag("old", repository.image({ created: daysAgo(90), subject: signature }))
      return Effect.gen(function* () {
        const { plan } = yield* applied(repository, { match: "old", manifests: true })
        assert.deepStrictEqual(plan.manifests, [])
        for (const digest of [kept, signature, deeper]) assert.isTrue(repository.manifests.has(digest))
      })
    })
    it.effect("takes the fallback list along where the registry has no referrers API, and believes no list", () => {
      const repository = Fake.make({ referrers: false })
      const old = repository.tag("old", repository.image({ created: daysAgo(90) }))
      const signature = repository.image({ subject: old })
      const stranger = repository.image()
      repository.tag(Referrer.fallbackTag(old), repository.index([signature]))
      const other = repository.tag("other", repository.image({ created: daysAgo(1) }))
      const list = repository.tag(Referrer.fallbackTag(other), repository.index([repository.image({ subject: other })]))
      return Effect.gen(function* () {
        const { plan } = yield* applied(repository, { olderThan: "30 days", manifests: true })
        assert.strictEqual(plan.manifests.length, 3)
        assert.isFalse(repository.manifests.has(signature))
        for (const digest of [stranger, other, list]) assert.isTrue(repository.manifests.has(digest))
        assert.sameMembers([...repository.tags.keys()], ["other", Referrer.fallbackTag(other)])
      })
    })
    it.effect("does not delete what a registry wrongly lists as a referrer", () => {
      const state = { lie: undefined as Digest.Digest | undefined }
      const repository = Fake.make({
        change: ({ path }) => {
          const descriptor = state.lie === undefined ? undefined : repository.manifests.get(state.lie)?.descriptor
          if (!path.includes("/referrers/") || descriptor === undefined) return undefined
          const value = {
            schemaVersion: 2,
            mediaType: "application/vnd.oci.image.index.v1+json",
            manifests: [descriptor]
          }
          return { status: 200, body: JSON.stringify(value), headers: { "content-type": value.mediaType } }
        }
      })
      repository.tag("old", repository.image({ created: daysAgo(90) }))
      state.lie = repository.image()
      return Effect.gen(function* () {
        const { plan } = yield* applied(repository, { match: "old", manifests: true })
        assert.strictEqual(plan.manifests.length, 1)
        assert.isTrue(repository.manifests.has(state.lie ?? ""))
      })
    })
    it.effect("keeps a manifest that a new tag needs, with all that comes after it", () => {
      const repository = Fake.make()
      const child = repository.image({ created: daysAgo(90) })
      const whole = repository.tag("old", repository.index([child]))
      const signature = repository.image({ subject: whole })
      return Effect.gen(function* () {
        const plan = yield* planOf(repository, { olderThan: "30 days", manifests: true })
        repository.tag("saved", whole)
        const report = yield* Effect.provide(Retention.apply(plan), repository.layer)
        assert.deepStrictEqual(
          report.manifests.map(({ outcome }) => outcome._tag),
          ["Kept", "Kept", "Kept"]
        )
        assert.deepStrictEqual(outcomes(report), { old: "Deleted" })
        for (const digest of [child, whole, signature]) assert.isTrue(repository.manifests.has(digest))
      })
    })
    it.effect("leaves what an index leads to where the index could not be deleted", () => {
      const state = { whole: "" }
      const repository = Fake.make({
        change: ({ method, path }) => (method === "DELETE" && path.endsWith(state.whole) ? { status: 403 } : undefined)
      })
      const child = repository.image({ created: daysAgo(90) })
      state.whole = repository.tag("old", repository.index([child]))
      return Effect.gen(function* () {
        const { report } = yield* applied(repository, { olderThan: "30 days", manifests: true })
        assert.deepStrictEqual(
          report.manifests.map(({ outcome }) => outcome._tag),
          ["Failed", "Kept"]
        )
        assert.isTrue(repository.manifests.has(child))
      })
    })
    it.effect("deletes nothing where the tags cannot be listed again", () => {
      let lists = 0
      const repository = Fake.make({
        change: ({ path }) => (path.includes("tags/list") && ++lists > 1 ? { status: 403 } : undefined)
      })
      aged(repository, 90, 80)
      return Effect.gen(function* () {
        const error = yield* Effect.flip(applied(repository, { olderThan: "30 days", manifests: true }))
        assert.strictEqual(error.reason, "Denied")
        assert.strictEqual(repository.tags.size, 2)
      })
    })
    it.effect("never deletes what a tag that stays leads to", () =>
      Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            randomRepository,
            randomPolicy,
            FastCheck.boolean(),
            async (steps, policy, deletesByDigestOnly) => {
              const repository = build(steps, { deletesByDigestOnly })
              const before = { tags: new Map(repository.tags), manifests: new Map(repository.manifests) }
              const { plan, report } = await Effect.runPromise(
                applied(repository, policy).pipe(Effect.provide(TestContext.TestContext))
              )
              assert.isFalse(report.failed)
              const gone = new Set(going(plan))
              const kept = [...before.tags].filter(([tag]) => !gone.has(tag))
              for (const [tag, digest] of kept) assert.strictEqual(repository.tags.get(tag), digest, tag)
              for (const tag of gone) assert.isFalse(repository.tags.has(tag), tag)
              const needed = closure(
                before.manifests,
                kept.map(([, digest]) => digest)
              )
              for (const digest of needed) assert.isTrue(repository.manifests.has(digest), `${digest} is needed`)
              // And what nothing needs goes, where the tags that went named it.
              for (const tag of gone) {
                const digest = before.tags.get(tag)
                if (digest !== undefined && !needed.has(digest)) assert.isFalse(repository.manifests.has(digest), tag)
              }
            }
          ),
          { numRuns: 60 }
        )
      )
    )
  })
})

// ---- random repositories

/** Made one after the other: numbers name an earlier one, modulo what there is. */
type Step =
  | {
      readonly _tag: "Image"
      readonly age: number | undefined
      readonly subject: number | undefined
      readonly tag: string | undefined
    }
  | {
      readonly _tag: "Index"
      readonly children: ReadonlyArray<number>
      readonly mediaType: string | undefined
      readonly subject: number | undefined
      readonly tag: string | undefined
    }
  | { readonly _tag: "DigestTag"; readonly of: number; readonly names: number; readonly suffix: string }

const some = FastCheck.option(FastCheck.nat({ max: 30 }), { nil: undefined })
const name = FastCheck.option(FastCheck.constantFrom("a", "b", "c", "d", "e", "f", "pr-1", "pr-2", "pr-3", "pr-4"), {
  nil: undefined
})

const randomRepository: FastCheck.Arbitrary<ReadonlyArray<Step>> = FastCheck.array(
  FastCheck.oneof(
    FastCheck.record({
      _tag: FastCheck.constant("Image" as const),
      age: FastCheck.option(FastCheck.integer({ min: 1, max: 100 }), { nil: undefined }),
      subject: some,
      tag: name
    }),
    FastCheck.record({
      _tag: FastCheck.constant("Index" as const),
      children: FastCheck.array(FastCheck.nat({ max: 30 }), { maxLength: 3 }),
      mediaType: FastCheck.constantFrom(undefined, undefined, "application/json"),
      subject: some,
      tag: name
    }),
    FastCheck.record({
      _tag: FastCheck.constant("DigestTag" as const),
      of: FastCheck.nat({ max: 30 }),
      names: FastCheck.nat({ max: 30 }),
      suffix: FastCheck.constantFrom("", ".sig", ".att")
    })
  ),
  { minLength: 3, maxLength: 16 }
)

const randomPolicy: FastCheck.Arbitrary<Retention.Policy> = FastCheck.record({
  match: FastCheck.constantFrom("*", "pr-*", "[a-c]"),
  keepLast: FastCheck.option(FastCheck.integer({ min: 1, max: 3 }), { nil: undefined }),
  olderThan: FastCheck.constantFrom(undefined, "30 days"),
  manifests: FastCheck.constant(true)
})

const build = (steps: ReadonlyArray<Step>, options: Fake.Options) => {
  const repository = Fake.make(options)
  const made: Array<Digest.Digest> = []
  const at = (number: number | undefined) => (number === undefined ? undefined : made[number % made.length])
  for (const step of steps) {
    if (step._tag === "DigestTag") {
      const [of, names] = [at(step.of), at(step.names)]
      if (of !== undefined && names !== undefined) repository.tag(`${Referrer.fallbackTag(of)}${step.suffix}`, names)
      continue
    }
    const subject = at(step.subject)
    const digest =
      step._tag === "Image"
        ? repository.image({ created: step.age === undefined ? undefined : daysAgo(step.age), subject })
        : repository.index(
            step.children.flatMap((child) => at(child) ?? []),
            { subject, mediaType: step.mediaType }
          )
    made.push(digest)
    if (step.tag !== undefined) repository.tag(step.tag, digest)
  }
  return repository
}

/** Children, what a referrer refers to, and what refers to any of it. */
const closure = (
  manifests: ReadonlyMap<string, Manifest.Manifest>,
  roots: ReadonlyArray<string>
): ReadonlySet<string> => {
  const needed = new Set<string>()
  const left = [...roots]
  for (let digest = left.pop(); digest !== undefined; digest = left.pop()) {
    const manifest = manifests.get(digest)
    if (needed.has(digest) || manifest === undefined) continue
    needed.add(digest)
    left.push(...Manifest.children(manifest).map((child) => child.digest))
    const subject = Referrer.subjectOf(manifest)
    if (subject !== undefined) left.push(subject.digest)
    for (const [other, each] of manifests) if (Referrer.subjectOf(each)?.digest === digest) left.push(other)
  }
  return needed
}
