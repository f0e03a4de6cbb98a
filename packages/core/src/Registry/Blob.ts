/** Reading blobs. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-blobs */
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { BlobTransport } from "../BlobTransport.js"
import * as Hasher from "../Hasher.js"
import type { BlobSink, RemoteContent } from "../ImageStore.js"
import * as Digest from "../model/Digest.js"
import * as Progress from "../Progress.js"
import type { RegistryError } from "../RegistryError.js"
import * as Client from "./Client.js"
import * as Deadline from "./Deadline.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"

/** Blobs up to this size are verified before their first byte is handed out, so that a fault can still be mended. */
const maxBuffered = 1024 * 1024

/** Whether it is there, and its size where the registry tells. A registry without HEAD knows nothing. */
export const head = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<Option.Option<{ readonly size: Option.Option<number> }>, RegistryError> => {
  const call = {
    ...callOf(client, repository, digest, "look for blob", "HEAD"),
    accept: [200, 404, 405, 501]
  }
  return Retry.exchange(client, call, ({ headers, status }) => {
    const length = headers["content-length"]
    return Effect.succeed(
      status === 200
        ? Option.some({
            size: length !== undefined && /^\d+$/.test(length) ? Option.some(Number(length)) : Option.none()
          })
        : Option.none()
    )
  })
}

/** Whether it can be read, also from a registry without HEAD. */
export const exists = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<boolean, RegistryError> =>
  Retry.exchange(
    client,
    { ...callOf(client, repository, digest, "look for blob", "HEAD"), accept: [200, 404, 405, 501] },
    ({ status }) => Effect.succeed(status)
  ).pipe(
    Effect.flatMap((status) =>
      status === 405 || status === 501
        ? Retry.exchange(
            client,
            { ...callOf(client, repository, digest, "look for blob", "GET"), accept: [200, 404] },
            (response) => Effect.succeed(response.status === 200)
          )
        : Effect.succeed(status === 200)
    )
  )

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
  save: (sink) => save(client, repository, digest, size, sink)
})

/** The whole blob, verified; read again after a fault. For configs: more than `limit` bytes fail with `TooLarge`. */
export const bytes = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  size: Option.Option<number>,
  limit: number
): Effect.Effect<Uint8Array, RegistryError> => {
  const call = callOf(client, repository, digest, "get blob", "GET")
  return Retry.exchange(client, call, (response) =>
    Effect.gen(function* () {
      yield* checkLength(call, response, size)
      const read = yield* Exchange.bytes(client, call, response, limit)
      const hash = (yield* Hasher.Hasher).make(Digest.algorithm(digest))
      hash.update(read)
      yield* verify(call, { digest, size }, { digest: hash.digest(), size: read.length })
      return read
    })
  )
}

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
    return Stream.fromEffect(bytes(client, repository, digest, size, maxBuffered))
  }
  const call = callOf(client, repository, digest, "get blob", "GET")
  const { stallTimeout } = client.config
  return Stream.unwrap(
    Effect.gen(function* () {
      const hash = (yield* Hasher.Hasher).make(Digest.algorithm(digest))
      let emitted = 0

      /** One request, without the bytes that were handed out before. */
      const rest = Stream.unwrapScoped(
        Effect.gen(function* () {
          const response = yield* Request.send(client, call)
          yield* checkLength(call, response, size)
          let skip = emitted
          return Exchange.body(call, response).pipe(
            Stream.timeoutFail(() => Exchange.silent(call)(stallTimeout), stallTimeout),
            Stream.map((chunk) => {
              const fresh = chunk.subarray(Math.min(skip, chunk.length))
              skip -= chunk.length - fresh.length
              hash.update(fresh)
              emitted += fresh.length
              return fresh
            }),
            Stream.takeWhile(() => Option.match(size, { onNone: () => true, onSome: (known) => emitted <= known }))
          )
        })
      )
      const attempt = (failures: number): Stream.Stream<Uint8Array, RegistryError> =>
        Stream.concat(
          rest,
          Stream.suspend(() => endedEarly())
        ).pipe(
          Stream.catchAll((error) =>
            Stream.unwrap(Effect.as(Retry.again(client, call.operation, error, failures + 1), attempt(failures + 1)))
          )
        )
      const endedEarly = (): Stream.Stream<never, RegistryError> =>
        Option.exists(size, (known) => emitted < known)
          ? Stream.fail(Failure.make(call, "ConnectionLost", { detail: `the body ended after ${emitted} bytes` }))
          : Stream.empty
      return Stream.concat(
        attempt(0),
        Stream.drain(
          Stream.suspend(() =>
            Stream.fromEffect(verify(call, { digest, size }, { digest: hash.digest(), size: emitted }))
          )
        )
      )
    })
  )
}

