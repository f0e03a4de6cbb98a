import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Header from "../../src/DockerArchive/Header.js"
import * as TarIndex from "../../src/TarIndex.js"

/** The member that a header announces. */
const announced = (name: string, size: number) =>
  Effect.gen(function* () {
    const bytes = yield* Header.header(name, size)
    const { members } = yield* TarIndex.read(
      (offset, length) => Effect.succeed(bytes.subarray(offset, offset + length)),
      { path: "test.tar", size: bytes.length + size }
    )
    return {
      header: bytes.length,
      members: [...members.values()].map(({ name, offset, size }) => ({ name, offset, size }))
    }
  })

describe("header", () => {
  it.effect("is one block for a blob of sha256, also of more than 8 GiB", () =>
    Effect.gen(function* () {
      const name = `blobs/sha256/${"a".repeat(64)}`
      for (const size of [0, 1, 9 * 1024 ** 3]) {
        const found = yield* announced(name, size)
        assert.deepStrictEqual(found, { header: 512, members: [{ name, offset: 512, size }] })
      }
    })
  )

  it.effect("carries the whole name of a blob of sha512, which no single block holds", () =>
    Effect.gen(function* () {
      const name = `blobs/sha512/${"a".repeat(128)}`
      const found = yield* announced(name, 3)
      assert.deepStrictEqual(found, { header: 1536, members: [{ name, offset: 1536, size: 3 }] })
    })
  )
})
