/** What `ereg serve` does with its options, as a process. */
import { writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry, OciError } from "@effect-registry/server"
import { Certificates } from "@effect-registry/testing"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { bundled, ereg, errorOf, pushed, registry, start, temporaryFolder, until } from "./support.js"

class Command extends Context.Tag("test/Command")<Command, string>() {}

const command = Layer.scoped(Command, bundled)

/** `htpasswd -nbB -C 4 alice 'p:ss wörd'` */
const users = "alice:$2y$04$RvnE4WcgAqK3fEIvuX9k2.aF7liaZ5cuD5RaB290ZIdkCZZTqdbY6\n"

const unauthorized = OciError.make("UNAUTHORIZED", "who are you?", {
  headers: { "www-authenticate": 'Basic realm="other"' }
})

const serving = (words: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const started = yield* start(yield* Command, ["serve", "--port", "0", ...words])
    yield* until(() => started.stdout().includes("\n"))
    const said = started.stdout()
    const url: string = said.startsWith("{") ? JSON.parse(said).url : said.trim()
    return { ...started, url }
  })

const get = (url: string, init?: RequestInit) => Effect.promise(() => fetch(url, init))

/** A part of an upload on a connection of its own, and what was answered. */
const uploading = (url: string) =>
  Effect.gen(function* () {
    const begun = yield* get(`${url}/v2/app/blobs/uploads/`, { method: "POST" })
    const socket = connect(Number(new URL(url).port), "127.0.0.1").on("error", () => {})
    let answer = ""
    socket.on("data", (chunk) => (answer += chunk))
    socket.write(`PATCH ${begun.headers.get("location")} HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n0123456789`)
    yield* Effect.sleep("200 millis")
    return { socket, answer: () => answer }
  })

