import * as FileSystem from "@effect/platform/FileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Digest } from "@effect-registry/core"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PartialList from "../../src/DockerArchive/PartialList.js"

const [one, two] = [Fixture.digest(new Uint8Array(1)), Fixture.digest(new Uint8Array(2))]
const place = { digest: one, size: 100_000_000, offset: 0, written: 0 }

/** A file system of names and texts. */
const memory = () => {
  const files = new Map<string, string>()
  const longest = { size: 0 }
  const fs = FileSystem.makeNoop({
    writeFileString: (path, text, options) =>
      Effect.sync(() => {
        const whole = options?.flag === "a" ? `${files.get(path) ?? ""}${text}` : text
        files.set(path, whole)
        longest.size = Math.max(longest.size, whole.length)
      }),
    rename: (from, to) =>
      Effect.sync(() => {
        files.set(to, files.get(from) ?? "")
        files.delete(from)
      }),
    remove: (path) => Effect.sync(() => void files.delete(path))
  })
  return { files, fs, longest, entries: () => Option.getOrUndefined(PartialList.parse(files.get("list") ?? "")) }
}

describe("PartialList", () => {
  describe("make", () => {
    it.effect("says of every place how far it is written, the last time it was flushed", () =>
      Effect.gen(function* () {
        const { entries, fs } = memory()
        const list = yield* PartialList.make(fs, "list", [])
        yield* list.reserve(place)
        yield* list.reserve({ digest: two, size: 5, offset: 1024, written: 0 })
        list.wrote(one, 7)
        yield* list.flush
        list.wrote(one, 3)
        yield* list.flush
        list.wrote(two, 5)
        assert.deepStrictEqual(entries(), [
          { ...place, written: 3 },
          { digest: two, size: 5, offset: 1024, written: 0 }
        ])
      })
    )

    it.effect("starts as short as it can with what an earlier run left", () =>
      Effect.gen(function* () {
        const { entries, files, fs } = memory()
        files.set("list", "what was there")
        yield* PartialList.make(fs, "list", [{ ...place, written: 9 }])
        assert.deepStrictEqual(entries(), [{ ...place, written: 9 }])
        assert.deepStrictEqual([...files.keys()], ["list"])
      })
    )

    it.effect("is written anew before it is longer than anybody reads", () =>
      Effect.gen(function* () {
        const { entries, fs, longest } = memory()
        const list = yield* PartialList.make(fs, "list", [])
        // The longest lines there are.
        const digest = Digest.Digest.make(`sha512:${"a".repeat(128)}`)
        yield* list.reserve({ ...place, digest })
        for (let n = 1; n <= 40_000; n++) {
          list.wrote(digest, n)
          yield* list.flush
        }
        assert.deepStrictEqual(entries(), [{ ...place, digest, written: 40_000 }])
        assert.isBelow(longest.size, PartialList.maxSize / 3)
      })
    )
  })

  describe("parse", () => {
    const reserved = JSON.stringify({ digest: one, size: 10, offset: 0 })

    it("ignores a last line without its end", () => {
      for (const torn of ["", "{", JSON.stringify({ digest: one, written: 4 })]) {
        assert.deepStrictEqual(
          PartialList.parse(`${reserved}\n${torn}`),
          Option.some([{ digest: one, size: 10, offset: 0, written: 0 }])
        )
      }
    })

    it("believes nothing where a line is odd", () => {
      for (const odd of [
        "",
        "{",
        "null",
        reserved,
        JSON.stringify({ digest: two, written: 0 }),
        JSON.stringify({ digest: one, written: 11 }),
        JSON.stringify({ digest: one, written: -1 }),
        JSON.stringify({ digest: one, written: 0.5 }),
        JSON.stringify({ digest: "sha256:abc", size: 1, offset: 0 })
      ]) {
        assert.deepStrictEqual(PartialList.parse(`${reserved}\n${odd}\n`), Option.none(), odd)
      }
    })
  })
})
