/**
 * One blob through one open upload session: whole, compressed on the way, or in pieces. Nothing here begins or cancels a
 * session, nor sends anything twice except the closing PUT; see `Upload`.
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as BlobTransport from "../BlobTransport.js"
import * as Compressor from "../Compressor.js"
import * as Hasher from "../Hasher.js"
import type { BlobContent } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as MediaType from "../model/MediaType.js"
import type { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import * as Blob from "./Blob.js"
import * as Client from "./Client.js"
import * as Deadline from "./Deadline.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import { gracefully } from "./Interruption.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"
import * as Session from "./Session.js"

/** Pieces of less are refused by registries that keep blobs in S3. Spec section "Pushing a blob in chunks". */
const minPiece = 5 * 1024 * 1024

/** What is to be moved where. */
export interface Job<E, R> {
  readonly client: Client.Client
  readonly repository: string
  /** The result, where it is known before the content was read. */
  readonly known: Descriptor | undefined
  readonly content: BlobContent<E, R>
  readonly mediaType: string
  /** Large enough to go on where it stopped. */
  readonly resumable: boolean
  /** An interruption lets the registry keep what it has, for another process. */
  readonly suspends: boolean
  /** Told of a session whenever it has moved, so that another process can go on with it. */
  readonly remember: (session: Session.Session) => Effect.Effect<void>
}

/** Digest and size of what was sent. */
export type Sent = Pick<Descriptor, "digest" | "size">

/** The content could not be read: told apart from the registry's failures, and not tried again. */
export class SourceFailure<out E> {
  readonly _tag = "SourceFailure"
  constructor(readonly error: E) {}
}

export type Fault<E> = RegistryError | SourceFailure<E | ValidationError>

/** `blob sha256:… to host/repository`, for messages. */
export const nameOf = <E, R>({ client, known, content, repository }: Job<E, R>): string => {
  const digest = content._tag === "Compressed" ? content.diffId : known?.digest
  const what = content._tag === "Compressed" ? "layer" : "blob"
  return `${what} ${digest ?? "of unknown digest"} to ${Client.nameOf(client, repository)}`
}

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
      yield* finish(blob, session, known.digest)
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
    url: withDigest(session.location, known.digest),
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
      checkPut(call, response, known.digest)
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
        const { digest, size } = yield* checkResult(blob, call, compressed)
        yield* finish(blob, session, digest)
        return { digest, size }
      }
      // An answer that came before the body was read to its end.
      if (known === undefined || session.received < known.size) return yield* Effect.fail(answeredEarly(call))
      yield* finish(blob, session, known.digest)
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

/** Pieces of known length, one in memory at a time; a blob that is one piece goes by a single PUT. */
const sendPieces = <E, R>(
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
        sendBytes(client, request, piece.subarray(0, filled), (response) =>
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
      content._tag === "Compressed" ? yield* checkResult(blob, request, compressed()) : { digest: own, size }
    if (isPlain && result.digest !== known.digest) {
      const message = `the source's bytes are ${result.digest}, ${size} of them`
      return yield* Effect.fail(new SourceFailure(ValidationError.of("DigestMismatch", known.digest, message)))
    }
    if (session.received === 0) {
      const put = { ...request, url: withDigest(session.location, result.digest) }
      yield* sendBytes(client, put, piece.subarray(0, filled), (response) => checkPut(put, response, result.digest))
      return { digest: result.digest, size }
    }
    if (filled > 0) yield* flush
    yield* finish(blob, session, result.digest)
    return { digest: result.digest, size: content._tag === "Compressed" ? result.size : size }
  })

const tooLong = <E, R>({ known }: Job<E, R>) =>
  new SourceFailure(
    ValidationError.of("DigestMismatch", known?.digest ?? "blob", `the source has more than ${known?.size ?? 0} bytes`)
  )

const sendBytes = <A>(
  client: Client.Client,
  call: Exchange.Call,
  bytes: Uint8Array,
  use: (response: Exchange.Response) => Effect.Effect<A, RegistryError>
): Effect.Effect<A, RegistryError> =>
  Effect.flatMap(Deadline.makeMeter, (meter) =>
    Effect.scoped(
      Effect.flatMap(
        Request.send(client, {
          ...call,
          body: HttpBody.uint8Array(bytes, MediaType.octetStream),
          upload: { meter, total: 0 }
        }),
        use
      )
    )
  )

/** The closing PUT. Its answer may get lost: then the blob is looked for before it is sent again. */
const finish = <E, R>(
  blob: Job<E, R>,
  session: Session.Session,
  digest: Digest.Digest
): Effect.Effect<void, RegistryError> => {
  const { client, repository } = blob
  const call: Exchange.Call = {
    operation: `finish upload of ${nameOf(blob)}`,
    method: "PUT",
    url: withDigest(session.location, digest),
    headers: { "content-type": MediaType.octetStream },
    accept: [201, 200, 204]
  }
  const put = sendBytes(client, call, new Uint8Array(0), (response) => checkPut(call, response, digest))
  return Retry.retry(
    client,
    call.operation,
    (number) =>
      number === 1
        ? put
        : Effect.flatMap(Blob.head(client, repository, digest), (found) => (Option.isSome(found) ? Effect.void : put)),
    { restart: () => false }
  )
}

const checkPut = (call: Exchange.Call, response: Exchange.Response, digest: Digest.Digest) =>
  Effect.gen(function* () {
    yield* Exchange.drain(response)
    const stored = Either.getOrUndefined(Digest.parse(response.headers["docker-content-digest"] ?? ""))
    if (stored !== undefined && Digest.algorithm(stored) === Digest.algorithm(digest) && stored !== digest) {
      const detail = `sent ${digest}, the registry stored ${stored}`
      return yield* Effect.fail(Failure.make(call, "DigestMismatch", { status: response.status, detail }))
    }
  })

/** Of a layer compressed on the way: what went out, if it was made of what the image's config names. */
const checkResult = <E, R>(
  { content, client, repository }: Job<E, R>,
  call: Exchange.Call,
  result: Option.Option<Compressor.Result>
): Effect.Effect<Compressor.Result, RegistryError | SourceFailure<ValidationError>> => {
  if (Option.isNone(result)) return Effect.fail(answeredEarly(call))
  if (content._tag === "Compressed" && result.value.diffId !== content.diffId) {
    const subject = `layer ${content.diffId} for ${Client.nameOf(client, repository)}`
    const message = `its bytes are ${result.value.diffId}, not what the image's config says`
    return Effect.fail(new SourceFailure(ValidationError.of("LayerMismatch", subject, message)))
  }
  return Effect.succeed(result.value)
}

const answeredEarly = (call: Exchange.Call): RegistryError =>
  Failure.make(call, "ConnectionLost", { detail: "the registry answered before it had everything" })

/** Bytes of content that is not compressed on the way. */
export const sizeOf = (
  content: { readonly _tag: "Bytes"; readonly bytes: Uint8Array } | { readonly size: number }
): number => ("bytes" in content ? content.bytes.length : content.size)

/** As text: a query the registry wrote must come back as it is. */
const withDigest = (location: URL, digest: Digest.Digest): string =>
  `${location.href}${location.search === "" ? "?" : "&"}digest=${encodeURIComponent(digest)}`
