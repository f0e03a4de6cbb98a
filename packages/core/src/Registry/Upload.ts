/**
 * Writing blobs, by the cheapest way that works: it is there; mounted from another repository; one streamed PUT; or
 * pieces. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as BlobTransport from "../BlobTransport.js"
import * as Compressor from "../Compressor.js"
import * as Hasher from "../Hasher.js"
import type { BlobContent, BlobWrite, BlobWritten } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as Progress from "../Progress.js"
import { RegistryError } from "../RegistryError.js"
import * as UploadJournal from "../UploadJournal.js"
import { ValidationError } from "../ValidationError.js"
import * as Blob from "./Blob.js"
import * as Client from "./Client.js"
import * as Failure from "./Failure.js"
import { type Fault, type Job, nameOf, SourceFailure, sizeOf } from "./Job.js"
import * as Retry from "./Retry.js"
import * as Scopes from "./Scopes.js"
import * as Session from "./Session.js"
import { isSentOpen, transfer } from "./Transfer.js"

/**
 * Makes the blob present in the repository and says how that came about. `elsewhere` tells more repositories of this
 * registry that may hold it, once it is clear that this one does not.
 */
export const upload = <E, R>(
  client: Client.Client,
  repository: string,
  write: BlobWrite<E, R>,
  elsewhere: (digest: Digest.Digest) => Effect.Effect<ReadonlyArray<string>> = () => Effect.succeed([])
): Effect.Effect<BlobWritten, RegistryError | ValidationError | E, R> =>
  Effect.gen(function* () {
    const known = Option.getOrUndefined(write.descriptor)
    if (known !== undefined && write.force !== true && (yield* isThere(client, repository, known))) {
      return { descriptor: known, outcome: "Exists" as const }
    }
    const before = Option.getOrUndefined(write.before ?? Option.none())
    if (before !== undefined && write.force !== true) {
      const outcome = yield* findBefore(client, repository, before, write.alsoIn, elsewhere)
      if (Option.isSome(outcome)) return { descriptor: before, outcome: outcome.value }
    }
    const content = yield* write.content
    if (known !== undefined) yield* checkSize(client, repository, known, content)
    const size = content._tag === "Compressed" ? sizeOf(content.plain) : sizeOf(content)
    const blob: Job<E, R> = {
      client,
      repository,
      known,
      content,
      mediaType: write.mediaType,
      resumable: size > client.config.resumeAbove,
      suspends: false,
      remember: () => Effect.void
    }
    const begun =
      known === undefined || write.force === true
        ? Option.none()
        : yield* mountAny(blob, known, [...write.alsoIn, ...(yield* elsewhere(known.digest))])
    if (Option.isSome(begun) && begun.value === "Mounted" && known !== undefined) {
      return { descriptor: known, outcome: "Mounted" as const }
    }
    const session = Option.filter(begun, (value) => value !== "Mounted")
    const { descriptor, earlier } = yield* Effect.scoped(sendUntilThere(blob, session))
    const written: BlobWritten = { descriptor, outcome: "Sent" }
    return earlier === 0 ? written : { ...written, bytes: descriptor.size - earlier }
  })

// internal

