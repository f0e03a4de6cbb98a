/**
 * One blob through one open upload session: whole, compressed on the way, or in pieces. Nothing here begins or cancels a
 * session, nor sends anything twice except the closing PUT; see `Upload`.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BlobTransport from "../BlobTransport.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as MediaType from "../model/MediaType.js"
import type { RegistryError } from "../RegistryError.js"
import * as Closing from "./Closing.js"
import * as Deadline from "./Deadline.js"
import * as Exchange from "./Exchange.js"
import { gracefully } from "./Interruption.js"
import { type Fault, type Job, nameOf, type Sent, SourceFailure, sizeOf } from "./Job.js"
import { sendPieces } from "./Pieces.js"
import * as Request from "./Request.js"
import * as Session from "./Session.js"

/** Sends what the registry does not have of the content and closes the session; returns what the registry has now. */
export const transfer = <E, R>(
  blob: Job<E, R>,
  session: Session.Session,
  count: (bytes: number) => void
): Effect.Effect<Sent, Fault<E>, R> =>
  Effect.gen(function* () {
    const transport = yield* BlobTransport.BlobTransport
    const { content, known } = blob
    if (content._tag !== "Compressed" && session.received > 0) count(session.received)
    if (known !== undefined && content._tag !== "Compressed" && session.received === known.size) {
      yield* Closing.finish(blob, session, known.digest)
      return known
    }
    const isOpen = isSentOpen(blob, session)
    if (transport.streams && isOpen) return yield* patchOpen(blob, session, transport, count)
    const isWhole = session.received === 0 && !blob.client.state.refusesLargeBodies
    if (transport.streams && isWhole && known !== undefined && content._tag !== "Compressed") {
      return yield* putWhole(blob, known, session, transport, count)
    }
    return yield* sendPieces(blob, session, count)
  })

/** Whether it goes as one body of no announced length: what is compressed on the way, and what may have to stop early. */
export const isSentOpen = <E, R>(
  { client: { state }, content, known, resumable }: Job<E, R>,
  session?: Session.Session
): boolean => {
  if (state.refusesChunkedEncoding) return false
  if (content._tag === "Compressed") return true
  return known !== undefined && !state.refusesLargeBodies && (resumable || (session?.received ?? 0) > 0)
}

// internal

/** One PUT with the content as it is. */
const putWhole = <E, R>(
  blob: Job<E, R>,
  known: Descriptor,
  session: Session.Session,
  transport: BlobTransport.Service,
  count: (bytes: number) => void
): Effect.Effect<Sent, Fault<E>, R> => {
  const call: Exchange.Call = {
    operation: `upload ${nameOf(blob)}`,
    method: "PUT",
    url: Closing.withDigest(session.location, known.digest),
    headers: { "content-type": MediaType.octetStream },
    accept: [201, 200, 204]
  }
  return Effect.gen(function* () {
    const meter = yield* Deadline.makeMeter
    const body = yield* transport.body(blob.content, (bytes) => {
      meter.add(bytes)
      count(bytes)
    })
    const upload = { meter, total: known.size }
    yield* sendBody(blob, { ...call, body: body.body, upload }, body, (response) =>
      Closing.checkPut(call, response, known.digest)
    )
    return known
  })
}

/**
 * One PATCH of unknown length with all that is missing. Interrupted, the body ends early, and the registry keeps what
 * it got. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks
 */
const patchOpen = <E, R>(
  blob: Job<E, R>,
  session: Session.Session,
  transport: BlobTransport.Service,
  count: (bytes: number) => void
): Effect.Effect<Sent, Fault<E>, R> =>
  Effect.suspend(() => {
    const { client, content, known } = blob
    const call: Exchange.Call = {
      operation: `upload ${nameOf(blob)}`,
      method: "PATCH",
      url: session.location.href,
      headers: { "content-type": MediaType.octetStream },
      // 201 is what ECR says.
      accept: [202, 204, 201]
    }
    let stopped = false
    let stopBody = () => {}
    const send = Effect.gen(function* () {
      const meter = yield* Deadline.makeMeter
      const onBytes = (bytes: number) => {
        meter.add(bytes)
        count(bytes)
      }
      const body = yield* transport.body(content, onBytes, { from: session.received, stoppable: true })
      stopBody = body.stop
      if (stopped) stopBody()
      const total = content._tag === "Compressed" ? sizeOf(content.plain) : sizeOf(content) - session.received
      const response = yield* sendBody(blob, { ...call, body: body.body, upload: { meter, total } }, body, (response) =>
        Effect.as(Exchange.drain(response), response)
      )
      yield* Session.advance(client, session, call, response, body.sent())
      yield* blob.remember(session)
      return stopped ? yield* Effect.interrupt : body.compressed()
    })
    const stop = () => {
      stopped = true
      stopBody()
    }
    return Effect.gen(function* () {
      const compressed = yield* blob.suspends ? gracefully(send, stop) : send
      if (content._tag === "Compressed") {
        const { digest, size } = yield* Closing.checkResult(blob, call, compressed)
        yield* Closing.finish(blob, session, digest)
        return { digest, size }
      }
      // An answer that came before the body was read to its end.
      if (known === undefined || session.received < known.size) return yield* Effect.fail(Closing.answeredEarly(call))
      yield* Closing.finish(blob, session, known.digest)
      return known
    })
  })

/** The content's own error comes first where a request failed because its body did. */
const sendBody = <E, R, A>(
  { client }: Job<E, R>,
  call: Exchange.Call,
  body: BlobTransport.UploadBody<E>,
  use: (response: Exchange.Response) => Effect.Effect<A, RegistryError>
): Effect.Effect<A, Fault<E>> =>
  Effect.scoped(Effect.flatMap(Request.send(client, call), use)).pipe(
    Effect.mapError(
      (error): Fault<E> =>
        Option.match(body.failure(), { onNone: () => error, onSome: (failure) => new SourceFailure(failure) })
    )
  )
