import { spawnSync } from "node:child_process"
import { describe, expect, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import fc from "fast-check"
import { unzstd } from "../../src/Compressor/Unzstd.js"
import * as Zstd from "../../src/Compressor/Zstd.js"
import type * as Compressor from "../../src/Compressor.js"
import { make } from "./kinds.js"

const MiB = 1 << 20
const bounds: Compressor.Bounds = { subject: "layer" }

const cut = (bytes: Uint8Array, step: number): Array<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => bytes.subarray(i * step, (i + 1) * step))

const run = (chunks: ReadonlyArray<Uint8Array>, within = bounds) =>
  Effect.map(Stream.runCollect(unzstd(Stream.fromIterable(chunks), within)), (plain) =>
    Buffer.concat(Chunk.toReadonlyArray(plain))
  )

const encoder = Effect.map(Effect.promise(Zstd.module), Zstd.makeEncoder)
const frameOf = (plain: Uint8Array) =>
  Effect.map(encoder, ({ compress }) => compress(plain, false) ?? new Uint8Array(0))

/** A frame of its own making: `descriptor` and what follows it up to the blocks, then blocks. */
const frame = (header: ReadonlyArray<number>, ...blocks: ReadonlyArray<ReadonlyArray<number>>): Uint8Array =>
  Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, ...header, ...blocks.flat()])
const blockHeader = (type: number, size: number, isLast: boolean): ReadonlyArray<number> => {
  const bits = (size << 3) | (type << 1) | (isLast ? 1 : 0)
  return [bits & 255, (bits >> 8) & 255, bits >> 16]
}
/** `byte`, so many times, at most 128 KiB. */
const repeat = (byte: number, size: number, isLast = false) => [...blockHeader(1, size, isLast), byte]
/** A window of 2 to the power of so many. */
const window = (log: number) => [0x00, (log - 10) << 3]

const skippable = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3)

