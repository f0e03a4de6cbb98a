import { execFileSync, spawnSync } from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import { describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import fc from "fast-check"
import * as Zstd from "../../src/Compressor/Zstd.js"
import { sourceSha256 } from "../../src/Compressor/zstdWasm.js"
import * as Compressor from "../../src/Compressor.js"
import type { PlainContent } from "../../src/ImageStore.js"
import { kinds, make, numbers } from "./kinds.js"

const MiB = 1 << 20
const sha256 = (bytes: Uint8Array): string => `sha256:${Crypto.createHash("sha256").update(bytes).digest("hex")}`
const bytesOf = (bytes: Uint8Array): PlainContent => ({ _tag: "Bytes", bytes })

const zstd = (plain: PlainContent) =>
  Effect.gen(function* () {
    const { result, stream } = Compressor.portable.compress("zstd", plain, () => {})
    const bytes = Buffer.concat(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)))
    return { bytes, result: Option.getOrThrow(result()) }
  })

const unzstd = (bytes: Uint8Array) =>
  Effect.map(
    Stream.runCollect(Compressor.portable.decompress("zstd", Stream.succeed(bytes), { subject: "layer" })),
    (chunks) => Buffer.concat(Chunk.toReadonlyArray(chunks))
  )

const hasCommand = spawnSync("zstd", ["--version"]).status === 0
const command = (args: ReadonlyArray<string>, input: Uint8Array): Buffer =>
  execFileSync("zstd", args, { input, maxBuffer: 64 * MiB, stdio: ["pipe", "pipe", "pipe"] })

