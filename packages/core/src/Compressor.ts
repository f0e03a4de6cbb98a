/** Gzip whose bytes depend on the data alone, as a service so that a platform can bring its threads. */
import * as Context from "effect/Context"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import * as Encoder from "./Compressor/Encoder.js"
import * as Gzip from "./Compressor/Gzip.js"
import { portable } from "./Compressor/Portable.js"
import type { PlainContent } from "./ImageStore.js"
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

export interface Service {
  /** What decides the bytes: the encoder and its version. Two with one name write the same. */
  readonly name: string
  /** One gzip member, the same bytes on every machine. `onBytes` hears how many more plain bytes were read. */
  readonly gzip: <E, R>(plain: PlainContent<E, R>, onBytes: (bytes: number) => void) => Compressed<E, R>
}

/** Defaults to the encoder run in this thread. */
export class Compressor extends Context.Reference<Compressor>()("@effect-registry/core/Compressor", {
  defaultValue: (): Service => portable
}) {}

export {
  /** What an implementation of the service is made of. */
  Encoder,
  Gzip,
  portable
}
