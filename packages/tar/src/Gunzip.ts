/** Gzip undone by the platform's own DecompressionStream, bounded in ratio and total. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { TarReadError } from "./TarReadError.js"

/** More than this comes out of no image: it would only fill the disk. */
export const maxTotal = 256 * 1024 ** 3
/** Zeros compress a thousandfold, real archives a few times: past `ratioFrom` bytes, more than this ratio is refused. */
export const maxRatio = 200
export const ratioFrom = 8 * 1024 ** 3

export const isGzip = (head: Uint8Array): boolean => head[0] === 0x1f && head[1] === 0x8b

/** The plain bytes. Fails with `Truncated` for damaged data, `TooLarge` beyond the bounds. */
export const gunzip = <R>(
  compressed: Stream.Stream<Uint8Array, TarReadError, R>,
  archive: { readonly path: string; readonly entry?: string }
): Stream.Stream<Uint8Array, TarReadError, R> =>
  Stream.unwrap(
    Effect.map(Effect.runtime<R>(), (runtime) => {
      let read = 0
      let written = 0
      const counted = Stream.map(compressed, (chunk) => {
        read += chunk.length
        return new Uint8Array(chunk)
      })
      return Stream.fromReadableStream(
        () => Stream.toReadableStreamRuntime(counted, runtime).pipeThrough(new DecompressionStream("gzip")),
        (cause) =>
          cause instanceof TarReadError
            ? cause
            : new TarReadError({
                reason: "Truncated",
                ...archive,
                detail: "its gzip data is damaged or cut off",
                cause
              })
      ).pipe(
        Stream.tap((chunk) => {
          written += chunk.length
          const bomb = written > maxTotal || (written > ratioFrom && written > maxRatio * read)
          return bomb
            ? Effect.fail(
                new TarReadError({ reason: "TooLarge", ...archive, detail: `expands to more than ${written} bytes` })
              )
            : Effect.void
        })
      )
    })
  )
