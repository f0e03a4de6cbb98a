/**
 * Writing blobs, by the cheapest way that works: it is there; mounted from another repository; one streamed PUT; or
 * pieces. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as BlobTransport from "../BlobTransport.js"
import * as Compressor from "../Compressor.js"
import * as Hasher from "../Hasher.js"
import type { BlobContent, BlobWrite, BlobWritten } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as Progress from "../Progress.js"
import { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import * as Blob from "./Blob.js"
import * as Client from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"
import * as Scopes from "./Scopes.js"
import {
  type Fault,
  isLostBytes,
  type Job,
  maxChunkSize,
  nameOf,
  type Session,
  SourceFailure,
  sizeOf,
  transfer
} from "./Transfer.js"

/** Makes the blob present in the repository and says how that came about. */
export const upload = <E, R>(
  client: Client.Client,
  repository: string,
  write: BlobWrite<E, R>
): Effect.Effect<BlobWritten, RegistryError | ValidationError | E, R> =>
  Effect.gen(function* () {
    const known = Option.getOrUndefined(write.descriptor)
    if (known !== undefined && write.force !== true && (yield* isThere(client, repository, known))) {
      return { descriptor: known, outcome: "Exists" as const }
    }
    const content = yield* write.content
    if (known !== undefined) yield* checkSize(client, repository, known, content)
    const blob: Job<E, R> = { client, repository, known, content, mediaType: write.mediaType }
    const from = known === undefined || write.force === true ? undefined : mountSource(blob, write.alsoIn)
    const begun = from === undefined || known === undefined ? Option.none() : yield* mount(blob, known, from)
    if (Option.isSome(begun) && begun.value === "Mounted" && known !== undefined) {
      return { descriptor: known, outcome: "Mounted" as const }
    }
    const session = Option.filter(begun, (value) => value !== "Mounted")
    const descriptor = yield* sendUntilThere(blob, session)
    return { descriptor, outcome: "Sent" as const }
  })

// internal

const isThere = (client: Client.Client, repository: string, { digest, size }: Descriptor) =>
  Effect.map(
    Blob.head(client, repository, digest),
    Option.exists((found) => Option.match(found.size, { onNone: () => true, onSome: (there) => there === size }))
  )

/** docker-registry takes any size that a manifest claims, so sizes are ours to check. */
const checkSize = <E, R>(
  client: Client.Client,
  repository: string,
  { digest, size }: Descriptor,
  content: BlobContent<E, R>
): Effect.Effect<void, ValidationError> => {
  if (content._tag === "Compressed") return Effect.void
  const actual = sizeOf(content)
  if (actual === size) return Effect.void
  const subject = `${Client.nameOf(client, repository)}@${digest}`
  const message = `the content has ${actual} bytes, its descriptor says ${size}`
  return Effect.fail(ValidationError.of("DigestMismatch", subject, message))
}

const mountSource = <E, R>({ client, content, repository }: Job<E, R>, alsoIn: ReadonlyArray<string>) => {
  const remote = content._tag === "Remote" && content.origin === client.endpoint.origin ? [content.repository] : []
  return [...remote, ...alsoIn].find((name) => name !== repository)
}

/** Mounted, or the session that a registry opens instead; `None` where it refuses, which is no error. */
const mount = <E, R>(
  blob: Job<E, R>,
  known: Descriptor,
  from: string
): Effect.Effect<Option.Option<"Mounted" | Session>, RegistryError> => {
  const query = `?mount=${encodeURIComponent(known.digest)}&from=${encodeURIComponent(from)}`
  const call = { ...startCall(blob, query), accept: [201, 202], scopes: [Scopes.repository(from, "pull")] }
  return Retry.exchange(blob.client, call, (response) =>
    Effect.gen(function* () {
      if (response.status === 201) return Option.some("Mounted" as const)
      return Option.some(yield* sessionOf(blob.client, call, response))
    })
  ).pipe(Effect.catchAll((error) => (error.status === undefined ? Effect.fail(error) : Effect.succeed(Option.none()))))
}

const start = <E, R>(blob: Job<E, R>): Effect.Effect<Session, RegistryError> => {
  const call = startCall(blob, "")
  return Retry.exchange(blob.client, call, (response) => sessionOf(blob.client, call, response))
}

const startCall = <E, R>(blob: Job<E, R>, query: string): Exchange.Call => ({
  operation: `start upload of ${nameOf(blob)}`,
  method: "POST",
  url: Client.urlOf(blob.client, `${blob.repository}/blobs/uploads/${query}`),
  accept: [202]
})

