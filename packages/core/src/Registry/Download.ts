/**
 * Reading blobs of any size, going on by ranges where a connection broke.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-blobs
 */
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { BlobTransport } from "../BlobTransport.js"
import * as Hasher from "../Hasher.js"
import type { BlobSink, RemoteContent } from "../ImageStore.js"
import * as Digest from "../model/Digest.js"
import * as Progress from "../Progress.js"
import type { RegistryError } from "../RegistryError.js"
import * as Blob from "./Blob.js"
import type * as Client from "./Client.js"
import * as Deadline from "./Deadline.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"

/** Blobs up to this size are verified before their first byte is handed out, so that a fault can still be mended. */
const maxBuffered = 1024 * 1024

/** A blob described; nothing is read before `stream` or `save` run. */
export const remote = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  size: number
): RemoteContent<RegistryError> => ({
  _tag: "Remote",
  origin: client.endpoint.origin,
  repository,
  digest,
  size,
  stream: stream(client, repository, digest, Option.some(size)),
  streamFrom: (offset) => streamFrom(client, repository, digest, Option.some(size), offset),
  save: (sink) => save(client, repository, digest, size, sink)
})

/**
 * The blob's bytes, going on after a lost connection where they stopped. Fails at the end with `DigestMismatch` or
 * `SizeMismatch` where they are not those of the digest.
 */
export const stream = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  size: Option.Option<number>
): Stream.Stream<Uint8Array, RegistryError> => {
  if (Option.exists(size, (known) => known <= maxBuffered)) {
    return Stream.fromEffect(Blob.bytes(client, repository, digest, size, maxBuffered))
  }
  const call = Blob.callOf(client, repository, digest, "get blob", "GET")
  return Stream.unwrap(
    Effect.map(Hasher.Hasher, (hasher) => {
      const hash = hasher.make(Digest.algorithm(digest))
      let emitted = 0
      const hashed = Stream.map(streamFrom(client, repository, digest, size, 0), (chunk) => {
        hash.update(chunk)
        emitted += chunk.length
        return chunk
      })
      const verified = Stream.suspend(() =>
        Stream.fromEffect(Blob.verify(call, { digest, size }, { digest: hash.digest(), size: emitted }))
      )
      return Stream.concat(hashed, Stream.drain(verified))
    })
  )
}

/** The bytes from `offset` on, which nobody verifies; going on after a lost connection where they stopped. */
export const streamFrom = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  size: Option.Option<number>,
  offset: number
): Stream.Stream<Uint8Array, RegistryError> => {
  const call = Blob.callOf(client, repository, digest, "get blob", "GET")
  const { stallTimeout } = client.config
  return Stream.suspend(() => {
    let at = offset
    let failedAt = offset
    /** A wrong answer to a range was had once: the next request is for the whole. */
    let hadWrongRange = false
    /** One request, for the bytes that were not handed out before. */
    const rest = Stream.unwrapScoped(
      Effect.gen(function* () {
        const response = yield* Request.send(client, rangeFrom(client, call, at))
        // A registry without ranges begins at the first byte.
        let skip = at - (yield* startOf(client, call, response, size, at))
        return Exchange.body(call, response).pipe(
          Stream.timeoutFail(() => Exchange.silent(call)(stallTimeout), stallTimeout),
          Stream.map((chunk) => {
            const fresh = chunk.subarray(Math.min(skip, chunk.length))
            skip -= chunk.length - fresh.length
            at += fresh.length
            return fresh
          }),
          Stream.takeWhile(() => Option.match(size, { onNone: () => true, onSome: (known) => at <= known }))
        )
      })
    )
    const endedEarly = Stream.suspend(() =>
      Option.exists(size, (known) => at < known)
        ? Stream.fail(Failure.make(call, "ConnectionLost", { detail: `the body ended after ${at} bytes` }))
        : Stream.empty
    )
    const attempt = (failures: number): Stream.Stream<Uint8Array, RegistryError> =>
      Stream.catchAll(Stream.concat(rest, endedEarly), (error) => {
        if (error.reason === "SizeMismatch" && error.status !== 200 && !hadWrongRange) {
          hadWrongRange = true
          return attempt(failures)
        }
        const failed = at > failedAt ? 1 : failures + 1
        failedAt = at
        return Stream.unwrap(Effect.as(Retry.again(client, call.operation, error, failed), attempt(failed)))
      })
    return attempt(0)
  })
}

// internal

