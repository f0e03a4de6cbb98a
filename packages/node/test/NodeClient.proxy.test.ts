import type { TLSSocket } from "node:tls"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { describe, expect, it } from "@effect/vitest"
import { ping, RegistryConfig } from "@effect-registry/core"
import { Certificates } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as NodeClient from "../src/NodeClient.js"
import type * as Tls from "../src/Tls.js"
import { type ProxyOptions, serveProxy, serveTls, type TestProxy } from "./network.js"
import { disconnected, readAll, serve, serveRaw, tempDir } from "./support.js"

const MiB = 1 << 20
const basic = `Basic ${Buffer.from("user:hunter2").toString("base64")}`
const put = (url: string, body: HttpBody.HttpBody) => HttpClientRequest.put(url, { body })
const textOf = (client: HttpClient.HttpClient, url: string) => Effect.flatMap(client.get(url), (answer) => answer.text)
const until = (done: () => boolean) =>
  Effect.promise(async () => {
    while (!done()) await new Promise((resolve) => setTimeout(resolve, 5))
  })

/** Loopback never goes through a proxy: the tests call a name that only the proxy knows. */
const plain = "http://other.example"
const secure = "https://other.example"

interface ClientOptions extends NodeClient.Options {
  readonly userInfo?: string
  readonly noProxy?: string
}
const clientOf = (proxy: string, { noProxy = "", userInfo = "", ...options }: ClientOptions = {}) =>
  Effect.flatMap(tempDir, (home) => {
    const url = proxy.replace("://", `://${userInfo}`)
    return NodeClient.make({
      ...options,
      environment: { HOME: home, HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: noProxy }
    })
  })
const trusting = Effect.map(Certificates.make, ({ ca }): Tls.Options => ({ hosts: { "other.example": { ca } } }))
/** A TLS server for other.example that sends back what it gets, and the proxy before it. */
const secureEcho = (options: Omit<ProxyOptions, "upstream"> = {}) =>
  Effect.gen(function* () {
    const { ca, otherName } = yield* Certificates.make
    const ports = new Set<number | undefined>()
    const server = yield* serveTls(
      { ...otherName, ca, requestCert: true, rejectUnauthorized: false },
      async (req, res) => {
        ports.add(req.socket.remotePort)
        const name = (req.socket as TLSSocket).getPeerCertificate().subject?.CN ?? "nobody"
        const body = await readAll(req)
        res.setHeader("x-client", name)
        res.setHeader("x-headers", JSON.stringify(req.headers))
        res.end(body.length === 0 ? "x" : body)
      }
    )
    const proxy = yield* serveProxy({ ...options, upstream: server.url })
    return { server, proxy, ports }
  })
const failure = (client: HttpClient.HttpClient, url: string) =>
  Effect.map(Effect.flip(textOf(client, url)), (error) => error.cause as { code: string; message: string })
const targets = (proxy: TestProxy) => proxy.seen.map(({ method, target }) => `${method} ${target}`)

