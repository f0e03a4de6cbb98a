import * as Fs from "node:fs"
import { dirname, join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Certificates } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Tls from "../src/Tls.js"
import { tempDir } from "./support.js"

const host = "registry.example:5000"

const write = (file: string, text: string): void => {
  Fs.mkdirSync(dirname(file), { recursive: true })
  Fs.writeFileSync(file, text)
}
const setting = Effect.map(Effect.all([tempDir, Certificates.make]), ([home, certificates]) => ({
  home,
  environment: { HOME: home },
  podman: join(home, ".config/containers/certs.d"),
  docker: join(home, ".docker/certs.d"),
  ...certificates
}))
const failure = (tls: Tls.Tls, name = host): Tls.CertificateError =>
  Either.getOrThrow(Either.flip(tls.agentOptions(name)))
const options = (tls: Tls.Tls, name = host, credentials: "include" | "omit" = "include") =>
  Either.getOrThrow(tls.agentOptions(name, credentials))

describe("Tls", () => {
  describe("hasFolder", () => {
    it.scoped("looks where Podman and Docker look, by host and port", () =>
      Effect.gen(function* () {
        const { ca, docker, environment, home, podman } = yield* setting
        write(join(docker, "one.example/ca.crt"), ca)
        write(join(podman, "two.example:5000/ca.crt"), ca)
        write(join(home, "xdg/containers/certs.d/[::1]:5000/ca.crt"), ca)
        const tls = Tls.make({ environment })
        expect(["one.example", "one.example:5000", "two.example:5000", "two.example"].map(tls.hasFolder)).toEqual([
          true,
          false,
          true,
          false
        ])
        const xdg = Tls.make({ environment: { ...environment, XDG_CONFIG_HOME: join(home, "xdg") } })
        expect(["[::1]:5000", "two.example:5000", "one.example"].map(xdg.hasFolder)).toEqual([true, false, true])
      })
    )

    it.scoped("takes docker.io for the host of Docker Hub's API, and port 443 as no port", () =>
      Effect.gen(function* () {
        const { ca, docker, environment } = yield* setting
        write(join(docker, "docker.io/ca.crt"), ca)
        write(join(docker, "one.example:443/ca.crt"), ca)
        const tls = Tls.make({ environment })
        expect(["registry-1.docker.io", "one.example", "two.example"].map(tls.hasFolder)).toEqual([true, true, false])
      })
    )

    it.scoped("never looks outside of the roots", () =>
      Effect.gen(function* () {
        const { docker, environment } = yield* setting
        Fs.mkdirSync(docker, { recursive: true })
        const tls = Tls.make({ environment })
        expect(["..", ".", "", "../certs.d", "a/../.."].map(tls.hasFolder)).toEqual([false, false, false, false, false])
      })
    )

    it.scoped("holds for every host with certDir, and for those with certificates by option", () =>
      Effect.gen(function* () {
        const { ca, environment, home } = yield* setting
        expect(Tls.make({ environment, certDir: home }).hasFolder(host)).toBe(true)
        const tls = Tls.make({ environment, hosts: { [host]: { ca }, "two.example": { skipVerify: true } } })
        expect([host, "two.example", "three.example"].map(tls.hasFolder)).toEqual([true, true, false])
        const named = Tls.make({ environment, skipVerify: [host] })
        expect([host, "two.example"].map(named.hasFolder)).toEqual([true, false])
        expect(Tls.make({ environment, skipVerify: true }).hasFolder(host)).toBe(false)
      })
    )
  })

  describe("agentOptions", () => {
    it.scoped("leaves a host without settings to Node", () =>
      Effect.gen(function* () {
        const { environment } = yield* setting
        expect(options(Tls.make({ environment }))).toEqual({})
      })
    )

    it.scoped("reads a folder once, and the first root that has it", () =>
      Effect.gen(function* () {
        const { ca, client, docker, environment, podman } = yield* setting
        write(join(podman, host, "ca.crt"), ca)
        write(join(docker, host, "client.cert"), client.cert)
        const tls = Tls.make({ environment })
        const first = options(tls)
        expect(first.cert).toBeUndefined()
        write(join(podman, host, "broken.crt"), "nothing")
        expect(options(tls).secureContext).toBe(first.secureContext)
      })
    )

    it.scoped("keeps the client certificate of an option before that of the folder", () =>
      Effect.gen(function* () {
        const { client, docker, environment, server } = yield* setting
        yield* Certificates.writeCertsD(docker, host, { client: true })
        expect(options(Tls.make({ environment })).cert).toEqual([client.cert])
        const own = { cert: server.cert, key: Redacted.make(server.key) }
        expect(options(Tls.make({ environment, hosts: { [host]: own } })).cert).toEqual([server.cert])
      })
    )

    it.scoped("leaves the client certificates of certDir out where they are not for the host", () =>
      Effect.gen(function* () {
        const { client, environment, home } = yield* setting
        const certDir = yield* Certificates.writeCertsD(home, "any", { client: true })
        const hosts = { "own.example": client }
        const tls = Tls.make({ environment, certDir, hosts })
        expect(options(tls).cert).toEqual([client.cert])
        expect(options(tls, host, "omit").cert).toBeUndefined()
        expect(options(tls, host, "omit").secureContext).toBeDefined()
        expect(options(tls, "own.example", "omit").cert).toEqual([client.cert])
      })
    )

    it.scoped("shares what takes memory among hosts without settings of their own", () =>
      Effect.gen(function* () {
        const { environment, home } = yield* setting
        const certDir = yield* Certificates.writeCertsD(home, "any")
        const tls = Tls.make({ environment, certDir, skipVerify: ["two.example"] })
        expect(options(tls, "one.example").secureContext).toBe(options(tls, "two.example").secureContext)
        expect(options(tls, "one.example").rejectUnauthorized).toBeUndefined()
        expect(options(tls, "two.example").rejectUnauthorized).toBe(false)
      })
    )

    it.scoped("skips verification for the named hosts, or for all", () =>
      Effect.gen(function* () {
        const { environment } = yield* setting
        const skips = (skipVerify: Tls.Options["skipVerify"], name: string) =>
          options(Tls.make({ environment, skipVerify, hosts: { "safe.example": { skipVerify: false } } }), name)
            .rejectUnauthorized === false
        expect([host, "registry.example", "safe.example"].map((name) => skips([host], name))).toEqual([
          true,
          false,
          false
        ])
        expect([host, "safe.example"].map((name) => skips(true, name))).toEqual([true, false])
      })
    )

    describe("fails on", () => {
      const key = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"
      it.scoped.each<readonly [string, Record<string, string>, string, RegExp]>([
        ["an authority without PEM", { "ca.crt": "nothing" }, "ca.crt", /^is no PEM certificate$/],
        [
          "an authority of broken PEM",
          { "ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" },
          "ca.crt",
          /^is no PEM certificate$/
        ],
        ["a certificate without its key", { "a.cert": "" }, "a.cert", /^the key a\.key is missing$/],
        ["a key without its certificate", { "a.key": key }, "a.key", /^the certificate a\.cert is missing$/],
        ["a client certificate without PEM", { "a.cert": "x", "a.key": key }, "a.cert", /^is no PEM certificate$/]
      ])("%s", ([, files, name, problem]) =>
        Effect.gen(function* () {
          const { docker, environment } = yield* setting
          for (const [file, text] of Object.entries(files)) write(join(docker, host, file), text)
          const error = failure(Tls.make({ environment }))
          expect(error.source).toBe(join(docker, host, name))
          expect(error.problem).toMatch(problem)
          expect(error.hint).toContain("*.crt are authorities")
          expect(error.code).toBe("ERR_TLS_CERT_FILE")
          expect(error.message).not.toContain("secret")
        })
      )

      it.scoped("a key of another certificate, naming both files, and recovers once it is mended", () =>
        Effect.gen(function* () {
          const { client, docker, environment, server } = yield* setting
          write(join(docker, host, "a.cert"), client.cert)
          write(join(docker, host, "a.key"), server.key)
          const tls = Tls.make({ environment })
          expect(failure(tls).message).toMatch(/a\.cert with a\.key: the key is not that of the certificate$/)
          write(join(docker, host, "a.key"), key)
          expect(failure(tls).message).toBe(`${join(docker, host, "a.key")}: is no private key`)
          write(join(docker, host, "a.key"), client.key)
          expect(options(tls).cert).toEqual([client.cert])
        })
      )

      it.scoped("a file that cannot be read, and a certDir that is not there", () =>
        Effect.gen(function* () {
          const { docker, environment, home } = yield* setting
          Fs.mkdirSync(join(docker, host, "ca.crt"), { recursive: true })
          expect(failure(Tls.make({ environment })).message).toMatch(/ca\.crt: is a folder, not a file$/)
          expect(failure(Tls.make({ environment, certDir: join(home, "none") })).message).toMatch(
            /none: no such folder$/
          )
        })
      )

      it.scoped("options that do not fit, without showing the key", () =>
        Effect.gen(function* () {
          const { client, environment } = yield* setting
          const messageOf = (settings: Tls.HostSettings) =>
            failure(Tls.make({ environment, hosts: { [host]: settings } })).message
          expect(messageOf({ cert: client.cert })).toBe(`the TLS settings of ${host}: cert without key`)
          expect(messageOf({ key: client.key })).toBe(`the TLS settings of ${host}: key without cert`)
          expect(messageOf({ ca: "x" })).toBe(`the TLS settings of ${host}, ca: is no PEM certificate`)
          expect(messageOf({ cert: client.cert, key: Redacted.make("hunter2") })).not.toContain("hunter2")
        })
      )
    })
  })
})
