/**
 * One request and its answer, over the user's `HttpClient`: our headers, our time limits, and every failure as a
 * `RegistryError`. Nothing here follows a redirect, authenticates or tries twice; see `Request` and `Retry`.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Progress from "../Progress.js"
import * as RegistryConfig from "../RegistryConfig.js"
import { type RegistryError, safeUrl } from "../RegistryError.js"
import type { Client } from "./Client.js"
import * as Deadline from "./Deadline.js"
import * as Failure from "./Failure.js"
import * as Redirect from "./Redirect.js"

/** An error page of any length would be held in memory. */
export const maxErrorBody = 1024 * 1024
/** Read off a body nobody wants, so that its connection can be used again; a longer one is cut off. */
const maxDrain = 64 * 1024
/** A registry could send a new warning with every answer. */
const maxWarnings = 100

export interface Call extends Failure.Subject {
  readonly method: HttpMethod
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: HttpBody.HttpBody | undefined
  /** What it needs a token for beyond what the operation does: the other repository of a mount. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** Statuses that are answers; every other one fails. */
  readonly accept: ReadonlyArray<number>
  /** A last change to the request, made at every hop. */
  readonly prepare?: ((request: HttpClientRequest.HttpClientRequest) => HttpClientRequest.HttpClientRequest) | undefined
  /** Of a body with bytes: counts them, out of `total`. */
  readonly upload?: { readonly meter: Deadline.Meter; readonly total: number } | undefined
}

export interface Response {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Where the answer came from, after redirects. */
  readonly url: string
  readonly raw: HttpClientResponse.HttpClientResponse
}

/** One request and the headers of its answer, whatever its status. `authorization` is the header's whole value. */
export const exchange = (
  client: Client,
  call: Call,
  url: string,
  authorization: Option.Option<Redacted.Redacted>
): Effect.Effect<Response, RegistryError, Scope.Scope> =>
  Effect.gen(function* () {
    const subject = { ...call, url }
    const plain = HttpClientRequest.make(call.method)(url, {
      headers: {
        ...headersFor(client, call, url),
        ...Option.match(authorization, {
          onNone: () => ({}),
          onSome: (value) => ({ authorization: Redacted.value(value) })
        })
      },
      body: call.body ?? HttpBody.empty
    })
    const request = call.prepare === undefined ? plain : call.prepare(plain)
    const init = yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    const sent = client.http.execute(request).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, {
        ...Option.getOrElse(init, () => ({})),
        // Cookies and client certificates are for the registry, not for where it leads to.
        ...(isOwn(client, url) ? {} : { credentials: "omit" }),
        redirect: "manual"
      }),
      Effect.mapError((error) => Failure.fromClient(subject, error))
    )
    const meter = call.upload?.meter ?? (yield* Deadline.makeMeter)
    const limits = {
      total: call.upload?.total ?? 0,
      answer: answerWithin(client, call),
      stall: client.config.stallTimeout
    }
    const raw = yield* Deadline.guard(sent, meter, limits, silent(subject))
    client.state.answered = true
    yield* warn(client, raw.headers.warning)
    return { status: raw.status, headers: raw.headers, url, raw }
  })

/** The answer, or the error that its status and body tell of. */
export const check = (client: Client, call: Call, response: Response): Effect.Effect<Response, RegistryError> => {
  if (call.accept.includes(response.status)) {
    client.state.waited = 0
    client.state.gate.widen()
    return Effect.succeed(response)
  }
  return Effect.gen(function* () {
    const subject = { ...call, url: response.url }
    const text = yield* bytes(client, subject, response, maxErrorBody).pipe(
      Effect.map((read) => new TextDecoder().decode(read)),
      // The status says enough where the page is too long or breaks off.
      Effect.catchAll(() => Effect.succeed(""))
    )
    const now = yield* Clock.currentTimeMillis
    return yield* Effect.fail(Failure.fromStatus(subject, response.status, text, response.headers, now))
  })
}

/** The judge's word on a URL that the registry handed out, as `UnsafeUrl` where it is no. */
export const judge = (
  client: Client,
  subject: Failure.Subject,
  target: string,
  kind: Redirect.Kind
): Effect.Effect<URL, RegistryError> => {
  const rules = { origin: client.endpoint.origin, allowUrl: client.config.allowUrl }
  return Either.match(Redirect.judge(rules, subject.url, target, kind), {
    onLeft: (why) =>
      Effect.fail(
        Failure.make(subject, "UnsafeUrl", {
          detail: `the registry's ${kind} ${safeUrl(target).slice(0, 500)}: ${why}`
        })
      ),
    onRight: Effect.succeed
  })
}

