/** Gzip and zstd whose bytes depend on the data alone, as a service so that a platform can bring its threads. */
import * as Context from "effect/Context"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import * as Blocks from "./Compressor/Blocks.js"
import * as Decompress from "./Compressor/Decompress.js"
import * as Encoder from "./Compressor/Encoder.js"
import * as Form from "./Compressor/Form.js"
import { portable } from "./Compressor/Portable.js"
import type { Algorithm, PlainContent } from "./ImageStore.js"
import type { Digest } from "./model/Digest.js"
import type { ValidationError } from "./ValidationError.js"

/** What one run over the content came to. */
export interface Result {
  /** Of the compressed bytes. */
  readonly digest: Digest
  readonly size: number
  /** Of the plain bytes. */
  readonly diffId: Digest
  readonly diffSize: number
}

/** A value: every run of `stream` reads and compresses afresh. */
export interface Compressed<out E, out R> {
  readonly stream: Stream.Stream<Uint8Array, E | ValidationError, R>
  /** Of the run that ended last. */
  readonly result: () => Option.Option<Result>
}

/** What decompressed data may come to at most, and how it is called in errors. */
export interface Bounds {
  readonly subject: string
  /** Bytes. Default 256 GiB. */
  readonly maxSize?: number | undefined
  /** Plain bytes for each compressed one, asked past 8 GiB. Default 200; infinite where none of them is kept. */
  readonly maxRatio?: number | undefined
}

export interface Service {
  /** What decides the bytes: the encoder and its version. Two with one name write the same. */
  readonly name: (algorithm: Algorithm) => string
  /** The same bytes on every machine. `onBytes` hears how many more plain bytes were read. */
  readonly compress: <E, R>(
    algorithm: Algorithm,
    plain: PlainContent<E, R>,
    onBytes: (bytes: number) => void
  ) => Compressed<E, R>
  /**
   * The plain bytes. Fails with a ValidationError: `DamagedData` where they are not what the algorithm writes, or end too
   * early; `TooLarge` beyond the bounds, in ratio, total or window.
   */
  readonly decompress: <E, R>(
    algorithm: Algorithm,
    compressed: Stream.Stream<Uint8Array, E, R>,
    bounds: Bounds
  ) => Stream.Stream<Uint8Array, E | ValidationError, R>
}

/** Defaults to the encoder run in this thread. */
export class Compressor extends Context.Reference<Compressor>()("@effect-registry/core/Compressor", {
  defaultValue: (): Service => portable
}) {}

export {
  /** What an implementation of the service is made of. */
  Blocks,
  Decompress,
  Encoder,
  Form,
  portable
}
