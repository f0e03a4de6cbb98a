import * as Fs from "node:fs"
import { join } from "node:path"
import type { TLSSocket } from "node:tls"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
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
import { serveTls } from "./network.js"
import { disconnected, readAll, serve, tempDir } from "./support.js"

const MiB = 1 << 20

/** No folder but those of the test is looked at. */
const clientOf = (home: string, tls: Tls.Options = {}, options: NodeClient.Options = {}) =>
  NodeClient.make({ ...options, tls, environment: { HOME: home } })
const certsD = (home: string): string => join(home, ".docker/certs.d")
const textOf = (client: HttpClient.HttpClient, url: string) => Effect.flatMap(client.get(url), (answer) => answer.text)
const codeOf = (client: HttpClient.HttpClient, url: string) =>
  Effect.map(Effect.flip(textOf(client, url)), (error) => (error.cause as NodeJS.ErrnoException).code)
const failedPing = (client: HttpClient.HttpClient, url: string) =>
  ping().pipe(
    Effect.provideService(HttpClient.HttpClient, client),
    Effect.provide(RegistryConfig.layer({ url, retry: { attempts: 1 } })),
    Effect.catchTag("ValidationError", Effect.die),
    Effect.flip
  )
/** The common name of the client's certificate, or `nobody`. */
const nameOf = (socket: unknown): string => String((socket as TLSSocket).getPeerCertificate().subject?.CN ?? "nobody")

