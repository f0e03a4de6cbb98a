/**
 * One exchange with a registry, over the user's `HttpClient`: our headers, our redirects, our time limits, and every
 * failure as a `RegistryError`. Nothing here tries twice; see `Retry`.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Progress from "../Progress.js"
import * as RegistryConfig from "../RegistryConfig.js"
import { type RegistryError, safeUrl } from "../RegistryError.js"
import * as Deadline from "./Deadline.js"
import * as Failure from "./Failure.js"
import * as Redirect from "./Redirect.js"

/** An error page of any length would be held in memory. */
export const maxErrorBody = 1024 * 1024
/** Read off a body nobody wants, so that its connection can be used again; a longer one is cut off. */
const maxDrain = 64 * 1024
/** A registry could send a new warning with every answer. */
const maxWarnings = 100

/** What one operation knows about one registry: made when the operation begins and gone with it. */
export interface Client {
  readonly endpoint: RegistryConfig.Endpoint
  readonly config: RegistryConfig.Service
  readonly http: HttpClient.HttpClient.With<HttpClientError.HttpClientError, Scope.Scope>
  readonly state: State
}

/** Mutable, and shared by all that the operation does at once. */
export interface State {
  /** The registry has answered at least once. */
  answered: boolean
  /** Milliseconds spent waiting to try again since the last success. */
  waited: number
  /** No attempt starts before this time, in milliseconds: the registry asked everybody to slow down. */
  notBefore: number
  /** Errors that were tried often enough. */
  readonly givenUp: WeakSet<RegistryError>
  readonly warnings: Set<string>
  /** The registry refused a body of unknown length. */
  refusesChunkedEncoding: boolean
  /** The registry refused a whole blob in one request. */
  refusesLargeBodies: boolean
}

/** The client for one operation. */
export const client = (
  endpoint: RegistryConfig.Endpoint
): Effect.Effect<Client, never, HttpClient.HttpClient | RegistryConfig.RegistryConfig> =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    const http = yield* HttpClient.HttpClient
    return {
      endpoint,
      config,
      // The platform's spans carry whole URLs, and its propagation headers would go to third hosts.
      http: HttpClient.withScope(HttpClient.withTracerDisabledWhen(http, () => true)),
      state: {
        answered: false,
        waited: 0,
        notBefore: 0,
        givenUp: new WeakSet(),
        warnings: new Set(),
        refusesChunkedEncoding: false,
        refusesLargeBodies: false
      }
    }
  })

export interface Call extends Failure.Subject {
  readonly method: HttpMethod
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: HttpBody.HttpBody | undefined
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

/** `https://host/v2/REPOSITORY/…` */
export const urlOf = (client: Client, path: string): string => `${client.endpoint.origin}/v2/${path}`

/** `host/repository`, for messages. */
export const nameOf = (client: Client, repository: string): string => `${client.endpoint.host}/${repository}`

/** Sends it once and follows redirects. The body of the answer can be read while the scope is open. */
export const send = (client: Client, call: Call): Effect.Effect<Response, RegistryError, Scope.Scope> =>
  Effect.gen(function* () {
    const outer = yield* Effect.scope
    let url = call.url
    for (let hop = 0; hop <= Redirect.maxRedirects; hop++) {
      const scope = yield* Scope.fork(outer, outer.strategy)
      const response = yield* Scope.extend(exchange(client, call, url), scope)
      const location = Redirect.target(call.method, response.status, response.headers.location)
      if (Option.isNone(location)) return yield* check(client, call, response)
      yield* drain(response)
      yield* Scope.close(scope, Exit.void)
      url = (yield* judge(client, { ...call, url }, location.value, "redirect")).href
    }
    const detail = `more than ${Redirect.maxRedirects} redirects`
    return yield* Effect.fail(Failure.make(call, "Protocol", { detail }))
  }).pipe(
    Effect.withSpan("effect-registry.request", {
      kind: "client",
      attributes: { operation: call.operation, method: call.method, url: safeUrl(call.url) }
    })
  )

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

/** The whole body. More than `limit` bytes fail with `TooLarge`, silence with `Timeout`. */
export const bytes = (
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
    yield* Deadline.guard(
      read,
      meter,
      { total: Number.POSITIVE_INFINITY, answer: Deadline.stallTimeout },
      silent(subject)
    )
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

/** One request and the headers of its answer, whatever its status. */
const exchange = (client: Client, call: Call, url: string): Effect.Effect<Response, RegistryError, Scope.Scope> =>
  Effect.gen(function* () {
    const subject = { ...call, url }
    const plain = HttpClientRequest.make(call.method)(url, {
      headers: headersFor(client, call, url),
      body: call.body ?? HttpBody.empty
    })
    const request = call.prepare === undefined ? plain : call.prepare(plain)
    const init = yield* Effect.serviceOption(FetchHttpClient.RequestInit)
    const sent = client.http.execute(request).pipe(
      Effect.provideService(FetchHttpClient.RequestInit, {
        ...Option.getOrElse(init, () => ({})),
        redirect: "manual"
      }),
      Effect.mapError((error) => Failure.fromClient(subject, error))
    )
    const meter = call.upload?.meter ?? (yield* Deadline.makeMeter)
    const limits = { total: call.upload?.total ?? 0, answer: answerWithin(client, call) }
    const raw = yield* Deadline.guard(sent, meter, limits, silent(subject))
    client.state.answered = true
    yield* warn(client, raw.headers.warning)
    return { status: raw.status, headers: raw.headers, url, raw }
  })

const answerWithin = (client: Client, call: Call): Duration.Duration =>
  Option.getOrElse(client.config.responseTimeout, () =>
    call.upload === undefined ? Deadline.answerTimeout : Deadline.uploadAnswerTimeout
  )

/** Ours and the call's; to another origin only those that concern everybody. */
const headersFor = (client: Client, call: Call, url: string): Record<string, string> => {
  const all = {
    "accept-encoding": "identity",
    "user-agent": client.config.userAgent,
    ...call.headers
  }
  if (new URL(url).origin === new URL(client.endpoint.origin).origin) return all
  return Object.fromEntries(Object.entries(all).filter(([name]) => Redirect.publicHeaders.has(name)))
}

const check = (client: Client, call: Call, response: Response): Effect.Effect<Response, RegistryError> => {
  if (call.accept.includes(response.status)) {
    client.state.waited = 0
    return Effect.succeed(response)
  }
  return Effect.gen(function* () {
    const subject = { ...call, url: response.url }
    const text = yield* bytes(subject, response, maxErrorBody).pipe(
      Effect.map((read) => new TextDecoder().decode(read)),
      // The status says enough where the page is too long or breaks off.
      Effect.catchAll(() => Effect.succeed(""))
    )
    const now = yield* Clock.currentTimeMillis
    return yield* Effect.fail(Failure.fromStatus(subject, response.status, text, response.headers, now))
  })
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