/** Through the transport into the sink: what it holds already first, then the rest, after a fault from where it stopped. */
const save = <E, R>(
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  size: number,
  sink: BlobSink<E, R>
): Effect.Effect<void, RegistryError | E, R> =>
  Effect.gen(function* () {
    const transport = yield* BlobTransport
    const hasher = yield* Hasher.Hasher
    const progress = yield* Progress.Progress
    const call = { ...Blob.callOf(client, repository, digest, "get blob", "GET"), prepare: transport.request }
    const count = (more: number) => progress.emit({ _tag: "BlobProgress", digest, bytes: more })
    let hash = hasher.make(Digest.algorithm(digest))
    let written = 0
    let counted = 0
    let failedAt = 0

    const startOver = () => {
      hash = hasher.make(Digest.algorithm(digest))
      count(-counted)
      written = counted = failedAt = 0
      sink.onWritten?.(0)
    }
    const arrived = (bytes: number) => {
      counted += bytes
      count(bytes)
    }
    const once = Effect.gen(function* () {
      if (counted > written) arrived(written - counted)
      if (written < size || size === 0) yield* receive
      if (written < size) {
        const detail = `the body ended after ${written} of ${size} bytes`
        return yield* Effect.fail(Failure.make(call, "ConnectionLost", { detail }))
      }
      yield* Blob.verify(call, { digest, size: Option.some(size) }, { digest: hash.digest(), size: written })
    }).pipe(
      Effect.tapErrorCause((cause) =>
        Effect.sync(() => Option.exists(Cause.failureOption(cause), Failure.isMismatch) && startOver())
      )
    )

    const receive = Effect.scoped(
      Effect.gen(function* () {
        const response = yield* Request.send(client, rangeFrom(client, call, written))
        const start = yield* startOf(client, call, response, Option.some(size), written)
        if (start < written) startOver()
        const meter = yield* Deadline.makeMeter
        const receiving = transport.receive(response.raw, sink, {
          hash,
          from: written,
          limit: size - written,
          onBytes: (bytes) => {
            meter.add(bytes)
            arrived(bytes)
          },
          onWritten: (bytes) => {
            written = bytes
            sink.onWritten?.(bytes)
          }
        })
        yield* Deadline.guard(
          Effect.mapError(receiving, (error): RegistryError | E =>
            isResponseError(error) ? Failure.fromClient(call, error) : error
          ),
          meter,
          Deadline.ofBody(client.config.stallTimeout),
          Exchange.silent(call)
        )
      })
    )

    if (sink.earlier !== undefined && sink.earlier.size <= size) {
      yield* Stream.runForEach(sink.earlier.stream, (chunk) =>
        Effect.sync(() => {
          hash.update(chunk)
          written += chunk.length
          arrived(chunk.length)
        })
      )
      if (written > 0) progress.emit({ _tag: "BlobResumed", digest, bytes: written })
    }
    yield* Retry.retry(client, call.operation, () => once, {
      progressed: () => {
        const moved = written > failedAt
        failedAt = written
        return moved
      }
    })
  })

/** The transport's own error stands beside the sink's, whose type we do not know. */
const isResponseError = (error: unknown): error is HttpClientError.ResponseError =>
  typeof error === "object" &&
  error !== null &&
  "_tag" in error &&
  error._tag === "ResponseError" &&
  "response" in error

/** The same call for the bytes from `offset` on. https://www.rfc-editor.org/rfc/rfc9110#name-range */
const rangeFrom = (client: Client.Client, call: Exchange.Call, offset: number): Exchange.Call =>
  offset === 0 || client.state.breaksRanges
    ? call
    : { ...call, headers: { ...call.headers, range: `bytes=${offset}-` }, accept: [200, 206, 416] }

/** Where the answer's body begins: at `offset`, or at 0 from a registry without ranges. Fails where it says otherwise, or has another size. */
const startOf = (
  client: Client.Client,
  call: Exchange.Call,
  response: Exchange.Response,
  size: Option.Option<number>,
  offset: number
): Effect.Effect<number, RegistryError> => {
  const { headers, status } = response
  if (status === 200) return Effect.as(Blob.checkLength(call, response, size), 0)
  const [, start, end, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers["content-range"]?.trim() ?? "") ?? []
  const isWhole = Option.match(size, { onNone: () => true, onSome: (known) => Number(end) === known - 1 })
  const isRight = Option.match(size, {
    onNone: () => true,
    onSome: (known) => total === "*" || Number(total) === known
  })
  if (status === 206 && Number(start) === offset && isWhole && isRight) return Effect.succeed(offset)
  client.state.breaksRanges = true
  const detail = `asked for bytes from ${offset} on, the registry sends ${headers["content-range"] ?? "an unknown range"}`
  return Effect.fail(Failure.make(call, "SizeMismatch", { status, detail }))
}
