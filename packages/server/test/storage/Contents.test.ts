import { assert, describe, it } from "@effect/vitest"
import * as Contents from "../../src/storage/Contents.js"
import { random } from "../support.js"

describe("Contents", () => {
  describe("growing", () => {
    for (const chunk of [1, 1000, 65_536, (1 << 20) - 1, 1 << 20, 5_000_000]) {
      it(`keeps what comes ${chunk} bytes at a time in blocks of a mebibyte`, () => {
        const bytes = random(chunk === 1 ? 10_000 : 3_400_000)
        const growing = Contents.growing()
        for (let at = 0; at < bytes.length; at += chunk) growing.add(bytes.subarray(at, at + chunk))
        assert.strictEqual(growing.size(), bytes.length)
        const blocks = growing.blocks()
        assert.isTrue(Buffer.concat(blocks).equals(bytes))
        const sizes = blocks.map(({ length }) => length)
        assert.isTrue(sizes.slice(0, -1).every((size) => size === Contents.blockSize))
        // No room is left over, and nothing larger is held alive.
        for (const block of blocks) assert.strictEqual(block.buffer.byteLength, block.length)
      })
    }
    it("goes on after it was looked at", () => {
      const growing = Contents.growing()
      growing.add(random(10))
      const first = growing.blocks()
      growing.add(random(10))
      assert.deepEqual([first[0]?.length, growing.size()], [10, 20])
    })
  })

  describe("open", () => {
    it("reads views of the same memory", async () => {
      const bytes = random(2_500_000)
      const blocks = Contents.cut(bytes)
      const chunks: Array<Uint8Array> = []
      for await (const chunk of Contents.open({ blocks }, 10, 2_000_000)) chunks.push(chunk)
      assert.isTrue(Buffer.concat(chunks).equals(bytes.subarray(10, 2_000_001)))
      for (const chunk of chunks) assert.strictEqual(chunk.buffer, bytes.buffer)
    })
  })
})
