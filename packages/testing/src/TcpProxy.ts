/**
 * A proxy on the loopback interface between a client and a registry, that counts what passes and does harm where its
 * script says so: refuses, cuts in either direction, ends early, stalls, delays, slows down, flips a bit, answers by itself.
 *
 * ```ts
 * const proxy = yield* TcpProxy.make(registry.url, ({ index }) => index === 3 ? TcpProxy.cutResponse(1000) : undefined)
 * ```
 */
import * as Http from "node:http"
import type { AddressInfo, Socket } from "node:net"
import type { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bucket from "./TcpProxy/Bucket.js"
import * as Meter from "./TcpProxy/Meter.js"

export interface ProxiedRequest {
  /** 0 for the first request since the proxy was made. */
  readonly index: number
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: Http.IncomingHttpHeaders
}

/** A place in a body: bytes from its start, or chosen by its Content-Length, `undefined` where it has none. */
export type Position = Meter.Position

/** What goes wrong with one request; several may be joined with `all`. */
export interface Fault {
  readonly respond?: {
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: string
  }
  /** Milliseconds before the request is looked at. */
  readonly delay?: number
  /** Nothing is passed on and nothing answered. */
  readonly silent?: boolean
  readonly request?: Meter.StreamFault
  readonly response?: Meter.StreamFault
}

/** Answers without asking the registry; the request's body is read to its end first. */
export const respond = (status: number, headers: Readonly<Record<string, string>> = {}, body = ""): Fault => ({
  respond: { status, headers, body }
})
export const delay = (millis: number): Fault => ({ delay: millis })
/** Takes the request and never answers. */
export const silence: Fault = { silent: true }
/** Resets the connection before anything is passed on. */
export const disconnect: Fault = { request: { cutAt: 0 } }
/** Resets the connection after this many bytes of the request's body went to the registry. */
export const cutRequest = (at: Position): Fault => ({ request: { cutAt: at } })
/** Resets the connection after this many bytes of the answer's body; at 0 the registry did what was asked and nothing comes back. */
export const cutResponse = (at: Position): Fault => ({ response: { cutAt: at } })
/** Closes the connection in good order after this many bytes of the answer's body, of which the headers promised more. */
export const truncateResponse = (at: Position): Fault => ({ response: { truncateAt: at } })
/** Gives the registry this many bytes of the request's body as if they were all. */
export const shortenRequest = (at: Position): Fault => ({ request: { shortenAt: at } })
/** Gives the client this many bytes of the answer's body as if they were all: its Content-Length says so too. */
export const shortenResponse = (at: Position): Fault => ({ response: { shortenAt: at } })
export const stallRequest = (at: Position): Fault => ({ request: { stallAt: at } })
/** The answer's headers and this many bytes of its body, then silence. */
export const stallResponse = (at: Position): Fault => ({ response: { stallAt: at } })
/** Changes one bit of this byte of the request's body. */
export const flipRequest = (at: Position): Fault => ({ request: { flipAt: at } })
/** Changes one bit of this byte of the answer's body. */
export const flipResponse = (at: Position): Fault => ({ response: { flipAt: at } })
/** Bytes a second, in each direction; all requests with the same limit share it. */
export const limit = (rate: number): Fault => ({ request: { rate }, response: { rate } })

export const all = (...faults: ReadonlyArray<Fault>): Fault => faults.reduce(join, {})

/** Asked once for every request, in the order of arrival. */
export type Script = (request: ProxiedRequest) => Fault | undefined

export interface Options {
  /** Whether a connection serves several requests. Default true. */
  readonly keepAlive?: boolean | undefined
}

export interface TcpProxy {
  /** `http://127.0.0.1:41234`. */
  readonly url: string
  /** `127.0.0.1:41234`. */
  readonly host: string
  /** All requests so far. */
  readonly requests: () => ReadonlyArray<ProxiedRequest>
  /** Body bytes that passed so far: `up` to the registry, `down` to the client. */
  readonly bytes: () => { readonly up: number; readonly down: number }
  readonly connections: () => number
  /** Requests that were harmed: a place that a body does not reach harms nothing. Delays and limits are no harm. */
  readonly struck: () => number
  /** From now on. */
  readonly script: (script: Script) => Effect.Effect<void>
  /** Closes the port: further connections are refused, requests under way live on. */
  readonly closePort: Effect.Effect<void>
  /** Cuts every connection and closes the port: further ones are refused. */
  readonly refuse: Effect.Effect<void>
  /** Opens the same port again. */
  readonly accept: Effect.Effect<void>
}

/** In front of `target` (`http://127.0.0.1:5000`) for as long as the scope is open. */
export const make = (
  target: string,
  script: Script = () => undefined,
  options: Options = {}
): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const upstream = new URL(target)
    const agent = new Http.Agent({ keepAlive: true })
    const sockets = new Set<Socket>()
    const requests: Array<ProxiedRequest> = []
    const passed = { up: 0, down: 0 }
    const bucket = { up: buckets(), down: buckets() }
    let current = script
    let connections = 0
    let struck = 0
    const strike = () => void struck++

    const serve = async (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse): Promise<void> => {
      const { method = "", url = "", headers } = incoming
      const seen = { index: requests.length, method, url, headers }
      requests.push(seen)
      const fault = current(seen) ?? {}
      incoming.on("error", () => outgoing.destroy())
      outgoing.shouldKeepAlive = options.keepAlive ?? outgoing.shouldKeepAlive
      if (fault.delay !== undefined) await new Promise((resolve) => setTimeout(resolve, fault.delay))
      if (fault.silent === true || fault.respond !== undefined || fault.request?.cutAt === 0) strike()
      if (fault.silent === true) return
      if (fault.respond !== undefined) return answer(incoming, outgoing, fault.respond)
      const reset = () => void incoming.socket.resetAndDestroy()
      if (fault.request?.cutAt === 0) return reset()
      const up = Meter.plan(fault.request ?? {}, lengthOf(headers))
      const forward = Http.request({
        agent,
        host: upstream.hostname,
        port: upstream.port,
        method,
        path: url,
        // The client's Host stays, so that the registry's Locations point to the proxy.
        headers: shortened(rawHeaders(incoming.rawHeaders), up.shorten)
      })
      outgoing.on("close", () => forward.destroy())
      forward.on("error", () => incoming.socket.destroy())
      forward.on("response", (response) => {
        if (fault.response?.cutAt === 0) {
          strike()
          return reset()
        }
        response.on("error", () => incoming.socket.destroy())
        const down = Meter.plan(fault.response ?? {}, lengthOf(response.headers))
        const bodiless = method === "HEAD" || response.statusCode === 204 || response.statusCode === 304
        outgoing.writeHead(
          response.statusCode ?? 502,
          shortened(rawHeaders(response.rawHeaders), bodiless ? Number.POSITIVE_INFINITY : down.shorten)
        )
        outgoing.flushHeaders()
        const meter = Meter.make(down, bucket.down(fault.response?.rate), {
          passed: (bytes) => {
            passed.down += bytes
          },
          struck: strike,
          cut: reset,
          close: () => void incoming.socket.end()
        })
        response.pipe(meter).pipe(outgoing)
      })
      const meter = Meter.make(up, bucket.up(fault.request?.rate), {
        passed: (bytes) => {
          passed.up += bytes
        },
        struck: strike,
        cut: () => {
          forward.destroy()
          reset()
        },
        close: () => void forward.destroy()
      })
      incoming.pipe(meter).pipe(forward)
    }

    const server = Http.createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 }, (incoming, outgoing) => {
      serve(incoming, outgoing).catch(() => incoming.socket.destroy())
    })
    server.on("connection", (socket: Socket) => {
      connections++
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => sockets.delete(socket))
    })
    const listen = (port: number) =>
      Effect.promise(
        () =>
          new Promise<number>((resolve, reject) => {
            server.once("error", reject)
            server.listen(port, "127.0.0.1", () => {
              server.off("error", reject)
              resolve((server.address() as AddressInfo).port)
            })
          })
      )
    const close = Effect.promise(
      () =>
        new Promise<void>((resolve) => {
          server.close(() => resolve())
          for (const socket of sockets) socket.resetAndDestroy()
        })
    )
    const port = yield* Effect.acquireRelease(listen(0), () =>
      Effect.zipRight(
        Effect.sync(() => agent.destroy()),
        Effect.when(close, () => server.listening)
      )
    )
    return {
      url: `http://127.0.0.1:${port}`,
      host: `127.0.0.1:${port}`,
      requests: () => [...requests],
      bytes: () => ({ ...passed }),
      connections: () => connections,
      struck: () => struck,
      script: (next) =>
        Effect.sync(() => {
          current = next
        }),
      closePort: Effect.sync(() => void server.close()),
      refuse: Effect.asVoid(Effect.when(close, () => server.listening)),
      accept: Effect.asVoid(Effect.unless(listen(port), () => server.listening))
    }
  })

