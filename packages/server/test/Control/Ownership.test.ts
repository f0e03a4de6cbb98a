import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { afterEach, vi } from "vitest"
import * as Ownership from "../../src/Control/Ownership.js"
import { naming } from "../Gc/support.js"
import { memory } from "../suites/Backends.js"
import { push } from "../suites/BlobStoreSuite.js"
import { bytesOf } from "../support.js"

/** A machine that sleeps: the wall clock goes on, and no timer runs. */
const sleep = (seconds: number) => {
  const now = Date.now() + seconds * 1000
  vi.spyOn(Date, "now").mockReturnValue(now)
}

describe("Ownership", () => {
  afterEach(() => void vi.restoreAllMocks())

  describe("keep", () => {
    it.scopedLive("is not sure after ten seconds in which it could not show that it is alive", () =>
      Effect.gen(function* () {
        const lost = yield* Ownership.keep("/root", () => Promise.reject(new Error("no disk")))
        assert.isUndefined(yield* lost)
        sleep(9)
        assert.isUndefined(yield* lost)
        sleep(2)
        assert.include(yield* lost, "another registry may own the folder")
      })
    )

    it.scopedLive("is not sure while the storage hangs", () =>
      Effect.gen(function* () {
        const lost = yield* Ownership.keep("/root", () => new Promise<boolean>(() => {}))
        sleep(11)
        assert.include(yield* lost, "another registry may own the folder")
      })
    )

    it.scopedLive("shows it at once when it is asked after a stop, and finds out whether it is still the owner", () =>
      Effect.gen(function* () {
        let [beats, owns] = [0, true]
        const lost = yield* Ownership.keep("/root", async () => {
          beats += 1
          return owns
        })
        assert.deepEqual([yield* lost, beats], [undefined, 0])
        sleep(11)
        assert.deepEqual([yield* lost, yield* lost, beats], [undefined, undefined, 1])
        owns = false
        sleep(11)
        for (let n = 0; n < 2; n++) assert.strictEqual(yield* lost, "another registry owns the folder")
        owns = true
        sleep(11)
        assert.deepEqual([yield* lost, beats], ["another registry owns the folder", 2])
      })
    )
  })

  describe("guardManifests, guardBlobs", () => {
    it.scopedLive("change nothing any more, also where the change began before, and go on reading", () =>
      Effect.gen(function* () {
        let why: string | undefined
        const lost = Effect.sync(() => why)
        const stores = yield* memory.open()
        const [blobs, manifests] = [
          Ownership.guardBlobs(lost)(stores.blobs),
          Ownership.guardManifests(lost)(stores.manifests)
        ]
        const digest = yield* push(blobs, "a", bytesOf("layer"))
        const image = naming([digest], { tags: ["1"] })
        yield* manifests.change("a", (edit) => edit.put(image))
        const { id } = yield* blobs.startUpload("a", "sha256")
        const errors = yield* manifests.change("a", (edit) => {
          why = "another registry owns the folder"
          return Effect.all([
            Effect.flip(edit.put(naming([]))),
            Effect.flip(edit.remove(image.digest)),
            Effect.flip(edit.untag("1")),
            Effect.flip(blobs.remove("a", digest)),
            Effect.flip(blobs.mount("b", digest, "a")),
            Effect.flip(blobs.finish("a", id, digest)),
            Effect.flip(blobs.cancel("a", id)),
            Effect.flip(blobs.sweep({ before: 0, dryRun: false }))
          ])
        })
        for (const error of errors) assert.include(error.message, "another registry owns the folder")
        assert.deepEqual(yield* manifests.list("a"), [image.digest])
        assert.deepEqual(yield* manifests.resolve("a", "1"), Option.some(image.digest))
        assert.isTrue(Option.isSome(yield* blobs.find("a", digest)))
        assert.strictEqual((yield* blobs.uploads).length, 1)
      })
    )
  })

  describe("collecting", () => {
    it.effect("fails where the folder was lost meanwhile", () =>
      Effect.gen(function* () {
        let why: string | undefined
        const nothing = { blobs: 0, bytes: 0, manifests: 0, uploads: 0, repositories: 0, removed: [], removedCount: 0 }
        let runs = 0
        const collect = Ownership.collecting(
          Effect.sync(() => why),
          Effect.sync(() => {
            why = ++runs === 2 ? "lost" : undefined
            return { ...nothing, kept: [] }
          })
        )
        yield* collect
        for (let n = 0; n < 2; n++) assert.strictEqual((yield* Effect.flip(collect)).message, "collect garbage: lost")
        assert.strictEqual(runs, 2)
      })
    )
  })
})