describe("Zstd", () => {
  describe("compress", () => {
    // These digests are a promise to users: a layer keeps its digest. They change with a major version only.
    it.effect.each([
      ["zeros", 0, "sha256:f96deff1816083fdff8bc3e46c3fe6ca46a6bb49f4d5a00627616c13237a512c"],
      ["zeros", 9 * MiB, "sha256:6edfad0bbd8613516c41ed088fcf85118b7f960c8daf432b8a42be27341a0f6d"],
      ["noise", 4 * MiB + 1, "sha256:82bf491cdefb96f6ec1b9805bfbd60aa8d6c94affef6a598eeb863ba87edc23c"],
      ["white noise", 4 * MiB + 1, "sha256:9ac96e667e2e59be0e434ee1bcf86e1a411d42d9a62381154200d8bfd7f6ef83"],
      ["four letters", MiB, "sha256:817d5e0c022623a0610bfb8c0bbb95c9d170af7293b0e4b95c7e0dd091e549e8"],
      ["words", 8 * MiB + 70_000, "sha256:6074bd6c451893be80b263947c34588fc2eb4ca7eb8baac15c66e8aab756956f"],
      [
        "noise and zeros by turns",
        4 * MiB - 1,
        "sha256:a42f4db6f5cd75e4e1414f126a8ba8a1a26b1162f72ecef7487504fd51f4db37"
      ],
      ["a flat ramp", 100_000, "sha256:15bf6f58179b54e098541d489a2c07cfd4977dca59cd7eb790358ee8c28e7df9"],
      ["far repeats", 200_000, "sha256:c067365f6a172647630b8288052a2e4dd5260f2da1364f73b47552165dc3ff63"]
    ] as const)("gives %s of %i bytes the digest it always had", ([kind, size, digest]) =>
      Effect.gen(function* () {
        const { bytes, result } = yield* zstd(bytesOf(make(kind, size)))
        expect(result.digest).toBe(sha256(bytes))
        expect(result.digest).toBe(digest)
      })
    )

    it.effect("is a frame for each block, with the sums of both sides", () =>
      Effect.gen(function* () {
        const plain = make("words", 9 * MiB)
        const { bytes, result } = yield* zstd(bytesOf(plain))
        expect(result).toEqual({
          digest: sha256(bytes),
          size: bytes.length,
          diffId: sha256(plain),
          diffSize: plain.length
        })
        expect(Buffer.compare(yield* unzstd(bytes), plain)).toBe(0)
        const one = yield* zstd(bytesOf(plain.subarray(4 * MiB, 8 * MiB)))
        expect(bytes.includes(one.bytes)).toBe(true)
      })
    )

    it.effect.skipIf(!hasCommand)("is what the zstd command undoes and finds whole, checksums included", () =>
      Effect.gen(function* () {
        for (const size of [0, 1, 4 * MiB - 1, 4 * MiB + 1]) {
          const plain = make("words", size)
          const { bytes } = yield* zstd(bytesOf(plain))
          expect(Buffer.compare(command(["-dc"], bytes), plain)).toBe(0)
          const damaged = Uint8Array.from(bytes)
          damaged[damaged.length - 1] = (damaged[damaged.length - 1] ?? 0) ^ 1
          expect(spawnSync("zstd", ["-tq"], { input: bytes }).status).toBe(0)
          expect(spawnSync("zstd", ["-tq"], { input: damaged }).stderr.toString()).toContain("checksum")
        }
      })
    )

    it.effect("stores what does not compress", () =>
      Effect.gen(function* () {
        const { bytes } = yield* zstd(bytesOf(make("white noise", 4 * MiB)))
        // the frame's magic, descriptor, window, size and checksum; three bytes for each 128 KiB
        expect(bytes.length).toBe(4 * MiB + 4 + 1 + 1 + 4 + 4 + 32 * 3)
      })
    )

    it.effect("gives the same bytes however a stream is cut", () =>
      Effect.gen(function* () {
        const plain = make("words", 8 * MiB + 99)
        const whole = yield* zstd(bytesOf(plain))
        for (const step of [100_000, 4 * MiB - 1, 4 * MiB, 12 * MiB]) {
          const pieces: Array<Uint8Array> = []
          for (let at = 0; at < plain.length; at += step) pieces.push(plain.subarray(at, at + step))
          const { bytes } = yield* zstd({ _tag: "Stream", size: plain.length, stream: Stream.fromIterable(pieces) })
          expect(Buffer.compare(bytes, whole.bytes)).toBe(0)
        }
      })
    )

    it.effect("hears each byte it read, and fails with the error of the source", () =>
      Effect.gen(function* () {
        let read = 0
        const stream = Stream.concat(Stream.succeed(new Uint8Array(5 * MiB)), Stream.fail("gone" as const))
        const compressed = Compressor.portable.compress("zstd", { _tag: "Stream", size: 6 * MiB, stream }, (bytes) => {
          read += bytes
        })
        expect(yield* Effect.flip(Stream.runDrain(compressed.stream))).toBe("gone")
        expect(read).toBe(4 * MiB)
        expect(compressed.result()).toEqual(Option.none())
      })
    )
  })

  describe("makeEncoder", () => {
    const encoder = Effect.map(Effect.promise(Zstd.module), Zstd.makeEncoder)

    it.effect("does not depend on what it compressed before", () =>
      Effect.gen(function* () {
        const used = yield* encoder
        const plain = make("words", 300_000)
        const first = used.compress(plain, true)
        for (const kind of Object.keys(kinds)) used.compress(make(kind, 4 * MiB), false)
        for (let i = 0; i < 150; i++) used.compress(make("four letters", 5), false)
        expect(used.compress(plain, false)).toEqual(first)
        expect((yield* encoder).compress(plain, false)).toEqual(first)
      })
    )

    it.effect("writes what the decoder undoes, for all kinds of data around the borders of its blocks", () =>
      Effect.gen(function* () {
        const { compress } = yield* encoder
        const sizes = [
          1,
          2,
          3,
          6,
          7,
          8,
          63,
          64,
          255,
          256,
          257,
          131_071,
          131_072,
          131_073,
          262_145,
          4 * MiB - 1,
          4 * MiB
        ]
        for (const kind of Object.keys(kinds)) {
          const all = make(kind, 4 * MiB)
          for (const size of sizes) {
            const plain = all.subarray(0, size)
            const frame = compress(plain, true)
            expect([kind, size, frame !== undefined]).toEqual([kind, size, true])
            expect(frame?.length).toBeLessThanOrEqual(Zstd.outputSize)
            expect(Buffer.compare(yield* unzstd(frame ?? new Uint8Array(0)), plain)).toBe(0)
          }
        }
      })
    )

    it.effect("writes what the decoder undoes, for random pieces put together", () =>
      Effect.gen(function* () {
        const { compress } = yield* encoder
        const piece = fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.tuple(fc.nat(255), fc.nat(140_000)).map(([byte, n]) => new Uint8Array(n).fill(byte)),
          fc.tuple(fc.nat(), fc.integer({ min: 1, max: 8 }), fc.nat(140_000)).map(([seed, bits, n]) => {
            const next = numbers(seed)
            return new Uint8Array(n).map(() => next() & ((1 << bits) - 1))
          })
        )
        const property = fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 8 }), async (pieces) => {
          const plain = Buffer.concat(pieces)
          const frame = compress(plain, true)
          if (frame === undefined) return false
          return Buffer.compare(await Effect.runPromise(unzstd(frame)), plain) === 0
        })
        yield* Effect.promise(() => fc.assert(property, { numRuns: 60 }))
      })
    )
  })

  it("is compiled from the source beside it", () => {
    const hash = Crypto.createHash("sha256")
    const sources = new URL("../../native/", import.meta.url)
    for (const name of Fs.readdirSync(sources).sort()) hash.update(Fs.readFileSync(new URL(name, sources)))
    expect(hash.digest("hex")).toBe(sourceSha256)
  })
})
