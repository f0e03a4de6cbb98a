/** Zstd undone by the library itself, in WebAssembly: not every platform has one, and Node's stops behind the first frame. */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Bounds } from "../Compressor.js"
import type { ValidationError } from "../ValidationError.js"
import * as Decompress from "./Decompress.js"
import * as Zstd from "./Zstd.js"

/**
 * The plain bytes of all frames, without those that are to be skipped. Every run has a memory of its own: the window of
 * the frames, at most 128 MiB, and less than 1 MiB besides. Fails as a Compressor's `decompress`.
 */
export const unzstd = <E, R>(
  compressed: Stream.Stream<Uint8Array, E, R>,
  bounds: Bounds
): Stream.Stream<Uint8Array, E | ValidationError, R> =>
  Stream.unwrap(
    Effect.map(Effect.promise(Zstd.module), (module) => {
      const decoder = new Decoder(module, bounds)
      // An input of 128 KiB may become gigabytes, so the output is pulled piece by piece.
      const plainOf = (chunk: Uint8Array): Stream.Stream<Uint8Array, ValidationError> =>
        Stream.suspend(() => {
          decoder.offer(chunk)
          return Stream.unfoldChunkEffect(undefined, () => Effect.map(decoder.next, Option.map(asChunk)))
        })
      return compressed.pipe(Stream.flatMap(plainOf), Stream.concat(Stream.execute(decoder.end)))
    })
  )

// internal

const asChunk = (bytes: Uint8Array): readonly [Chunk.Chunk<Uint8Array>, undefined] => [Chunk.of(bytes), undefined]

const inputSize = 1 << 17
const outputSize = 1 << 18

class Decoder {
  private readonly zstd: Zstd.Exports
  private readonly guard: Decompress.Guard
  /** What waits to be given to the decoder. */
  private waiting: Uint8Array = new Uint8Array(0)
  /** All that was read are whole frames. */
  private isWhole = true
  /** A frame has ended. */
  private hasFrame = false

  constructor(
    module: WebAssembly.Module,
    private readonly bounds: Bounds
  ) {
    this.zstd = Zstd.instantiate(module)
    this.guard = new Decompress.Guard(bounds)
    if (this.zstd.decoder(inputSize, outputSize, Decompress.maxWindowLog) === 0) throw new Error("no memory for zstd")
  }

  offer(chunk: Uint8Array): void {
    this.waiting = chunk
    this.guard.reads(chunk.length)
  }

  /** The next plain bytes of what was offered; `None` where they are all out. */
  readonly next: Effect.Effect<Option.Option<Uint8Array>, ValidationError> = Effect.suspend(() => {
    // What had no room comes with the next input: the decoder keeps a byte of a frame that is not all out.
    while (this.zstd.left() > 0 || this.waiting.length > 0) {
      if (this.zstd.left() === 0) this.feed()
      const result = this.zstd.decompress()
      if (result < 0) return Effect.fail(this.failure(-result))
      const made = this.zstd.made()
      this.isWhole = result === 0
      this.hasFrame ||= this.isWhole
      if (made === 0) continue
      const error = this.guard.writes(made)
      if (error !== undefined) return Effect.fail(error)
      return Effect.succeedSome(Zstd.bytesAt(this.zstd, this.zstd.output(), made).slice())
    }
    return Effect.succeedNone
  })

  readonly end: Effect.Effect<void, ValidationError> = Effect.suspend(() => {
    const { subject } = this.bounds
    if (this.guard.isEmpty) return Effect.fail(Decompress.empty("zstd", subject))
    return this.isWhole ? Effect.void : Effect.fail(Decompress.damaged("zstd", subject, "its zstd data is cut off"))
  })

  private feed(): void {
    const part = this.waiting.subarray(0, inputSize)
    this.waiting = this.waiting.subarray(part.length)
    Zstd.bytesAt(this.zstd, this.zstd.input(), part.length).set(part)
    this.zstd.feed(part.length)
  }

  /** By the numbers of zstd_errors.h, which are stable below 100. */
  private failure(code: number): ValidationError {
    const { subject } = this.bounds
    if (code === 16) return Decompress.windowTooLarge(subject)
    if (code === 10 && this.hasFrame) return Decompress.followed("zstd", subject)
    if (code === 22) return Decompress.damaged("zstd", subject, "its zstd data does not have the checksum it gives")
    if (code === 32) return Decompress.damaged("zstd", subject, "its zstd data needs a dictionary")
    if (code === 64) return Decompress.outOfMemory(subject)
    return Decompress.damaged("zstd", subject)
  }
}
