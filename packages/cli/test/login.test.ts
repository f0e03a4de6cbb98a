import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ereg, errorOf, type MemoryOptions, temporaryFolder } from "./support.js"

/** No output of anything may hold it, nor its encoded forms. */
const secret = "hunter2:pass/word with=odd&parts"
const encoded = [secret, Buffer.from(`bob:${secret}`).toString("base64"), encodeURIComponent(secret), "hunter2"]

/** A registry that wants this user, by Basic or through a token server of its own. */
const guarded = (kind: "Basic" | "Bearer" | "open") =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const seen: Array<string> = []
      const basic = `Basic ${Buffer.from(`bob:${secret}`).toString("base64")}`
      const server = createServer((request, response) => {
        const { authorization } = request.headers
        const url = request.url ?? ""
        seen.push(`${request.method} ${url.replace(/\?.*$/, "")} ${authorization?.split(" ")[0] ?? "-"}`)
        request.resume()
        if (url.startsWith("/token")) {
          if (request.method === "POST") return void response.writeHead(404).end()
          if (authorization !== basic) return void response.writeHead(401).end('{"details":"wrong"}')
          return void response.end(JSON.stringify({ token: "t0ken", expires_in: 300 }))
        }
        const wanted = kind === "Basic" ? basic : kind === "Bearer" ? "Bearer t0ken" : authorization
        if (authorization === wanted) {
          response.writeHead(200, { "docker-distribution-api-version": "registry/2.0" })
          return void response.end(url.includes("/tags/list") ? '{"name":"app","tags":["1.0"]}' : "{}")
        }
        const challenge =
          kind === "Basic" ? 'Basic realm="here"' : `Bearer realm="http://${request.headers.host}/token",service="here"`
        const body = '{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}'
        response.writeHead(401, { "www-authenticate": challenge }).end(body)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      return { server, seen, host: `127.0.0.1:${(server.address() as AddressInfo).port}` }
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )

/** A home folder of the test's own, and `ereg` in it; whatever it says is searched for the secret. */
const session = Effect.map(temporaryFolder, (HOME) => {
  const config = join(HOME, ".docker/config.json")
  const run = (words: ReadonlyArray<string>, options: MemoryOptions = {}) =>
    Effect.tap(ereg(words, { ...options, environment: { HOME, ...options.environment } }), ({ stderr, stdout }) =>
      Effect.sync(() => {
        for (const text of encoded) expect(`${stdout}${stderr}`).not.toContain(text)
      })
    )
  const piped = (text: string) => ({ input: Buffer.from(text) })
  return {
    HOME,
    config,
    run,
    read: () => JSON.parse(readFileSync(config, "utf8")),
    write: (document: unknown) => {
      mkdirSync(join(HOME, ".docker"), { recursive: true })
      writeFileSync(config, JSON.stringify(document, null, "\t"))
    },
    login: (host: string, ...more: ReadonlyArray<string>) =>
      run(["login", host, "--username", "bob", "--password-stdin", ...more], piped(`${secret}\n`)),
    piped
  }
})

const auth = Buffer.from(`bob:${secret}`).toString("base64")

/** A helper that keeps everything in a file beside it. */
const helper = (HOME: string) => {
  const bin = join(HOME, "bin")
  const file = join(HOME, "kept.json")
  mkdirSync(bin)
  writeFileSync(
    join(bin, "docker-credential-fake"),
    `#!${process.execPath}
const fs = require("node:fs")
const file = ${JSON.stringify(file)}
const all = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {}
const input = fs.readFileSync(0, "utf8")
const verb = process.argv[2]
if (verb === "store") {
  const { ServerURL, ...rest } = JSON.parse(input)
  all[ServerURL] = rest
} else if (all[input] === undefined) {
  console.log("credentials not found in native keychain")
  process.exit(1)
} else if (verb === "get") console.log(JSON.stringify({ ServerURL: input, ...all[input] }))
else delete all[input]
fs.writeFileSync(file, JSON.stringify(all))
`
  )
  chmodSync(join(bin, "docker-credential-fake"), 0o755)
  return { PATH: bin, kept: () => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {}) }
}

