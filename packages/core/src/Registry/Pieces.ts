/** Uploads in pieces of known length, for clients that cannot stream and registries that want lengths. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as BlobTransport from "../BlobTransport.js"
import * as Compressor from "../Compressor.js"
import * as Hasher from "../Hasher.js"
import * as Digest from "../model/Digest.js"
import * as MediaType from "../model/MediaType.js"
import { ValidationError } from "../ValidationError.js"
import * as Closing from "./Closing.js"
import * as Exchange from "./Exchange.js"
import { gracefully } from "./Interruption.js"
import { type Fault, type Job, nameOf, type Sent, SourceFailure } from "./Job.js"
import * as Session from "./Session.js"

/** Pieces of less are refused by registries that keep blobs in S3. Spec section "Pushing a blob in chunks". */
const minPiece = 5 * 1024 * 1024

/** Pieces of known length, one in memory at a time; a blob that is one piece goes by a single PUT. */
export const sendPieces = <E, R>(
  blob: Job<E, R>,
  session: Session.Session,
  count: (bytes: number) => void
): Effect.Effect<Sent, Fault<E>, R> =>
  Effect.gen(function* () {
    const { client, content, known } = blob
    const from = session.received
    const chunkSize = Math.min(Session.maxChunkSize, Math.max(client.config.chunkSize, session.minChunk))
    const compressor = yield* Compressor.Compressor
    const hash = (yield* Hasher.Hasher).make(known === undefined ? "sha256" : Digest.algorithm(known.digest))
    const { compressed, stream } = BlobTransport.streamOf(content, compressor, count, from)
    const isPlain = known !== undefined && content._tag !== "Compressed"
    const piece = new Uint8Array(isPlain ? Math.min(chunkSize, known.size - from) : chunkSize)
    let full = piece.length
    let filled = 0
    const call = (method: "PATCH" | "PUT", url: string, headers: Record<string, string>): Exchange.Call => ({
      operation: `upload ${nameOf(blob)}`,
      method,
      url,
      headers: { "content-type": MediaType.octetStream, ...headers },
      accept: method === "PUT" ? [201, 200, 204] : [202, 204, 201]
    })
    const patch = Effect.gen(function* () {
      const range = `${session.received}-${session.received + filled - 1}`
      const request = call("PATCH", session.location.href, { "content-range": range })
      const [took, response] = yield* Effect.timed(
        Closing.sendBytes(client, request, piece.subarray(0, filled), (response) =>
          Effect.as(Exchange.drain(response), response)
        )
      )
      yield* Session.advance(client, session, request, response, filled)
      yield* blob.remember(session)
      // A second's worth, so that an interruption has not long to wait for its end.
      const second = (filled / Math.max(1, Duration.toMillis(took))) * 1000
      full = Math.min(piece.length, Math.max(minPiece, session.minChunk, Math.floor(second)))
      filled = 0
    })
    const flush = blob.suspends ? gracefully(patch, () => {}) : patch
    yield* Stream.runForEach(
      Stream.mapError(stream, (error) => new SourceFailure(error)),
      (bytes) =>
        Effect.gen(function* () {
          if (content._tag !== "Compressed") hash.update(bytes)
          let at = 0
          while (at < bytes.length) {
            if (filled >= full && full > 0) yield* flush
            const part = bytes.subarray(at, at + full - filled)
            if (part.length === 0) return yield* Effect.fail(tooLong(blob))
            piece.set(part, filled)
            filled += part.length
            at += part.length
          }
        })
    )
    const request = call("PUT", session.location.href, {})
    const size = session.received + filled
    // Of what was sent before nobody has the bytes here; the registry compares the digest of all.
    const own = from === 0 || known === undefined ? hash.digest() : known.digest
    const result: Sent =
      content._tag === "Compressed" ? yield* Closing.checkResult(blob, request, compressed()) : { digest: own, size }
    if (isPlain && result.digest !== known.digest) {
      const message = `the source's bytes are ${result.digest}, ${size} of them`
      return yield* Effect.fail(new SourceFailure(ValidationError.of("DigestMismatch", known.digest, message)))
    }
    if (session.received === 0) {
      const put = { ...request, url: Closing.withDigest(session.location, result.digest) }
      yield* Closing.sendBytes(client, put, piece.subarray(0, filled), (response) =>
        Closing.checkPut(put, response, result.digest)
      )
      return { digest: result.digest, size }
    }
    if (filled > 0) yield* flush
    yield* Closing.finish(blob, session, result.digest)
    return { digest: result.digest, size: content._tag === "Compressed" ? result.size : size }
  })

// internal

const tooLong = <E, R>({ known }: Job<E, R>) =>
  new SourceFailure(
    ValidationError.of("DigestMismatch", known?.digest ?? "blob", `the source has more than ${known?.size ?? 0} bytes`)
  )