layer(Layer.merge(registry, command), { excludeTestServices: true, timeout: 60_000 })("serve", (it) => {
  describe("options", () => {
    it.effect("that leave a registry open to everybody are refused, with the three ways out", () =>
      Effect.gen(function* () {
        for (const host of ["0.0.0.0", "::", "192.0.2.7"]) {
          const { code, stderr } = yield* ereg(["serve", "--port", "0", "--host", host])
          expect(code).toBe(2)
          expect(stderr).toContain(`everybody who reaches ${host} could write to it`)
          expect(stderr).toMatch(/--htpasswd FILE.*--read-only.*--anonymous-write/)
        }
      })
    )

    it.scoped("that make no sense are refused", () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const path = join(folder, "users")
        yield* Effect.promise(() => writeFile(path, "eve:$apr1$secret"))
        for (const [words, code, why] of [
          [["--tls-cert", path], 2, /--tls-cert and --tls-key belong together/],
          [["--tls-cert", path, "--tls-key", path], 1, /the certificate is not PEM/],
          [["--htpasswd", path], 1, /line 1, user "eve": the hash is not bcrypt/],
          [["--htpasswd", `${path}.none`], 1, /ENOENT/],
          [["--max-upload-size", "much"], 2, /--max-upload-size is a number of bytes such as 500M/],
          [["--upload-expiry", "never"], 2, /--upload-expiry: "never" is no time/],
          [["--max-open-uploads", "0"], 2, /--max-open-uploads is a number from 1/]
        ] as const) {
          const ended = yield* ereg(["serve", "--port", "0", "--root", join(folder, "root"), ...words])
          expect([words, ended.code]).toEqual([words, code])
          expect(ended.stderr).toMatch(why)
          expect(ended.stderr).not.toContain("secret")
        }
        const json = yield* ereg(["serve", "--port", "0", "--htpasswd", path, "--output", "json"])
        expect(errorOf(json.stdout)).toMatchObject({ tag: "ServerError", reason: "InvalidHtpasswd" })
      })
    )
  })

  describe("with passwords and HTTPS", () => {
    it.scoped("lets in who has one, and says what it did but no password", () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const files = yield* Certificates.write(folder)
        const path = join(folder, "users")
        yield* Effect.promise(() => writeFile(path, users))
        const { stderr, url } = yield* serving([
          ...["--host", "0.0.0.0", "--htpasswd", path, "--root", join(folder, "root")],
          ...["--tls-cert", files.server.cert, "--tls-key", files.server.key]
        ])
        expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
        expect(stderr()).not.toContain("warning")
        const words = ["ping", url, "--insecure-skip-tls-verify"]
        expect((yield* ereg(words)).code).toBe(1)
        const environment = { EREG_USERNAME: "alice", EREG_PASSWORD: "p:ss wörd", EREG_REGISTRY: url }
        expect((yield* ereg(words, { environment })).code).toBe(0)
        yield* until(() => / - alice \[.*\] "GET \/v2\/ HTTP\/1\.1" 200 /.test(stderr()))
        expect(stderr()).toMatch(/^127\.0\.0\.1 - - \[.*\] "GET \/v2\/ HTTP\/1\.1" 401 /m)
        expect(stderr()).not.toMatch(/p:ss|cDpzcyB3/)
      })
    )

    it.scoped("warns where passwords travel in the clear", () =>
      Effect.gen(function* () {
        const path = join(yield* temporaryFolder, "users")
        yield* Effect.promise(() => writeFile(path, users))
        const open = yield* serving(["--host", "0.0.0.0", "--htpasswd", path])
        yield* until(() => open.stderr().includes("Ctrl-C"))
        expect(open.stderr()).toMatch(/^warning: passwords travel in the clear/m)
        const own = yield* serving(["--htpasswd", path])
        yield* until(() => own.stderr().includes("Ctrl-C"))
        expect(own.stderr()).not.toContain("warning")
      })
    )
  })

  describe("the log", () => {
    it.scoped("is a line of text or JSON for each request, or with --quiet none", () =>
      Effect.gen(function* () {
        const json = yield* serving(["--output", "json"])
        const quiet = yield* serving(["--quiet"])
        for (const { url } of [json, quiet]) {
          expect((yield* get(`${url}/healthz`)).status).toBe(200)
          yield* get(`${url}/v2/%C2%85/tags/list?n=1`, { headers: { "user-agent": "a\u0085b" } })
        }
        yield* until(() => json.stderr().includes("tags/list"))
        const line =
          json
            .stderr()
            .split("\n")
            .find((text) => text.startsWith("{")) ?? ""
        expect(line).toMatch(/^[\x20-\x7e]*$/)
        expect(JSON.parse(line)).toEqual({
          time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
          remote: "127.0.0.1",
          account: null,
          method: "GET",
          path: "/v2/%C2%85/tags/list",
          httpVersion: "1.1",
          status: 400,
          received: expect.any(Number),
          sent: expect.any(Number),
          duration: expect.any(Number),
          referrer: null,
          userAgent: "a\u0085b",
          complete: true
        })
        expect(json.stderr()).not.toContain("healthz")
        expect(quiet.stderr()).toBe("")
      })
    )
  })

  describe("a signal", () => {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143]
    ] as const) {
      it.scoped(`${signal} lets a request in flight finish, and takes no other`, () =>
        Effect.gen(function* () {
          const { child, ended, url } = yield* serving([])
          const { answer, socket } = yield* uploading(url)
          child.kill(signal)
          yield* Effect.sleep("500 millis")
          const refused = yield* Effect.promise(() =>
            fetch(`${url}/v2/`).then(
              () => false,
              () => true
            )
          )
          expect(refused).toBe(true)
          expect(child.exitCode).toBe(null)
          socket.write("0123456789")
          const result = yield* ended
          expect(result.code).toBe(code)
          expect(answer()).toMatch(/^HTTP\/1\.1 202 [\s\S]*range: 0-19/i)
        })
      )
    }

    it.scoped("ends it at once the second time", () =>
      Effect.gen(function* () {
        const { child, ended, url } = yield* serving([])
        yield* uploading(url)
        child.kill("SIGTERM")
        yield* Effect.sleep("500 millis")
        const before = Date.now()
        child.kill("SIGTERM")
        const { code, signal } = yield* ended
        expect(Date.now() - before).toBeLessThan(1000)
        expect(code ?? signal).toBe("SIGTERM")
      })
    )
  })

  describe("with --proxy", () => {
    it.scoped("is a cache of another registry, and says that it asks without credentials", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        const { url } = yield* EmbeddedRegistry.EmbeddedRegistry
        const cache = yield* serving(["--proxy", url])
        const path = name.slice(name.indexOf("/"))
        const wanted = yield* get(`${url}/v2${path}/manifests/1`)
        const got = yield* get(`${cache.url}/v2${path}/manifests/1`)
        expect(got.headers.get("docker-content-digest")).toBe(wanted.headers.get("docker-content-digest"))
        expect((yield* get(`${cache.url}/v2/a/blobs/uploads/`, { method: "POST" })).status).toBe(405)
        expect(cache.stderr()).toContain("asked without credentials")
        expect(cache.stderr()).not.toContain("push to it")
      })
    )

    it.scoped("uses our credentials for the other registry only where clients need some", () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const seen: Array<string> = []
        const authenticate: EmbeddedRegistry.Options["authenticate"] = ({ authorization = "none" }) =>
          Effect.zipRight(
            Effect.sync(() => seen.push(authorization)),
            authorization === "none" ? Effect.fail(unauthorized) : Effect.succeed({ name: "us" })
          )
        const { host, url } = yield* EmbeddedRegistry.makeMemory({ authenticate })
        const authfile = join(folder, "auth.json")
        const path = join(folder, "users")
        const auth = Buffer.from("us:ours").toString("base64")
        yield* Effect.promise(() => writeFile(authfile, JSON.stringify({ auths: { [host]: { auth } } })))
        yield* Effect.promise(() => writeFile(path, users))
        const words = ["--proxy", url, "--authfile", authfile]
        const authorization = `Basic ${Buffer.from("alice:p:ss wörd").toString("base64")}`
        const ask = (cache: string) => get(`${cache}/v2/app/manifests/1`, { headers: { authorization } })

        const open = yield* serving(words)
        yield* ask(open.url)
        expect(new Set(seen)).toEqual(new Set(["none"]))
        const guarded = yield* serving([...words, "--htpasswd", path])
        expect((yield* ask(guarded.url)).status).toBe(404)
        expect(new Set(seen)).toEqual(new Set(["none", `Basic ${auth}`]))
      })
    )
  })
})