describe("NodeClient through a proxy", () => {
  describe("of HTTP", () => {
    it.scoped("asks by absolute URI, and shows the credentials to the proxy alone", () =>
      Effect.gen(function* () {
        const server = yield* serve((req, res) => res.end(JSON.stringify({ url: req.url, headers: req.headers })))
        const proxy = yield* serveProxy({ upstream: server.url, authorization: basic })
        const client = yield* clientOf(proxy.url, { userInfo: "user:hunter2@" })
        const answer = yield* textOf(client, `${plain}:5000/v2/?a=%20b`)
        expect(JSON.parse(answer)).toMatchObject({ url: "/v2/?a=%20b", headers: { host: "other.example:5000" } })
        expect(answer).not.toContain("proxy-authorization")
        expect(targets(proxy)).toEqual(["GET http://other.example:5000/v2/?a=%20b"])
      })
    )

    it.scoped("fails with a 407 in the name of the proxy, without the password", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.end("x"))
        const proxy = yield* serveProxy({ upstream: server.url, authorization: basic })
        const client = yield* clientOf(proxy.url, { userInfo: "user:wrong-secret@" })
        const error = yield* Effect.flip(textOf(client, plain))
        expect(error.cause).toMatchObject({ code: "ERR_PROXY_AUTH", status: 407 })
        expect((error.cause as Error).message).toContain(`the proxy ${proxy.host} wants other credentials`)
        expect(`${error} ${JSON.stringify(error)}`).not.toMatch(/wrong-secret|secret page|Basic/)
        yield* disconnected(proxy)
      })
    )

    it.scoped("delivers an early 401 in the middle of an upload", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.writeHead(401, { "www-authenticate": "Basic" }).end("denied"))
        const proxy = yield* serveProxy({ upstream: server.url })
        const client = yield* clientOf(proxy.url)
        const body = HttpBody.stream(Stream.repeatValue(new Uint8Array(65_536)), "x/y", 1024 * MiB)
        const response = yield* client.execute(put(plain, body))
        expect([response.status, yield* response.text]).toEqual([401, "denied"])
      })
    )

    it.scoped("carries 20 MiB up and down unchanged, and ends with an interruption", () =>
      Effect.gen(function* () {
        const server = yield* serve(async (req, res) => res.end(await readAll(req)))
        const proxy = yield* serveProxy({ upstream: server.url })
        const client = yield* clientOf(proxy.url)
        yield* carries(client, plain)
        yield* endsWithInterruption(client, plain, proxy)
        yield* disconnected(server)
      })
    )
  })

  describe("of HTTPS", () => {
    it.scoped("connects by CONNECT, with the host's own TLS settings inside, and pools the tunnels", () =>
      Effect.gen(function* () {
        const { ca, client: pair } = yield* Certificates.make
        const { ports, proxy } = yield* secureEcho({ authorization: basic })
        const client = yield* clientOf(proxy.url, {
          userInfo: "user:hunter2@",
          tls: { hosts: { "other.example": { ca, ...pair } } }
        })
        const response = yield* client.get(`${secure}/v2/?secret=1`, { headers: { authorization: "Bearer token" } })
        expect(yield* response.text).toBe("x")
        expect(response.headers["x-client"]).toBe("client")
        expect(response.headers["x-headers"]).not.toContain("proxy-authorization")
        expect(yield* textOf(client, secure)).toBe("x")
        expect(targets(proxy)).toEqual(["CONNECT other.example:443"])
        expect(JSON.stringify(proxy.seen)).not.toMatch(/Bearer|secret=1/)
        expect(ports.size).toBe(1)
      })
    )

    it.scoped("verifies the host inside of the tunnel", () =>
      Effect.gen(function* () {
        const { ca } = yield* Certificates.make
        const { proxy } = yield* secureEcho()
        const client = yield* clientOf(proxy.url, { tls: { hosts: { "wrong.example": { ca } } } })
        expect((yield* failure(client, secure)).code).toBe("SELF_SIGNED_CERT_IN_CHAIN")
        expect((yield* failure(client, "https://wrong.example")).code).toBe("ERR_TLS_CERT_ALTNAME_INVALID")
      })
    )

    it.scoped(
      "opens no more tunnels than connections are allowed, and serves those that wait after a refusal too",
      () =>
        Effect.gen(function* () {
          const { ports, proxy } = yield* secureEcho()
          const client = yield* clientOf(proxy.url, { tls: yield* trusting, maxConnectionsPerHost: 2 })
          const many = (of: HttpClient.HttpClient) =>
            Effect.forEach(Array.from({ length: 8 }), () => Effect.exit(textOf(of, secure)), {
              concurrency: "unbounded"
            })
          expect((yield* many(client)).every(({ _tag }) => _tag === "Success")).toBe(true)
          expect([ports.size, proxy.seen.length]).toEqual([2, 2])
          const refusing = yield* serveProxy({ upstream: "http://127.0.0.1:1", connect: 403 })
          const refused = yield* clientOf(refusing.url, { maxConnectionsPerHost: 2 })
          expect((yield* many(refused)).every(({ _tag }) => _tag === "Failure")).toBe(true)
          expect(refusing.seen.length).toBe(8)
        })
    )

    it.scoped("carries 20 MiB up and down unchanged, and ends with an interruption", () =>
      Effect.gen(function* () {
        const { proxy } = yield* secureEcho()
        const client = yield* clientOf(proxy.url, { tls: yield* trusting })
        yield* carries(client, secure)
        yield* endsWithInterruption(client, secure, proxy)
        yield* until(() => proxy.tunnels.size === 0)
      })
    )

    it.scoped("reads the body no faster than the host takes it", () =>
      Effect.gen(function* () {
        const { otherName } = yield* Certificates.make
        const server = yield* serveTls(otherName, () => {})
        const proxy = yield* serveProxy({ upstream: server.url })
        const client = yield* clientOf(proxy.url, { tls: yield* trusting })
        let read = 0
        const endless = Stream.tap(Stream.repeatValue(new Uint8Array(65_536)), (bytes) =>
          Effect.sync(() => {
            read += bytes.length
          })
        )
        const fiber = yield* Effect.fork(client.execute(put(secure, HttpBody.stream(endless))))
        yield* until(() => read > 0)
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 300)))
        yield* Fiber.interrupt(fiber)
        expect(read).toBeLessThan(24 * MiB)
      })
    )

    it.scoped("takes an answer no faster than it is read", () =>
      Effect.gen(function* () {
        const { otherName } = yield* Certificates.make
        let written = 0
        const server = yield* serveTls(otherName, (_, res) => {
          const more = (): void => {
            do written += 65_536
            while (res.write(Buffer.alloc(65_536)))
          }
          res.on("drain", more)
          more()
        })
        const proxy = yield* serveProxy({ upstream: server.url })
        const client = HttpClient.withScope(yield* clientOf(proxy.url, { tls: yield* trusting }))
        const response = yield* client.get(secure)
        expect(response.status).toBe(200)
        // Until everything between is full.
        let before = -1
        while (before !== written && written < 64 * MiB) {
          before = written
          yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 300)))
        }
        expect(written).toBeLessThan(32 * MiB)
      })
    )

    it.scoped.each([
      [407, "ERR_PROXY_AUTH", /^the proxy 127\.0\.0\.1:\d+ wants other credentials/],
      [403, "ERR_PROXY_CONNECT", /^the proxy 127\.0\.0\.1:\d+ opens no connection to other\.example:443 \(HTTP 403\)$/],
      [502, "ERR_PROXY_CONNECT", /\(HTTP 502\)$/]
    ] as const)(
      "fails when CONNECT is answered with %i, and takes nothing of the answer for the host's",
      ([status, code, message]) =>
        Effect.gen(function* () {
          const proxy = yield* serveProxy({ upstream: "http://127.0.0.1:1", connect: status })
          const client = yield* clientOf(proxy.url, { userInfo: "user:hunter2@" })
          const error = yield* Effect.flip(textOf(client, secure))
          expect(error.cause).toMatchObject({ code, status, message: expect.stringMatching(message) })
          expect(`${error} ${JSON.stringify(error)}`).not.toMatch(/hunter2|Basic/)
          yield* disconnected(proxy)
        })
    )

    it.scoped("counts CONNECT into the time to connect", () =>
      Effect.gen(function* () {
        const proxy = yield* serveProxy({ upstream: "http://127.0.0.1:1", connect: "silence" })
        const client = yield* clientOf(proxy.url, { connectTimeout: 100 })
        const start = Date.now()
        const error = yield* failure(client, secure)
        expect(error).toMatchObject({ code: "ETIMEDOUT", message: "no connection within 0.1 s" })
        expect(Date.now() - start).toBeLessThan(2_000)
        yield* disconnected(proxy)
      })
    )

    it.scoped("ends a CONNECT under way with an interruption, and with the client", () =>
      Effect.gen(function* () {
        const proxy = yield* serveProxy({ upstream: "http://127.0.0.1:1", connect: "silence" })
        const client = yield* clientOf(proxy.url)
        const fiber = yield* Effect.fork(textOf(client, secure))
        yield* until(() => proxy.seen.length === 1)
        yield* Fiber.interrupt(fiber)
        yield* disconnected(proxy)
      })
    )

    it.scoped("gives up on a host that takes no bytes", () =>
      Effect.gen(function* () {
        const { otherName } = yield* Certificates.make
        const server = yield* serveTls(otherName, (req) => req.pause())
        const proxy = yield* serveProxy({ upstream: server.url })
        const client = yield* clientOf(proxy.url, { tls: yield* trusting, stallTimeout: 200 })
        const endless = HttpBody.stream(Stream.repeatValue(new Uint8Array(65_536)))
        const error = yield* Effect.flip(client.execute(put(secure, endless)))
        expect((error.cause as Error).message).toBe("no byte moved within 0.2 s")
      })
    )

    it.scoped("tells a host that speaks plain HTTP behind the proxy", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.end())
        const proxy = yield* serveProxy({ upstream: server.url })
        const error = yield* ping().pipe(
          Effect.provideService(HttpClient.HttpClient, yield* clientOf(proxy.url)),
          Effect.provide(RegistryConfig.layer({ url: secure, retry: { attempts: 1 } })),
          Effect.flip
        )
        expect(error).toMatchObject({ _tag: "RegistryError", reason: "PlainHttpServer" })
      })
    )
  })

  describe("that speaks TLS", () => {
    it.scoped("verifies it, by its own host's settings", () =>
      Effect.gen(function* () {
        const { ca, server: tls } = yield* Certificates.make
        const { proxy } = yield* secureEcho({ tls })
        const hosts = { "other.example": { ca } }
        const strict = yield* clientOf(proxy.url, { tls: { hosts } })
        expect(yield* failure(strict, secure)).toMatchObject({
          code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
          message: `the proxy ${proxy.host}: unable to verify the first certificate`
        })
        const client = yield* clientOf(proxy.url, { tls: { hosts: { ...hosts, [proxy.host]: { ca } } } })
        expect(yield* textOf(client, secure)).toBe("x")
      })
    )

    it.scoped("forwards plain HTTP too", () =>
      Effect.gen(function* () {
        const { ca, server: tls } = yield* Certificates.make
        const server = yield* serve((_, res) => res.end("plain"))
        const proxy = yield* serveProxy({ upstream: server.url, tls })
        const client = yield* clientOf(proxy.url, { tls: { hosts: { [proxy.host]: { ca } } } })
        expect(yield* textOf(client, `${plain}/a`)).toBe("plain")
        expect(targets(proxy)).toEqual(["GET http://other.example/a"])
      })
    )
  })

  describe("is gone round", () => {
    it.scoped("for loopback, for the hosts of NO_PROXY, and where proxies are switched off", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.end("direct"))
        const proxy = yield* serveProxy({ upstream: server.url })
        expect(yield* textOf(yield* clientOf(proxy.url), server.url)).toBe("direct")
        const exempt = yield* clientOf(proxy.url, { noProxy: "other.example" })
        expect((yield* failure(exempt, plain)).code).toMatch(/^(ENOTFOUND|EAI_AGAIN)$/)
        expect((yield* failure(yield* clientOf(proxy.url, { proxy: false }), plain)).code).toMatch(
          /^(ENOTFOUND|EAI_AGAIN)$/
        )
        expect(proxy.seen).toEqual([])
      })
    )
  })

  describe("that does not work", () => {
    it.scoped("is named when it is not there", () =>
      Effect.gen(function* () {
        const client = yield* clientOf("http://127.0.0.1:1", { userInfo: "user:hunter2@" })
        const error = yield* failure(client, secure)
        expect(error).toMatchObject({
          code: "ECONNREFUSED",
          message: expect.stringMatching(/^the proxy 127\.0\.0\.1:1: /)
        })
        expect(error.message).not.toContain("hunter2")
      })
    )

    it.scoped("is named when it hangs up", () =>
      Effect.gen(function* () {
        const proxy = yield* serveRaw((socket) => void socket.once("data", () => socket.destroy()))
        const error = yield* failure(yield* clientOf(proxy.url), secure)
        expect(error).toMatchObject({
          code: "ECONNRESET",
          message: expect.stringMatching(/^the proxy 127\.0\.0\.1:\d+: /)
        })
      })
    )

    it.scoped("is a failure of the request when its variable is no URL", () =>
      Effect.gen(function* () {
        const client = yield* clientOf("socks5://127.0.0.1:1")
        expect(yield* failure(client, secure)).toMatchObject({ code: "ERR_PROXY_URL" })
      })
    )
  })
})

// internal

const carries = (client: HttpClient.HttpClient, url: string) =>
  Effect.gen(function* () {
    const sent = Buffer.alloc(20 * MiB, "0123456789abcdefghijklmno")
    const chunks = Array.from({ length: 20 }, (_, i) => sent.subarray(i * MiB, (i + 1) * MiB))
    const body = HttpBody.stream(Stream.fromIterable(chunks), "x/y", sent.length)
    const response = yield* client.execute(put(url, body))
    expect(Buffer.concat([...(yield* Stream.runCollect(response.stream))]).equals(sent)).toBe(true)
  })

const endsWithInterruption = (client: HttpClient.HttpClient, url: string, proxy: TestProxy) =>
  Effect.gen(function* () {
    let sent = 0
    const endless = Stream.tap(Stream.repeatValue(new Uint8Array(65_536)), (bytes) =>
      Effect.sync(() => {
        sent += bytes.length
      })
    )
    const fiber = yield* Effect.fork(client.execute(put(url, HttpBody.stream(endless))))
    yield* until(() => sent > 4 * MiB)
    const start = Date.now()
    yield* Fiber.interrupt(fiber)
    expect(Date.now() - start).toBeLessThan(500)
    yield* disconnected(proxy)
  })
