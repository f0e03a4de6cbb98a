/**
 * Proxies named by the environment, as Go's programs and curl take them: HTTPS_PROXY by CONNECT, HTTP_PROXY by absolute
 * URI, NO_PROXY for the hosts that are called directly, and never for loopback.
 */
import * as Http from "node:http"
import * as Https from "node:https"
import { BlockList, isIP, type Socket } from "node:net"
import { Duplex } from "node:stream"
import { RegistryConfig } from "@effect-registry/core"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"

export interface Proxy {
  /** Without user info. */
  readonly url: URL
  /** `host:port`, for messages. */
  readonly host: string
  /** The value of Proxy-Authorization. */
  readonly authorization: Redacted.Redacted | undefined
}

/** A proxy that cannot be used, or that refuses. `code` is for those who sort Node's errors by theirs. */
export class ProxyError extends Data.TaggedError("ProxyError")<{
  /**
   * `ERR_PROXY_URL`: the variable holds no URL of a proxy. `ERR_PROXY_AUTH`: the proxy wants credentials.
   * `ERR_PROXY_CONNECT`: it opens no connection to the host. Otherwise that of the connection to the proxy itself.
   */
  readonly code: string
  readonly message: string
  /** The proxy's answer. */
  readonly status?: number | undefined
}> {}

/** The proxy that a URL is called through, `undefined` for none. Fails with `ERR_PROXY_URL`. */
export type Find = (url: URL) => Either.Either<Proxy | undefined, ProxyError>

/**
 * What HTTP_PROXY, HTTPS_PROXY and NO_PROXY say; where both are set, lower case counts. `undefined` where no proxy is
 * named at all. HTTP_PROXY is ignored in a CGI program, where a request's `Proxy` header sets it.
 */
export const fromEnvironment = (environment: Readonly<Record<string, string | undefined>>): Find | undefined => {
  const read = (name: string): string | undefined => environment[name.toLowerCase()] || environment[name] || undefined
  const isCgi = environment.REQUEST_METHOD !== undefined
  const http = isCgi ? environment.http_proxy || undefined : read("HTTP_PROXY")
  const https = read("HTTPS_PROXY")
  if (http === undefined && https === undefined) return undefined
  const isExempt = exemptions(read("NO_PROXY") ?? "")
  const proxies = {
    "http:": http === undefined ? Either.right(undefined) : parse("HTTP_PROXY", http),
    "https:": https === undefined ? Either.right(undefined) : parse("HTTPS_PROXY", https)
  }
  return (url) =>
    RegistryConfig.isLoopback(url.host) || isExempt(url)
      ? Either.right(undefined)
      : proxies[url.protocol === "https:" ? "https:" : "http:"]
}

/** The error of an answer by which the proxy, and not the host behind it, asks for credentials. */
export const unauthorized = (host: string): ProxyError =>
  new ProxyError({
    code: "ERR_PROXY_AUTH",
    message: `the proxy ${host} wants other credentials, or some at all (HTTP 407)`,
    status: 407
  })

/** The headers for the proxy alone. */
export const headersFor = ({ authorization }: Proxy): Record<string, string> =>
  authorization === undefined ? {} : { "proxy-authorization": Redacted.value(authorization) }

/**
 * A connection through the proxy to `HOST:PORT`, by CONNECT. It can be written to at once; what is written waits until
 * the proxy has connected. Destroying it ends the attempt too. Fails with a ProxyError.
 */
export class Tunnel extends Duplex {
  private readonly dial: Http.ClientRequest
  private socket: Socket | undefined

  /** `options` are for the connection to the proxy. */
  constructor(proxy: Proxy, target: string, options: Https.RequestOptions) {
    super()
    this.dial = (proxy.url.protocol === "https:" ? Https : Http).request(proxy.url, {
      ...options,
      agent: false,
      method: "CONNECT",
      path: target,
      headers: { host: target, ...headersFor(proxy) }
    })
    this.dial.on("error", (error) => this.destroy(unreachable(proxy.host, error)))
    this.dial.on("connect", ({ statusCode = 0 }, socket: Socket, head) => {
      if (statusCode >= 200 && statusCode < 300) this.open(socket, head)
      else {
        socket.destroy()
        this.destroy(refused(proxy.host, target, statusCode))
      }
    })
    this.dial.end()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.whenOpen((socket) => socket.write(chunk, done))
  }

