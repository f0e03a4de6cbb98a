/** TLS servers and proxies that live as long as a test's scope and tell what they saw. */
import * as Http from "node:http"
import * as Https from "node:https"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { listening, type TestServer } from "./support.js"

type Handler = (req: Http.IncomingMessage, res: Http.ServerResponse) => unknown

export interface TlsServer extends TestServer {
  /** `127.0.0.1:PORT` */
  readonly host: string
}

/** `url` begins with https. */
export const serveTls = (
  options: Https.ServerOptions,
  handler: Handler
): Effect.Effect<TlsServer, never, Scope.Scope> =>
  Effect.map(
    listening(
      Https.createServer(options, (req, res) => {
        Promise.resolve(handler(req, res)).catch(() => req.socket.destroy())
      }).on("tlsClientError", () => {})
    ),
    ({ sockets, url }) => ({ sockets, url: url.replace("http:", "https:"), host: url.slice("http://".length) })
  )

export interface ProxyOptions {
  /** Where every host that is asked for is: a test has no DNS. */
  readonly upstream: string
  /** What Proxy-Authorization must be. */
  readonly authorization?: string | undefined
  /** The answer to CONNECT: a status, or none at all. */
  readonly connect?: number | "silence" | undefined
  /** For a proxy that speaks TLS. */
  readonly tls?: Https.ServerOptions | undefined
}

export interface TestProxy extends TestServer {
  readonly host: string
  /** Method, target and headers of each request to the proxy itself. */
  readonly seen: Array<{
    readonly method: string | undefined
    readonly target: string | undefined
    readonly headers: Http.IncomingHttpHeaders
  }>
  /** To the upstream. */
  readonly tunnels: Set<Net.Socket>
}

/** Forwards requests by absolute URI and tunnels by CONNECT. */
export const serveProxy = (options: ProxyOptions): Effect.Effect<TestProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const upstream = new URL(options.upstream)
    const seen: TestProxy["seen"] = []
    const tunnels = new Set<Net.Socket>()
    const isAllowed = (req: Http.IncomingMessage): boolean => {
      seen.push({ method: req.method, target: req.url, headers: req.headers })
      return options.authorization === undefined || req.headers["proxy-authorization"] === options.authorization
    }
    const forward = (req: Http.IncomingMessage, res: Http.ServerResponse): void => {
      if (!isAllowed(req)) return void res.writeHead(407, { "proxy-authenticate": "Basic" }).end("secret page")
      const { pathname, search } = new URL(req.url ?? "")
      const { "proxy-authorization": _, ...headers } = req.headers
      const onward = Http.request(upstream, { method: req.method, path: pathname + search, headers }, (answer) => {
        res.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.on("error", () => res.destroy()).pipe(res)
      })
      res.on("close", () => onward.destroy())
      onward.on("error", () => res.destroy())
      req.pipe(onward)
    }
    const connect = (req: Http.IncomingMessage, client: Duplex): void => {
      client.on("error", () => {})
      const status = isAllowed(req) ? (options.connect ?? 200) : 407
      // Unread it would never notice that the client is gone.
      if (status === "silence") return void client.resume().on("end", () => client.destroy())
      if (status !== 200) return void client.end(`HTTP/1.1 ${status} No\r\nContent-Length: 6\r\n\r\nsecret`)
      const socket = Net.connect(Number(upstream.port), upstream.hostname, () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n")
        client.pipe(socket).pipe(client)
      })
      tunnels.add(socket)
      socket.on("error", () => client.destroy())
      socket.on("close", () => {
        tunnels.delete(socket)
        client.destroy()
      })
      client.on("close", () => socket.destroy())
    }
    const server = options.tls === undefined ? Http.createServer(forward) : Https.createServer(options.tls, forward)
    server.on("connect", connect)
    server.on("tlsClientError", () => {})
    const { sockets, url } = yield* listening(server)
    const host = url.slice("http://".length)
    return { sockets, seen, tunnels, host, url: options.tls === undefined ? url : `https://${host}` }
  })
