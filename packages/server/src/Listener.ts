/** The socket: how it listens, what a slow or silent client may do, and how it ends. */
import { createServer, type RequestListener, type Server } from "node:http"
import { createServer as createSecureServer, type Server as SecureServer } from "node:https"
import type { Socket } from "node:net"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { reachable } from "./Address.js"
import { realTime } from "./RealTime.js"
import type { Requests } from "./Requests.js"
import { ServerError } from "./ServerError.js"
import * as Tls from "./Tls.js"

export interface Options {
  readonly host: string
  /** 0 for a free one. */
  readonly port: number
  readonly tls: Tls.Options | undefined
  /** How long requests may go on when the scope closes. */
  readonly grace: Duration.DurationInput
  /** From the first byte, or from the connection where none comes, to the end of the headers. Default 20 seconds. */
  readonly headersWithin?: Duration.DurationInput | undefined
  /** Time without a byte after which a client that does not take its answer counts as gone. Default 2 minutes. */
  readonly answerWithin?: Duration.DurationInput | undefined
}

export interface Address {
  readonly url: string
  readonly host: string
  readonly port: number
}

/** Listens for as long as the scope is open. When it closes, requests get their `grace`; then connections are closed. */
export const make = (
  options: Options,
  requests: Requests,
  listener: RequestListener
): Effect.Effect<Address, ServerError, Scope.Scope> =>
  Effect.gen(function* () {
    const { server, watch } = yield* create(options)
    server.maxConnections = mostConnections
    server.on("request", listener)
    // Whoever asks first is told to go on when somebody will read the body, and not before.
    server.on("checkContinue", listener)
    server.setTimeout(Duration.toMillis(options.answerWithin ?? "2 minutes"), abandon)
    yield* listen(server, options)
    yield* Effect.addFinalizer(() => close(server, requests, options.grace))
    yield* watch
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : options.port
    const host = `${reachable(options.host)}:${port}`
    return { url: `${options.tls === undefined ? "http" : "https"}://${host}`, host, port }
  })

// internal

/** More clients than this wait for one to go. */
const mostConnections = 4096

/** A body that is awaited and an answer that is being made have limits of their own. */
const abandon = (socket: Socket) => {
  if (socket.writableLength > 0) socket.destroy()
}

const limits = ({ headersWithin = "20 seconds" }: Options) => {
  const headersTimeout = Duration.toMillis(headersWithin)
  return {
    headersTimeout,
    connectionsCheckingInterval: headersTimeout / 4,
    // Node ends every request after five minutes unless told not to; silence is what we count instead.
    requestTimeout: 0,
    // Long enough that a client's pool seldom sends into a connection that is just being closed.
    keepAliveTimeout: 75_000,
    maxHeaderSize: 16_384
  }
}

const create = (options: Options) =>
  Effect.gen(function* () {
    const { tls } = options
    if (tls === undefined) return { server: createServer(limits(options)), watch: Effect.void }
    const { cert, key } = yield* Tls.load(tls)
    const { headersTimeout, ...others } = limits(options)
    const own = { cert, key, minVersion: Tls.minVersion, handshakeTimeout: headersTimeout } as const
    const server: SecureServer = createSecureServer({ ...others, headersTimeout, ...own })
    return { server, watch: realTime(Tls.watch(server, tls)) }
  })

const listen = (server: Server | SecureServer, { host, port }: Options) =>
  Effect.async<void, ServerError>((resume) => {
    const onError = (cause: Error) => resume(Effect.fail(ServerError.listen(`${host}:${port}`, cause)))
    server.once("error", onError)
    server.listen({ host, port }, () => {
      server.off("error", onError)
      // Of single connections, such as too many open files: they wait, and the server goes on.
      server.on("error", () => {})
      resume(Effect.void)
    })
    return Effect.sync(() => server.close())
  })

const close = (server: Server | SecureServer, requests: Requests, grace: Duration.DurationInput) =>
  Effect.gen(function* () {
    requests.closing = true
    // Idle connections go with this, the others with the answer that they get.
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    const answered = Effect.repeat(Effect.sleep("5 millis"), { while: () => requests.open > 0 })
    yield* Effect.timeoutOption(answered, grace)
    server.closeAllConnections()
    yield* Effect.promise(() => closed)
    // What cannot be interrupted comes to its end before somebody removes the folder.
    yield* Effect.repeat(Effect.sleep("5 millis"), { while: () => requests.handlers > 0 })
  }).pipe(
    Effect.interruptible,
    Effect.timeoutOption(Duration.sum(Duration.decode(grace), Duration.seconds(5))),
    Effect.asVoid,
    realTime
  )
