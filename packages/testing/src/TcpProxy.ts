/**
 * A proxy on the loopback interface between a client and a registry, that counts what passes and does harm where its
 * script says so: refuses, cuts in either direction, stalls, delays, slows down, flips a byte, answers by itself.
 *
 * ```ts
 * const proxy = yield* TcpProxy.make(registry.url, ({ index }) => index === 3 ? TcpProxy.cutResponse(1000) : undefined)
 * ```
 */
import * as Http from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { type Readable, Transform } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface ProxiedRequest {
  /** 0 for the first request since the proxy was made. */
  readonly index: number
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: Http.IncomingHttpHeaders
}

/** What goes wrong with one request; several may be joined with `all`. */
export interface Fault {
  readonly respond?: {
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: string
  }
  /** Milliseconds before the request is looked at. */
  readonly delay?: number
  readonly request?: StreamFault
  readonly response?: StreamFault
}

interface StreamFault {
  /** Body bytes that pass before the connection is cut. */
  readonly cutAt?: number
  /** Body bytes that pass before nothing more does. */
  readonly stallAt?: number
  /** The place in the body of the byte that is changed. */
  readonly flipAt?: number
  /** Bytes a second. */
  readonly rate?: number
}

/** Answers without asking the registry; the request's body is read to its end first. */
export const respond = (status: number, headers: Readonly<Record<string, string>> = {}, body = ""): Fault => ({
  respond: { status, headers, body }
})
export const delay = (millis: number): Fault => ({ delay: millis })
/** Resets the connection before anything is passed on. */
export const disconnect: Fault = { request: { cutAt: 0 } }
/** Resets the connection after this many bytes of the request's body went to the registry. */
export const cutRequest = (bytes: number): Fault => ({ request: { cutAt: bytes } })
/** Resets the connection after this many bytes of the answer's body; at 0 the registry did what was asked and nothing comes back. */
export const cutResponse = (bytes: number): Fault => ({ response: { cutAt: bytes } })
export const stallRequest = (bytes: number): Fault => ({ request: { stallAt: bytes } })
/** The answer's headers and this many bytes of its body, then silence. */
export const stallResponse = (bytes: number): Fault => ({ response: { stallAt: bytes } })
export const flipRequest = (offset: number): Fault => ({ request: { flipAt: offset } })
export const flipResponse = (offset: number): Fault => ({ response: { flipAt: offset } })
/** Bytes a second, in both directions. */
export const limit = (rate: number): Fault => ({ request: { rate }, response: { rate } })

export const all = (...faults: ReadonlyArray<Fault>): Fault => faults.reduce(join, {})

/** Asked once for every request, in the order of arrival. */
export type Script = (request: ProxiedRequest) => Fault | undefined

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
  /** From now on. */
  readonly script: (script: Script) => Effect.Effect<void>
  /** Cuts every connection and closes the port: further ones are refused. */
  readonly refuse: Effect.Effect<void>
  /** Opens the same port again. */
  readonly accept: Effect.Effect<void>
}

/** In front of `target` (`http://127.0.0.1:5000`) for as long as the scope is open. */
export const make = (target: string, script: Script = () => undefined): Effect.Effect<TcpProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const upstream = new URL(target)
    const agent = new Http.Agent({ keepAlive: false })
    const sockets = new Set<Socket>()
    const requests: Array<ProxiedRequest> = []
    const passed = { up: 0, down: 0 }
    let current = script
    let connections = 0

    const serve = async (incoming: Http.IncomingMessage, outgoing: Http.ServerResponse): Promise<void> => {
      const seen = {
        index: requests.length,
        method: incoming.method ?? "",
        url: incoming.url ?? "",
        headers: incoming.headers
      }
      requests.push(seen)
      const fault = current(seen) ?? {}
      incoming.on("error", () => outgoing.destroy())
      if (fault.delay !== undefined) await new Promise((resolve) => setTimeout(resolve, fault.delay))
      if (fault.respond !== undefined) {
        const { body, headers, status } = fault.respond
        await drain(incoming)
        outgoing.writeHead(status, { "content-length": String(Buffer.byteLength(body)), ...headers })
        outgoing.end(seen.method === "HEAD" ? "" : body)
        return
      }
      if (fault.request?.cutAt === 0) return void incoming.socket.resetAndDestroy()
      const cut = () => void incoming.socket.resetAndDestroy()
      const forward = Http.request({
        agent,
        host: upstream.hostname,
        port: upstream.port,
        method: seen.method,
        path: seen.url,
        // The client's Host stays, so that the registry's Locations point to the proxy.
        headers: rawHeaders(incoming.rawHeaders)
      })
      outgoing.on("close", () => forward.destroy())
      forward.on("error", () => incoming.socket.destroy())
      forward.on("response", (answer) => {
        if (fault.response?.cutAt === 0) return cut()
        outgoing.writeHead(answer.statusCode ?? 502, rawHeaders(answer.rawHeaders))
        outgoing.flushHeaders()
        answer.on("error", () => incoming.socket.destroy())
        const down = meter(
          fault.response ?? {},
          (size) => {
            passed.down += size
          },
          cut
        )
        answer.pipe(down).pipe(outgoing)
      })
      const up = meter(
        fault.request ?? {},
        (size) => {
          passed.up += size
        },
        () => {
          forward.destroy()
          cut()
        }
      )
      incoming.pipe(up).pipe(forward)
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
      script: (next) =>
        Effect.sync(() => {
          current = next
        }),
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

const drain = async (stream: Readable): Promise<void> => {
  for await (const _ of stream);
}

/** As they came, repeated ones as a list: Node takes no list of one for `Host`. */
const rawHeaders = (raw: ReadonlyArray<string>): Http.OutgoingHttpHeaders => {
  const headers: Record<string, string | Array<string>> = {}
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = "", value = ""] = raw.slice(at, at + 2)
    const before = headers[name]
    headers[name] = before === undefined ? value : [before, value].flat()
  }
  return headers
}

/** Passes bytes on, counting, until the fault strikes. */
const meter = (fault: StreamFault, count: (size: number) => void, cut: () => void): Transform => {
  let passed = 0
  const end = Math.min(fault.cutAt ?? Number.POSITIVE_INFINITY, fault.stallAt ?? Number.POSITIVE_INFINITY)
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const part = Buffer.from(chunk.subarray(0, Math.max(0, end - passed)))
      const flip = fault.flipAt === undefined ? -1 : fault.flipAt - passed
      if (flip >= 0 && flip < part.length) part[flip] = (part[flip] ?? 0) ^ 0xff
      passed += part.length
      count(part.length)
      const pass = () => {
        this.push(part)
        // What was passed on must get out before the reset, which would drop it.
        if (passed === fault.cutAt) setTimeout(cut, 20)
        else if (passed !== fault.stallAt) done()
      }
      if (fault.rate === undefined) pass()
      else setTimeout(pass, (part.length / fault.rate) * 1000)
    }
  })
}
