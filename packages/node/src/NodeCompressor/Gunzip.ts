/** Gzip undone by node:zlib in its own threads, past the web streams that core would take. */
import { pipeline, Readable } from "node:stream"
import * as Zlib from "node:zlib"
import { Compressor, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"
import { Broken, toStream } from "./Chunks.js"

const { Decompress } = Compressor

/** The plain bytes of all members; zeros behind the last one are padding. Fails as a Compressor's `decompress`. */
export const gunzip = <E, R>(
  compressed: Stream.Stream<Uint8Array, E, R>,
  bounds: Compressor.Bounds
): Stream.Stream<Uint8Array, E | ValidationError, R> =>
  Stream.unwrap(
    Effect.map(Effect.runtime<R>(), (runtime) =>
      toStream<E | ValidationError, R>(() => {
        const source = Stream.toAsyncIterableRuntime(Stream.either(compressed), runtime)
        return plainChunks(source[Symbol.asyncIterator](), bounds)
      })
    )
  )

// internal

type Source<E> = AsyncIterator<Either.Either<Uint8Array, E>>

const chunkSize = 1 << 18

async function* plainChunks<E>(source: Source<E>, bounds: Compressor.Bounds): AsyncGenerator<Uint8Array> {
  const guard = new Decompress.Guard(bounds)
  const input = new Input(source, guard)
  const gunzip = Zlib.createGunzip({ chunkSize })
  // Its end and errors are those of the loop; zlib leaves a write open where something follows the last member.
  pipeline(
    Readable.from(
      input.feed(() => gunzip.bytesWritten),
      { objectMode: true, highWaterMark: 1 }
    ),
    gunzip,
    () => {}
  )
  try {
    for await (const chunk of gunzip) {
      const error = guard.writes(chunk.length)
      if (error !== undefined) throw new Broken(error)
      yield chunk
    }
    if (!(await input.endsInZeros(gunzip.bytesWritten))) throw new Broken(Decompress.followed("gzip", bounds.subject))
  } catch (cause) {
    if (!isZlibError(cause)) throw cause
    const { subject } = bounds
    throw new Broken(
      guard.isEmpty ? Decompress.empty("gzip", subject) : Decompress.damaged("gzip", subject, undefined, cause)
    )
  } finally {
    gunzip.destroy()
    await source.return?.()
  }
}

const isZlibError = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" && cause.code.startsWith("Z_")

/** The source, and of what was read of it the part that zlib may not have taken yet. */
class Input<E> {
  private size = 0
  private recent: Array<Uint8Array> = []
  private recentSize = 0
  private failure: Broken<E> | undefined
  private ended = false
  private turn: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly source: Source<E>,
    private readonly guard: Compressor.Decompress.Guard
  ) {}

  async *feed(taken: () => number): AsyncGenerator<Uint8Array> {
    for (let chunk = await this.next(taken); chunk !== undefined; chunk = await this.next(taken)) {
      if (chunk.length > 0) yield chunk
    }
  }

  /** Whether all behind the first so many bytes is zero, also what was not read yet. */
  async endsInZeros(taken: number): Promise<boolean> {
    await this.turn
    const rest = Buffer.concat(this.recent)
    if (rest.subarray(rest.length - (this.size - taken)).some(isSet)) return false
    const all = (): number => this.size
    for (let chunk = await this.next(all); chunk !== undefined; chunk = await this.next(all)) {
      if (chunk.some(isSet)) return false
    }
    if (this.failure !== undefined) throw this.failure
    return true
  }

  /** One reads at a time: where zlib has ended, the feed may still wait for a chunk. */
  private next(taken: () => number): Promise<Uint8Array | undefined> {
    const next = this.turn.then(() => this.read(taken))
    this.turn = next.catch(() => {})
    return next
  }

  private async read(taken: () => number): Promise<Uint8Array | undefined> {
    // Asked once more, Effect's iterators never answer.
    if (this.ended) return undefined
    const { done, value } = await this.source.next()
    this.ended = done === true
    if (done === true) return undefined
    if (Either.isLeft(value)) {
      this.ended = true
      this.failure = new Broken(value.left)
      throw this.failure
    }
    const chunk = value.right
    this.guard.reads(chunk.length)
    this.size += chunk.length
    this.recent.push(chunk)
    this.recentSize += chunk.length
    for (let first = this.recent[0]; first !== undefined; first = this.recent[0]) {
      if (this.size - this.recentSize + first.length > taken()) break
      this.recent.shift()
      this.recentSize -= first.length
    }
    return chunk
  }
}

const isSet = (byte: number): boolean => byte !== 0
