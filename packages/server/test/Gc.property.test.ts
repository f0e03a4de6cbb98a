import { assert, describe, it } from "@effect/vitest"
import { GraphFixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as TestContext from "effect/TestContext"
import { collect, fill, heldBy, hour, later, model, now } from "./Gc/support.js"
import { all, type Backend } from "./suites/Backends.js"
import { push } from "./suites/BlobStoreSuite.js"
import { bytesOf } from "./support.js"

const repositories = ["a", "a/b", "c"]

/** Random graphs spread over repositories, with what deletions and broken pushes leave behind. */
const scene = FastCheck.record({
  description: GraphFixture.arbitrary,
  /** By repository and manifest, in turn: is it there? */
  present: FastCheck.array(FastCheck.boolean(), { minLength: 1, maxLength: 40 }),
  tagged: FastCheck.array(FastCheck.boolean(), { minLength: 1, maxLength: 10 }),
  deleted: FastCheck.array(FastCheck.nat(40), { maxLength: 5 }),
  loose: FastCheck.array(FastCheck.tuple(FastCheck.nat(2), FastCheck.nat(3)), { maxLength: 6 }),
  untagged: FastCheck.boolean()
})
type Scene = typeof scene extends FastCheck.Arbitrary<infer A> ? A : never

const check = (backend: Backend, { deleted, description, loose, present, tagged, untagged }: Scene) =>
  Effect.gen(function* () {
    yield* now
    const stores = yield* backend.open()
    const graph = GraphFixture.build(description)
    let turn = 0
    for (const repository of repositories) {
      const has = new Set([...graph.manifests.keys()].filter(() => present[turn++ % present.length]))
      const isTagged = (tag: string) =>
        tagged[(repository.length + tag.length + tag.charCodeAt(1)) % tagged.length] === true
      yield* fill(stores, repository, graph, (digest) => has.has(digest), isTagged)
    }
    for (const [at, n] of loose) yield* push(stores.blobs, repositories[at] ?? "", bytesOf(`loose ${n}`))
    const contents = new Map<string, number>()
    for (const repository of repositories) {
      for (const { digest, size } of yield* stores.blobs.list(repository)) contents.set(digest, size)
    }
    for (const n of deleted) {
      const digest = [...graph.manifests.values()][n % graph.manifests.size]?.descriptor.digest
      const repository = repositories[n % 3] ?? ""
      if (digest !== undefined) yield* stores.manifests.change(repository, (edit) => edit.remove(digest))
    }

    const expected = new Map<string, ReadonlyArray<string>>()
    for (const repository of repositories) {
      const tags = Option.getOrElse(yield* stores.manifests.tags(repository), () => [])
      const roots = yield* Effect.forEach(tags, (tag) => stores.manifests.resolve(repository, tag))
      // What a model of names cannot know: that a digest held is a manifest here, and not just there.
      const manifests: ReadonlyArray<string> = yield* stores.manifests.list(repository)
      const here = {
        ...graph,
        manifests: new Map([...graph.manifests].filter(([digest]) => manifests.includes(digest)))
      }
      const live = untagged ? roots.flatMap(Option.toArray) : undefined
      expected.set(repository, model(here, yield* heldBy(stores, repository), live))
    }
    assert.strictEqual((yield* collect(stores, { untagged })).removedCount, 0, "all of it is young")
    yield* later(2 * hour)
    const would = yield* collect(stores, { untagged, dryRun: true })
    const did = yield* collect(stores, { untagged })
    assert.deepEqual(would, did)
    assert.deepEqual(did.kept, [])
    const left = new Set<string>()
    for (const [repository, digests] of expected) {
      assert.deepEqual(yield* heldBy(stores, repository), digests, repository)
      for (const digest of digests) left.add(digest)
    }
    const freed = [...contents].filter(([digest]) => !left.has(digest))
    assert.strictEqual(did.blobs, freed.length)
    assert.strictEqual(
      did.bytes,
      freed.reduce((sum, [, size]) => sum + size, 0)
    )
    const again = yield* collect(stores, { untagged })
    assert.deepEqual([again.removedCount, again.blobs, again.bytes], [0, 0, 0])
  }).pipe(Effect.scoped, Effect.provide(TestContext.TestContext))

describe("Gc", () => {
  describe("collect", () => {
    for (const backend of all) {
      const numRuns = backend.name === "memory" ? 25 : 8
      it.live(
        `leaves of any repositories in ${backend.name} what a naive model does, and said so before`,
        () =>
          Effect.promise(() =>
            FastCheck.assert(
              FastCheck.asyncProperty(scene, (each) => Effect.runPromise(check(backend, each))),
              { numRuns, seed: 7 }
            )
          ),
        120_000
      )
    }
  })
})
