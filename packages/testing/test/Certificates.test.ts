import { readFileSync, statSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import * as Https from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Certificates } from "@effect-registry/testing"
import * as Effect from "effect/Effect"

/** The port of a server that answers with the client's common name. */
const serve = (options: Https.ServerOptions) =>
  Effect.acquireRelease(
    Effect.async<Https.Server>((resume) => {
      const server = Https.createServer(options, (request, response) =>
        response.end(String((request.socket as TLSSocket).getPeerCertificate().subject?.CN))
      )
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

const get = (port: number, options: Https.RequestOptions) =>
  Effect.async<string, NodeJS.ErrnoException>((resume) => {
    Https.get({ host: "127.0.0.1", port, agent: false, ...options }, (response) =>
      response.setEncoding("utf8").on("data", (text: string) => resume(Effect.succeed(text)))
    ).on("error", (error) => resume(Effect.fail(error)))
  })

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "certificates-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true }))
)

describe("Certificates", () => {
  describe("make", () => {
    it.effect("gives the same set every time", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* Certificates.make, yield* Certificates.make)
      })
    )

    it.scoped("makes a server and a client that the authority vouches for", () =>
      Effect.gen(function* () {
        const { ca, client, server } = yield* Certificates.make
        const port = yield* serve({ ...server, ca, requestCert: true })
        assert.strictEqual(yield* get(port, { ca, ...client }), "client")
        assert.strictEqual(yield* get(port, { ca, host: "localhost", family: 4, ...client }), "client")
      })
    )

    it.scoped.each([
      ["server", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", false],
      ["selfSigned", "DEPTH_ZERO_SELF_SIGNED_CERT", true],
      ["otherName", "ERR_TLS_CERT_ALTNAME_INVALID", true],
      ["expired", "CERT_HAS_EXPIRED", true]
    ] as const)("makes %s, which is refused with %s", ([name, code, known]) =>
      Effect.gen(function* () {
        const made = yield* Certificates.make
        const port = yield* serve(made[name])
        const error = yield* Effect.flip(get(port, known ? { ca: made.ca } : {}))
        assert.strictEqual(error.code, code)
      })
    )
  })

  describe("write", () => {
    it.scoped("writes what a server needs, the keys for the owner alone", () =>
      Effect.gen(function* () {
        const files = yield* Certificates.write(join(yield* folder, "tls"))
        const { ca, client, server } = yield* Certificates.make
        const read = (path: string) => readFileSync(path, "utf8")
        assert.deepStrictEqual(
          [files.ca, files.server.cert, files.server.key, files.client.cert, files.client.key].map(read),
          [ca, server.cert, server.key, client.cert, client.key]
        )
        assert.strictEqual(statSync(files.server.key).mode & 0o777, 0o600)
      })
    )
  })

  describe("writeCertsD", () => {
    it.scoped("names the folder after the host, with a client certificate where asked for", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const plain = yield* Certificates.writeCertsD(root, "127.0.0.1:5000")
        assert.strictEqual(plain, join(root, "127.0.0.1:5000"))
        assert.throws(() => readFileSync(join(plain, "client.key")))
        const mutual = yield* Certificates.writeCertsD(root, "localhost:1", { client: true })
        const { ca, client } = yield* Certificates.make
        assert.strictEqual(readFileSync(join(mutual, "ca.crt"), "utf8"), ca)
        assert.strictEqual(readFileSync(join(mutual, "client.key"), "utf8"), client.key)
      })
    )
  })
})
