/**
 * An upload that the registry has open for us: begun, asked how far it is, moved on by every answer, given up.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-a-blob-in-chunks
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RegistryError } from "../RegistryError.js"
import * as Client from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"

/** A registry could ask for pieces larger than our memory by `OCI-Chunk-Min-Length`. */
export const maxChunkSize = 64 * 1024 * 1024

export interface Session {
  /** Where the next request goes; every answer may move it. */
  location: URL
  /** Bytes that the registry has, by its own word. */
  received: number
  readonly minChunk: number
}

/** Opens one; `subject` is what is uploaded, for messages. */
export const start = (
  client: Client.Client,
  repository: string,
  subject: string
): Effect.Effect<Session, RegistryError> => {
  const call = startCall(client, repository, subject, "")
  return Retry.exchange(client, call, (response) => opened(client, call, response))
}

export const startCall = (
  client: Client.Client,
  repository: string,
  subject: string,
  query: string
): Exchange.Call => ({
  operation: `start upload of ${subject}`,
  method: "POST",
  url: Client.urlOf(client, `${repository}/blobs/uploads/${query}`),
  accept: [202]
})

/** The session of a 202. */
export const opened = (
  client: Client.Client,
  call: Exchange.Call,
  response: Exchange.Response
): Effect.Effect<Session, RegistryError> =>
  Effect.gen(function* () {
    const { location } = response.headers
    if (location === undefined) {
      return yield* Effect.fail(Failure.make(call, "Protocol", { status: response.status, detail: "no Location came" }))
    }
    yield* Exchange.drain(response)
    const url = yield* Exchange.judge(client, { ...call, url: response.url }, location, "location")
    const min = Number(response.headers["oci-chunk-min-length"] ?? "0")
    const minChunk = Number.isFinite(min) ? Math.max(0, Math.min(min, maxChunkSize)) : 0
    return { location: url, received: 0, minChunk }
  })

/** A session of which only the location was remembered, as far as the registry has it; `None` where it is gone. */
export const reopen = (
  client: Client.Client,
  subject: string,
  location: string,
  minChunk = 0
): Effect.Effect<Option.Option<Session>, RegistryError> => {
  const call: Exchange.Call = {
    operation: `ask how far the upload of ${subject} is`,
    method: "GET",
    url: location,
    accept: [204, 202]
  }
  return Effect.gen(function* () {
    // What lay in a file is no more to be trusted than what a registry says.
    const base = { ...call, url: client.endpoint.origin }
    const url = yield* Exchange.judge(client, base, location, "location")
    return yield* Retry.exchange(client, { ...call, url: url.href }, (response) =>
      Effect.gen(function* () {
        yield* Exchange.drain(response)
        const { location: moved, range } = response.headers
        const at =
          moved === undefined ? url : yield* Exchange.judge(client, { ...call, url: response.url }, moved, "location")
        return Option.map(receivedOf(range), (received): Session => ({ location: at, received, minChunk }))
      })
    )
  }).pipe(
    Effect.catchIf(
      ({ reason, status }) => status !== undefined || reason === "UnsafeUrl",
      () => Effect.succeedNone
    )
  )
}

/** After a PATCH whose answer was read: the session may have moved, and the registry must have got what was sent. */
export const advance = (
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
    const expected = session.received + sent
    // `0-0` stands for one byte here where one was sent.
    const received = Option.map(receivedOf(range), (count) => (count === 0 && expected === 1 ? 1 : count))
    if (range !== undefined && !Option.contains(received, expected)) {
      const detail = `${complaint} ${range} after ${expected} bytes`
      return yield* Effect.fail(Failure.make(call, "Protocol", { status: response.status, detail }))
    }
    session.received = expected
  })

/** The error of a PATCH after which the registry holds something else than was sent. */
export const isLostBytes = (error: RegistryError): boolean => error.detail?.startsWith(complaint) === true

/** Errors are ignored: the registry drops a forgotten session by itself, only later. */
export const cancel = (client: Client.Client, session: Session): Effect.Effect<void> => {
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

// internal

const complaint = "the registry received Range"

/** Bytes that a Range header tells of; `0-0` is also what registries say of an empty upload, and is taken for that. */
const receivedOf = (range: string | undefined): Option.Option<number> => {
  const end = /^(?:bytes=)?0-(\d+)$/.exec(range?.trim() ?? "")?.[1]
  if (end === undefined) return Option.none()
  return Option.some(Number(end) === 0 ? 0 : Number(end) + 1)
}