describe("ereg login", () => {
  for (const kind of ["Basic", "Bearer"] as const) {
    it.scopedLive(`checks a password by ${kind}, keeps it, and logout forgets it`, () =>
      Effect.gen(function* () {
        const { host, seen } = yield* guarded(kind)
        const { config, login, read, run } = yield* session
        const done = yield* login(host)
        expect(done).toMatchObject({ code: 0, stdout: "" })
        expect(done.stderr).toContain(`logged in to ${host} as bob\n`)
        expect(done.stderr).toContain(
          `warning: the password lies in ${config} as plain text; a credential helper, named there by credsStore, would keep it safe\n`
        )
        expect(seen[0]).toBe("GET /v2/ -")
        expect(seen.at(-1)).toBe(`GET /v2/ ${kind}`)
        expect(read()).toEqual({ auths: { [host]: { auth } } })
        expect(statSync(config).mode & 0o777).toBe(0o600)

        expect(yield* run(["tags", `${host}/app`])).toMatchObject({ code: 0, stdout: "1.0\n" })

        const out = yield* run(["logout", host])
        expect(out).toMatchObject({ code: 0, stdout: "", stderr: `logged out of ${host}: removed from ${config}\n` })
        expect(read()).toEqual({ auths: {} })
        const again = yield* run(["logout", host])
        expect(again).toMatchObject({ code: 0, stdout: "", stderr: `there were no credentials for ${host}\n` })
        const refused = yield* run(["tags", `${host}/app`])
        expect(refused.code).toBe(1)
        expect(refused.stderr).toContain("`ereg login ")
      })
    )
    it.scopedLive(`keeps nothing that the registry refuses by ${kind}`, () =>
      Effect.gen(function* () {
        const { host } = yield* guarded(kind)
        const { config, piped, run } = yield* session
        for (const more of [[], ["--output", "json"], ["--log-level", "debug"]]) {
          const words = ["login", host, "--username", "bob", "--password-stdin", ...more]
          const failed = yield* run(words, piped(`${secret}!`))
          expect(failed.code).toBe(1)
          if (more.includes("json")) {
            expect(errorOf(failed.stdout)).toMatchObject({ tag: "RegistryError", reason: "Unauthorized", status: 401 })
          } else {
            expect(failed.stderr).toMatch(
              /error: log in to 127\..*\n {2}why: the registry refuses user name or password.*\n {2}try: check them; .*token/
            )
          }
        }
        expect(existsSync(config)).toBe(false)
      })
    )
  }

  it.scopedLive("prints one object with --output json, also for a URL", () =>
    Effect.gen(function* () {
      const { host } = yield* guarded("Basic")
      const { config, login, run } = yield* session
      const done = yield* login(`http://${host}/`, "--output", "json")
      expect(JSON.parse(done.stdout)).toEqual({ host, username: "bob", helper: null, file: config })
      const out = yield* run(["logout", `http://${host}`, "--output", "json"])
      expect(JSON.parse(out.stdout)).toEqual({ host, removed: true, files: [config] })
    })
  )
  it.scopedLive("keeps the secret in the helper that config.json names, without a warning", () =>
    Effect.gen(function* () {
      const { host } = yield* guarded("Basic")
      const { config, HOME, login, piped, read, run, write } = yield* session
      write({ credsStore: "fake" })
      const { kept, PATH } = helper(HOME)
      const words = ["login", host, "--username", "bob", "--password-stdin", "--output", "json"]
      const done = yield* run(words, { ...piped(secret), environment: { PATH } })
      expect(JSON.parse(done.stdout)).toEqual({ host, username: "bob", helper: "fake", file: null })
      expect(done.stderr).toBe(`logged in to ${host} as bob\n`)
      expect(kept()).toEqual({ [host]: { Username: "bob", Secret: secret } })
      expect(read()).toEqual({ credsStore: "fake" })
      expect((yield* run(["tags", `${host}/app`], { environment: { PATH } })).stdout).toBe("1.0\n")
      expect((yield* run(["logout", host], { environment: { PATH } })).stderr).toContain(`removed from ${config}\n`)
      expect(kept()).toEqual({})

      // The helper is not on PATH here.
      const failed = yield* login(host, "--output", "json")
      expect(failed.code).toBe(1)
      expect(errorOf(failed.stdout)).toMatchObject({
        tag: "ValidationError",
        reason: "InvalidCredentials",
        message: "docker-credential-fake: is not on PATH"
      })
      const unread = yield* run(["tags", `${host}/app`, "--output", "json"])
      expect(errorOf(unread.stdout)).toMatchObject({ tag: "RegistryError", reason: "Credentials" })
    })
  )
  it.scopedLive("keeps unknown fields, and follows a config.json that is a link", () =>
    Effect.gen(function* () {
      const { host } = yield* guarded("Basic")
      const { config, HOME, login, read } = yield* session
      const real = join(HOME, "docker.json")
      mkdirSync(join(HOME, ".docker"))
      writeFileSync(real, '{\n  "zebra": [1],\n  "auths": {},\n  "apple": {}\n}\n')
      symlinkSync("../docker.json", config)
      yield* login(host)
      expect(lstatSync(config).isSymbolicLink()).toBe(true)
      expect(Object.keys(read())).toEqual(["zebra", "auths", "apple"])
      expect(readFileSync(real, "utf8")).toMatch(/^\{\n {2}"zebra": \[\n {4}1\n {2}\],\n {2}"auths"/)
      expect(statSync(real).mode & 0o777).toBe(0o600)
    })
  )
  it.scopedLive("uses one file alone with --authfile or REGISTRY_AUTH_FILE", () =>
    Effect.gen(function* () {
      const { host } = yield* guarded("Basic")
      const { config, HOME, login, run } = yield* session
      const file = join(HOME, "new/auth.json")
      yield* login(host, "--authfile", file)
      expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ auths: { [host]: { auth } } })
      expect(existsSync(config)).toBe(false)
      expect((yield* run(["tags", `${host}/app`])).code).toBe(1)
      expect((yield* run(["tags", `${host}/app`, "--authfile", file])).code).toBe(0)
      const environment = { REGISTRY_AUTH_FILE: file }
      expect((yield* run(["tags", `${host}/app`], { environment })).code).toBe(0)
      expect((yield* run(["logout", host], { environment })).stderr).toBe(
        `logged out of ${host}: removed from ${file}\n`
      )
    })
  )
  it.scopedLive("removes them from every file that has some, and with --authfile from that alone", () =>
    Effect.gen(function* () {
      const { host } = yield* guarded("Basic")
      const { config, HOME, login, run } = yield* session
      const podman = join(HOME, ".config/containers/auth.json")
      const both = Effect.zip(login(host), login(host, "--authfile", podman))
      yield* both
      const one = yield* run(["logout", host, "--authfile", podman, "--output", "json"])
      expect(JSON.parse(one.stdout).files).toEqual([podman])
      yield* both
      const out = yield* run(["logout", host])
      expect(out.stderr).toBe(`logged out of ${host}: removed from ${config}, ${podman}\n`)
      const nothing = yield* run(["logout", host, "--authfile", join(HOME, "none"), "--output", "json"])
      expect(JSON.parse(nothing.stdout)).toEqual({ host, removed: false, files: [] })
    })
  )
  it.scopedLive("names itself where the registry is not there", () =>
    Effect.gen(function* () {
      const { login } = yield* session
      expect((yield* login("127.0.0.1:1")).stderr).toContain("error: log in to 127.0.0.1:1\n  why: cannot reach")
    })
  )
  it.scopedLive("warns where the registry asks nobody", () =>
    Effect.gen(function* () {
      const { host } = yield* guarded("open")
      const { login } = yield* session
      expect((yield* login(host)).stderr).toContain(`warning: ${host} asks nobody for credentials`)
    })
  )
  it.scopedLive("leaves a broken config.json alone, and repeats nothing of it", () =>
    Effect.gen(function* () {
      const { host } = yield* guarded("Basic")
      const { config, login, run, write } = yield* session
      write("")
      const broken = `{"auths":{"${host}":{"auth":"${auth}"`
      writeFileSync(config, broken)
      for (const more of [[], ["--output", "json"], ["--log-level", "debug"]]) {
        expect((yield* login(host, ...more)).code).toBe(1)
        expect((yield* run(["tags", `${host}/app`, ...more])).code).toBe(1)
        expect((yield* run(["logout", host, ...more])).code).toBe(1)
      }
      expect((yield* run(["logout", host])).stderr).toContain(`error: ${config}\n  why: is not JSON\n  try: mend`)
      expect(readFileSync(config, "utf8")).toBe(broken)
    })
  )

  it.scopedLive("is not needed with EREG_USERNAME and EREG_PASSWORD, which are for the configured registry alone", () =>
    Effect.gen(function* () {
      const { host, seen } = yield* guarded("Basic")
      const other = yield* guarded("Basic")
      const { run } = yield* session
      const environment = { EREG_USERNAME: "bob", EREG_PASSWORD: secret, EREG_REGISTRY: `http://${host}` }
      expect(yield* run(["tags", "app"], { environment })).toMatchObject({ code: 0, stdout: "1.0\n" })
      expect(seen.at(-1)).toBe("GET /v2/app/tags/list Basic")
      expect((yield* run(["tags", `${other.host}/app`], { environment })).code).toBe(1)
      expect(other.seen.filter((line) => !line.endsWith(" -"))).toEqual([])
      const broken = { ...environment, EREG_REGISTRY: "http://a:b:c" }
      expect((yield* run(["tags", `${host}/app`, "--log-level", "debug"], { environment: broken })).code).toBe(1)
    })
  )

  describe("asking", () => {
    const typed = (text: string) => ({ terminal: true, input: Buffer.from(text) })

    it.scopedLive("asks for user and password on standard error, showing the first only", () =>
      Effect.gen(function* () {
        const { host } = yield* guarded("Basic")
        const { read, run } = yield* session
        const done = yield* run(["login", host], typed(`bob\n${secret}\n`))
        expect(done).toMatchObject({ code: 0, stdout: "" })
        expect(done.stderr).toContain(`User name at ${host}: `)
        expect(done.stderr).toContain(`Password or token of bob at ${host}: \n`)
        expect(read()).toEqual({ auths: { [host]: { auth } } })
        // The user of the last login is offered.
        const again = yield* run(["login", host], typed(`\n${secret}\n`))
        expect(again.stderr).toContain(`User name at ${host} (bob): `)
        expect(again.stderr).toContain(`logged in to ${host} as bob\n`)
      })
    )
    it.scopedLive("asks for the password alone with --username", () =>
      Effect.gen(function* () {
        const { host } = yield* guarded("Basic")
        const { run } = yield* session
        const done = yield* run(["login", host, "--username=bob"], typed(`${secret}\n`))
        expect([done.code, done.stderr.includes("User name")]).toEqual([0, false])
      })
    )
    it.scopedLive("refuses empty answers", () =>
      Effect.gen(function* () {
        const { run } = yield* session
        expect((yield* run(["login", "a.example"], typed("\n\n"))).stderr).toContain("no user name was given")
        expect((yield* run(["login", "a.example"], typed("bob\n\n"))).stderr).toContain("no password was given")
      })
    )
  })

  describe("without a terminal", () => {
    it.scopedLive("says what to type instead, and asks nobody", () =>
      Effect.gen(function* () {
        const { host, seen } = yield* guarded("Basic")
        const { piped, run } = yield* session
        const cases: ReadonlyArray<readonly [ReadonlyArray<string>, MemoryOptions, string]> = [
          [["--username", "bob"], piped(secret), "standard input is no terminal"],
          [["--password-stdin"], piped(secret), "--password-stdin needs --username"],
          [["--username", "bob", "--password-stdin"], piped(""), "standard input holds no password"],
          [["--username", "bob", "--password-stdin"], piped("\n"), "standard input holds no password"],
          [["--username", "bob", "--password-stdin"], piped("x".repeat(70_000)), "more than 65536 bytes"],
          [["--username", "bob", "--password-stdin"], { terminal: true }, "standard input is a terminal"]
        ]
        for (const [words, options, why] of cases) {
          const { code, stderr } = yield* run(["login", host, ...words], options)
          expect([code, stderr.includes(why)]).toEqual([2, true])
          expect(stderr).toContain(`ereg login ${host} --username USER --password-stdin`)
        }
        expect(seen).toEqual([])
      })
    )
    it.scopedLive("takes exactly one line end off the password", () =>
      Effect.gen(function* () {
        const { host } = yield* guarded("open")
        const { piped, read, run } = yield* session
        for (const [text, kept] of [
          ["a\n\n", "a\n"],
          ["a\r\n", "a"],
          [" a ", " a "]
        ] as const) {
          yield* run(["login", host, "--username", "bob", "--password-stdin"], piped(text))
          expect(Buffer.from(read().auths[host].auth, "base64").toString()).toBe(`bob:${kept}`)
        }
      })
    )
  })

  describe("HOST", () => {
    it.scopedLive("is docker.io where it is left out, else the configured registry", () =>
      Effect.gen(function* () {
        const { host } = yield* guarded("Basic")
        const { run, write } = yield* session
        write({ auths: { "https://index.docker.io/v1/": { auth } } })
        expect((yield* run(["logout"])).stderr).toContain("logged out of docker.io: ")
        expect((yield* run(["logout", "index.docker.io"])).stderr).toBe("there were no credentials for docker.io\n")
        expect((yield* run(["logout", "--registry", `http://${host}`])).stderr).toContain(host)
      })
    )
    it.scopedLive("is refused where it is none", () =>
      Effect.gen(function* () {
        const { run } = yield* session
        for (const host of ["a/b", "a b", "host:99999999"]) {
          const { code, stderr } = yield* run(["logout", host])
          expect([code, stderr.includes("is no host name with an optional port")]).toEqual([1, true])
        }
      })
    )
  })
})