const sessionOf = (client: Client.Client, call: Exchange.Call, response: Exchange.Response) =>
  Effect.gen(function* () {
    const { location } = response.headers
    if (location === undefined) {
      return yield* Effect.fail(Failure.make(call, "Protocol", { status: response.status, detail: "no Location came" }))
    }
    yield* Exchange.drain(response)
    const url = yield* Exchange.judge(client, { ...call, url: response.url }, location, "location")
    const min = Number(response.headers["oci-chunk-min-length"] ?? "0")
    const session: Session = {
      location: url,
      minChunk: Number.isFinite(min) ? Math.max(0, Math.min(min, maxChunkSize)) : 0
    }
    return session
  })

/** Sends the blob in one session after the other until one succeeds or enough was tried. */
const sendUntilThere = <E, R>(
  blob: Job<E, R>,
  begun: Option.Option<Session>
): Effect.Effect<Descriptor, RegistryError | ValidationError | E, R> =>
  Effect.gen(function* () {
    const { client, content, known, mediaType, repository } = blob
    const operation = `upload ${nameOf(blob)}`
    const progress = yield* Progress.Progress
    const source = content._tag === "Compressed" ? content.diffId : known?.digest
    let counted = 0
    const count = (bytes: number) => {
      counted += bytes
      if (source !== undefined) progress.emit({ _tag: "BlobProgress", digest: source, bytes })
    }
    let wrong = false

    const attempt = (number: number): Effect.Effect<Descriptor, Fault<E>, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          if (number > 1) {
            if (counted > 0) count(-counted)
            // The answer may have been all that was lost.
            if (known !== undefined && (yield* restore(isThere(client, repository, known)))) return known
            if (wrong) yield* restore(checkSource(blob))
          }
          const session = number === 1 && Option.isSome(begun) ? begun.value : yield* restore(start(blob))
          return yield* restore(transfer(blob, session, count)).pipe(
            Effect.tapErrorCause(() => cancel(client, session)),
            Effect.map(({ digest, size }) => ({ ...(known ?? { mediaType }), digest, size }))
          )
        })
      )

    const restart = (fault: Fault<E>): boolean => {
      if (fault instanceof SourceFailure) return isWrong(fault.error)
      wrong = isWrong(fault) || fault.codes.some(({ code }) => code === "DIGEST_INVALID")
      return wrong || isLostSession(fault) || fallsBack(blob, fault)
    }
    return yield* Retry.retry(client, operation, attempt, { restart }).pipe(
      Effect.catchAll((fault) => Effect.fail(fault instanceof SourceFailure ? fault.error : fault))
    )
  })

const isWrong = (error: unknown): boolean =>
  error instanceof RegistryError && (error.reason === "DigestMismatch" || error.reason === "SizeMismatch")

const isLostSession = (error: RegistryError): boolean =>
  error.codes.some(({ code }) => code === "BLOB_UPLOAD_UNKNOWN" || code === "BLOB_UPLOAD_INVALID") ||
  (error.method !== "POST" && (error.status === 404 || error.status === 416)) ||
  isLostBytes(error)

/** The registry wants pieces instead; remembered for the blobs that follow. */
const fallsBack = <E, R>({ client: { config, state }, content, known }: Job<E, R>, error: RegistryError): boolean => {
  const status = error.status ?? 0
  if (content._tag === "Compressed" && !state.refusesChunkedEncoding && [400, 411, 501].includes(status)) {
    state.refusesChunkedEncoding = true
    return true
  }
  const large = known !== undefined && known.size > config.chunkSize
  if (large && !state.refusesLargeBodies && [411, 413].includes(status)) {
    state.refusesLargeBodies = true
    return true
  }
  return false
}

/** After the registry said that the digest is wrong: it is for good where the source's own bytes have another. */
const checkSource = <E, R>({ content, known }: Job<E, R>): Effect.Effect<void, SourceFailure<E | ValidationError>, R> =>
  Effect.gen(function* () {
    if (known === undefined || content._tag === "Compressed" || content._tag === "Remote") return
    const hash = (yield* Hasher.Hasher).make(Digest.algorithm(known.digest))
    const { stream } = BlobTransport.streamOf(content, yield* Compressor.Compressor, () => {})
    yield* Stream.runForEach(stream, (bytes) => Effect.sync(() => hash.update(bytes))).pipe(
      Effect.mapError((error) => new SourceFailure(error))
    )
    const digest = hash.digest()
    if (digest === known.digest) return
    const message = `the source's bytes are ${digest}`
    return yield* Effect.fail(new SourceFailure(ValidationError.of("DigestMismatch", known.digest, message)))
  })

/** Errors are ignored: the registry drops a forgotten session by itself, only later. */
const cancel = (client: Client.Client, session: Session): Effect.Effect<void> => {
  const call: Exchange.Call = {
    operation: "cancel upload",
    method: "DELETE",
    url: session.location.href,
    accept: [200, 202, 204, 404]
  }
  return Effect.scoped(Effect.flatMap(Request.send(client, call), Exchange.drain)).pipe(
    Effect.interruptible,
    Effect.timeoutOption("2 seconds"),
    Effect.catchAll(() => Effect.void),
    Effect.asVoid
  )
}