// internal

/** Through the transport into the sink, from the start after every fault. */
const save = <E, R>(
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  size: number,
  sink: BlobSink<E, R>
): Effect.Effect<void, RegistryError | E, R> =>
  Effect.gen(function* () {
    const transport = yield* BlobTransport
    const progress = yield* Progress.Progress
    const call = {
      ...callOf(client, repository, digest, "get blob", "GET"),
      prepare: transport.request
    }
    let counted = 0
    const count = (more: number) => {
      counted += more
      progress.emit({ _tag: "BlobProgress", digest, bytes: more })
    }
    const once = Effect.gen(function* () {
      if (counted > 0) count(-counted)
      const response = yield* Request.send(client, call)
      yield* checkLength(call, response, Option.some(size))
      const meter = yield* Deadline.makeMeter
      const onBytes = (more: number) => {
        meter.add(more)
        count(more)
      }
      const received = yield* Deadline.guard(
        transport
          .receive(response.raw, sink, { algorithm: Digest.algorithm(digest), limit: size, onBytes })
          .pipe(
            Effect.mapError((error): RegistryError | E =>
              isResponseError(error) ? Failure.fromClient(call, error) : error
            )
          ),
        meter,
        Deadline.ofBody(client.config.stallTimeout),
        Exchange.silent(call)
      )
      if (received.size < size) {
        const detail = `the body ended after ${received.size} of ${size} bytes`
        return yield* Effect.fail(Failure.make(call, "ConnectionLost", { detail }))
      }
      yield* verify(call, { digest, size: Option.some(size) }, received)
    })
    yield* Retry.retry(client, call.operation, () => Effect.scoped(once))
  })

/** The transport's own error stands beside the sink's, whose type we do not know. */
const isResponseError = (error: unknown): error is HttpClientError.ResponseError =>
  typeof error === "object" &&
  error !== null &&
  "_tag" in error &&
  error._tag === "ResponseError" &&
  "response" in error

const callOf = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  verb: string,
  method: "GET" | "HEAD"
): Exchange.Call => ({
  operation: `${verb} ${Client.nameOf(client, repository)}@${digest}`,
  method,
  url: Client.urlOf(client, `${repository}/blobs/${digest}`),
  accept: [200]
})

const checkLength = (call: Exchange.Call, { headers, status }: Exchange.Response, size: Option.Option<number>) => {
  const length = headers["content-length"]
  if (length === undefined || Option.isNone(size) || Number(length) === size.value) return Effect.void
  const detail = `expected ${size.value} bytes, the registry has ${length}`
  return Effect.fail(Failure.make(call, "SizeMismatch", { status, detail }))
}

const verify = (
  call: Exchange.Call,
  expected: { readonly digest: Digest.Digest; readonly size: Option.Option<number> },
  received: { readonly digest: Digest.Digest; readonly size: number }
): Effect.Effect<void, RegistryError> => {
  if (Option.isSome(expected.size) && received.size !== expected.size.value) {
    const detail = `expected ${expected.size.value} bytes, got ${received.size}`
    return Effect.fail(Failure.make(call, "SizeMismatch", { detail }))
  }
  if (received.digest !== expected.digest) {
    const detail = `expected ${expected.digest}, the bytes are ${received.digest}`
    return Effect.fail(Failure.make(call, "DigestMismatch", { detail }))
  }
  return Effect.void
}
