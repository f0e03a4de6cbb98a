/** An `HttpClient` that answers from a script and fails the test on a request that was not planned. */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { Progress, RegistryConfig } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

export interface Seen {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly url: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Uint8Array
}

export type Answer =
  | {
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string | Uint8Array | ReadableStream<Uint8Array>
    }
  /** The connection fails with this code. */
  | { readonly code: string; readonly message?: string }
  | "hang"

export type Handler = (request: Seen, index: number) => Answer | undefined

/** The layer of a test, and what was asked. */
export const make = (handler: Handler, options: RegistryConfig.Options = {}) => {
  const seen: Array<Seen> = []
  const events: Array<Progress.ProgressEvent> = []
  const client = HttpClient.make((request, url) =>
    Effect.gen(function* () {
      const body = yield* bytesOf(request)
      const one = {
        method: request.method,
        path: url.pathname + url.search,
        url: url.href,
        headers: request.headers,
        body
      }
      const index = seen.push(one) - 1
      const answer = handler(one, index)
      if (answer === undefined) return yield* Effect.die(new Error(`unplanned: ${one.method} ${one.url}`))
      if (answer === "hang") return yield* Effect.never
      if ("code" in answer) return yield* Effect.fail(broken(request, answer.code, answer.message))
      const headers = new Headers(answer.headers)
      const empty = request.method === "HEAD" || answer.status === 204 || answer.status === 304
      const content = empty ? null : (answer.body ?? "")
      if (typeof content === "string" || content instanceof Uint8Array) {
        const length = typeof content === "string" ? new TextEncoder().encode(content).length : content.length
        if (!headers.has("content-length")) headers.set("content-length", String(length))
      }
      const init = { status: answer.status, headers }
      return HttpClientResponse.fromWeb(request, new Response(content as BodyInit | null, init))
    })
  )
  const layer = Layer.mergeAll(
    Layer.succeed(HttpClient.HttpClient, client),
    RegistryConfig.layer({ retry: { delay: "1 millis", maxDelay: "1 millis" }, ...options }),
    Layer.succeed(Progress.Progress, { emit: (event) => void events.push(event) })
  )
  return { layer, seen, events, lines: () => seen.map(({ method, path }) => `${method} ${path}`) }
}

/** Answers in this order; one more request than answers is unplanned. */
export const inOrder = (answers: ReadonlyArray<Answer>, options?: RegistryConfig.Options) =>
  make((_, index) => answers[index], options)

/** Answers by `METHOD /path`; a list is used up from its start, its last entry stays. */
export const byRequest = (
  routes: Readonly<Record<string, Answer | ReadonlyArray<Answer>>>,
  options?: RegistryConfig.Options
) => {
  const counts = new Map<string, number>()
  return make(({ method, path }) => {
    const key = `${method} ${path}`
    const route = routes[key]
    if (route === undefined || !Array.isArray(route)) return route as Answer | undefined
    const index = counts.get(key) ?? 0
    counts.set(key, index + 1)
    return route[Math.min(index, route.length - 1)] as Answer | undefined
  }, options)
}

/** A body that breaks off after some bytes. */
export const cut = (bytes: Uint8Array): ReadableStream<Uint8Array> =>
  new ReadableStream(
    {
      pull(controller) {
        if (bytes.length > 0) controller.enqueue(bytes)
        controller.error(Object.assign(new Error("socket hang up"), { code: "ECONNRESET" }))
      }
    },
    { highWaterMark: 0 }
  )

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const broken = (request: HttpClientRequest.HttpClientRequest, code: string, message = code) =>
  new HttpClientError.RequestError({
    request,
    reason: "Transport",
    cause: Object.assign(new Error("fetch failed"), { cause: Object.assign(new Error(message), { code }) })
  })

const bytesOf = (request: HttpClientRequest.HttpClientRequest) => {
  const { body } = request
  if (body._tag === "Uint8Array") return Effect.succeed(Uint8Array.from(body.body))
  if (body._tag !== "Stream") return Effect.succeed(new Uint8Array(0))
  return Stream.runCollect(body.stream).pipe(
    Effect.map((chunks) => Uint8Array.from(Chunk.toReadonlyArray(chunks).flatMap((chunk) => [...chunk]))),
    Effect.mapError((cause) => new HttpClientError.RequestError({ request, reason: "Transport", cause }))
  )
}
