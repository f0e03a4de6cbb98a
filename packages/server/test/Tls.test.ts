import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect } from "node:tls"
import { describe, expect, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import { Certificates } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"

/** The certificate's serial number that a server shows, or the error's code. */
const handshake = (port: number, options: { readonly ca?: string; readonly maxVersion?: "TLSv1.1" } = {}) =>
  Effect.promise(
    () =>
      new Promise<string>((resolve) => {
        const socket = connect({ port, host: "127.0.0.1", ciphers: "DEFAULT@SECLEVEL=0", ...options }, () => {
          resolve(socket.getPeerCertificate().serialNumber)
          socket.destroy()
        })
        socket.on("error", (error) => resolve("code" in error ? String(error.code) : error.message))
      })
  )

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "tls-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

describe("Tls", () => {
  it.scoped("serves HTTPS, of TLS 1.2 at least, under a URL that says so", () =>
    Effect.gen(function* () {
      const { ca, server } = yield* Certificates.make
      const root = join(yield* folder, "root")
      const { host, port, url } = yield* EmbeddedRegistry.make({ root, tls: server })
      expect([url, host]).toEqual([`https://127.0.0.1:${port}`, `127.0.0.1:${port}`])
      expect(yield* handshake(port, { ca })).toMatch(/^[0-9A-F]+$/)
      expect(yield* handshake(port, { ca, maxVersion: "TLSv1.1" })).toMatch(/PROTOCOL/)
    })
  )

  it.scoped("refuses what is no certificate, no key or no pair, and says which", () =>
    Effect.gen(function* () {
      const { client, server } = yield* Certificates.make
      const root = join(yield* folder, "root")
      const failure = (cert: string, key: string) =>
        Effect.flip(Effect.scoped(EmbeddedRegistry.make({ root, tls: { cert, key } })))
      for (const [cert, key, why] of [
        ["nonsense", server.key, "the certificate is not PEM"],
        [server.cert, "nonsense", "the key is not PEM"],
        [server.cert, server.key.replace("BEGIN", "BEGIN ENCRYPTED"), "the key is encrypted"],
        [server.cert, client.key, "the key belongs to another certificate"]
      ] as const) {
        const error = yield* failure(cert, key)
        expect([error.reason, error.message]).toEqual([
          "InvalidCertificate",
          `cannot serve HTTPS with the certificate given: ${why}`
        ])
        expect(error.hint).toContain("PEM")
      }
      const files = { certFile: join(root, "none.pem"), keyFile: join(root, "none.key") }
      const missing = yield* Effect.flip(EmbeddedRegistry.make({ root, tls: files }))
      expect(missing.message).toMatch(/^cannot serve HTTPS with .*none.pem and .*none.key: ENOENT/)
    })
  )

  it.scopedLive("takes a renewed certificate from its files, once both fit together", () =>
    Effect.gen(function* () {
      const { ca, selfSigned, server } = yield* Certificates.make
      const path = yield* folder
      const [certFile, keyFile] = [join(path, "cert.pem"), join(path, "key.pem")]
      writeFileSync(certFile, server.cert)
      writeFileSync(keyFile, server.key)
      const root = join(path, "root")
      const { port } = yield* EmbeddedRegistry.make({ root, tls: { certFile, keyFile, every: "10 millis" } })
      const first = yield* handshake(port, { ca })
      writeFileSync(certFile, selfSigned.cert)
      yield* Effect.sleep("100 millis")
      expect(yield* handshake(port, { ca })).toBe(first)
      writeFileSync(keyFile, selfSigned.key)
      let second = ""
      for (let tries = 0; tries < 100 && !/^[0-9A-F]+$/.test(second); tries++) {
        yield* Effect.sleep("20 millis")
        second = yield* handshake(port, { ca: selfSigned.cert })
      }
      expect(second).toMatch(/^[0-9A-F]+$/)
      expect(second).not.toBe(first)
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
  )
})
