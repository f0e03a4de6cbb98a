/**
 * One blob through one open upload session: whole, compressed on the way, or in pieces. Nothing here begins or cancels a
 * session, nor sends anything twice except the closing PUT; see `Upload`.
 */
import * as HttpBody from "@effect/platform/HttpBody"
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
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"

/** A registry could ask for pieces larger than our memory by `OCI-Chunk-Min-Length`. */
export const maxChunkSize = 64 * 1024 * 1024

/** What is to be moved where. */
export interface Job<E, R> {
  readonly client: Client.Client
  readonly repository: string
  /** The result, where it is known before the content was read. */
  readonly known: Descriptor | undefined
  readonly content: BlobContent<E, R>
  readonly mediaType: string
}

/** An upload that the registry has open for us. */
export interface Session {
  /** Where the next request goes; every answer may move it. */
  location: URL
  readonly minChunk: number
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

/** Sends the content and closes the session; returns what the registry has now. */
export const transfer = <E, R>(
  blob: Job<E, R>,
  session: Session,
  count: (bytes: number) => void
): Effect.Effect<Sent, Fault<E>, R> =>
  Effect.gen(function* () {
    const transport = yield* BlobTransport.BlobTransport
    const { refusesChunkedEncoding, refusesLargeBodies } = blob.client.state
    const { content, known } = blob
    if (content._tag === "Compressed") {
      return yield* transport.streams && !refusesChunkedEncoding
        ? patchWhole(blob, session, transport, count)
        : sendPieces(blob, session, count)
    }
    return yield* transport.streams && !refusesLargeBodies && known !== undefined
      ? putWhole(blob, known, session, transport, count)
      : sendPieces(blob, session, count)
  })

/** The error of a PATCH after which the registry holds something else than was sent. */
export const isLostBytes = (error: RegistryError): boolean => error.detail?.startsWith(rangeComplaint) === true

// internal

const rangeComplaint = "the registry received Range"

/** One PUT with the content as it is. */
const putWhole = <E, R>(
  blob: Job<E, R>,
  known: Descriptor,
  session: Session,
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
  return Effect.as(
    sendStream(blob, call, known.size, transport, count, (response) => checkPut(call, response, known.digest)),
    known
  )
}

/** One PATCH of unknown length, compressed on the way; the digest is known when it has ended. */
const patchWhole = <E, R>(
  blob: Job<E, R>,
  session: Session,
  transport: BlobTransport.Service,
  count: (bytes: number) => void
): Effect.Effect<Sent, Fault<E>, R> =>
  Effect.gen(function* () {
    const call: Exchange.Call = {
      operation: `upload ${nameOf(blob)}`,
      method: "PATCH",
      url: session.location.href,
      headers: { "content-type": MediaType.octetStream },
      accept: [202, 204]
    }
    const plainSize = blob.content._tag === "Compressed" ? sizeOf(blob.content.plain) : 0
    const { body, response } = yield* sendStream(blob, call, plainSize, transport, count, (response) =>
      Effect.as(Exchange.drain(response), response)
    )
    const result = yield* checkResult(blob, call, body.compressed())
    yield* advance(blob.client, session, call, response, result.size)
    yield* finish(blob, session, result.digest)
    return { digest: result.digest, size: result.size }
  })

/** The content's own error comes first where a request failed because its body did. */
const sendStream = <E, R, A>(
  blob: Job<E, R>,
  call: Exchange.Call,
  total: number,
  transport: BlobTransport.Service,
  count: (bytes: number) => void,
  use: (response: Exchange.Response) => Effect.Effect<A, RegistryError>
) =>
  Effect.gen(function* () {
    const meter = yield* Deadline.makeMeter
    const body = yield* transport.body(blob.content, (bytes) => {
      meter.add(bytes)
      count(bytes)
    })
    const response = yield* Effect.scoped(
      Effect.flatMap(Request.send(blob.client, { ...call, body: body.body, upload: { meter, total } }), use)
    ).pipe(
      Effect.mapError(
        (error): Fault<E> =>
          Option.match(body.failure(), { onNone: () => error, onSome: (failure) => new SourceFailure(failure) })
      )
    )
    return { body, response }
  })

/** Pieces of known length, one in memory at a time; a blob that is one piece goes by a single PUT. */
const sendPieces = <E, R>(
  blob: Job<E, R>,
  session: Session,
  count: (bytes: number) => void
): Effect.Effect<Sent, Fault<E>, R> =>
  Effect.gen(function* () {
    const { client, content, known } = blob
    const chunkSize = Math.min(maxChunkSize, Math.max(client.config.chunkSize, session.minChunk))
    const compressor = yield* Compressor.Compressor
    const hash = (yield* Hasher.Hasher).make(known === undefined ? "sha256" : Digest.algorithm(known.digest))
    const { compressed, stream } = BlobTransport.streamOf(content, compressor, count)
    const capacity = known === undefined || content._tag === "Compressed" ? chunkSize : Math.min(chunkSize, known.size)
    const piece = new Uint8Array(capacity)
    let filled = 0
    let offset = 0
    const call = (method: "PATCH" | "PUT", url: string, headers: Record<string, string>): Exchange.Call => ({
      operation: `upload ${nameOf(blob)}`,
      method,
      url,
      headers: { "content-type": MediaType.octetStream, ...headers },
      accept: method === "PUT" ? [201, 200, 204] : [202, 204]
    })
    const patch = Effect.suspend(() => {
      const range = `${offset}-${offset + filled - 1}`
      const request = call("PATCH", session.location.href, { "content-range": range })
      return sendBytes(client, request, piece.subarray(0, filled), (response) => {
        offset += filled
        filled = 0
        return Effect.zipRight(Exchange.drain(response), advance(client, session, request, response, offset))
      })
    })
    yield* Stream.runForEach(
      Stream.mapError(stream, (error) => new SourceFailure(error)),
      (bytes) =>
        Effect.gen(function* () {
          if (content._tag !== "Compressed") hash.update(bytes)
          let at = 0
          while (at < bytes.length) {
            if (filled === piece.length && piece.length > 0) yield* patch
            const part = bytes.subarray(at, at + piece.length - filled)
            if (part.length === 0) return yield* Effect.fail(tooLong(blob))
            piece.set(part, filled)
            filled += part.length
            at += part.length
          }
        })
    )
    const request = call("PUT", session.location.href, {})
    const size = offset + filled
    const result: Sent =
      content._tag === "Compressed" ? yield* checkResult(blob, request, compressed()) : { digest: hash.digest(), size }
    if (known !== undefined && content._tag !== "Compressed" && result.digest !== known.digest) {
      const message = `the source's bytes are ${result.digest}, ${size} of them`
      return yield* Effect.fail(new SourceFailure(ValidationError.of("DigestMismatch", known.digest, message)))
    }
    if (offset === 0) {
      const put = { ...request, url: withDigest(session.location, result.digest) }
      yield* sendBytes(client, put, piece.subarray(0, filled), (response) => checkPut(put, response, result.digest))
      return { digest: result.digest, size }
    }
    if (filled > 0) yield* patch
    yield* finish(blob, session, result.digest)
    return { digest: result.digest, size }
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

/** After a PATCH whose answer was read: the session may have moved, and the registry must have got what was sent. */
const advance = (
  client: Client.Client,
  session: Session,
  call: Exchange.Call,
  response: Exchange.Response,
  sent: number
): Effect.Effect<void, RegistryError> =>
  Effect.gen(function* () {
    const { location, range } = response.headers
    if (location !== undefined) {
      session.location = yield* Exchange.judge(client, { ...call, url: response.url }, location, "location")
    }
    const end = range === undefined ? undefined : /^(?:bytes=)?0-(\d+)$/.exec(range.trim())?.[1]
    // `0-0` stands for nothing as well as for one byte.
    const received = end === undefined ? undefined : Number(end) === 0 && sent !== 1 ? 0 : Number(end) + 1
    if (range !== undefined && received !== sent) {
      const detail = `${rangeComplaint} ${range} after ${sent} bytes`
      return yield* Effect.fail(Failure.make(call, "Protocol", { status: response.status, detail }))
    }
  })

/** The closing PUT. Its answer may get lost: then the blob is looked for before it is sent again. */
const finish = <E, R>(blob: Job<E, R>, session: Session, digest: Digest.Digest): Effect.Effect<void, RegistryError> => {
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
  // An answer that came before the body was read to its end.
  if (Option.isNone(result)) {
    return Effect.fail(Failure.make(call, "Protocol", { detail: "the registry answered before it had everything" }))
  }
  if (content._tag === "Compressed" && result.value.diffId !== content.diffId) {
    const subject = `layer ${content.diffId} for ${Client.nameOf(client, repository)}`
    const message = `its bytes are ${result.value.diffId}, not what the image's config says`
    return Effect.fail(new SourceFailure(ValidationError.of("LayerMismatch", subject, message)))
  }
  return Effect.succeed(result.value)
}

/** Bytes of content that is not compressed on the way. */
export const sizeOf = (
  content: { readonly _tag: "Bytes"; readonly bytes: Uint8Array } | { readonly size: number }
): number => ("bytes" in content ? content.bytes.length : content.size)

/** As text: a query the registry wrote must come back as it is. */
const withDigest = (location: URL, digest: Digest.Digest): string =>
  `${location.href}${location.search === "" ? "?" : "&"}digest=${encodeURIComponent(digest)}`
