/** The options that say how registries are reached, from the words to the wire. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:https"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { TLSSocket } from "node:tls"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import { Certificates } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, known, output, pushed, registry, repositoryName, temporaryFolder } from "./support.js"

/** A registry behind TLS; says who called, by the common name of the client's certificate. */
const secure = Effect.flatMap(Certificates.make, ({ ca, server }) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const https = createServer(
        { ...server, ca, requestCert: true, rejectUnauthorized: false },
        (request, response) => {
          const { socket } = request
          const subject = socket instanceof TLSSocket ? socket.getPeerCertificate().subject : undefined
          const name = String(subject?.CN ?? "nobody")
          response.writeHead(200, { "docker-distribution-api-version": "registry/2.0" })
          response.end(JSON.stringify({ name: "app", tags: [name, String(request.headers.authorization ?? "none")] }))
        }
      )
      await new Promise<void>((resolve) => https.listen(0, "127.0.0.1", resolve))
      return { https, host: `127.0.0.1:${(https.address() as AddressInfo).port}` }
    }),
    ({ https }) =>
      Effect.sync(() => {
        https.close()
        https.closeAllConnections()
      })
  )
)

layer(registry, { excludeTestServices: true })("the network options", (it) => {
  describe("--insecure-skip-tls-verify", () => {
    it.scoped("takes any certificate of the hosts it means, and of no other", () =>
      Effect.gen(function* () {
        const { host } = yield* secure
        const words = ["tags", `${host}/app`, "--registry", `https://${host}`, "--output", "json"]
        const refused = yield* ereg(words)
        expect(errorOf(refused.stdout).reason).toBe("Tls")
        const other = yield* ereg([...words, "--insecure-skip-tls-verify=b.example"])
        expect(errorOf(other.stdout).reason).toBe("Tls")
        const plain = yield* ereg(["tags", `${host}/app`, "--insecure-skip-tls-verify", "--plain-http"])
        expect(plain.code).toBe(1)
        expect(yield* output(["tags", `${host}/app`, "--insecure-skip-tls-verify"])).toBe("nobody\nnone\n")
        for (const option of ["--insecure-skip-tls-verify", `--insecure-skip-tls-verify=${host}`]) {
          expect(JSON.parse(yield* output([...words, option])).tags).toEqual(["nobody", "none"])
        }
      })
    )
  })

  describe("--cert-dir", () => {
    it.scoped("adds the authority and the client certificate of the folder, and makes loopback TLS", () =>
      Effect.gen(function* () {
        const { host } = yield* secure
        const { ca, client } = yield* Certificates.make
        const folder = yield* temporaryFolder
        writeFileSync(join(folder, "ca.crt"), ca)
        const words = ["tags", `${host}/app`, "--cert-dir", folder]
        expect(yield* output(words)).toBe("nobody\nnone\n")
        writeFileSync(join(folder, "me.cert"), client.cert)
        writeFileSync(join(folder, "me.key"), client.key, { mode: 0o600 })
        expect(yield* output(words)).toBe("client\nnone\n")
      })
    )
    it.scoped("is found in Docker's certs.d of the home folder", () =>
      Effect.gen(function* () {
        const { host } = yield* secure
        const { ca } = yield* Certificates.make
        const HOME = yield* temporaryFolder
        const folder = join(HOME, ".docker/certs.d", host)
        mkdirSync(folder, { recursive: true })
        writeFileSync(join(folder, "ca.crt"), ca)
        expect(yield* output(["tags", `${host}/app`], { environment: { HOME } })).toBe("nobody\nnone\n")
      })
    )
  })

  describe("--mirror", () => {
    it.scoped("reads images of a host from there first", () =>
      Effect.gen(function* () {
        const { host, url } = yield* EmbeddedRegistry.EmbeddedRegistry
        const [, repository] = (yield* pushed("oci-archive.tar")).split(/\/(.*)/)
        const words = ["digest", `127.0.0.1:1/${repository}:1`, "--mirror", `127.0.0.1:1=http://${host}`]
        expect(yield* output(words)).toBe(`${known.ociArchive}\n`)
        const unrelated = [...words.slice(0, -1), `b.example=${url}`, "--output", "json"]
        expect(errorOf((yield* ereg(unrelated)).stdout).reason).toBe("Unreachable")
      })
    )
  })

  describe("--no-cache", () => {
    it.scoped("remembers nothing of what a push learned", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const remembered = (...more: ReadonlyArray<string>) =>
          Effect.gen(function* () {
            const folder = yield* temporaryFolder
            const environment = { XDG_CACHE_HOME: folder, XDG_STATE_HOME: folder }
            const archive = `docker-archive:${fixture("docker26-multi.tar")}:fixture/web:2.0`
            yield* output(["push", archive, `${host}/${repositoryName()}:1`, ...more], { environment })
            const kept = join(folder, "effect-registry")
            return existsSync(kept)
              ? readdirSync(kept, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length
              : 0
          })
        expect(yield* remembered()).toBeGreaterThan(0)
        expect(yield* remembered("--no-cache", "--no-resume")).toBe(0)
      })
    )
  })
})