/** Whether the URL is of the registry itself. */
export const isOwn = (client: Client, url: string): boolean =>
  new URL(url).origin === new URL(client.endpoint.origin).origin

/** The whole body. More than `limit` bytes fail with `TooLarge`, silence with `Timeout`. */
export const bytes = (
  client: Client,
  subject: Failure.Subject,
  response: Response,
  limit: number
): Effect.Effect<Uint8Array, RegistryError> => {
  const tooLarge = (size: string) =>
    Effect.fail(
      Failure.make(subject, "TooLarge", {
        status: response.status,
        detail: `${size}, at most ${limit} bytes are taken`
      })
    )
  const announced = Number(response.headers["content-length"] ?? "0")
  if (announced > limit) return tooLarge(`${announced} bytes`)
  return Effect.gen(function* () {
    const meter = yield* Deadline.makeMeter
    const chunks: Array<Uint8Array> = []
    const read = Stream.runForEach(body(subject, response), (chunk) => {
      meter.add(chunk.length)
      chunks.push(chunk)
      return meter.bytes() > limit ? tooLarge("the body goes on and on") : Effect.void
    })
    yield* Deadline.guard(read, meter, Deadline.ofBody(client.config.stallTimeout), silent(subject))
    return concat(chunks, meter.bytes())
  })
}

/** The body as a stream; nothing where there is none. */
export const body = (subject: Failure.Subject, response: Response): Stream.Stream<Uint8Array, RegistryError> =>
  Stream.catchAll(response.raw.stream, (error) =>
    error.reason === "EmptyBody" ? Stream.empty : Stream.fail(Failure.fromClient(subject, error))
  )

/** Reads what is left of a short answer that nobody looks at: its connection is used again. */
export const drain = (response: Response): Effect.Effect<void> => {
  let read = 0
  return Stream.runForEachWhile(response.raw.stream, (chunk) =>
    Effect.sync(() => {
      read += chunk.length
      return read <= maxDrain
    })
  ).pipe(
    // What cannot be read here is not needed; the scope closes the connection.
    Effect.timeoutOption("1 second"),
    Effect.catchAll(() => Effect.void),
    Effect.asVoid
  )
}

/** The error of an exchange where nothing moved for so long. */
export const silent =
  (subject: Failure.Subject) =>
  (limit: Duration.Duration): RegistryError =>
    Failure.make(subject, "Timeout", { detail: `nothing came for ${Duration.format(limit)}` })

export const concat = (chunks: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const [only] = chunks
  if (only !== undefined && chunks.length === 1) return only
  const all = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

// internal

const answerWithin = (client: Client, call: Call): Duration.Duration =>
  Option.getOrElse(client.config.responseTimeout, () =>
    call.upload === undefined ? client.config.stallTimeout : Deadline.uploadAnswerTimeout
  )

/** Ours, the call's and the host's; to another origin only those that concern everybody. */
const headersFor = (client: Client, call: Call, url: string): Record<string, string> => {
  const all = { "accept-encoding": "identity", "user-agent": client.config.userAgent, ...call.headers }
  if (isOwn(client, url)) return { ...RegistryConfig.headersOf(client.config, client.endpoint.host), ...all }
  return Object.fromEntries(Object.entries(all).filter(([name]) => Redirect.publicHeaders.has(name)))
}

/** `Warning: 299 - "text"` is for the user, once. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#warnings */
const warn = (client: Client, header: string | undefined): Effect.Effect<void> => {
  const { warnings } = client.state
  if (header === undefined || warnings.size >= maxWarnings) return Effect.void
  const fresh = [...header.matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)]
    .map((match) => (match[1] ?? "").replace(/\\(.)/g, "$1"))
    .filter((text) => text !== "" && !warnings.has(text))
  if (fresh.length === 0) return Effect.void
  return Effect.map(Progress.Progress, (progress) => {
    for (const text of fresh) {
      warnings.add(text)
      progress.emit({ _tag: "Warning", message: `${client.endpoint.host}: ${text.slice(0, 500)}` })
    }
  })
}
