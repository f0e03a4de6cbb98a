import { assert, describe, it } from "@effect/vitest"
import { copy, deleteTag, getManifest, listTags, Registry, Sync, tag } from "@effect-registry/core"
import { Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Fixture } from "../src/index.js"
import { attach, seed } from "./support/seed.js"
import { actionsOf, fill, layer, outcomes, release, start, sync } from "./support/sync.js"

const digestAt = (reference: string) => Effect.map(getManifest(reference), ({ descriptor }) => descriptor.digest)

describe("Sync", () => {
  describe("plan and apply", () => {
    it.scopedLive(
      "move each blob of 200 tags once, and nothing the second time",
      () =>
        Effect.gen(function* () {
          const from = yield* start()
          const to = yield* start()
          const images = yield* release(`${from.host}/team/app`)
          const blobs = new Map(
            images.flatMap((image) => [...image.blobs].map(([digest, { length }]) => [digest, length]))
          )
          const config = { sync: [{ from: `${from.host}/team/app`, to: `${to.host}/mirror/` }] }
          const plan = yield* Sync.plan(config)
          assert.strictEqual(
            plan.bytes,
            [...blobs.values()].reduce((sum, each) => sum + each, 0)
          )
          yield* from.clear
          const report = yield* Sync.apply(plan, { images: 10 })
          assert.deepStrictEqual(outcomes(report), { "copy done": 200 })
          assert.strictEqual(report.blobs.sent, blobs.size)
          assert.strictEqual((yield* to.lines(/^PUT .*\/blobs\/uploads\//)).length, blobs.size)
          assert.strictEqual((yield* from.lines(/^GET .*\/blobs\//)).length, blobs.size)
          assert.strictEqual((yield* listTags(`${to.host}/mirror/app`)).length, 200)

          yield* from.clear
          yield* to.clear
          const second = yield* Sync.plan(config)
          assert.deepStrictEqual(outcomes(yield* Sync.apply(second)), { "equal unchanged": 200 })
          assert.strictEqual(second.bytes, 0)
          const asked = yield* from.lines()
          assert.deepStrictEqual(
            asked.filter((line) => !line.startsWith("HEAD")),
            ["GET /v2/team/app/tags/list"]
          )
          assert.strictEqual(asked.length, 201)
          const told = yield* to.lines()
          assert.strictEqual(new Set(told).size, 200)
          assert.strictEqual(told.length, 200)
          assert.isTrue(told.every((line) => line.startsWith("HEAD")))
        }).pipe(Effect.provide(layer)),
      60_000
    )

    it.scopedLive("send a layer that two repositories share once, and mount it", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        for (const name of ["one", "two"]) {
          yield* seed(
            `${from.host}/team/${name}`,
            Fixture.image({ seed: name.length + name.charCodeAt(0), shared: 1 }),
            "1"
          )
        }
        const report = yield* sync({ sync: [{ from: `${from.host}/team/*`, to: `${to.host}/` }] })
        assert.deepStrictEqual(outcomes(report), { "copy done": 2 })
        assert.deepInclude(report.blobs, { sent: 5, mounted: 1 })
        assert.deepStrictEqual(yield* listTags(`${to.host}/two`), ["1"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("complete what was interrupted in the middle, without sending a blob again", () =>
      Effect.gen(function* () {
        const from = yield* start()
        let puts = 0
        let stop = () => {}
        const to = yield* start(({ method, path }) =>
          Effect.sync(() => {
            if (method === "PUT" && path.includes("/blobs/uploads/") && ++puts === 6) stop()
            return undefined
          })
        )
        yield* fill(`${from.host}/app`, ["1", "2", "3", "4", "5", "6"])
        const config = { images: 2, sync: [{ from: `${from.host}/app`, to: `${to.host}/app` }] }
        const fiber = yield* Effect.fork(sync(config))
        yield* Effect.async<void>((resume) => {
          stop = () => resume(Effect.void)
        })
        yield* Fiber.interrupt(fiber)
        const finished = (yield* to.lines(/^PUT .*\/blobs\/uploads\//)).length
        const report = yield* sync(config)
        assert.isAbove(finished, 3)
        assert.isBelow(finished, 12)
        assert.isFalse(report.actions.some(({ outcome }) => outcome === "failed" || outcome === "skipped"))
        assert.strictEqual((yield* listTags(`${to.host}/app`)).length, 6)
        // At most those in flight were lost.
        assert.isAtMost((yield* to.lines(/^PUT .*\/blobs\/uploads\//)).length, 12 + 8)
        assert.deepStrictEqual(outcomes(yield* sync(config)), { "equal unchanged": 6 })
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("go on with the others where one image fails, and say so at the end", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        const [first] = yield* fill(`${from.host}/app`, ["1", "2", "3"])
        const plan = yield* Sync.plan({ sync: [{ from: `${from.host}/app`, to: `${to.host}/app` }] })
        const broken = Fixture.image({ seed: 1, layers: 1 }).layers[0]?.descriptor.digest
        const hostile = yield* start(({ method, path }) =>
          Effect.succeed(method === "GET" && path.endsWith(`/blobs/${broken}`) ? Faults.respond(500) : undefined)
        )
        yield* fill(`${hostile.host}/app`, ["1", "2", "3"])
        assert.strictEqual(plan.actions.length, 3)
        const report = yield* sync({ sync: [{ from: `${hostile.host}/app`, to: `${to.host}/app` }] })
        assert.deepStrictEqual(outcomes(report), { "copy failed": 1, "copy done": 2 })
        const failed = report.actions.find(({ outcome }) => outcome === "failed")
        assert.strictEqual(failed?.error?.reason, "ServerError")
        assert.include(failed?.from, first?.descriptor.digest ?? "")
        assert.deepStrictEqual(yield* listTags(`${to.host}/app`), ["2", "3"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("write the tags that a registry takes where it refuses one of them", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start(({ method, path }) =>
          Effect.succeed(method === "PUT" && path.endsWith("/manifests/b") ? Faults.respond(400) : undefined)
        )
        yield* fill(`${from.host}/app`, ["a"])
        yield* tag(`${from.host}/app:a`, ["b", "c"])
        const report = yield* sync({ sync: [{ from: `${from.host}/app`, to: `${to.host}/app` }] })
        assert.deepStrictEqual(outcomes(report), { "copy done": 2, "copy failed": 1 })
        assert.deepStrictEqual(yield* listTags(`${to.host}/app`), ["a", "c"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("skip what changed since the plan was made, which goes through JSON unharmed", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        const source = `${from.host}/app`
        const target = `${to.host}/app`
        yield* fill(source, ["moved", "stays", "taken", "there", "updated"])
        yield* fill(target, ["updated"], () => 99)
        const made = yield* Sync.plan({ sync: [{ from: source, to: target }] })
        assert.deepStrictEqual(actionsOf(made), [
          "copy app:moved",
          "copy app:stays",
          "copy app:taken",
          "copy app:there",
          "update app:updated"
        ])
        const kept: unknown = JSON.parse(JSON.stringify(made))
        const plan = yield* Sync.decodePlan(kept)
        assert.deepStrictEqual(plan, made)
        yield* fill(source, ["moved"], () => 50)
        yield* fill(target, ["taken"], () => 51)
        yield* copy(Registry.image(`${source}:there`), Registry.repository(target))
        const report = yield* Sync.apply(plan)
        const notes = report.actions.map(({ note, outcome, to }) => [
          to?.replace(/.*:/, ""),
          outcome,
          note?.slice(0, 16)
        ])
        assert.deepStrictEqual(notes.sort(), [
          ["moved", "skipped", "the source names"],
          ["stays", "done", undefined],
          ["taken", "skipped", "the target names"],
          ["there", "unchanged", "the target has i"],
          ["updated", "done", undefined]
        ])
        assert.strictEqual(yield* digestAt(`${target}:updated`), yield* digestAt(`${source}:updated`))
        assert.notStrictEqual(yield* digestAt(`${target}:taken`), yield* digestAt(`${source}:taken`))
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("know the digest of an index of several platforms before it is made", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        const children = ["amd64", "arm64", "s390x"].map((architecture, seed) =>
          Fixture.image({ format: "oci", seed, layers: 1, platform: { os: "linux", architecture } })
        )
        yield* seed(`${from.host}/app`, Fixture.index(children), "1")
        yield* tag(`${from.host}/app:1`, ["2"])
        const platforms = ["linux/amd64", "linux/arm64"]
        const config = { sync: [{ from: `${from.host}/app`, to: `${to.host}/app`, platforms }] }
        const plan = yield* Sync.plan(config)
        const [one] = plan.actions
        assert.deepStrictEqual(outcomes(yield* Sync.apply(plan)), { "copy done": 2 })
        const made = yield* getManifest(`${to.host}/app:1`)
        assert.strictEqual(one?.action === "copy" ? one.digest : "", made.descriptor.digest)
        assert.strictEqual(made._tag === "Index" ? made.value.manifests.length : 0, 2)
        yield* from.clear
        assert.deepStrictEqual(outcomes(yield* sync(config)), { "equal unchanged": 2 })
        assert.strictEqual((yield* from.lines(/manifests/)).length, 2)
        const lacking = yield* Sync.plan({
          sync: [{ from: `${from.host}/app`, to: `${to.host}/app`, platforms: ["windows/amd64"] }]
        })
        assert.deepStrictEqual(
          lacking.actions.map((each) => (each.action === "failed" ? each.error.reason : each.action)),
          ["PlatformNotFound", "PlatformNotFound"]
        )
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("bring along what refers to an image, also to one that is there already", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        const source = `${from.host}/app`
        const image = Fixture.image({ format: "oci" })
        const { digest } = image.descriptor
        yield* seed(source, image, "1")
        yield* tag(`${source}:1`, ["2"])
        const entry = { from: source, to: `${to.host}/app` }
        yield* sync({ sync: [entry] })
        const sbom = Fixture.artifact({ type: "application/spdx+json", content: "sbom", subject: image.descriptor })
        yield* attach(source, sbom)
        yield* attach(
          source,
          Fixture.artifact({ type: "application/x.sig", content: "sig" }),
          `${digest.replace(":", "-")}.sig`
        )
        const tags = { regex: "[0-9]" }
        const both = { sync: [{ ...entry, tags, referrers: true, digestTags: true }] }
        const plan = yield* Sync.plan(both)
        assert.deepStrictEqual(actionsOf(plan), ["update app:1", "update app:2"])
        const report = yield* Sync.apply(plan)
        assert.deepStrictEqual(outcomes(report), { "update done": 2 })
        assert.strictEqual(yield* digestAt(`${to.host}/app@${sbom.descriptor.digest}`), sbom.descriptor.digest)
        assert.deepStrictEqual(yield* listTags(`${to.host}/app`), ["1", "2", `${digest.replace(":", "-")}.sig`])
        yield* to.clear
        assert.deepStrictEqual(outcomes(yield* sync({ sync: [{ ...entry, tags, referrers: true }] })), {
          "equal unchanged": 2
        })
        // Two tags, and one question about the image they name.
        assert.strictEqual((yield* to.lines()).length, 3)
      }).pipe(Effect.provide(layer))
    )
  })

  describe("names", () => {
    it.scopedLive("follow patterns, prefixes and renames, and a source is never the sync's own copy", () =>
      Effect.gen(function* () {
        const one = yield* start()
        for (const name of ["team/app", "team/web", "team/deep/er", "other/x"])
          yield* fill(`${one.host}/${name}`, ["v1"])
        const entry = {
          from: `${one.host}/**`,
          to: `${one.host}/copies/`,
          rename: { tags: [{ match: "^v", to: "" }], repositories: [{ match: "web$", to: "site" }] }
        }
        for (const _ of [1, 2]) {
          const plan = yield* Sync.plan({ sync: [entry] })
          assert.deepStrictEqual(plan.actions.map(({ to }) => to?.replace(`${one.host}/`, "")).sort(), [
            "copies/other/x:1",
            "copies/team/app:1",
            "copies/team/deep/er:1",
            "copies/team/site:1"
          ])
          yield* Sync.apply(plan)
        }
        const shallow = yield* Sync.plan({ sync: [{ from: `${one.host}/team/*`, to: `${one.host}/x/` }] })
        assert.deepStrictEqual(actionsOf(shallow), ["copy x/app:v1", "copy x/web:v1"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("of two sources that become one are a conflict before anything moves", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        yield* fill(`${from.host}/a`, ["1", "v1"])
        yield* fill(`${from.host}/b`, ["1"])
        const renamed = { from: `${from.host}/a`, to: `${to.host}/x`, rename: { tags: [{ match: "^v", to: "" }] } }
        const error = yield* Effect.flip(Sync.plan({ sync: [renamed] }))
        assert.strictEqual(error.reason, "NameConflict")
        assert.include(
          error.message,
          `${from.host}/a:1 (sync[0]) and ${from.host}/a:v1 (sync[0]) would become ${to.host}/x:1`
        )
        const two = ["a", "b"].map((name) => ({ from: `${from.host}/${name}`, to: `${to.host}/x`, tags: ["1"] }))
        assert.strictEqual((yield* Effect.flip(Sync.plan({ sync: two }))).reason, "NameConflict")
        // The same thing twice is no conflict.
        const [one] = two
        assert.isDefined(one)
        assert.strictEqual((yield* Sync.plan({ sync: one === undefined ? [] : [one, one] })).actions.length, 1)
        assert.deepStrictEqual(yield* to.lines(/PUT|POST|PATCH/), [])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("that are listed have to be there", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        yield* fill(`${from.host}/a`, ["1"])
        const plan = yield* Sync.plan({ sync: [{ from: `${from.host}/a`, to: `${to.host}/a`, tags: ["1", "2"] }] })
        assert.deepStrictEqual(actionsOf(plan), ["copy a:1", "failed a:2"])
        assert.deepStrictEqual(yield* from.lines(/tags.list/), [])
      }).pipe(Effect.provide(layer))
    )
  })

  describe("prune", () => {
    /** A source and its mirror with tags 1 to 6, `mine` besides; 1 and 2 are gone from the source. */
    const mirrored = (onRequest?: Faults.Hooks["onRequest"]) =>
      Effect.gen(function* () {
        const from = yield* start(onRequest)
        const to = yield* start()
        yield* fill(`${from.host}/app`, ["1", "2", "3", "4", "5", "6"])
        const entry = { from: `${from.host}/app`, to: `${to.host}/app`, tags: { regex: "[0-9]+" }, prune: true }
        yield* sync({ sync: [entry] })
        yield* fill(`${to.host}/app`, ["mine", `sha256-${"0".repeat(64)}`])
        yield* Effect.forEach(["1", "2"], (name) => deleteTag(`${from.host}/app:${name}`))
        return { from, to, entry, tags: listTags(`${to.host}/app`) }
      })
    const everything = ["1", "2", "3", "4", "5", "6", "mine", `sha256-${"0".repeat(64)}`]

    it.scopedLive("deletes what the entry made of tags that are gone, and nothing else", () =>
      Effect.gen(function* () {
        const { entry, tags } = yield* mirrored()
        const report = yield* sync({ sync: [entry] })
        assert.deepStrictEqual(outcomes(report), { "equal unchanged": 4, "delete done": 2 })
        assert.deepStrictEqual(yield* tags, everything.slice(2))
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("is off by default", () =>
      Effect.gen(function* () {
        const { entry } = yield* mirrored()
        assert.deepStrictEqual(outcomes(yield* sync({ sync: [{ ...entry, prune: false }] })), { "equal unchanged": 4 })
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("deletes nothing where more would go than maxDelete allows, half of them by default", () =>
      Effect.gen(function* () {
        const { entry, from } = yield* mirrored()
        for (const maxDelete of [1, "10%"]) {
          const plan = yield* Sync.plan({ sync: [{ ...entry, maxDelete }] })
          assert.isFalse(plan.actions.some(({ action }) => action === "delete"))
          assert.include(plan.warnings.join(), `2 of 6 tags would go, and maxDelete is ${maxDelete}`)
        }
        yield* Effect.forEach(["3", "4"], (name) => deleteTag(`${from.host}/app:${name}`))
        const refused = yield* Sync.plan({ sync: [entry] })
        assert.isFalse(refused.actions.some(({ action }) => action === "delete"))
        const allowed = yield* Sync.plan({ sync: [{ ...entry, maxDelete: 4 }] })
        assert.strictEqual(allowed.actions.filter(({ action }) => action === "delete").length, 4)
      }).pipe(Effect.provide(layer))
    )
    describe("where the list of the source is quietly cut short, with a 200 and no Link", () => {
      /** `shows` are the tags that are listed; with `hides` the others answer a 404 too, as of a registry that lost data. */
      const cutShort = (shows: ReadonlyArray<string>, hides: boolean) =>
        Effect.gen(function* () {
          const { onRequest, set } = Faults.switchable()
          const made = yield* mirrored(onRequest)
          const short = Faults.respond(200, { body: JSON.stringify({ name: "app", tags: shows }) })
          yield* set(
            Faults.first(
              Faults.on({ route: "TagList" }, short),
              Faults.on({ path: /\/manifests\/[0-9]$/ }, ({ path }) =>
                hides && !shows.includes(path.slice(-1)) ? Faults.respond(404) : undefined
              )
            )
          )
          return made
        })

      it.scopedLive("deletes nothing that the source still has", () =>
        Effect.gen(function* () {
          const { entry, tags } = yield* cutShort(["4", "5", "6"], false)
          const report = yield* sync({ sync: [entry] })
          assert.deepStrictEqual(outcomes(report), { "equal unchanged": 3, "delete done": 2 })
          assert.deepStrictEqual(yield* tags, everything.slice(2))
        }).pipe(Effect.provide(layer))
      )
      it.scopedLive(
        "deletes as much as maxDelete allows, half by default, where the source denies the rest as well",
        () =>
          Effect.gen(function* () {
            const { entry, tags } = yield* cutShort(["4", "5", "6"], true)
            const limited = yield* sync({ sync: [{ ...entry, maxDelete: 2 }] })
            assert.deepStrictEqual(outcomes(limited), { "equal unchanged": 3 })
            assert.deepStrictEqual(yield* tags, everything)
            const half = yield* sync({ sync: [entry] })
            assert.deepStrictEqual(outcomes(half), { "equal unchanged": 3, "delete done": 3 })
            assert.deepStrictEqual(yield* tags, everything.slice(3))
          }).pipe(Effect.provide(layer))
      )
      it.scopedLive("deletes nothing where more than half are missing, and says why", () =>
        Effect.gen(function* () {
          const { entry, tags } = yield* cutShort(["5", "6"], true)
          const plan = yield* Sync.plan({ sync: [entry] })
          assert.include(plan.warnings.join(), "4 of 6 tags would go, and maxDelete is 50%")
          assert.deepStrictEqual(outcomes(yield* Sync.apply(plan)), { "equal unchanged": 2 })
          assert.deepStrictEqual(yield* tags, everything)
        }).pipe(Effect.provide(layer))
      )
    })
    for (const [name, answer] of [
      ["nothing", Faults.respond(200, { body: '{"name":"app","tags":null}' })],
      ["an empty list", Faults.respond(200, { body: '{"name":"app","tags":[]}' })],
      ["an error", Faults.respond(403)],
      ["no such repository", Faults.respond(404)],
      ["no list", Faults.respond(200, { body: "hello" })],
      ["what are no tags", Faults.respond(200, { body: '{"tags":["3","../../other/manifests/x"]}' })],
      [
        "the same page again and again",
        Faults.respond(200, { body: '{"tags":["3"]}', headers: { link: '</v2/app/tags/list?n=1000>; rel="next"' } })
      ]
    ] as const) {
      it.scopedLive(`deletes nothing where the source lists ${name}`, () =>
        Effect.gen(function* () {
          let lies = false
          const { entry, from, tags, to } = yield* mirrored(({ path }) =>
            Effect.sync(() => (lies && path.endsWith("/tags/list") ? answer : undefined))
          )
          lies = true
          const report = yield* sync({ sync: [{ ...entry, maxDelete: "100%" }] })
          assert.isFalse(report.actions.some(({ action }) => action === "delete"))
          assert.deepStrictEqual(yield* tags, everything)
          assert.deepStrictEqual(yield* to.lines(/DELETE/), [])
          assert.deepStrictEqual(yield* from.lines(/other/), [])
        }).pipe(Effect.provide(layer))
      )
    }
    it.scopedLive("deletes nothing where the list of the source breaks off", () =>
      Effect.gen(function* () {
        let lies = false
        const link = { link: '</v2/app/tags/list?n=1&last=3>; rel="next"' }
        const { entry, tags } = yield* mirrored(({ path, query }) =>
          Effect.sync(() => {
            if (!lies || !path.endsWith("/tags/list")) return undefined
            return query.includes("last")
              ? Faults.respond(500)
              : Faults.respond(200, { body: '{"tags":["3"]}', headers: link })
          })
        )
        lies = true
        const report = yield* sync({ sync: [{ ...entry, maxDelete: "100%" }] })
        assert.deepStrictEqual(outcomes(report), { "failed failed": 1 })
        assert.deepStrictEqual(yield* tags, everything)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("leaves a tag that moved since the plan was made, and one whose source came back", () =>
      Effect.gen(function* () {
        const { entry, from, tags, to } = yield* mirrored()
        const plan = yield* Sync.plan({ sync: [entry] })
        yield* fill(`${to.host}/app`, ["1"], () => 77)
        yield* fill(`${from.host}/app`, ["2"], () => 78)
        const report = yield* Sync.apply(plan)
        assert.deepStrictEqual(outcomes(report), { "equal unchanged": 4, "delete skipped": 2 })
        assert.deepStrictEqual(yield* tags, everything)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("deletes nothing in a repository to which an image could not be copied", () =>
      Effect.gen(function* () {
        let fails = false
        const broken = Fixture.image({ seed: 55, layers: 1 })
        const { entry, from, tags } = yield* mirrored(({ method, path }) =>
          Effect.sync(() =>
            fails && method === "GET" && path.endsWith(`/blobs/${broken.layers[0]?.descriptor.digest}`)
              ? Faults.respond(500)
              : undefined
          )
        )
        yield* seed(`${from.host}/app`, broken, "7")
        fails = true
        assert.deepStrictEqual(outcomes(yield* sync({ sync: [entry] })), {
          "equal unchanged": 4,
          "copy failed": 1,
          "delete skipped": 2
        })
        assert.deepStrictEqual(yield* tags, everything)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("leaves alone what another entry makes in the same repository, or may have made", () =>
      Effect.gen(function* () {
        const { entry, from, to } = yield* mirrored()
        yield* fill(`${from.host}/other`, ["9"])
        const deleted = (other: Omit<Sync.Entry, "to">) =>
          Effect.map(Sync.plan({ sync: [entry, { ...other, to: entry.to }] }), (plan) =>
            actionsOf(plan).filter((line) => line.startsWith("delete"))
          )
        const renamed = { from: entry.from, tags: ["3"], rename: { tags: [{ match: "^3$", to: "2" }] } }
        assert.deepStrictEqual(yield* deleted(renamed), ["delete app:1"])
        assert.deepStrictEqual(yield* deleted({ from: `${from.host}/other`, tags: { glob: "[19]" } }), ["delete app:2"])
        const gone = yield* Sync.plan({ sync: [entry, { from: `${from.host}/missing`, to: `${to.host}/app` }] })
        assert.isFalse(gone.actions.some(({ action }) => action === "delete"))
        assert.include(gone.warnings.join(), "another source of it could not be listed")
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("leaves a renamed tag whose source is not listed, but there", () =>
      Effect.gen(function* () {
        let lies = false
        const shown = Faults.respond(200, { body: '{"tags":["v2","v3"]}' })
        const from = yield* start(({ path }) =>
          Effect.sync(() => (lies && path.endsWith("/tags/list") ? shown : undefined))
        )
        const to = yield* start()
        yield* fill(`${from.host}/app`, ["v1", "v2", "v3"])
        const rename = { tags: [{ match: "^v", to: "" }] }
        const config = { sync: [{ from: `${from.host}/app`, to: `${to.host}/app`, rename, prune: true }] }
        yield* sync(config)
        lies = true
        assert.deepStrictEqual(outcomes(yield* sync(config)), { "equal unchanged": 2 })
        const image = yield* digestAt(`${from.host}/app:v1`)
        yield* deleteTag(`${from.host}/app:v1`)
        const plan = yield* Sync.plan(config)
        const [gone] = plan.actions.filter(({ action }) => action === "delete")
        assert.strictEqual(gone?.from, `${from.host}/app:v1`)
        yield* tag(`${from.host}/app:v2`, ["v1"])
        assert.strictEqual((yield* Sync.apply(plan)).actions.at(-1)?.outcome, "skipped")
        assert.strictEqual(yield* digestAt(`${to.host}/app:1`), image)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("deletes nothing where a repository that the catalog leaves out may be the source", () =>
      Effect.gen(function* () {
        let lies = false
        const from = yield* start(({ path }) =>
          Effect.sync(() =>
            lies && path.endsWith("/_catalog") ? Faults.respond(200, { body: '{"repositories":["t/b"]}' }) : undefined
          )
        )
        const to = yield* start()
        yield* fill(`${from.host}/t/old-b`, ["1"])
        yield* fill(`${from.host}/t/b`, ["2", "3"])
        const entry = { from: `${from.host}/t/*`, to: `${to.host}/x/`, maxDelete: "100%", prune: true }
        const merging = { sync: [{ ...entry, rename: { repositories: [{ match: "^x/old-", to: "x/" }] } }] }
        yield* sync(merging)
        lies = true
        const plan = yield* Sync.plan(merging)
        assert.isFalse(plan.actions.some(({ action }) => action === "delete"))
        assert.include(plan.warnings.join(), `sync[0] could make it from ${from.host}/t/old-b as well`)
        const plain = yield* Sync.plan({ sync: [entry] })
        assert.deepStrictEqual(
          actionsOf(plain).filter((line) => line.startsWith("delete")),
          ["delete x/b:1"]
        )
        const none = yield* Sync.plan({ sync: [{ ...entry, from: `${from.host}/none/*` }] })
        assert.deepStrictEqual(none.warnings, [`sync[0]: no repository matches ${from.host}/none/*`])
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("deletes nothing in a repository to which a copy was skipped", () =>
      Effect.gen(function* () {
        const { entry, from, tags } = yield* mirrored()
        yield* fill(`${from.host}/app`, ["7"])
        const plan = yield* Sync.plan({ sync: [entry] })
        yield* fill(`${from.host}/app`, ["7"], () => 70)
        const report = yield* Sync.apply(plan)
        assert.deepStrictEqual(outcomes(report), { "equal unchanged": 4, "copy skipped": 1, "delete skipped": 2 })
        assert.deepStrictEqual(yield* tags, everything)
      }).pipe(Effect.provide(layer))
    )
    it.scopedLive("undoes renames that can be undone, and keeps everything where they cannot", () =>
      Effect.gen(function* () {
        const from = yield* start()
        const to = yield* start()
        yield* fill(`${from.host}/app`, ["v1", "v2", "v3", "v4", "v5"])
        const entry = (match: string, become: string) => ({
          from: `${from.host}/app`,
          to: `${to.host}/app`,
          tags: { glob: "v*" },
          rename: { tags: [{ match, to: become }] },
          prune: true
        })
        const can = entry("^v(.*)$", "release-$1")
        yield* sync({ sync: [can] })
        yield* fill(`${to.host}/app`, ["v9", "release-mine"])
        yield* Effect.forEach(["v1", "v2"], (name) => deleteTag(`${from.host}/app:${name}`))
        const plan = yield* Sync.plan({ sync: [can] })
        assert.deepStrictEqual(
          actionsOf(plan).filter((line) => line.startsWith("delete")),
          ["delete app:release-1", "delete app:release-2", "delete app:release-mine"]
        )
        const cannot = yield* Sync.plan({ sync: [entry("^v(.)(.*)$", "release-$1$2")] })
        assert.isFalse(cannot.actions.some(({ action }) => action === "delete"))
      }).pipe(Effect.provide(layer))
    )
  })
})
