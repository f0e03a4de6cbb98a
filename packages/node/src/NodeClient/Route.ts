/** How a URL is reached: by which agent, with which certificates, and whether through a proxy. */
import * as Http from "node:http"
import * as Https from "node:https"
import { isIP } from "node:net"
import type { Duplex } from "node:stream"
import * as Either from "effect/Either"
import * as Proxy from "../Proxy.js"
import type * as Tls from "../Tls.js"

export type RouteError = Tls.CertificateError | Proxy.ProxyError

export interface Route {
  /** Who is connected to: the host, or a proxy that is asked for the whole URL. */
  readonly url: URL
  readonly options: Https.RequestOptions
  /** They take the place of the request's own. */
  readonly headers: Readonly<Record<string, string>>
  /** The proxy that is asked, `host:port`: it may answer in its own name. */
  readonly proxy: string | undefined
}

export interface Routes {
  /** `omit`: see `Tls.agentOptions`. */
  readonly find: (url: URL, credentials: "include" | "omit") => Either.Either<Route, RouteError>
  /** Ends all connections. */
  readonly close: () => void
}

/** All hosts share two pools, of HTTP and of HTTPS: connections to another port or with another certificate are kept apart there. */
export const make = (pool: Http.AgentOptions, tls: Tls.Tls, proxies: Proxy.Find | undefined): Routes => {
  const http = new Http.Agent(pool)
  const https = new TunnelAgent(pool)

  const connect = (
    url: URL,
    credentials: "include" | "omit"
  ): Either.Either<Https.RequestOptions, Tls.CertificateError> =>
    url.protocol === "https:"
      ? Either.map(tls.agentOptions(url.host, credentials), (options) => ({ ...options, agent: https }))
      : Either.right({ agent: http })

  const tunnel = (proxy: Proxy.Proxy, { hostname, port }: URL): Either.Either<Tunnelled, Tls.CertificateError> =>
    Either.map(toProxy(proxy), (options) => ({
      openTunnel: () => new Proxy.Tunnel(proxy, `${hostname}:${port === "" ? 443 : port}`, options)
    }))

  /** Node would expect the certificate of who the request is for. */
  const toProxy = ({ url }: Proxy.Proxy): Either.Either<Https.RequestOptions, Tls.CertificateError> =>
    Either.map(connect(url, "omit"), (options) => ({
      ...options,
      servername: isIP(unbracketed(url.hostname)) === 0 ? url.hostname : ""
    }))

  return {
    find: (url, credentials) =>
      Either.gen(function* () {
        const proxy = yield* proxies?.(url) ?? Either.right(undefined)
        if (proxy === undefined || url.protocol === "https:") {
          const through = proxy === undefined ? {} : yield* tunnel(proxy, url)
          return { url, options: { ...(yield* connect(url, credentials)), ...through }, headers: {}, proxy: undefined }
        }
        return {
          url: proxy.url,
          options: { ...(yield* toProxy(proxy)), path: `${url.origin}${url.pathname}${url.search}` },
          headers: { host: url.host, ...Proxy.headersFor(proxy) },
          proxy: proxy.host
        }
      }),
    close: () => {
      http.destroy()
      https.destroy()
    }
  }
}

// internal

const unbracketed = (hostname: string): string => hostname.replace(/^\[|\]$/g, "")

interface Tunnelled {
  readonly openTunnel?: () => Duplex
}

/** Takes the way to the host from the request: TLS is spoken inside of it, to the host and with the host's settings. */
class TunnelAgent extends Https.Agent {
  override createConnection(
    options: Http.ClientRequestArgs & Tunnelled,
    callback?: (error: Error | null, stream: Duplex) => void
  ): Duplex {
    const tunnel = options.openTunnel?.()
    if (tunnel === undefined) return super.createConnection(options, callback)
    const through: Http.ClientRequestArgs & { readonly socket: Duplex } = { ...options, socket: tunnel }
    return super.createConnection(through, callback)
  }
}