describe("NodeClient over TLS", () => {
  describe("authorities", () => {
    it.scoped("are taken from certs.d and from the options", () =>
      Effect.gen(function* () {
        const { ca, server } = yield* Certificates.make
        const home = yield* tempDir
        const { host, url } = yield* serveTls(server, (_, res) => res.end("x"))
        yield* Certificates.writeCertsD(certsD(home), host)
        expect(yield* textOf(yield* clientOf(home), url)).toBe("x")
        const elsewhere = yield* tempDir
        expect(yield* textOf(yield* clientOf(elsewhere, { hosts: { [host]: { ca } } }), url)).toBe("x")
        const certDir = yield* Certificates.writeCertsD(elsewhere, "any")
        expect(yield* textOf(yield* clientOf(elsewhere, { certDir }), url)).toBe("x")
      })
    )

    it.scoped("vouch for the host and port they are given for and for no other", () =>
      Effect.gen(function* () {
        const { ca, server } = yield* Certificates.make
        const one = yield* serveTls(server, (_, res) => res.end("x"))
        const other = yield* serveTls(server, (_, res) => res.end("x"))
        const client = yield* clientOf(yield* tempDir, { hosts: { [one.host]: { ca } } })
        expect(yield* textOf(client, one.url)).toBe("x")
        expect(yield* codeOf(client, other.url)).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE")
      })
    )
  })

  describe("refuses, as core's reason Tls,", () => {
    it.scoped.each([
      ["an unknown authority", "server", false, /unable to verify the first certificate/],
      ["a self-signed certificate", "selfSigned", true, /self-signed certificate/],
      ["a wrong name", "otherName", true, /IP: 127\.0\.0\.1 is not in the cert's list/],
      ["an expired certificate", "expired", true, /certificate has expired/]
    ] as const)("%s", ([, name, known, message]) =>
      Effect.gen(function* () {
        const made = yield* Certificates.make
        let requests = 0
        const { host, url } = yield* serveTls(made[name], (_, res) => {
          requests++
          res.end()
        })
        const client = yield* clientOf(yield* tempDir, known ? { hosts: { [host]: { ca: made.ca } } } : {})
        const error = yield* failedPing(client, url)
        expect(error.reason).toBe("Tls")
        expect(error.message).toMatch(message)
        expect(requests).toBe(0)
      })
    )

    it.scoped("a broken file, naming it, and nothing is sent", () =>
      Effect.gen(function* () {
        const { server } = yield* Certificates.make
        const home = yield* tempDir
        const { host, sockets, url } = yield* serveTls(server, (_, res) => res.end())
        const folder = yield* Certificates.writeCertsD(certsD(home), host)
        Fs.writeFileSync(join(folder, "zz.crt"), "not PEM")
        const error = yield* failedPing(yield* clientOf(home), url)
        expect(error.reason).toBe("Tls")
        expect(error.message).toContain(`${join(folder, "zz.crt")}: is no PEM certificate`)
        expect(sockets.size).toBe(0)
      })
    )

    it.scoped("but tells a server that speaks plain HTTP", () =>
      Effect.gen(function* () {
        const { url } = yield* serve((_, res) => res.end())
        const client = yield* clientOf(yield* tempDir, { skipVerify: true })
        const error = yield* failedPing(client, url.replace("http:", "https:"))
        expect(error.reason).toBe("PlainHttpServer")
        expect(error.hint).toContain("--plain-http")
      })
    )
  })

  describe("client certificates", () => {
    it.scoped("open a server that demands one, which else refuses", () =>
      Effect.gen(function* () {
        const { ca, client, server } = yield* Certificates.make
        const home = yield* tempDir
        const strict = { ...server, ca, requestCert: true, rejectUnauthorized: true }
        const { host, url } = yield* serveTls(strict, (req, res) => res.end(nameOf(req.socket)))
        yield* Certificates.writeCertsD(certsD(home), host)
        expect((yield* failedPing(yield* clientOf(home), url)).reason).toBe("Tls")
        yield* Certificates.writeCertsD(certsD(home), host, { client: true })
        expect(yield* textOf(yield* clientOf(home), url)).toBe("client")
        const hosts = { [host]: { ca, ...client } }
        expect(yield* textOf(yield* clientOf(yield* tempDir, { hosts }), url)).toBe("client")
      })
    )

    it.scoped("are offered to their own origin alone", () =>
      Effect.gen(function* () {
        const { ca, client: pair, server } = yield* Certificates.make
        const asking = { ...server, ca, requestCert: true, rejectUnauthorized: false }
        const own = yield* serveTls(asking, (req, res) => res.end(nameOf(req.socket)))
        const other = yield* serveTls(asking, (req, res) => res.end(nameOf(req.socket)))
        const client = yield* clientOf(yield* tempDir, {
          hosts: { [own.host]: { ca, ...pair }, [other.host]: { ca } }
        })
        expect(yield* textOf(client, own.url)).toBe("client")
        expect(yield* textOf(client, other.url)).toBe("nobody")
        // The same machine under another name is another origin.
        const loose = yield* clientOf(yield* tempDir, { hosts: { [own.host]: { ca, ...pair } }, skipVerify: true })
        expect(yield* textOf(loose, own.url.replace("127.0.0.1", "localhost"))).toBe("nobody")
      })
    )

    it.scoped.each(["hosts", "certDir"])("of %s are not offered to where the registry redirects to", (from) =>
      Effect.gen(function* () {
        const { ca, client: pair, server } = yield* Certificates.make
        const asking = { ...server, ca, requestCert: true, rejectUnauthorized: false }
        const seen: Array<string> = []
        const other = yield* serveTls(asking, (req, res) => {
          seen.push(nameOf(req.socket))
          res.writeHead(200, { "docker-distribution-api-version": "registry/2.0" }).end("{}")
        })
        const own = yield* serveTls(asking, (req, res) => {
          seen.push(nameOf(req.socket))
          res.writeHead(307, { location: `${other.url}/v2/` }).end()
        })
        const home = yield* tempDir
        const certDir = yield* Certificates.writeCertsD(home, "any", { client: true })
        const hosts = { [own.host]: { ca, ...pair }, [other.host]: { ca } }
        const client = yield* clientOf(home, from === "hosts" ? { hosts } : { certDir })
        yield* ping().pipe(
          Effect.provideService(HttpClient.HttpClient, client),
          Effect.provide(RegistryConfig.layer({ url: own.url }))
        )
        expect(seen).toEqual(["client", "nobody"])
      })
    )

    it.scoped("of certDir stay behind where a request must carry no credentials, on connections of their own", () =>
      Effect.gen(function* () {
        const { ca, server } = yield* Certificates.make
        const asking = { ...server, ca, requestCert: true, rejectUnauthorized: false }
        const { url } = yield* serveTls(asking, (req, res) => res.end(nameOf(req.socket)))
        const home = yield* tempDir
        const certDir = yield* Certificates.writeCertsD(home, "any", { client: true })
        const client = yield* clientOf(home, { certDir })
        const bare = Effect.provideService(textOf(client, url), FetchHttpClient.RequestInit, { credentials: "omit" })
        expect([yield* textOf(client, url), yield* bare, yield* textOf(client, url), yield* bare]).toEqual([
          "client",
          "nobody",
          "client",
          "nobody"
        ])
      })
    )
  })

  describe("skipVerify", () => {
    it.scoped("holds for one host, or for all", () =>
      Effect.gen(function* () {
        const { selfSigned } = yield* Certificates.make
        const one = yield* serveTls(selfSigned, (_, res) => res.end("x"))
        const other = yield* serveTls(selfSigned, (_, res) => res.end("x"))
        const client = yield* clientOf(yield* tempDir, { skipVerify: [one.host] })
        expect(yield* textOf(client, one.url)).toBe("x")
        expect(yield* codeOf(client, other.url)).toBe("DEPTH_ZERO_SELF_SIGNED_CERT")
        expect(yield* textOf(yield* clientOf(yield* tempDir, { skipVerify: true }), other.url)).toBe("x")
      })
    )
  })

  describe("connections", () => {
    it.scoped("are used again, and no more are opened than allowed", () =>
      Effect.gen(function* () {
        const { ca, server } = yield* Certificates.make
        const ports = new Set<number | undefined>()
        const { host, url } = yield* serveTls(server, (req, res) => {
          ports.add(req.socket.remotePort)
          setTimeout(() => res.end("x"), 5)
        })
        const client = yield* clientOf(yield* tempDir, { hosts: { [host]: { ca } } }, { maxConnectionsPerHost: 2 })
        yield* Effect.forEach(Array.from({ length: 10 }), () => textOf(client, url), { concurrency: "unbounded" })
        expect(ports.size).toBe(2)
      })
    )

    it.scoped("carry 20 MiB up and down unchanged", () =>
      Effect.gen(function* () {
        const { ca, server } = yield* Certificates.make
        const { host, url } = yield* serveTls(server, async (req, res) => res.end(await readAll(req)))
        const client = yield* clientOf(yield* tempDir, { hosts: { [host]: { ca } } })
        const sent = Buffer.alloc(20 * MiB, "0123456789abcdefghijklmno")
        const chunks = Array.from({ length: 20 }, (_, i) => sent.subarray(i * MiB, (i + 1) * MiB))
        const body = HttpBody.stream(Stream.fromIterable(chunks), "x/y", sent.length)
        const response = yield* client.execute(HttpClientRequest.put(url, { body }))
        expect(Buffer.concat([...(yield* Stream.runCollect(response.stream))]).equals(sent)).toBe(true)
      })
    )

    it.scoped("end within milliseconds of an interruption, and idle ones with the client", () =>
      Effect.gen(function* () {
        const { ca, server } = yield* Certificates.make
        let received = 0
        const tls = yield* serveTls(server, (req, res) => {
          if (req.method === "GET") return res.end("x")
          return req.on("data", (chunk: Buffer) => {
            received += chunk.length
          })
        })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const client = yield* clientOf(yield* tempDir, { hosts: { [tls.host]: { ca } } })
            const endless = HttpBody.stream(Stream.repeatValue(new Uint8Array(65_536)))
            const fiber = yield* Effect.fork(client.execute(HttpClientRequest.put(tls.url, { body: endless })))
            yield* Effect.promise(async () => {
              while (received < MiB) await new Promise((resolve) => setTimeout(resolve, 5))
            })
            const start = Date.now()
            yield* Fiber.interrupt(fiber)
            expect(Date.now() - start).toBeLessThan(500)
            yield* disconnected(tls)
            yield* textOf(client, tls.url)
            expect(tls.sockets.size).toBe(1)
          })
        )
        yield* disconnected(tls)
      })
    )
  })
})
