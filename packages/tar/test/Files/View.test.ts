import { assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { View } from "../../src/Files/View.js"
import { files } from "../../src/Files.js"
import * as Layers from "../support/layers.js"

const { file, folder, hardlink, whiteout } = Layers

describe("View", () => {
  describe("target", () => {
    it.effect("looks up each link of a long chain once or twice, not once for every link before it", () =>
      Effect.gen(function* () {
        const links = Array.from({ length: 300 }, (_, at) => hardlink(`${at + 1}`, `${at}`))
        const image = yield* files(Layers.of([file("0", "12345"), ...links]).source)
        const find = vi.spyOn(View.prototype, "find")
        const entries = [...image.entries()]
        const calls = find.mock.calls.length
        find.mockRestore()
        assert.isAtMost(calls, 2 * links.length)
        const sound = entries.filter(({ broken }) => broken === undefined || !broken).map(({ path }) => Number(path))
        assert.deepStrictEqual(
          sound.sort((a, b) => a - b),
          Array.from({ length: 17 }, (_, at) => at)
        )
      })
    )

    it.effect("tells the targets of one layer's links apart where it lies in an image twice", () =>
      Effect.gen(function* () {
        const twice = [folder("d"), hardlink("d/b", "d/a"), hardlink("d/c", "d/b")]
        const { source } = Layers.of(
          [folder("d"), file("d/a", "1")],
          twice,
          [whiteout("d"), folder("d"), file("d/a", "123")],
          twice
        )
        const image = yield* files(source)
        const entries = [...image.entries()]
        assert.deepStrictEqual(
          entries.map(({ path, size }) => [path, size]),
          [
            ["d", 0],
            ["d/a", 3],
            ["d/b", 3],
            ["d/c", 3]
          ]
        )
        const [, lower] = image.layers
        assert.deepStrictEqual(
          [...(lower?.entries() ?? [])].map(({ path, size }) => [path, size]),
          [
            ["d", 0],
            ["d/b", 1],
            ["d/c", 1]
          ]
        )
      })
    )
  })
})
