/** One request and its answer over node:http: sends the body at the pace of the socket, watches the clock, cleans up. */
import * as Http from "node:http"
import * as Https from "node:https"
import type { Socket } from "node:net"
import { Readable } from "node:stream"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Lent from "../Lent.js"
import * as Proxy from "../Proxy.js"
import * as Body from "./Body.js"
import { NodeResponse } from "./Response.js"
import type { Route, RouteError } from "./Route.js"

/** Milliseconds. */
export interface Limits {
  readonly connect: number
  readonly stall: number
  readonly answer: number
}

/** Sends and gives the answer as soon as its headers are there, also in the middle of the body. */
export const exchange = (
  request: HttpClientRequest.HttpClientRequest,
  found: Either.Either<Route, RouteError>,
  signal: AbortSignal,
  limits: Limits
): Effect.Effect<NodeResponse, HttpClientError.RequestError> =>
  Effect.gen(function* () {
    const failed = (reason: "Transport" | "Encode") => (cause: Error) =>
      new HttpClientError.RequestError({ request, reason, cause })
    const route = yield* Effect.mapError(found, failed("Transport"))
    const payload = yield* Effect.mapError(Body.open(request.body), failed("Encode"))
    return yield* run(request, route, signal, limits, payload)
  })

// internal

const run = (
  request: HttpClientRequest.HttpClientRequest,
  route: Route,
  signal: AbortSignal,
  limits: Limits,
  payload: Body.Payload
): Effect.Effect<NodeResponse, HttpClientError.RequestError> =>
  Effect.async((resume) => {
    const source = payload.content instanceof Readable ? payload.content : undefined
    const fail = (reason: "Transport" | "Encode", cause: unknown): void =>
      close(source, () => resume(Effect.fail(new HttpClientError.RequestError({ request, reason, cause }))))

    let req: Http.ClientRequest
    try {
      req = (route.url.protocol === "https:" ? Https : Http).request(route.url, {
        ...route.options,
        method: request.method,
        headers: { ...headersOf(request, payload), ...route.headers }
      })
    } catch (cause) {
      fail("Encode", cause) // a header or path that must not go out
      return
    }
    // Without an error: the connection may be idle again already, and an error there has no listener.
    const abort = (): void => void req.destroy()
    signal.addEventListener("abort", abort, { once: true })
    watch(req, limits, payload.content !== undefined)
    req.on("error", (cause) => fail("Transport", cause))
    req.on("close", () => {
      signal.removeEventListener("abort", abort)
      source?.destroy()
    })
    req.on("response", (res) => {
      // the reader hears of errors too; without a reader nobody has to
      res.on("error", () => {})
      if (res.statusCode === 407 && route.proxy !== undefined) {
        req.destroy(Proxy.unauthorized(route.proxy))
        return
      }
      const response = new NodeResponse(request, res)
      if (response.empty) res.resume()
      if (response.status >= 300 && source !== undefined && !req.writableEnded) {
        // a refusal before the end of the body: the rest is not wanted, and the connection cannot be used again
        source.destroy()
        res.once("end", () => req.destroy())
      }
      resume(Effect.succeed(response))
    })
    if (source === undefined) req.end(payload.content)
    else send(req, source, payload.length)

    return Effect.async<void>((done) => {
      req.destroy()
      close(source, () => done(Effect.void))
    })
  })

const headersOf = (request: HttpClientRequest.HttpClientRequest, payload: Body.Payload): Http.OutgoingHttpHeaders => {
  const headers: Http.OutgoingHttpHeaders = { "accept-encoding": "identity", ...request.headers }
  if (payload.type !== undefined) headers["content-type"] = payload.type
  if (payload.length !== undefined) headers["content-length"] = payload.length
  return headers
}

/** Not `pipe`: it would wait for ever for the rest of a body that is shorter than announced, and send one that is longer. */
const send = (req: Http.ClientRequest, source: Readable, length: number | undefined): void => {
  let sent = 0
  source.on("data", (chunk: Uint8Array) => {
    sent += chunk.length
    if (length !== undefined && sent > length) {
      req.destroy(new Error(`the body is longer than its ${length} bytes`))
    } else if (!req.destroyed && !req.write(chunk, () => Lent.giveBack(chunk))) {
      source.pause()
    }
  })
  req.on("drain", () => source.resume())
  source.on("error", (error) => req.destroy(error))
  source.on("end", () => {
    if (length === undefined || sent === length) req.end()
    else req.destroy(new Error(`the body ended after ${sent} of ${length} bytes`))
  })
}

/** Destroys the stream and calls back when it let go of what it reads from. */
const close = (source: Readable | undefined, then: () => void): void => {
  if (source === undefined || source.closed) {
    then()
    return
  }
  source.once("close", then)
  source.once("error", () => {})
  source.destroy()
}

/** Whether somebody takes bytes: one who asks for them chunk by chunk leaves the stream paused for good. */
const isRead = (response: Http.IncomingMessage): boolean =>
  response.listenerCount("readable") > 0 || !response.isPaused()

/** Ends the exchange when connecting, moving bytes or the answer takes too long. A slow source or reader of ours does not count. */
const watch = (req: Http.ClientRequest, limits: Limits, upload: boolean): void => {
  let response: Http.IncomingMessage | undefined
  let connecting: NodeJS.Timeout | undefined
  let answering: NodeJS.Timeout | undefined
  let socket: Socket | undefined

  const end = (what: string, ms: number): void => {
    const error = Object.assign(new Error(`${what} within ${ms / 1000} s`), { code: "ETIMEDOUT" })
    if (response === undefined) req.destroy(error)
    else response.destroy(error)
  }
  const bytesAreDue = (): boolean =>
    response === undefined
      ? req.writableLength > 0
      : isRead(response) && !response.complete && response.readableLength < response.readableHighWaterMark
  // the socket's own timer: it sees also a part of a write move
  const onIdle = (): void => {
    if (bytesAreDue()) end("no byte moved", limits.stall)
    else socket?.setTimeout(limits.stall)
  }
  req.on("socket", (s) => {
    socket = s
    s.setTimeout(limits.stall)
    s.on("timeout", onIdle)
    if (req.reusedSocket) return
    connecting = setTimeout(() => end("no connection", limits.connect), limits.connect)
    s.once("encrypted" in s ? "secureConnect" : "connect", () => clearTimeout(connecting))
  })
  req.on("finish", () => {
    const ms = upload ? limits.answer : limits.stall
    if (response === undefined) answering = setTimeout(() => end("no answer", ms), ms)
  })
  req.on("response", (res) => {
    response = res
    clearTimeout(answering)
  })
  req.on("close", () => {
    clearTimeout(connecting)
    clearTimeout(answering)
    socket?.off("timeout", onIdle)
  })
}