  override _writev(chunks: ReadonlyArray<{ chunk: Uint8Array }>, done: (error?: Error | null) => void): void {
    this.whenOpen((socket) => {
      socket.cork()
      chunks.forEach(({ chunk }, at) => void socket.write(chunk, at === chunks.length - 1 ? done : undefined))
      socket.uncork()
    })
  }

  override _final(done: () => void): void {
    this.whenOpen((socket) => socket.end(done))
  }

  override _read(): void {
    this.whenOpen((socket) => socket.resume())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.dial.destroy()
    this.socket?.destroy()
    done(error)
  }

  private open(socket: Socket, head: Uint8Array): void {
    this.socket = socket
    socket.on("data", (chunk) => {
      if (!this.push(chunk)) socket.pause()
    })
    socket.on("end", () => this.push(null))
    socket.on("error", (error) => this.destroy(error))
    socket.on("close", () => this.destroy())
    if (head.length > 0) this.push(head)
    this.emit("open", socket)
  }

  private whenOpen(then: (socket: Socket) => void): void {
    if (this.socket === undefined) this.once("open", then)
    else then(this.socket)
  }
}

// internal

const unreachable = (host: string, { code = "ERR_PROXY_CONNECT", message }: NodeJS.ErrnoException): ProxyError =>
  new ProxyError({ code, message: `the proxy ${host}: ${message}` })

const refused = (host: string, target: string, status: number): ProxyError =>
  status === 407
    ? unauthorized(host)
    : new ProxyError({
        code: "ERR_PROXY_CONNECT",
        message: `the proxy ${host} opens no connection to ${target} (HTTP ${status})`,
        status
      })

/** The value may hold a password: it is in no message. */
const parse = (variable: string, value: string): Either.Either<Proxy, ProxyError> => {
  const text = value.includes("://") ? value : `http://${value}`
  const wrong = (problem: string) =>
    Either.left(new ProxyError({ code: "ERR_PROXY_URL", message: `${variable} in the environment ${problem}` }))
  if (!URL.canParse(text)) return wrong("is no URL of a proxy")
  const { host, hostname, password, port, protocol, username } = new URL(text)
  if (protocol !== "http:" && protocol !== "https:") return wrong(`names a proxy by ${protocol}//, only HTTP is spoken`)
  const isAnonymous = username === "" && password === ""
  return Either.right({
    url: new URL(`${protocol}//${host}`),
    host: port === "" ? `${hostname}:${protocol === "https:" ? 443 : 80}` : host,
    authorization: isAnonymous
      ? undefined
      : Redacted.make(`Basic ${Buffer.from(`${decode(username)}:${decode(password)}`).toString("base64")}`)
  })
}

/** A percent sign that encodes nothing stands for itself. */
const decode = (text: string): string =>
  Either.getOrElse(
    Either.try(() => decodeURIComponent(text)),
    () => text
  )

/** Whether a URL is called directly, by the rules of Go's httpproxy. https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config */
const exemptions = (list: string): ((url: URL) => boolean) => {
  const rules = list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .map(exemption)
  return (url) => {
    const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "")
    const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port
    return rules.some((rule) => rule(host, port))
  }
}

type Exemption = (host: string, port: string) => boolean

/** One of `*`, an address, a network, `example.com` with all below it, `.example.com` with only what is below; a port may follow. */
const exemption = (entry: string): Exemption => {
  if (entry === "*") return () => true
  const network = networkOf(entry)
  if (network !== undefined) return (host) => isIP(host) !== 0 && network.check(host, familyOf(host))
  const [, bracketed, plain = "", wanted] =
    /^(?:\[([^\]]*)\]|(.*?))(?::(\d+))?$/.exec(isIP(entry) === 6 ? `[${entry}]` : entry) ?? []
  const name = (bracketed ?? plain).replace(/^\*(?=\.)/, "")
  const below = name.startsWith(".") ? name : `.${name}`
  const isNamed = (host: string): boolean => host === name || (isIP(host) === 0 && host.endsWith(below))
  return (host, port) => (wanted === undefined || wanted === port) && isNamed(host)
}

/** `10.0.0.0/8`, `fd00::/8` */
const networkOf = (entry: string): BlockList | undefined => {
  const [, address = "", bits = ""] = /^([^/]+)\/(\d{1,3})$/.exec(entry) ?? []
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  if (bits === "" || Number(bits) > most) return undefined
  const list = new BlockList()
  list.addSubnet(address, Number(bits), familyOf(address))
  return list
}

const familyOf = (address: string): "ipv4" | "ipv6" => (isIP(address) === 6 ? "ipv6" : "ipv4")
