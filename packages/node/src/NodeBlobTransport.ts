/** Core's `BlobTransport` for Node: files go to the socket in reads of 1 MiB, answers to the disk in batches, past Effect's streams. */
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import { Readable } from "node:stream"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as NodeStream from "@effect/platform-node/NodeStream"
import {
  type BlobContent,
  type BlobSink,
  BlobTransport,
  type CompressedContent,
  Compressor,
  type Digest,
  MediaType,
  type ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { FileReadable } from "./FileReadable.js"
import * as Body from "./NodeClient/Body.js"
import { NodeResponse } from "./NodeClient/Response.js"
import * as NodeCompressor from "./NodeCompressor.js"

/**
 * Bodies go through any client: `NodeClient` takes the file's bytes straight, others the stream. `streams` says whether
 * the client keeps the pace of the socket and sends a Content-Length; where it does not, `false` makes uploads go in chunks.
 */
export const make = (options: { readonly streams?: boolean | undefined } = {}): BlobTransport.Service => ({
  streams: options.streams ?? true,
  request: (get) => get,
  body: <E, R>(content: BlobContent<E, R>, onBytes: (bytes: number) => void) => {
    if (content._tag === "Compressed") return compressedBody(content, onBytes)
    return Effect.map(BlobTransport.portable.body(content, onBytes), (portable): BlobTransport.UploadBody<E> => {
      if (content._tag !== "File") return portable
      let failure = Option.none<E | ValidationError>()
      const open = (): Readable =>
        new FileReadable(content.fd, content.offset, content.size, onBytes).on("error", (cause) => {
          failure = Option.some(content.readError(cause))
        })
      return {
        body: Body.withReadable(portable.body, open),
        failure: () => Option.orElse(failure, portable.failure),
        compressed: portable.compressed
      }
    })
  },
  receive: <E, R>(
    response: HttpClientResponse.HttpClientResponse,
    sink: BlobSink<E, R>,
    options: BlobTransport.ReceiveOptions
  ) => Effect.flatMap(readableOf(response), (readable) => save(response, readable, sink, options))
})

export const layer: Layer.Layer<never> = Layer.succeed(BlobTransport.BlobTransport, make())

// internal

/** Bytes of one write. */
const batch = 1 << 20
/** Bytes waiting for the disk at which the network has to wait too. */
const most = 4 << 20

const compressedBody = <E, R>(
  content: CompressedContent<E, R>,
  onBytes: (bytes: number) => void
): Effect.Effect<BlobTransport.UploadBody<E>, never, R> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<R>()
    const compressor = yield* Compressor.Compressor
    const gzip: NodeCompressor.Compressed<E, R> = compressor.gzip(content.plain, onBytes)
    const chunks = gzip[NodeCompressor.OpenChunks]
    let failure = Option.none<E | ValidationError>()
    const remember = (error: E | ValidationError): void => {
      failure = Option.some(error)
    }
    const stream = Stream.tapError(gzip.stream, (error) => Effect.sync(() => remember(error)))
    const body = HttpBody.stream(Stream.provideContext(stream, context), MediaType.octetStream)
    const open = (from: () => AsyncIterable<Uint8Array>): Readable =>
      Readable.from(from(), { objectMode: false, highWaterMark: batch }).on("error", (cause) => {
        if (cause instanceof NodeCompressor.Broken) remember(cause.error)
      })
    return {
      body: chunks === undefined ? body : Body.withReadable(body, () => open(chunks)),
      failure: () => failure,
      compressed: gzip.result
    }
  })

const readableOf = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<Readable> =>
  response instanceof NodeResponse && !response.empty
    ? Effect.succeed(response.source)
    : NodeStream.toReadable(response.stream)

/** Writes all bytes of the stream to the file, at most one write at a time. Ends only when no write is under way. */
const save = <E, R>(
  response: HttpClientResponse.HttpClientResponse,
  readable: Readable,
  sink: BlobSink<E, R>,
  { algorithm, limit, onBytes }: BlobTransport.ReceiveOptions
): Effect.Effect<BlobTransport.Received, HttpClientError.ResponseError | E> =>
  Effect.async((resume) => {
    const hash = Crypto.createHash(algorithm)
    let waiting: Array<Uint8Array> = []
    let waitingBytes = 0
    let size = 0
    let position = sink.offset
    let ended = false
    let writing = false
    let failed: Effect.Effect<never, HttpClientError.ResponseError | E> | undefined
    let afterWrite: (() => void) | undefined

    const next = (): void => {
      if (writing) return
      if (afterWrite !== undefined) {
        afterWrite()
      } else if (failed !== undefined) {
        resume(failed)
      } else if (waitingBytes >= batch || (ended && waitingBytes > 0)) {
        write(waiting, waitingBytes)
        waiting = []
        waitingBytes = 0
      } else if (ended) {
        resume(Effect.sync(() => ({ size, digest: `${algorithm}:${hash.digest("hex")}` as Digest.Digest })))
      }
      if (readable.isPaused() && waitingBytes < most) readable.resume()
    }
    const write = (buffers: Array<Uint8Array>, bytes: number): void => {
      writing = true
      Fs.writev(sink.fd, buffers, position, (error, written) => {
        writing = false
        if (error !== null) return fail(Effect.fail(sink.writeError(error)))
        position += written
        // a full disk may take a part: the rest goes again and tells why
        if (written < bytes) write(rest(buffers, written), bytes - written)
        else next()
      })
    }
    const fail = (error: Effect.Effect<never, HttpClientError.ResponseError | E>): void => {
      failed ??= error
      readable.destroy()
      next()
    }
    readable.on("data", (chunk: Uint8Array) => {
      if (failed !== undefined || afterWrite !== undefined) return
      size += chunk.length
      if (size > limit) return fail(Effect.fail(BlobTransport.tooLong(response, limit)))
      onBytes(chunk.length)
      hash.update(chunk)
      waiting.push(chunk)
      waitingBytes += chunk.length
      if (waitingBytes >= most) readable.pause()
      if (waitingBytes >= batch) next()
    })
    readable.on("end", () => {
      ended = true
      next()
    })
    readable.on("error", (cause) => fail(Effect.fail(broken(response, cause))))

    return Effect.async<void>((done) => {
      afterWrite = () => done(Effect.void)
      readable.destroy()
      next()
    })
  })

const rest = (buffers: ReadonlyArray<Uint8Array>, written: number): Array<Uint8Array> => {
  let skip = written
  return buffers.flatMap((buffer) => {
    const from = Math.min(skip, buffer.length)
    skip -= from
    return from === buffer.length ? [] : [buffer.subarray(from)]
  })
}

/** The answer broke off. Errors of a client's own stream are taken as they are. */
const broken = (response: HttpClientResponse.HttpClientResponse, cause: unknown): HttpClientError.ResponseError =>
  cause instanceof HttpClientError.ResponseError
    ? cause
    : new HttpClientError.ResponseError({ request: response.request, response, reason: "Decode", cause })
