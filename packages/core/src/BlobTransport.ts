/**
 * Prepares the bodies of blobs and takes their responses. It never sends by itself: every request goes through the
 * caller's `HttpClient`, with whatever its owner composed around it.
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Compressor from "./Compressor.js"
import type * as Hasher from "./Hasher.js"
import type { BlobContent, BlobSink } from "./ImageStore.js"
import * as MediaType from "./model/MediaType.js"
import { ValidationError } from "./ValidationError.js"

/** A request body that every attempt reads afresh. */
export interface UploadBody<out E> {
  readonly body: HttpBody.HttpBody
  /** Why the content could not be read; preferred over the client's own error when a request fails. */
  readonly failure: () => Option.Option<E | ValidationError>
  /** Of compressed content, after the body was read to its end: what went out and what it was made of. */
  readonly compressed: () => Option.Option<Compressor.Result>
  /** Bytes that the client took in the last attempt. */
  readonly sent: () => number
  /** Lets a body of no announced length end here, as if this were all. */
  readonly stop: () => void
}

export interface BodyOptions {
  /** Bytes of the blob that are left out at the start: the registry has them. Default 0. */
  readonly from?: number | undefined
  /** Announce no length, so that the body can be stopped; compressed content never has one. Default false. */
  readonly stoppable?: boolean | undefined
}

export interface ReceiveOptions {
  /** Gets the bytes that are written, in their order, and no others: after a failure it stands where `onWritten` does. */
  readonly hash: Hasher.Hash
  /** Bytes of the blob that are written already; the first one of the response goes behind them. */
  readonly from: number
  /** Bytes that the response may have at most. */
  readonly limit: number
  /** Hears how many more bytes came. */
  readonly onBytes: (bytes: number) => void
  /** Hears how many bytes of the blob are written, `from` included. */
  readonly onWritten: (bytes: number) => void
}

export interface Service {
  /**
   * Whether bodies go to the socket as they are read, with their length. Where not, uploads are sent as chunks of byte
   * arrays: every client carries those.
   */
  readonly streams: boolean
  /** A body for this content. `onBytes` hears how many more bytes of the source were read. */
  readonly body: <E, R>(
    content: BlobContent<E, R>,
    onBytes: (bytes: number) => void,
    options?: BodyOptions
  ) => Effect.Effect<UploadBody<E>, never, R>
  /** Marks a GET whose response goes to `receive`. */
  readonly request: (get: HttpClientRequest.HttpClientRequest) => HttpClientRequest.HttpClientRequest
  /**
   * Writes the body of a scoped response into the sink, hashing on the way; also what came before it broke off. More
   * than `limit` bytes fail with a ResponseError; the caller compares size and digest.
   */
  readonly receive: <E, R>(
    response: HttpClientResponse.HttpClientResponse,
    sink: BlobSink<E, R>,
    options: ReceiveOptions
  ) => Effect.Effect<void, HttpClientError.ResponseError | E, R>
}

/** Defaults to one that works with any client and any platform. */
export class BlobTransport extends Context.Reference<BlobTransport>()("@effect-registry/core/BlobTransport", {
  defaultValue: (): Service => portable
}) {}

/** Over streams, for any client: chunk by chunk through Effect, so several times slower than a native one. */
export const portable: Service = {
  streams: false,
  body: <E, R>(content: BlobContent<E, R>, onBytes: (bytes: number) => void, options: BodyOptions = {}) =>
    Effect.gen(function* () {
      const context = yield* Effect.context<R>()
      const compressor = yield* Compressor.Compressor
      let failure = Option.none<E | ValidationError>()
      let sent = 0
      let stopped = false
      const { compressed, size, stream } = streamOf(content, compressor, onBytes, options.from)
      const watched = Stream.suspend(() => {
        sent = 0
        return stream.pipe(
          Stream.takeWhile(() => !stopped),
          Stream.map((chunk) => {
            sent += chunk.length
            return chunk
          }),
          Stream.tapError((error) =>
            Effect.sync(() => {
              failure = Option.some(error)
            })
          )
        )
      })
      const length = options.stoppable === true ? undefined : size
      return {
        body: HttpBody.stream(Stream.provideContext(watched, context), MediaType.octetStream, length),
        failure: () => failure,
        compressed,
        sent: () => sent,
        stop: () => {
          stopped = true
        }
      }
    }),
  request: (get) => get,
  receive: <E, R>(
    response: HttpClientResponse.HttpClientResponse,
    sink: BlobSink<E, R>,
    { from, hash, limit, onBytes, onWritten }: ReceiveOptions
  ) => {
    let written = from
    return Stream.runForEach(response.stream, (chunk) =>
      Effect.suspend((): Effect.Effect<void, HttpClientError.ResponseError | E, R> => {
        if (written + chunk.length - from > limit) return Effect.fail(tooLong(response, limit))
        onBytes(chunk.length)
        return Effect.map(sink.write(chunk, sink.offset + written), () => {
          hash.update(chunk)
          written += chunk.length
          onWritten(written)
        })
      }).pipe(
        // Bytes on the disk that the hash has not seen would be taken for others.
        Effect.uninterruptible
      )
    )
  }
}

