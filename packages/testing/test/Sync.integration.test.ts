import { assert, describe, it } from "@effect/vitest"
import { deleteTag, getManifest, listTags, Sync } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { Fixture, Tools } from "../src/index.js"
import { attach, seed } from "./support/seed.js"
import { startDocker } from "./support/servers.js"
import { actionsOf, fill, layer, outcomes, start, sync } from "./support/sync.js"

Tools.needing(describe, "docker-registry")("Sync to docker-registry", () => {
  it.scopedLive("copies, does nothing the second time, updates and prunes", () =>
    Effect.gen(function* () {
      const from = yield* start()
      const to = yield* startDocker()
      const source = `${from.host}/team/app`
      const target = `${to}/mirror/app`
      yield* fill(source, ["1", "2", "3", "4", "5"], (n) => (n < 2 ? 1 : n))
      const config = { sync: [{ from: `${from.host}/team/*`, to: `${to}/mirror/`, prune: true }] }
      assert.deepStrictEqual(outcomes(yield* sync(config)), { "copy done": 5 })
      assert.deepStrictEqual(outcomes(yield* sync(config)), { "equal unchanged": 5 })
      yield* fill(source, ["5"], () => 9)
      yield* deleteTag(`${source}:1`)
      assert.deepStrictEqual(outcomes(yield* sync(config)), {
        "equal unchanged": 3,
        "update done": 1,
        "delete done": 1
      })
      assert.deepStrictEqual(yield* listTags(target), ["2", "3", "4", "5"])
      // It had the same digest as the one that went.
      const digestOf = (name: string) => Effect.map(getManifest(name), ({ descriptor }) => descriptor.digest)
      assert.strictEqual(yield* digestOf(`${target}:2`), yield* digestOf(`${source}:2`))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("leaves a tag untouched where deleting is off, and says so", () =>
    Effect.gen(function* () {
      const from = yield* start()
      const to = yield* startDocker({ deletes: false })
      yield* fill(`${from.host}/app`, ["1", "2", "3"])
      const config = { sync: [{ from: `${from.host}/app`, to: `${to}/app`, prune: true }] }
      yield* sync(config)
      yield* deleteTag(`${from.host}/app:1`)
      const report = yield* sync(config)
      assert.deepStrictEqual(outcomes(report), { "equal unchanged": 2, "delete failed": 1 })
      assert.strictEqual(report.actions.find(({ error }) => error !== null)?.error?.reason, "DeleteDisabled")
      assert.deepStrictEqual(yield* listTags(`${to}/app`), ["1", "2", "3"])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("brings referrers to a registry without the API, and sees that they are there", () =>
    Effect.gen(function* () {
      const from = yield* start()
      const to = yield* startDocker()
      const image = Fixture.image({ format: "oci" })
      yield* seed(`${from.host}/app`, image, "1")
      const sbom = Fixture.artifact({ type: "application/spdx+json", content: "sbom", subject: image.descriptor })
      yield* attach(`${from.host}/app`, sbom)
      const config = { sync: [{ from: `${from.host}/app`, to: `${to}/app`, referrers: true, prune: true }] }
      assert.deepStrictEqual(outcomes(yield* sync(config)), { "copy done": 1 })
      assert.deepStrictEqual(actionsOf(yield* Sync.plan(config)), ["equal app:1"])
      const fallback = image.descriptor.digest.replace(":", "-")
      assert.deepStrictEqual(yield* listTags(`${to}/app`), ["1", fallback])
    }).pipe(Effect.provide(layer))
  )
})
