/** Core's `BlobTransport` for Node: files go to the socket in reads of 1 MiB, answers to the disk in batches, past Effect's streams. */
import * as Fs from "node:fs"
import { Readable } from "node:stream"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as NodeStream from "@effect/platform-node/NodeStream"
import {
  type BlobContent,
  type BlobSink,
  BlobTransport,
  type CompressedContent,
  Compressor,
  type FileContent,
  type ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { FileReadable } from "./FileReadable.js"
import * as Lent from "./Lent.js"
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
  body: <E, R>(
    content: BlobContent<E, R>,
    onBytes: (bytes: number) => void,
    options: BlobTransport.BodyOptions = {}
  ) => {
    if (content._tag === "Compressed") return compressedBody(content, onBytes, options)
    return Effect.map(BlobTransport.portable.body(content, onBytes, options), (portable) =>
      content._tag === "File" ? fileBody(content, onBytes, options, portable) : portable
    )
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

/** A portable body with the shorter way for our client. */
const fileBody = <E, R>(
  content: FileContent<E, R>,
  onBytes: (bytes: number) => void,
  { from = 0 }: BlobTransport.BodyOptions,
  portable: BlobTransport.UploadBody<E>
): BlobTransport.UploadBody<E> => {
  let failure = Option.none<E | ValidationError>()
  let readable: FileReadable | undefined
  let stopped = false
  const open = (): Readable => {
    readable = new FileReadable(content.fd, content.offset + from, content.size - from, onBytes)
    if (stopped) readable.stop()
    return readable.on("error", (cause) => {
      failure = Option.some(content.readError(cause))
    })
  }
  return {
    body: Body.withReadable(portable.body, open),
    failure: () => Option.orElse(failure, portable.failure),
    compressed: portable.compressed,
    sent: () => readable?.pushed ?? portable.sent(),
    stop: () => {
      stopped = true
      readable?.stop()
      portable.stop()
    }
  }
}

const compressedBody = <E, R>(
  content: CompressedContent<E, R>,
  onBytes: (bytes: number) => void,
  options: BlobTransport.BodyOptions
): Effect.Effect<BlobTransport.UploadBody<E>, never, R> =>
  Effect.gen(function* () {
    const compressor = yield* Compressor.Compressor
    const compressed: NodeCompressor.Compressed<E, R> = compressor.compress(content.algorithm, content.plain, onBytes)
    const chunks = compressed[NodeCompressor.OpenChunks]
    let failure = Option.none<E | ValidationError>()
    const remember = (error: E | ValidationError): void => {
      failure = Option.some(error)
    }
    const portable = yield* BlobTransport.portable.body(content, onBytes, options)
    if (chunks === undefined) return portable
    const part = new Part(options.from ?? 0)
    const open = (): Readable =>
      Readable.from(part.of(chunks()), { objectMode: false, highWaterMark: batch }).on("error", (cause) => {
        if (cause instanceof NodeCompressor.Broken) remember(cause.error)
      })
    return {
      body: Body.withReadable(portable.body, open),
      failure: () => Option.orElse(failure, portable.failure),
      compressed: () => Option.orElse(compressed.result(), portable.compressed),
      sent: () => (part.opened ? part.sent : portable.sent()),
      stop: () => {
        part.stopped = true
        portable.stop()
      }
    }
  })

/** The bytes of a run behind the first few, until it is stopped. */
class Part {
  opened = false
  stopped = false
  sent = 0

  constructor(private readonly from: number) {}

  async *of(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.opened = true
    this.sent = 0
    let skip = this.from
    for await (const chunk of chunks) {
      if (this.stopped) return
      const fresh = chunk.subarray(Math.min(skip, chunk.length))
      skip -= chunk.length - fresh.length
      this.sent += fresh.length
      if (fresh.length > 0) yield fresh
      else Lent.giveBack(chunk)
    }
  }
}

const readableOf = (response: HttpClientResponse.HttpClientResponse): Effect.Effect<Readable> =>
  response instanceof NodeResponse && !response.empty
    ? Effect.succeed(response.source)
    : NodeStream.toReadable(response.stream)

/** Writes all bytes of the stream to the file, at most one write at a time. Ends only when all that came is written. */
const save = <E, R>(
  response: HttpClientResponse.HttpClientResponse,
  readable: Readable,
  sink: BlobSink<E, R>,
  { from, hash, limit, onBytes, onWritten }: BlobTransport.ReceiveOptions
): Effect.Effect<void, HttpClientError.ResponseError | E> =>
  Effect.async((resume) => {
    let waiting: Array<Uint8Array> = []
    let waitingBytes = 0
    let size = 0
    let written = from
    let writing = false
    /** How it ends, once nothing waits to be written. */
    let end: (() => void) | undefined
    let interrupted = false

    const next = (): void => {
      if (writing) return
      if (waitingBytes >= batch || (end !== undefined && waitingBytes > 0)) {
        const buffers = waiting
        const bytes = waitingBytes
        waiting = []
        waitingBytes = 0
        write(buffers, bytes)
      } else if (end !== undefined) end()
      if (readable.isPaused() && waitingBytes < most) readable.resume()
    }
    const write = (buffers: Array<Uint8Array>, bytes: number): void => {
      writing = true
      Fs.writev(sink.fd, buffers, sink.offset + written, (error, done) => {
        writing = false
        if (error !== null) {
          waiting = []
          waitingBytes = 0
          if (!interrupted) end = () => resume(Effect.fail(sink.writeError(error)))
          readable.destroy()
          return next()
        }
        written += done
        onWritten(written)
        // a full disk may take a part: the rest goes again and tells why
        if (done < bytes) write(rest(buffers, done), bytes - done)
        else next()
      })
    }
    const fail = (error: HttpClientError.ResponseError): void => {
      end ??= () => resume(Effect.fail(error))
      readable.destroy()
      next()
    }
    readable.on("data", (chunk: Uint8Array) => {
      if (end !== undefined) return
      size += chunk.length
      if (size > limit) return fail(BlobTransport.tooLong(response, limit))
      onBytes(chunk.length)
      // While the disk has the chunks before; what is hashed is written, also where the connection ends.
      hash.update(chunk)
      waiting.push(chunk)
      waitingBytes += chunk.length
      if (waitingBytes >= most) readable.pause()
      if (waitingBytes >= batch) next()
    })
    readable.on("end", () => {
      end ??= () => resume(Effect.void)
      next()
    })
    readable.on("error", (cause) => fail(broken(response, cause)))
    readable.on("close", () => {
      if (!readable.readableEnded) fail(broken(response, new Error("the connection closed before the body ended")))
    })
    // Where it broke before anybody listened no event will tell.
    if (readable.closed) fail(broken(response, readable.errored ?? new Error("the connection is closed")))

    return Effect.async<void>((done) => {
      interrupted = true
      end = () => done(Effect.void)
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
