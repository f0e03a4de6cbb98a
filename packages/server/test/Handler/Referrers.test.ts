import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Referrers from "../../src/Handler/Referrers.js"
import { type Part, partOf, type Referrer } from "../../src/ManifestStore.js"
import { digestOf } from "../support.js"

const entry = (text: string, artifactType?: string) => ({
  mediaType: "a/b",
  digest: digestOf(text),
  size: 1,
  ...(artifactType === undefined ? {} : { artifactType })
})

const all = ["1", "2", "3", "4"].map((text) => entry(text)).sort((a, b) => (a.digest < b.digest ? -1 : 1))
const sizeOf = (count: number) =>
  Buffer.byteLength(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: all.slice(0, count)
    })
  )

const read =
  (entries: ReadonlyArray<Referrer> = all) =>
  (part: Part) =>
    Effect.succeed(partOf(entries, part))

const everything = { artifactType: undefined, last: undefined }

const items = all.map((each) => JSON.stringify(each))

describe("Referrers", () => {
  describe("page", () => {
    it.effect("takes as many entries as fit, to the byte, and says where to go on", () =>
      Effect.gen(function* () {
        // A comma is counted for each entry, also for the last.
        assert.deepEqual(yield* Referrers.page(read(), everything, sizeOf(2) + 1), {
          items: items.slice(0, 2),
          next: all[1]?.digest
        })
        assert.deepEqual(yield* Referrers.page(read(), everything, sizeOf(2) - 1), {
          items: items.slice(0, 1),
          next: all[0]?.digest
        })
        assert.deepEqual(yield* Referrers.page(read(), everything), { items, next: undefined })
      })
    )

    it.effect("takes one entry, however large, and always comes to an end", () =>
      Effect.gen(function* () {
        const found: Array<string> = []
        let last: string | undefined
        do {
          const page: { readonly items: ReadonlyArray<string>; readonly next: string | undefined } =
            yield* Referrers.page(read(), { artifactType: undefined, last }, 1)
          assert.lengthOf(page.items, 1)
          found.push(...page.items)
          last = page.next
        } while (last !== undefined && found.length < 10)
        assert.deepEqual(found, items)
      })
    )

    it.effect("names no next page where what follows is of another type", () =>
      Effect.gen(function* () {
        const [first, ...rest] = all.map((each, index) => ({ ...each, artifactType: index === 0 ? "x/y" : "x/z" }))
        const entries = [first, ...rest].flatMap((each) => each ?? [])
        const page = yield* Referrers.page(read(entries), { artifactType: "x/y", last: undefined }, 1)
        assert.deepEqual(page, { items: [JSON.stringify(first)], next: undefined })
      })
    )

    it.effect("never holds more of the list than a page and one entry", () =>
      Effect.gen(function* () {
        const parts: Array<number> = []
        const counting = (part: Part) =>
          Effect.tap(read()(part), (entries) => Effect.sync(() => void parts.push(entries.length)))
        yield* Referrers.page(counting, { artifactType: "x/none", last: undefined }, 100)
        assert.deepEqual(parts, [1, 1, 1, 1, 0])
      })
    )
  })
})
