import { Compressor } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** What core makes of these bytes. */
export const zstd = (bytes: Uint8Array): Effect.Effect<Uint8Array> => {
  const { stream } = Compressor.portable.compress<never, never>("zstd", { _tag: "Bytes", bytes }, () => {})
  return Effect.map(Effect.orDie(Stream.runCollect(stream)), (chunks) => Buffer.concat(Chunk.toReadonlyArray(chunks)))
}
