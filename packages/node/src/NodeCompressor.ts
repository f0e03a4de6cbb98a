/** Core's gzip in threads: the same bytes as everywhere, several blocks at a time, files read by the threads themselves. */
import * as Crypto from "node:crypto"
import * as Os from "node:os"
import * as Zlib from "node:zlib"
import { Compressor, type Digest, type PlainContent, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Pool from "./NodeCompressor/Pool.js"

const { Gzip } = Compressor

export interface Options {
  /** Default: one for each processor, at most 4. The bytes do not depend on it. */
  readonly threads?: number | undefined
}

/** The service; its threads start with the first block, and end with the scope. */
export const make = (options: Options = {}): Effect.Effect<Compressor.Service, never, Scope.Scope> =>
  Effect.map(Pool.make(Math.max(1, options.threads ?? Math.min(Os.availableParallelism(), 4))), (pool) => ({
    gzip: <E, R>(plain: PlainContent<E, R>, onBytes: (bytes: number) => void) => {
      let last = Option.none<Compressor.Result>()
      const stream = Stream.suspend((): Stream.Stream<Uint8Array, E | ValidationError, R> => {
        const sums = new Sums()
        const deflated = Stream.mapEffect(
          Stream.zipWithIndex(blocksOf(plain)),
          ([block, index]) => deflate(pool, plain, block, index),
          // a block in each thread and one that waits for the first of them
          { concurrency: pool.threads + 1 }
        )
        const body = Stream.map(deflated, ({ deflated, plain }) => {
          onBytes(plain.length)
          sums.read(plain)
          pool.free(plain)
          return sums.written(deflated)
        })
        const end = Stream.sync(() => {
          const bytes = sums.written(Gzip.trailer(sums.crc, sums.diffSize))
          last = Option.some(sums.result())
          return bytes
        })
        return Stream.sync(() => sums.written(Gzip.header())).pipe(Stream.concat(body), Stream.concat(end))
      })
      return { stream, result: () => last }
    }
  }))

export const layer = (options: Options = {}): Layer.Layer<never> => Layer.scoped(Compressor.Compressor, make(options))

// internal

const blocksOf = <E, R>(plain: PlainContent<E, R>): Stream.Stream<Pool.Block, E, R> => {
  if (plain._tag !== "File") return Stream.map(Gzip.blocks(plain), (bytes): Pool.Block => ({ _tag: "Bytes", bytes }))
  return Stream.unfold(0, (at) => {
    const length = Math.min(Gzip.blockSize, plain.size - at)
    const block: Pool.Block = { _tag: "File", fd: plain.fd, position: plain.offset + at, length }
    return length > 0 ? Option.some([block, at + length]) : Option.none()
  })
}

interface Deflated {
  readonly plain: Uint8Array
  readonly deflated: Uint8Array
}

const deflate = <E, R>(
  pool: Pool.Pool,
  plain: PlainContent<E, R>,
  block: Pool.Block,
  index: number
): Effect.Effect<Deflated, E | ValidationError> =>
  Effect.flatMap(pool.run(block, Gzip.isVerified(index)), (outcome): Effect.Effect<Deflated, E | ValidationError> => {
    switch (outcome._tag) {
      case "Deflated":
        return Effect.succeed(outcome)
      case "Wrong":
        return Effect.fail(Gzip.wrongBlock(index))
      case "ReadFailed":
        return plain._tag === "File" ? Effect.fail(plain.readError(outcome.cause)) : Effect.die(outcome.cause)
    }
  })

/** The sums of both sides, block by block in order. */
class Sums {
  private readonly diffId = Crypto.createHash("sha256")
  private readonly digest = Crypto.createHash("sha256")
  private size = 0
  diffSize = 0
  crc = 0

  read(plain: Uint8Array): void {
    this.diffId.update(plain)
    this.crc = Zlib.crc32(plain, this.crc)
    this.diffSize += plain.length
  }
  written(bytes: Uint8Array): Uint8Array {
    this.digest.update(bytes)
    this.size += bytes.length
    return bytes
  }
  result(): Compressor.Result {
    return {
      digest: `sha256:${this.digest.digest("hex")}` as Digest.Digest,
      size: this.size,
      diffId: `sha256:${this.diffId.digest("hex")}` as Digest.Digest,
      diffSize: this.diffSize
    }
  }
}