/** The content as one stream of bytes, `from` on; their number where that is known before they were read. */
export const streamOf = <E, R>(
  content: BlobContent<E, R>,
  compressor: Compressor.Service,
  onBytes: (bytes: number) => void,
  from = 0
): {
  readonly stream: Stream.Stream<Uint8Array, E | ValidationError, R>
  readonly size: number | undefined
  readonly compressed: () => Option.Option<Compressor.Result>
} => {
  if (content._tag === "Compressed") {
    const { result, stream } = compressor.compress(content.algorithm, content.plain, onBytes)
    return { stream: dropBytes(stream, from), size: undefined, compressed: result }
  }
  return {
    stream: Stream.mapChunks(plainFrom(content, from), (chunks) => {
      for (const chunk of chunks) onBytes(chunk.length)
      return chunks
    }),
    size: (content._tag === "Bytes" ? content.bytes.length : content.size) - from,
    compressed: Option.none
  }
}

/** Fails with `LayerMismatch` where content that was compressed is not what its diff ID says. */
export const checkDiffId = <E, R>(
  subject: string,
  content: BlobContent<E, R>,
  compressed: Option.Option<Compressor.Result>
): Effect.Effect<void, ValidationError> => {
  const diffId = Option.getOrUndefined(compressed)?.diffId
  if (content._tag !== "Compressed" || diffId === content.diffId) return Effect.void
  const message = `a layer's bytes are ${diffId ?? "unknown"}, its config says ${content.diffId}`
  return Effect.fail(ValidationError.of("LayerMismatch", subject, message))
}

/** All bytes of a small blob, and what they were compressed from where they were. */
export const collect = <E, R>(
  content: BlobContent<E, R>
): Effect.Effect<
  { readonly bytes: Uint8Array; readonly compressed: Option.Option<Compressor.Result> },
  E | ValidationError,
  R
> =>
  Effect.gen(function* () {
    const { compressed, stream } = streamOf(content, yield* Compressor.Compressor, () => {})
    const chunks = yield* Stream.runCollect(stream)
    const bytes = new Uint8Array(Chunk.reduce(chunks, 0, (size, chunk) => size + chunk.length))
    let at = 0
    for (const chunk of chunks) {
      bytes.set(chunk, at)
      at += chunk.length
    }
    return { bytes, compressed: compressed() }
  })

/** The error of a response whose body is longer than it may be. */
export const tooLong = (
  response: HttpClientResponse.HttpClientResponse,
  limit: number
): HttpClientError.ResponseError =>
  new HttpClientError.ResponseError({
    request: response.request,
    response,
    reason: "Decode",
    description: `more than the ${limit} bytes that were announced`
  })

// internal

const plainFrom = <E, R>(
  content: Exclude<BlobContent<E, R>, { readonly _tag: "Compressed" }>,
  from: number
): Stream.Stream<Uint8Array, E, R> => {
  if (content._tag === "Bytes") return Stream.succeed(content.bytes.subarray(from))
  if (content._tag === "Remote" && from > 0) return content.streamFrom(from)
  return dropBytes(content.stream, from)
}

const dropBytes = <E, R>(stream: Stream.Stream<Uint8Array, E, R>, count: number): Stream.Stream<Uint8Array, E, R> =>
  count === 0
    ? stream
    : Stream.suspend(() => {
        let left = count
        return Stream.map(stream, (chunk) => {
          const fresh = chunk.subarray(Math.min(left, chunk.length))
          left -= chunk.length - fresh.length
          return fresh
        })
      })
