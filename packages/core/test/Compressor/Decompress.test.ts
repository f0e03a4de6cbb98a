import { describe, expect, it } from "@effect/vitest"
import * as Decompress from "../../src/Compressor/Decompress.js"

describe("Decompress", () => {
  describe("detect", () => {
    it.each([
      ["gzip", [0x1f, 0x8b, 8, 0]],
      ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
      ["zstd", [0x5a, 0x2a, 0x4d, 0x18]],
      [undefined, [0x28, 0xb5, 0x2f]],
      [undefined, [0x75, 0x73, 0x72, 0x2f]],
      [undefined, []]
    ] as const)("finds %s in %j", (algorithm, head) => {
      expect(Decompress.detect(Uint8Array.from(head))).toBe(algorithm)
    })
  })

  describe("Guard", () => {
    const guard = (maxSize?: number) => new Decompress.Guard({ subject: "layer", maxSize })

    it("lets through as many bytes as may be, and no more", () => {
      const all = guard(10)
      expect(all.writes(10)).toBeUndefined()
      expect(all.writes(1)).toMatchObject({
        reason: "TooLarge",
        message: "layer: decompresses to more than 10 bytes"
      })
    })

    it("takes 256 GiB where nothing else is said", () => {
      const all = guard()
      all.reads(Decompress.maxTotal)
      expect(all.writes(Decompress.maxTotal)).toBeUndefined()
      expect(all.writes(1)?.reason).toBe("TooLarge")
    })

    it("looks at the ratio only of what is large", () => {
      const zeros = guard()
      zeros.reads(1_000)
      expect(zeros.writes(Decompress.ratioFrom)).toBeUndefined()
      expect(zeros.writes(1)?.message).toBe("layer: decompresses to more than 200 times its size")
      const sparse = guard()
      sparse.reads(Decompress.ratioFrom / 100)
      expect(sparse.writes(Decompress.ratioFrom * 2)).toBeUndefined()
    })
  })
})
