import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Zlib from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import fc from "fast-check"
import { base64, sourceSha256 } from "../src/Compressor/deflateWasm.js"
import * as Compressor from "../src/Compressor.js"
import type { PlainContent } from "../src/ImageStore.js"
import { kinds, make, numbers } from "./Compressor/kinds.js"

const MiB = 1 << 20
const sha256 = (bytes: Uint8Array): string => `sha256:${Crypto.createHash("sha256").update(bytes).digest("hex")}`

const gzip = (plain: PlainContent) =>
  Effect.gen(function* () {
    const { result, stream } = Compressor.portable.compress("gzip", plain, () => {})
    const bytes = Buffer.concat(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)))
    return { bytes, result: Option.getOrThrow(result()) }
  })
const bytesOf = (bytes: Uint8Array): PlainContent => ({ _tag: "Bytes", bytes })

describe("Compressor", () => {
  describe("portable", () => {
    // These digests are a promise to users: a layer keeps its digest. They change with a major version only.
    it.effect.each([
      ["zeros", 0, "sha256:ac73670af3abed54ac6fb4695131f4099be9fbe39d6076c5d0264a6bbdae9d83"],
      ["zeros", 3 * MiB, "sha256:6b93a23fac89a1abec0ab3a3623257fd781f265c70252fbf5069e503969f58d4"],
      ["noise", 2 * MiB + 1, "sha256:386e0f1d45b9a89a2457f40867e449b6ceb6180c6ea5a4aa9404356415490182"],
      ["four letters", MiB, "sha256:5283b684fd0213f7bebd9957e0fe2f9ba6facdb63bf9bc68a9b2d06e5293285c"],
      ["words", MiB + 70_000, "sha256:ee246f203c7862a8a86f0b01d860734846b3c51b2fb74c689dc811d045cba7d6"],
      [
        "noise and zeros by turns",
        2 * MiB - 1,
        "sha256:1a37d7065e3f431a6958e42b375150a0f478b6abc21f1884ddf62b59a6aaf2fe"
      ],
      ["a flat ramp", 100_000, "sha256:40732b3d9ea561d22acf6bfd9956f4a2d0021de010d87286a7aa49d5b88a9a82"],
      ["far repeats", 200_000, "sha256:e7511493eadb0cd642d9fe76b867b35a805d8253d0ac1dc03d749cfaa6c3a3ac"]
    ] as const)("gives %s of %i bytes the digest it always had", ([kind, size, digest]) =>
      Effect.gen(function* () {
        const { bytes, result } = yield* gzip(bytesOf(make(kind, size)))
        expect(result.digest).toBe(sha256(bytes))
        expect(result.digest).toBe(digest)
      })
    )

    it.effect("is one gzip member that zlib reads, with the sums of both sides", () =>
      Effect.gen(function* () {
        const plain = make("words", 2 * MiB + 12_345)
        const { bytes, result } = yield* gzip(bytesOf(plain))
        expect(Buffer.compare(Zlib.gunzipSync(bytes), plain)).toBe(0)
        expect(result).toEqual({
          digest: sha256(bytes),
          size: bytes.length,
          diffId: sha256(plain),
          diffSize: plain.length
        })
        expect(bytes.length).toBeLessThan(plain.length / 2)
      })
    )

    it.effect("stores what does not compress", () =>
      Effect.gen(function* () {
        const { bytes } = yield* gzip(bytesOf(make("noise", MiB)))
        expect(bytes.length).toBe(10 + MiB + 5 * 17 + 5 + 10)
      })
    )

    it.effect("gives the same bytes however a stream is cut", () =>
      Effect.gen(function* () {
        const plain = make("words", 2 * MiB + 99)
        const whole = yield* gzip(bytesOf(plain))
        for (const step of [1_000, 65_536, MiB - 1, MiB, 3 * MiB]) {
          const pieces: Array<Uint8Array> = []
          for (let at = 0; at < plain.length; at += step) pieces.push(plain.subarray(at, at + step))
          const { bytes } = yield* gzip({ _tag: "Stream", size: plain.length, stream: Stream.fromIterable(pieces) })
          expect(Buffer.compare(bytes, whole.bytes)).toBe(0)
        }
      })
    )

    it.effect("compresses afresh in every run, and tells each byte it read", () =>
      Effect.gen(function* () {
        let read = 0
        const compressed = Compressor.portable.compress("gzip", bytesOf(make("words", MiB + 5)), (n) => {
          read += n
        })
        expect(compressed.result()).toEqual(Option.none())
        yield* Stream.runDrain(Stream.take(compressed.stream, 2))
        expect(compressed.result()).toEqual(Option.none())
        read = 0
        yield* Stream.runDrain(compressed.stream)
        const first = compressed.result()
        expect(read).toBe(MiB + 5)
        yield* Stream.runDrain(compressed.stream)
        expect(compressed.result()).toEqual(first)
      })
    )

    it.effect("fails with the error of the source", () =>
      Effect.gen(function* () {
        const stream = Stream.concat(Stream.succeed(new Uint8Array(10)), Stream.fail("gone" as const))
        const compressed = Compressor.portable.compress("gzip", { _tag: "Stream", size: 20, stream }, () => {})
        expect(yield* Effect.flip(Stream.runDrain(compressed.stream))).toBe("gone")
        expect(compressed.result()).toEqual(Option.none())
      })
    )
  })

  describe("Encoder", () => {
    const encoder = Compressor.Encoder.make()
    const survives = (plain: Uint8Array): boolean => {
      const deflated = encoder.deflate(plain)
      const inflated = Zlib.inflateRawSync(deflated, { finishFlush: Zlib.constants.Z_SYNC_FLUSH })
      return Buffer.compare(inflated, plain) === 0 && encoder.crc32(plain, 0) === Zlib.crc32(plain)
    }

    it("writes what zlib inflates, for all kinds of data around the borders of its blocks", () => {
      const sizes = [
        0, 1, 2, 3, 4, 11, 12, 13, 16, 257, 258, 259, 32_767, 32_768, 32_769, 65_534, 65_535, 65_536, 65_537
      ]
      sizes.push(65_547, 65_548, 131_069, 131_070, 131_071, 131_083, MiB - 65_535, MiB - 1, MiB)
      for (const kind of Object.keys(kinds)) {
        for (const size of sizes) expect([kind, size, survives(make(kind, size))]).toEqual([kind, size, true])
      }
    })

    it("writes what zlib inflates, for random pieces put together", () => {
      const piece = fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.tuple(fc.nat(255), fc.nat(70_000)).map(([byte, n]) => new Uint8Array(n).fill(byte)),
        fc.tuple(fc.nat(), fc.integer({ min: 1, max: 8 }), fc.nat(70_000)).map(([seed, bits, n]) => {
          const next = numbers(seed)
          return new Uint8Array(n).map(() => next() & ((1 << bits) - 1))
        }),
        fc
          .tuple(fc.uint8Array({ minLength: 1, maxLength: 700 }), fc.integer({ min: 1, max: 100 }))
          .map(([unit, n]) => Uint8Array.from(Array.from({ length: n }, () => [...unit]).flat()))
      )
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => survives(Buffer.concat(pieces).subarray(0, MiB))),
        { numRuns: 150 }
      )
    })

    it("writes code lengths within the limits of the format for very uneven frequencies", () => {
      // Fibonacci frequencies ask for the longest codes
      const bytes: Array<number> = []
      for (let symbol = 0, a = 1, b = 1; symbol < 23; symbol++) {
        for (let i = 0; i < a && bytes.length < 65_535; i++) bytes.push(symbol * 7)
        ;[a, b] = [b, a + b]
      }
      const next = numbers(9)
      for (let i = bytes.length - 1; i > 0; i--) {
        const j = next() % (i + 1)
        ;[bytes[i], bytes[j]] = [bytes[j] ?? 0, bytes[i] ?? 0]
      }
      expect(survives(Uint8Array.from(bytes))).toBe(true)
    })

    it("does not depend on what it compressed before", () => {
      const plain = make("words", 300_000)
      const first = encoder.deflate(plain)
      encoder.deflate(make("four letters", MiB))
      expect(Buffer.compare(encoder.deflate(plain), first)).toBe(0)
    })

    it("continues a checksum over blocks", () => {
      const plain = make("noise", 1_003)
      const half = encoder.crc32(plain.subarray(0, 501), 0)
      expect(encoder.crc32(plain.subarray(501), half)).toBe(Zlib.crc32(plain))
    })

    it("is compiled from the source beside it", () => {
      const hash = Crypto.createHash("sha256")
      const sources = new URL("../assembly/", import.meta.url)
      for (const name of Fs.readdirSync(sources).sort()) hash.update(Fs.readFileSync(new URL(name, sources)))
      expect(hash.digest("hex")).toBe(sourceSha256)
      expect(WebAssembly.validate(Buffer.from(base64, "base64"))).toBe(true)
    })
  })
})