/** A registry that does not tell sizes is believed, unless the size has to be confirmed. */
const isThere = (
  client: Client.Client,
  repository: string,
  { digest, size }: Descriptor,
  confirmed = false
): Effect.Effect<boolean, RegistryError> =>
  Effect.map(
    Blob.head(client, repository, digest),
    Option.exists((found) => Option.match(found.size, { onNone: () => !confirmed, onSome: (there) => there === size }))
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

/** What the content became at another time, where the registry has it, digest and size: here, or to be mounted. */
const findBefore = (
  client: Client.Client,
  repository: string,
  before: Descriptor,
  alsoIn: ReadonlyArray<string>,
  elsewhere: (digest: Digest.Digest) => Effect.Effect<ReadonlyArray<string>>
): Effect.Effect<Option.Option<"Exists" | "Mounted">, RegistryError> =>
  Effect.gen(function* () {
    if (yield* isThere(client, repository, before, true)) return Option.some("Exists")
    const holders = new Set([...alsoIn, ...(yield* elsewhere(before.digest))])
    for (const from of [...holders].filter((name) => name !== repository).slice(0, maxMounts)) {
      const subject = `${before.digest} to ${Client.nameOf(client, repository)}`
      const begun = yield* mount(client, repository, subject, before, from)
      if (Option.isNone(begun)) continue
      // Its content is not compressed yet, and may come to something else.
      if (begun.value !== "Mounted") yield* Session.cancel(client, begun.value)
      else if (yield* isThere(client, repository, before, true)) return Option.some("Mounted")
    }
    return Option.none()
  })

/** Each try costs a request, and a list from memory may be of repositories that are gone. */
const maxMounts = 2

/** Mounted from one of the repositories, or the session that a registry opens instead. */
const mountAny = <E, R>(
  { client, content, repository, ...blob }: Job<E, R>,
  known: Descriptor,
  alsoIn: ReadonlyArray<string>
): Effect.Effect<Option.Option<"Mounted" | Session.Session>, RegistryError> =>
  Effect.gen(function* () {
    const remote = content._tag === "Remote" && content.origin === client.endpoint.origin ? [content.repository] : []
    const candidates = [...new Set([...remote, ...alsoIn])].filter((name) => name !== repository).slice(0, maxMounts)
    const subject = nameOf({ client, content, repository, ...blob })
    let session = Option.none<Session.Session>()
    for (const from of candidates) {
      const begun = yield* mount(client, repository, subject, known, from)
      if (Option.isNone(begun)) continue
      if (Option.isSome(session)) yield* Session.cancel(client, session.value)
      if (begun.value === "Mounted") return begun
      session = Option.some(begun.value)
    }
    return session
  })

/** Mounted, or the session that a registry opens instead; `None` where it refuses, which is no error. */
const mount = (
  client: Client.Client,
  repository: string,
  subject: string,
  known: Descriptor,
  from: string
): Effect.Effect<Option.Option<"Mounted" | Session.Session>, RegistryError> => {
  const query = `?mount=${encodeURIComponent(known.digest)}&from=${encodeURIComponent(from)}`
  const call = {
    ...Session.startCall(client, repository, subject, query),
    accept: [201, 202],
    scopes: [Scopes.repository(from, "pull")]
  }
  return Retry.exchange(client, call, (response) =>
    Effect.gen(function* () {
      if (response.status === 201) return Option.some("Mounted" as const)
      return Option.some(yield* Session.opened(client, call, response))
    })
  ).pipe(Effect.catchAll((error) => (error.status === undefined ? Effect.fail(error) : Effect.succeed(Option.none()))))
}

/** Sends the blob in one session after the other until one succeeds or enough was tried. */
const sendUntilThere = <E, R>(
  job: Job<E, R>,
  begun: Option.Option<Session.Session>
): Effect.Effect<
  { readonly descriptor: Descriptor; readonly earlier: number },
  RegistryError | ValidationError | E,
  R | Scope.Scope
> =>
  Effect.gen(function* () {
    const { client, content, known, mediaType, repository } = job
    const operation = `upload ${nameOf(job)}`
    const claim = job.resumable ? yield* claimEntry(job) : Option.none()
    const inJournal = (use: (claim: UploadJournal.Claim) => Effect.Effect<void>) =>
      Option.match(claim, { onNone: () => Effect.void, onSome: use })
    const remember = (session: Session.Session) => inJournal(({ write }) => write({ location: session.location.href }))
    const blob: Job<E, R> = { ...job, suspends: Option.isSome(claim), remember }

    const progress = yield* Progress.Progress
    const source = content._tag === "Compressed" ? content.diffId : known?.digest
    let counted = 0
    const count = (bytes: number) => {
      counted += bytes
      if (source !== undefined) progress.emit({ _tag: "BlobProgress", digest: source, bytes })
    }
    let wrong = false
    /** Bytes that an earlier run had sent. */
    let earlier = 0
    let furthest = 0
    let moved = false
    const advanced = ({ received }: Session.Session) => {
      moved ||= received > furthest
      furthest = Math.max(furthest, received)
    }
    let current: Session.Session | undefined = Option.getOrUndefined(begun)

    /** The session to send through: the one that broke off as far as the registry has it, the journal's, or a new one. */
    const next = (number: number): Effect.Effect<Session.Session, RegistryError> =>
      Effect.gen(function* () {
        // One that was just opened holds nothing yet.
        const opened = number === 1 ? current : undefined
        const broken = number === 1 ? undefined : current
        const location = broken?.location.href ?? Option.getOrUndefined(yield* readEntry(claim))
        const left =
          location === undefined
            ? Option.none<Session.Session>()
            : yield* Session.reopen(client, nameOf(blob), location, broken?.minChunk)
        if (Option.isSome(left) && left.value.received <= (known?.size ?? left.value.received)) {
          if (opened !== undefined) yield* Session.cancel(client, opened)
          advanced(left.value)
          if (number === 1 && source !== undefined && left.value.received > 0) {
            earlier = left.value.received
            progress.emit({ _tag: "BlobResumed", digest: source, bytes: earlier })
          }
          return left.value
        }
        earlier = 0
        const fresh = opened ?? (yield* Session.start(client, repository, nameOf(blob)))
        yield* remember(fresh)
        return fresh
      })

    /** What becomes of a session that did not get to its end. */
    const abandon = (session: Session.Session, cause: Cause.Cause<Fault<E>>) => {
      advanced(session)
      const keeps = Cause.isInterrupted(cause) ? Option.isSome(claim) : mayGoOn(blob, cause)
      current = keeps ? session : undefined
      if (!keeps) earlier = 0
      if (keeps) return Effect.void
      return Effect.zipRight(
        Session.cancel(client, session),
        inJournal(({ remove }) => remove)
      )
    }

    /** Of the attempt at hand: another blob may have learned meanwhile that the registry refuses this. */
    let open = false
    const attempt = (number: number): Effect.Effect<Descriptor, Fault<E>, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          if (number > 1) {
            if (counted > 0) count(-counted)
            // The answer may have been all that was lost.
            if (known !== undefined && (yield* restore(isThere(client, repository, known)))) {
              if (current !== undefined) yield* Session.cancel(client, current)
              yield* inJournal(({ remove }) => remove)
              return known
            }
            if (wrong) yield* restore(checkSource(blob))
          }
          const session = yield* restore(next(number))
          open = isSentOpen(blob, session)
          const { digest, size } = yield* restore(transfer(blob, session, count)).pipe(
            Effect.tapErrorCause((cause) => abandon(session, cause))
          )
          yield* inJournal(({ remove }) => remove)
          return { ...(known ?? { mediaType }), digest, size }
        })
      )

    const restart = (fault: Fault<E>): boolean => {
      if (fault instanceof SourceFailure) return Failure.isMismatch(fault.error)
      wrong = Failure.isMismatch(fault) || fault.codes.some(({ code }) => code === "DIGEST_INVALID")
      return wrong || isLostSession(fault) || fallsBack(blob, fault, open)
    }
    const progressed = () => {
      const since = moved
      moved = false
      return since
    }
    return yield* Retry.retry(client, operation, attempt, { restart, progressed }).pipe(
      Effect.map((descriptor) => ({ descriptor, earlier })),
      Effect.catchAll((fault) => Effect.fail(fault instanceof SourceFailure ? fault.error : fault)),
      // Without a journal nobody will ever go on with it.
      Effect.onError(() =>
        current === undefined || Option.isSome(claim) ? Effect.void : Session.cancel(client, current)
      )
    )
  })

