/** Where the bytes of a planned blob are, and what is done to them on the way. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BlobTransport from "../BlobTransport.js"
import * as Compressor from "../Compressor.js"
import type { BlobContent, ImageReader, PlainContent } from "../ImageStore.js"
import * as Manifest from "../model/Manifest.js"
import type { ValidationError } from "../ValidationError.js"
import type { PlannedBlob, Recode } from "./Plan.js"

export const contentOf = <E, R>(
  reader: ImageReader<E, R>,
  { recode, source }: PlannedBlob
): Effect.Effect<BlobContent<E | ValidationError, R>, E | ValidationError, R> =>
  Effect.gen(function* () {
    const inline = yield* Manifest.inlineData(source, source.digest)
    if (Option.isNone(recode)) {
      return Option.isSome(inline) ? { _tag: "Bytes", bytes: inline.value } : yield* reader.blob(source)
    }
    const { diffId, to } = recode.value
    const ready = reader.compressed?.(diffId, to)
    if (ready !== undefined && Option.isSome(ready)) return ready.value.content
    const content = Option.isSome(inline)
      ? ({ _tag: "Bytes", bytes: inline.value } as const)
      : yield* reader.blob(source)
    const compressor = yield* Compressor.Compressor
    return {
      _tag: "Compressed",
      algorithm: to,
      plain: plainOf(content, recode.value, compressor, source.digest),
      diffId
    }
  })

// internal

/** The layer as a tar. Whoever compresses it verifies that it has the diff ID. */
const plainOf = <E, R>(
  content: BlobContent<E, R>,
  { from }: Recode,
  compressor: Compressor.Service,
  subject: string
): PlainContent<E | ValidationError, R> => {
  if (from === "none" && content._tag !== "Remote" && content._tag !== "Compressed") return content
  const { stream } = BlobTransport.streamOf(content, compressor, () => {})
  return {
    _tag: "Stream",
    size: from === "none" && content._tag === "Remote" ? content.size : Number.POSITIVE_INFINITY,
    stream: from === "none" ? stream : compressor.decompress(from, stream, { subject })
  }
}
