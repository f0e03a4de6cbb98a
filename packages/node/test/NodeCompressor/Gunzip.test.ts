import * as Crypto from "node:crypto"
import * as Zlib from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Compressor } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { gunzip } from "../../src/NodeCompressor/Gunzip.js"

const MiB = 1 << 20
const bounds: Compressor.Bounds = { subject: "layer" }

const cut = (bytes: Uint8Array, step: number): Array<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => bytes.subarray(i * step, (i + 1) * step))

const portable: typeof gunzip = (compressed, within) => Compressor.portable.decompress("gzip", compressed, within)

describe.each([
  ["node:zlib", gunzip],
  ["the portable service", portable]
] as const)("gunzip by %s", (name, undo) => {
  const run = (chunks: ReadonlyArray<Uint8Array>, within = bounds) =>
    Effect.map(Stream.runCollect(undo(Stream.fromIterable(chunks), within)), (plain) =>
      Buffer.concat(Chunk.toReadonlyArray(plain))
    )
  const text = Buffer.from("a layer is a tar of the changes to a file system\n".repeat(20_000))
  const plain = Buffer.concat([text, Crypto.randomBytes(700_000), text])

  it.effect("undoes member after member, however the bytes arrive", () =>
    Effect.gen(function* () {
      const bytes = Buffer.concat([Zlib.gzipSync(plain), Zlib.gzipSync(""), Zlib.gzipSync(text)])
      for (const step of [bytes.length, 65_536, 4_099]) {
        expect(Buffer.compare(yield* run(cut(bytes, step)), Buffer.concat([plain, text]))).toBe(0)
      }
      const small = Zlib.gzipSync(text.subarray(0, 3_000))
      const chunks = cut(Buffer.concat([small, small]), 1).flatMap((each) => [each, new Uint8Array(0)])
      expect((yield* run(chunks)).length).toBe(6_000)
    })
  )

  it.effect("fails with DamagedData for data that is cut off or changed, and for none", () =>
    Effect.gen(function* () {
      const bytes = Zlib.gzipSync(text.subarray(0, 500))
      for (let size = 1; size < bytes.length; size++) {
        expect([size, Exit.isFailure(yield* Effect.exit(run([bytes.subarray(0, size)])))]).toEqual([size, true])
      }
      const wrong = Buffer.from(bytes)
      wrong[wrong.length - 6] = (wrong[wrong.length - 6] ?? 0) ^ 1
      for (const each of [bytes.subarray(0, 30), wrong, Buffer.from("tar")]) {
        expect(yield* Effect.flip(run([each]))).toMatchObject({
          reason: "DamagedData",
          message: "layer: its gzip data is damaged or cut off"
        })
      }
      expect(yield* Effect.flip(run([]))).toMatchObject({
        reason: "DamagedData",
        message: "layer: its gzip data is empty"
      })
    })
  )

  it.effect.skipIf(name !== "node:zlib")("takes zeros behind the last member, and nothing else", () =>
    Effect.gen(function* () {
      const bytes = Zlib.gzipSync(text)
      const zeros = new Uint8Array(10_000)
      expect((yield* run([bytes, zeros])).length).toBe(text.length)
      expect((yield* run([Buffer.concat([bytes, zeros]), zeros])).length).toBe(text.length)
      const garbage = Buffer.from("garbage")
      for (const chunks of [
        [Buffer.concat([bytes, garbage])],
        [bytes, garbage],
        [bytes, zeros, garbage],
        [Buffer.concat([bytes, zeros]), zeros, zeros, zeros, garbage],
        [bytes, ...cut(zeros.subarray(0, 50), 1), ...cut(garbage, 1)]
      ]) {
        const error = yield* Effect.flip(run(chunks))
        expect(error.reason).toBe("DamagedData")
      }
      expect((yield* Effect.flip(run([bytes, zeros, garbage]))).message).toBe(
        "layer: its gzip data is followed by something else"
      )
    })
  )

  it.effect("stops a bomb at its bound, without holding what it becomes", () =>
    Effect.gen(function* () {
      const bomb = Zlib.gzipSync(Buffer.alloc(200 * MiB))
      let seen = 0
      const watched = Stream.runForEach(undo(Stream.succeed(bomb), { subject: "layer", maxSize: 20 * MiB }), (chunk) =>
        Effect.sync(() => {
          seen += chunk.length
        })
      )
      expect(yield* Effect.flip(watched)).toMatchObject({
        reason: "TooLarge",
        message: "layer: decompresses to more than 20971520 bytes"
      })
      expect(seen).toBeLessThanOrEqual(20 * MiB)
    })
  )

  it.effect("fails with the error of the source, also where the data was whole before it", () =>
    Effect.gen(function* () {
      const bytes = Zlib.gzipSync(plain)
      for (const size of [0, 1_000, bytes.length]) {
        const failing = Stream.concat(Stream.succeed(bytes.subarray(0, size)), Stream.fail("gone" as const))
        expect(yield* Effect.flip(Stream.runDrain(undo(failing, bounds)))).toBe("gone")
      }
    })
  )

  it.effect("stops the source when it is interrupted, or left early", () =>
    Effect.gen(function* () {
      const bytes = Zlib.gzipSync(plain)
      let closed = 0
      const endless = Stream.ensuring(
        Stream.concat(Stream.succeed(bytes), Stream.never),
        Effect.sync(() => {
          closed += 1
        })
      )
      let got = 0
      const fiber = yield* Effect.fork(
        Stream.runForEach(undo(endless, bounds), (chunk) =>
          Effect.sync(() => {
            got += chunk.length
          })
        )
      )
      while (got < MiB) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
      yield* Fiber.interrupt(fiber)
      yield* Stream.runDrain(Stream.take(undo(endless, bounds), 1))
      while (closed < 2) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
      expect(closed).toBe(2)
    })
  )
})
