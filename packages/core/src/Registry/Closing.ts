/** The end of an upload: the PUT that makes it a blob, and whether what went out is what it should be. */
import * as HttpBody from "@effect/platform/HttpBody"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Compressor from "../Compressor.js"
import * as Digest from "../model/Digest.js"
import * as MediaType from "../model/MediaType.js"
import type { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import * as Blob from "./Blob.js"
import * as Client from "./Client.js"
import * as Deadline from "./Deadline.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import { type Job, nameOf, SourceFailure } from "./Job.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"
import type * as Session from "./Session.js"

/** The closing PUT. Its answer may get lost: then the blob is looked for before it is sent again. */
export const finish = <E, R>(
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

/** Fails where the registry says that it stored something else. */
export const checkPut = (call: Exchange.Call, response: Exchange.Response, digest: Digest.Digest) =>
  Effect.gen(function* () {
    yield* Exchange.drain(response)
    const stored = Either.getOrUndefined(Digest.parse(response.headers["docker-content-digest"] ?? ""))
    if (stored !== undefined && Digest.algorithm(stored) === Digest.algorithm(digest) && stored !== digest) {
      const detail = `sent ${digest}, the registry stored ${stored}`
      return yield* Effect.fail(Failure.make(call, "DigestMismatch", { status: response.status, detail }))
    }
  })

/** Of a layer compressed on the way: what went out, if it was made of what the image's config names. */
export const checkResult = <E, R>(
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

/** The error of an answer that came before the body was read to its end. */
export const answeredEarly = (call: Exchange.Call): RegistryError =>
  Failure.make(call, "ConnectionLost", { detail: "the registry answered before it had everything" })

/** A request with these bytes. */
export const sendBytes = <A>(
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

/** As text: a query the registry wrote must come back as it is. */
export const withDigest = (location: URL, digest: Digest.Digest): string =>
  `${location.href}${location.search === "" ? "?" : "&"}digest=${encodeURIComponent(digest)}`