/** The right to go on with this upload, also after this process. */
const claimEntry = <E, R>({ client, content, known, repository }: Job<E, R>) =>
  Effect.gen(function* () {
    const journal = yield* UploadJournal.UploadJournal
    const compressor = yield* Compressor.Compressor
    const what =
      content._tag === "Compressed" ? `${content.diffId} ${compressor.name(content.algorithm)}` : known?.digest
    if (what === undefined) return Option.none()
    return yield* journal.claim({ origin: client.endpoint.origin, repository, content: what })
  })

const readEntry = (claim: Option.Option<UploadJournal.Claim>): Effect.Effect<Option.Option<string>> =>
  Option.match(claim, {
    onNone: () => Effect.succeedNone,
    onSome: ({ read }) =>
      Effect.map(
        read,
        Option.map(({ location }) => location)
      )
  })

/** A fault of the network, after which the registry may still have what it got. */
const mayGoOn = <E, R>({ resumable }: Job<E, R>, cause: Cause.Cause<Fault<E>>): boolean =>
  resumable &&
  Option.exists(Cause.failureOption(cause), (fault) => fault instanceof RegistryError && Retry.isTransient(fault))

const isLostSession = (error: RegistryError): boolean =>
  error.codes.some(({ code }) => code === "BLOB_UPLOAD_UNKNOWN" || code === "BLOB_UPLOAD_INVALID") ||
  (error.method !== "POST" && (error.status === 404 || error.status === 416)) ||
  Session.isLostBytes(error)

/** The registry wants another way; remembered for the blobs that follow. */
const fallsBack = <E, R>(blob: Job<E, R>, error: RegistryError, open: boolean): boolean => {
  const { config, state } = blob.client
  const status = error.status ?? 0
  if (error.method === "PATCH" && open && [400, 411, 501].includes(status)) {
    state.refusesChunkedEncoding = true
    return true
  }
  const large = blob.known !== undefined && blob.known.size > config.chunkSize
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