// internal

const join = (one: Fault, other: Fault): Fault => ({
  ...one,
  ...other,
  request: { ...one.request, ...other.request },
  response: { ...one.response, ...other.response }
})

const answer = async (
  incoming: Http.IncomingMessage,
  outgoing: Http.ServerResponse,
  { body, headers, status }: NonNullable<Fault["respond"]>
): Promise<void> => {
  await drain(incoming)
  outgoing.writeHead(status, { "content-length": String(Buffer.byteLength(body)), ...headers })
  outgoing.end(incoming.method === "HEAD" ? "" : body)
}

const drain = async (stream: Readable): Promise<void> => {
  for await (const _ of stream);
}

const lengthOf = (headers: Http.IncomingHttpHeaders): number | undefined =>
  headers["content-length"] === undefined ? undefined : Number(headers["content-length"])

/** One bucket for each rate. */
const buckets = () => {
  const made = new Map<number, Bucket.Bucket>()
  return (rate: number | undefined): Bucket.Bucket | undefined => {
    if (rate === undefined) return undefined
    const bucket = made.get(rate) ?? Bucket.make(rate)
    made.set(rate, bucket)
    return bucket
  }
}

/** As they came, but for those of the connection; repeated ones as a list: Node takes no list of one for `Host`. */
const rawHeaders = (raw: ReadonlyArray<string>): Http.OutgoingHttpHeaders => {
  const headers: Record<string, string | Array<string>> = {}
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = "", value = ""] = raw.slice(at, at + 2)
    if (/^(connection|keep-alive)$/i.test(name)) continue
    const before = headers[name]
    headers[name] = before === undefined ? value : [before, value].flat()
  }
  return headers
}

/** A Content-Length that is larger says `length` instead. */
const shortened = (headers: Http.OutgoingHttpHeaders, length: number): Http.OutgoingHttpHeaders =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      name.toLowerCase() === "content-length" ? String(Math.min(Number(value), length)) : value
    ])
  )
