/** Gzip undone by the platform's own DecompressionStream. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Bounds } from "../Compressor.js"
import type { ValidationError } from "../ValidationError.js"
import * as Decompress from "./Decompress.js"

/** The plain bytes of all members. Fails as a Compressor's `decompress`. */
export const gunzip = <E, R>(
  compressed: Stream.Stream<Uint8Array, E, R>,
  bounds: Bounds
): Stream.Stream<Uint8Array, E | ValidationError, R> =>
  Stream.unwrap(
    Effect.map(Effect.runtime<R>(), (runtime) => {
      const guard = new Decompress.Guard(bounds)
      let source: { readonly error: E } | undefined
      const counted = compressed.pipe(
        Stream.map((chunk) => {
          guard.reads(chunk.length)
          return new Uint8Array(chunk)
        }),
        Stream.tapError((error) =>
          Effect.sync(() => {
            source = { error }
          })
        )
      )
      return Stream.fromReadableStream(
        () => Stream.toReadableStreamRuntime(counted, runtime).pipeThrough(new DecompressionStream("gzip")),
        (cause): E | ValidationError => {
          if (source !== undefined) return source.error
          if (guard.isEmpty) return Decompress.empty("gzip", bounds.subject)
          return Decompress.damaged("gzip", bounds.subject, undefined, cause)
        }
      ).pipe(
        Stream.tap((chunk) => {
          const error = guard.writes(chunk.length)
          return error === undefined ? Effect.void : Effect.fail(error)
        })
      )
    })
  )
