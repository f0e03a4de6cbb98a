import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import {
  type Descriptor,
  getManifest,
  listTags,
  Referrer,
  RegistryConfig,
  Retention,
  referrers,
  tag
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Fixture, Tools } from "../src/index.js"
import { attach, seed } from "./support/seed.js"
import { startDocker, startEmbedded } from "./support/servers.js"

const layer = Layer.merge(FetchHttpClient.layer, RegistryConfig.layer({ retry: { delay: 10 } }))

const daysAgo = (days: number): string => new Date(Date.now() - days * 86_400_000).toISOString()

/** Images `pr-1`, `pr-2` …, each a day older than the one before. */
const pullRequests = (repo: string, number: number) =>
  Effect.forEach(
    Array.from({ length: number }, (_, at) => at + 1),
    (at) =>
      seed(repo, Fixture.image({ seed: at, layers: 1, size: 10, config: { created: daysAgo(at + 30) } }), `pr-${at}`)
  )

const exists = (reference: string) =>
  getManifest(reference).pipe(
    Effect.as(true),
    Effect.catchTag("RegistryError", (error) =>
      error.reason === "NotFound" ? Effect.succeed(false) : Effect.fail(error)
    )
  )

const behaviours = (start: Effect.Effect<string, unknown, Scope.Scope>) => {
  it.scopedLive("deletes old tags but the newest, and no tag that shares an image with them", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/retention/tags`
      const images = yield* pullRequests(repo, 30)
      yield* tag(`${repo}:pr-30`, "release")
      const plan = yield* Retention.plan(repo, { match: "pr-*", keepLast: 10, olderThan: "30 days" })
      assert.strictEqual(plan.delete[0]?.tag, "pr-30")
      const report = yield* Retention.apply(plan)
      assert.isFalse(report.failed)
      assert.isTrue(report.tags.every(({ outcome }) => outcome._tag === "Deleted"))
      const left = Array.from({ length: 10 }, (_, at) => `pr-${at + 1}`)
      assert.sameMembers([...(yield* listTags(repo))], [...left, "release"])
      for (const { descriptor } of images) assert.isTrue(yield* exists(`${repo}@${descriptor.digest}`))
      assert.deepStrictEqual((yield* Retention.plan(repo, { match: "pr-*", keepLast: 10 })).delete, [])
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("deletes the images too, but for those that an index needs which stays", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/retention/images`
      const images = yield* pullRequests(repo, 20)
      const [, second, third] = images
      if (second === undefined || third === undefined) return assert.fail("there are twenty")
      const options = { format: "oci", layers: 1, size: 10, config: { created: daysAgo(90) } } as const
      const [a, b] = [Fixture.image({ ...options, seed: 101 }), Fixture.image({ ...options, seed: 102 })]
      const old = yield* seed(repo, Fixture.index([a, b]), "pr-old")
      const current = yield* seed(repo, Fixture.index([b]), "stable")
      const signature = ({ descriptor }: { readonly descriptor: Descriptor.Descriptor }) =>
        Fixture.artifact({ type: "application/vnd.example.signature", content: descriptor.digest, subject: descriptor })
      const [lost, kept] = [signature(second), signature(current)]
      yield* Effect.forEach([lost, kept], (each) => attach(repo, each))
      const plan = yield* Retention.plan(repo, { match: "pr-*", keepLast: 1, manifests: true })
      const report = yield* Retention.apply(plan)
      assert.deepStrictEqual(
        report.tags.filter(({ outcome }) => outcome._tag !== "Deleted"),
        []
      )
      assert.deepStrictEqual(
        report.manifests.filter(({ outcome }) => outcome._tag !== "Deleted"),
        []
      )
      assert.isAtLeast(report.manifests.length, 22)
      const left = (yield* listTags(repo)).filter((each) => each !== Referrer.fallbackTag(current.descriptor.digest))
      assert.sameMembers(left, ["pr-1", "stable"])
      assert.deepStrictEqual(
        (yield* referrers(`${repo}:stable`)).referrers.map(({ digest }) => digest),
        [kept.descriptor.digest]
      )
      for (const [digest, there] of [
        [second.descriptor.digest, false],
        [third.descriptor.digest, false],
        [old.descriptor.digest, false],
        [a.descriptor.digest, false],
        [lost.descriptor.digest, false],
        [kept.descriptor.digest, true],
        [b.descriptor.digest, true],
        [current.descriptor.digest, true]
      ] as const) {
        assert.strictEqual(yield* exists(`${repo}@${digest}`), there, digest)
      }
    }).pipe(Effect.provide(layer))
  )
}

describe("Retention on the embedded registry", () => behaviours(startEmbedded()))

Tools.needing(describe, "docker-registry")("Retention on docker-registry", () => {
  behaviours(startDocker())
  it.scopedLive("says that deleting is off, and leaves every tag", () =>
    Effect.gen(function* () {
      const repo = `${yield* startDocker({ deletes: false })}/retention/off`
      yield* pullRequests(repo, 5)
      for (const manifests of [false, true]) {
        const report = yield* Retention.apply(yield* Retention.plan(repo, { match: "pr-*", manifests }))
        assert.isTrue(report.failed)
        for (const { outcome } of report.tags) {
          assert.strictEqual(outcome._tag === "Failed" ? outcome.error.reason : outcome._tag, "DeleteDisabled")
        }
      }
      assert.strictEqual((yield* listTags(repo)).length, 5)
    }).pipe(Effect.provide(layer))
  )
})
