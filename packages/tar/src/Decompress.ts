/** Compressed archives and members, undone by core's Compressor, with the errors of an archive. */
import { type Algorithm, Compressor, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TarReadError } from "./TarReadError.js"

/** The plain bytes. Fails with `Truncated` for damaged data, `TooLarge` beyond the bounds. */
export const decompress = <R>(
  algorithm: Algorithm,
  compressed: Stream.Stream<Uint8Array, TarReadError, R>,
  archive: { readonly path: string; readonly entry?: string }
): Stream.Stream<Uint8Array, TarReadError, R> =>
  Stream.unwrap(
    Effect.map(Compressor.Compressor, (compressor) =>
      Stream.mapError(compressor.decompress(algorithm, compressed, { subject: archive.path }), (error) =>
        error._tag === "TarReadError" ? error : ofValidation(error, archive)
      )
    )
  )

// internal

const ofValidation = (
  error: ValidationError,
  archive: { readonly path: string; readonly entry?: string }
): TarReadError =>
  new TarReadError({
    reason: error.reason === "TooLarge" ? "TooLarge" : "Truncated",
    ...archive,
    detail: error.issues[0]?.message ?? error.message,
    hint: error.hint,
    cause: error
  })
