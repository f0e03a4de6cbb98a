/** Core's gzip and zstd in threads: the same bytes as everywhere, several blocks at a time, files read by the threads themselves. */
import * as Crypto from "node:crypto"
import * as Os from "node:os"
import * as Zlib from "node:zlib"
import {
  type Algorithm,
  Compressor,
  type Digest,
  type FileContent,
  type PlainContent,
  type ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Broken, toStream } from "./NodeCompressor/Chunks.js"
import { gunzip } from "./NodeCompressor/Gunzip.js"
import * as Pool from "./NodeCompressor/Pool.js"

const { Form } = Compressor

export interface Options {
  /** Default: one for each processor, at most 4. The bytes do not depend on it. */
  readonly threads?: number | undefined
}

/** The same bytes without Effect in between, for a client that takes Node's streams. What is thrown is a `Broken`, or a defect. */
export const OpenChunks: unique symbol = Symbol.for("@effect-registry/node/OpenChunks")

export interface Compressed<out E, out R> extends Compressor.Compressed<E, R> {
  readonly [OpenChunks]?: (() => AsyncIterable<Uint8Array>) | undefined
}

export { Broken }

/** The service; its threads start with the first block, and end with the scope. */
export const make = (options: Options = {}): Effect.Effect<Compressor.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const threads = Math.max(1, options.threads ?? Math.min(Os.availableParallelism(), 4))
    const pools = { gzip: yield* Pool.make(threads, "gzip"), zstd: yield* Pool.make(threads, "zstd") }
    return {
      name: Compressor.portable.name,
      compress: (algorithm, plain, onBytes) => compress(algorithm, pools[algorithm], plain, onBytes),
      decompress: (algorithm, compressed, bounds) =>
        algorithm === "zstd"
          ? Compressor.portable.decompress(algorithm, compressed, bounds)
          : gunzip(compressed, bounds)
    }
  })

export const layer = (options: Options = {}): Layer.Layer<never> => Layer.scoped(Compressor.Compressor, make(options))

// internal

const compress = <E, R>(
  algorithm: Algorithm,
  pool: Pool.Pool,
  plain: PlainContent<E, R>,
  onBytes: (bytes: number) => void
): Compressed<E, R> => {
  const { blockSize } = Form.of(algorithm)
  let last = Option.none<Compressor.Result>()
  const done = (result: Compressor.Result): void => {
    last = Option.some(result)
  }
  if (plain._tag === "File") {
    const blocks = () => (plain.arrived === undefined ? fileBlocks(plain, blockSize) : arrivingBlocks(plain, blockSize))
    const open = () => compressedChunks(algorithm, pool, blocks(), plain.readError, onBytes, done)
    return { stream: toStream(open), result: () => last, [OpenChunks]: open }
  }
  const stream = Stream.unwrap(
    Effect.map(Effect.runtime<R>(), (runtime) => {
      const blocks = Stream.toAsyncIterableRuntime(Stream.either(Compressor.Blocks.of(plain, blockSize)), runtime)
      return toStream<E | ValidationError, R>(() =>
        compressedChunks(algorithm, pool, bytesBlocks(blocks), undefined, onBytes, done)
      )
    })
  )
  return { stream, result: () => last }
}

function* fileBlocks<E, R>(
  { fd, offset, size }: FileContent<E, R>,
  blockSize: number
): Generator<Pool.Block & { readonly _tag: "File" }> {
  for (let at = 0; at < size; at += blockSize) {
    yield { _tag: "File", fd, position: offset + at, length: Math.min(blockSize, size - at) }
  }
}

/** Each block when it is in the file. */
async function* arrivingBlocks<E, R>(plain: FileContent<E, R>, blockSize: number): AsyncGenerator<Pool.Block> {
  for (const block of fileBlocks(plain, blockSize)) {
    try {
      await plain.arrived?.(block.position + block.length)
    } catch (cause) {
      throw new Broken(plain.readError(cause))
    }
    yield block
  }
}

async function* bytesBlocks<E>(blocks: AsyncIterable<Either.Either<Uint8Array, E>>): AsyncGenerator<Pool.Block> {
  for await (const block of blocks) {
    if (Either.isLeft(block)) throw new Broken(block.left)
    yield { _tag: "Bytes", bytes: block.right }
  }
}

/** All bytes, a chunk a block. Ends only when no thread has a block of it. */
async function* compressedChunks<E>(
  algorithm: Algorithm,
  pool: Pool.Pool,
  blocks: Iterable<Pool.Block> | AsyncIterable<Pool.Block>,
  readError: ((cause: unknown) => E) | undefined,
  onBytes: (bytes: number) => void,
  done: (result: Compressor.Result) => void
): AsyncGenerator<Uint8Array> {
  const form = Form.of(algorithm)
  const sums = new Sums(algorithm === "gzip")
  const source = Symbol.asyncIterator in blocks ? blocks[Symbol.asyncIterator]() : blocks[Symbol.iterator]()
  const running: Array<Promise<Pool.Outcome>> = []
  let started = 0
  let finished = 0
  let more = true
  // A block in each thread and one that waits for the first of them.
  const fill = async (): Promise<void> => {
    while (more && running.length < pool.threads + 1) {
      const next = await source.next()
      if (next.done === true) more = false
      else {
        const job = pool.run(next.value, Form.isVerified(started++))
        // It is waited for in its turn; until then its failure is no unhandled one.
        job.catch(() => {})
        running.push(job)
      }
    }
  }
  try {
    const header = form.header()
    if (header.length > 0) yield sums.written(header)
    await fill()
    for (let job = running.shift(); job !== undefined; job = running.shift()) {
      const outcome = await job
      await fill()
      if (outcome._tag === "Wrong") throw new Broken(Form.wrongBlock(algorithm, finished))
      if (outcome._tag === "ReadFailed")
        throw readError === undefined ? outcome.cause : new Broken(readError(outcome.cause))
      finished += 1
      onBytes(outcome.plain.length)
      sums.read(outcome.plain)
      pool.free(outcome.plain)
      yield sums.written(outcome.compressed)
    }
    const trailer = form.trailer(sums.crc, sums.diffSize)
    if (trailer.length > 0) yield sums.written(trailer)
    done(sums.result())
  } finally {
    await Promise.allSettled(running)
    await source.return?.()
  }
}

/** The sums of both sides, block by block in order. */
class Sums {
  private readonly diffId = Crypto.createHash("sha256")
  private readonly digest = Crypto.createHash("sha256")
  private size = 0
  diffSize = 0
  crc = 0

  constructor(private readonly hasCrc: boolean) {}

  read(plain: Uint8Array): void {
    this.diffId.update(plain)
    if (this.hasCrc) this.crc = Zlib.crc32(plain, this.crc)
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