describe("Unzstd", () => {
  describe("unzstd", () => {
    it.effect("undoes frame after frame, however the bytes arrive, and leaves out what is to be skipped", () =>
      Effect.gen(function* () {
        const parts = [make("words", 700_000), make("white noise", 300_001), new Uint8Array(0), make("zeros", 2 * MiB)]
        const frames = yield* Effect.forEach(parts, frameOf)
        const all = Buffer.concat([skippable, ...frames.flatMap((each) => [each, skippable])])
        for (const step of [131_072, 131_071, 4_099, all.length]) {
          expect(Buffer.compare(yield* run(cut(all, step)), Buffer.concat(parts))).toBe(0)
        }
      })
    )

    it.effect("takes one byte at a time, and chunks without any", () =>
      Effect.gen(function* () {
        const plain = make("words", 20_000)
        const bytes = Buffer.concat([yield* frameOf(plain), skippable, yield* frameOf(plain)])
        const chunks = cut(bytes, 1).flatMap((each) => [each, new Uint8Array(0)])
        expect(Buffer.compare(yield* run(chunks), Buffer.concat([plain, plain]))).toBe(0)
      })
    )

    it.effect("undoes nothing but skipped data as nothing", () =>
      Effect.map(run([skippable]), (plain) => expect(plain.length).toBe(0))
    )

    it.effect("gives output that ends where its buffer does", () =>
      Effect.gen(function* () {
        for (const size of [262_143, 262_144, 262_145, 524_288]) {
          const bytes = yield* frameOf(make("zeros", size))
          expect((yield* run([bytes])).length).toBe(size)
          expect((yield* run([bytes, bytes])).length).toBe(2 * size)
        }
        // The last piece has no room beside the others when all input is there.
        const blocks = [repeat(1, 100_000), repeat(2, 100_000), repeat(3, 100_000, true)]
        expect((yield* run([frame(window(20), ...blocks)])).length).toBe(300_000)
      })
    )

    it.effect("undoes any list of frames, cut anywhere", () =>
      Effect.gen(function* () {
        const { compress } = yield* encoder
        const list = fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 600 }),
            fc.nat(300_000).map((n) => make("words", n))
          ),
          {
            minLength: 1,
            maxLength: 4
          }
        )
        const property = fc.asyncProperty(list, fc.integer({ min: 1, max: 5_000 }), async (parts, step) => {
          const bytes = Buffer.concat(parts.map((part) => compress(part, false) ?? new Uint8Array(0)))
          return Buffer.compare(await Effect.runPromise(run(cut(bytes, step))), Buffer.concat(parts)) === 0
        })
        yield* Effect.promise(() => fc.assert(property, { numRuns: 40 }))
      })
    )

    it.effect.skipIf(spawnSync("zstd", ["--version"]).status !== 0)("undoes what the zstd command writes", () =>
      Effect.gen(function* () {
        const small = make("words", 300_000)
        const large = Buffer.concat([small, make("white noise", 4 * MiB), small])
        const cases: ReadonlyArray<readonly [Uint8Array, ReadonlyArray<string>]> = [
          [small, ["-19"]],
          [small, ["--ultra", "-22", "--no-check"]],
          // the second half is found again behind more than the usual window
          [large, ["-1", "--long=27"]],
          [large, ["-1", "-B1MiB", "-T2"]]
        ]
        for (const [plain, args] of cases) {
          const { stdout } = spawnSync("zstd", ["-c", ...args], { input: plain, maxBuffer: 16 * MiB })
          expect(Buffer.compare(yield* run(cut(stdout, 65_536)), plain)).toBe(0)
        }
      })
    )

    it.effect("fails with DamagedData for data that is cut off, at every byte", () =>
      Effect.gen(function* () {
        const bytes = Buffer.concat([yield* frameOf(make("words", 500)), yield* frameOf(make("words", 40))])
        const first = (yield* frameOf(make("words", 500))).length
        for (let size = 1; size < bytes.length; size++) {
          const exit = yield* Effect.exit(run([bytes.subarray(0, size)]))
          expect([size, Exit.isSuccess(exit)]).toEqual([size, size === first])
        }
        const error = yield* Effect.flip(run([bytes.subarray(0, first + 3)]))
        expect(error).toMatchObject({ reason: "DamagedData", message: "layer: its zstd data is cut off" })
      })
    )

    it.effect("tells apart no data, other data, and other data behind the last frame", () =>
      Effect.gen(function* () {
        const message = (chunks: ReadonlyArray<Uint8Array>) =>
          Effect.map(Effect.flip(run(chunks)), (error) => `${error.reason} ${error.message}`)
        const bytes = yield* frameOf(make("words", 500))
        expect(yield* message([])).toBe("DamagedData layer: its zstd data is empty")
        expect(yield* message([Buffer.from("tar")])).toBe("DamagedData layer: its zstd data is damaged or cut off")
        for (const garbage of [Buffer.from("garbage"), new Uint8Array(9)]) {
          const expected = "DamagedData layer: its zstd data is followed by something else"
          expect(yield* message([Buffer.concat([bytes, garbage])])).toBe(expected)
          expect(yield* message([bytes, ...cut(garbage, 1)])).toBe(expected)
        }
      })
    )

    it.effect("finds every changed byte of a frame by its checksum at the latest", () =>
      Effect.gen(function* () {
        const plain = make("words", 300)
        const bytes = yield* frameOf(plain)
        for (let at = 0; at < bytes.length; at++) {
          const changed = Uint8Array.from(bytes)
          changed[at] = (changed[at] ?? 0) ^ 0x10
          const exit = yield* Effect.exit(run([changed]))
          expect([at, Exit.isSuccess(exit) && Buffer.compare(exit.value, plain) !== 0]).toEqual([at, false])
        }
        const wrongSum = Uint8Array.from(bytes)
        wrongSum[bytes.length - 1] = (wrongSum[bytes.length - 1] ?? 0) ^ 1
        expect((yield* Effect.flip(run([wrongSum]))).message).toBe(
          "layer: its zstd data does not have the checksum it gives"
        )
      })
    )

    it.effect("takes a window of 128 MiB, and refuses more before it takes memory", () =>
      Effect.gen(function* () {
        const before = process.memoryUsage().rss
        for (const header of [window(28), window(41), [0x00, ((27 - 10) << 3) | 1]]) {
          const error = yield* Effect.flip(run([frame(header, repeat(0, 10, true))]))
          expect(error).toMatchObject({
            reason: "TooLarge",
            message: "layer: its zstd data takes a window of more than 128 MiB",
            hint: "compress it without --long and --ultra"
          })
        }
        // A single segment of 2^60 bytes: its size is its window.
        const segment = frame([0xe0, 0, 0, 0, 0, 0, 0, 0, 0x10], repeat(0, 10, true))
        expect((yield* Effect.flip(run([segment]))).reason).toBe("TooLarge")
        expect(process.memoryUsage().rss - before).toBeLessThan(64 * MiB)
        expect((yield* run([frame(window(27), repeat(7, 10, true))])).length).toBe(10)
      })
    )

    it.effect("fails where a frame needs a dictionary", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(run([frame([0x01, (20 - 10) << 3, 9], repeat(0, 10, true))]))
        expect(error).toMatchObject({ reason: "DamagedData", message: "layer: its zstd data needs a dictionary" })
      })
    )

    it.effect("stops a bomb at its bound, without holding what one chunk of it becomes", () =>
      Effect.gen(function* () {
        // 64 KiB that become 2 GiB
        const blocks = Array.from({ length: 16_384 }, () => repeat(0, 131_072))
        const bomb = frame(window(20), ...blocks, repeat(0, 1, true))
        let most = 0
        let seen = 0
        const before = process.memoryUsage().rss
        const watched = Stream.runForEach(
          unzstd(Stream.succeed(bomb), { subject: "layer", maxSize: 1 << 30 }),
          (chunk) =>
            Effect.sync(() => {
              seen += chunk.length
              if (seen % (64 * MiB) === 0) most = Math.max(most, process.memoryUsage().rss - before)
            })
        )
        const error = yield* Effect.flip(watched)
        expect(error).toMatchObject({
          reason: "TooLarge",
          message: "layer: decompresses to more than 1073741824 bytes"
        })
        expect(seen).toBe(1 << 30)
        expect(most).toBeLessThan(300 * MiB)
      })
    )

    it.effect("fails with the error of the source, and stops it when it is interrupted", () =>
      Effect.gen(function* () {
        const bytes = yield* frameOf(make("words", 300_000))
        const failing = Stream.concat(Stream.succeed(bytes.subarray(0, 1_000)), Stream.fail("gone" as const))
        expect(yield* Effect.flip(Stream.runDrain(unzstd(failing, bounds)))).toBe("gone")
        let closed = false
        const endless = Stream.ensuring(
          Stream.concat(Stream.succeed(bytes), Stream.never),
          Effect.sync(() => {
            closed = true
          })
        )
        let got = 0
        const fiber = yield* Effect.fork(
          Stream.runForEach(unzstd(endless, bounds), (chunk) =>
            Effect.sync(() => {
              got += chunk.length
            })
          )
        )
        while (got < 300_000) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
        yield* Fiber.interrupt(fiber)
        expect(closed).toBe(true)
      })
    )

    it.effect("can be run again, and twice at once", () =>
      Effect.gen(function* () {
        const plain = make("words", 900_000)
        const stream = unzstd(Stream.fromIterable(cut(yield* frameOf(plain), 10_000)), bounds)
        const sizes = yield* Effect.all(
          [1, 2].map(() => Stream.runFold(stream, 0, (sum, chunk) => sum + chunk.length)),
          { concurrency: 2 }
        )
        expect(sizes).toEqual([900_000, 900_000])
      })
    )
  })
})
