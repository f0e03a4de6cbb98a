import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { type Auth, EmbeddedRegistry, Htpasswd } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { codeOf, send } from "../support.js"

// `htpasswd -nbB -C 4`: quick to check. `slow` has the cost 10.
const alice = "alice:$2y$04$RvnE4WcgAqK3fEIvuX9k2.aF7liaZ5cuD5RaB290ZIdkCZZTqdbY6"
const secret = "p:ss wörd"
const bob = "bob:$2y$04$cTAwcSCvdSvd0jyjSUhC7.1ZD0ZfRDNwAOFts1phPfa4veIg1NtUW"
const slow = "slow:$2y$10$KyzPtMxdHlYJh.SbHSA7re0khRcpyB9mcwxzlXnZy4VpJum8.kS5W"

const fileOf = (...lines: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "htpasswd-"))
      writeFileSync(join(folder, "users"), lines.join("\n"))
      return join(folder, "users")
    }),
    (path) => Effect.sync(() => rmSync(join(path, ".."), { recursive: true }))
  )

const basic = (name: string, password: string) => `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`

const asking =
  (authenticate: Auth.Authenticate) =>
  (authorization: string | undefined, remote = "192.0.2.7") =>
    Effect.either(authenticate({ authorization, remote, method: "GET", path: "/v2/" }))

/** 200, or the status of the refusal. */
const statusOf = Either.match({ onLeft: ({ status }: { readonly status: number }) => status, onRight: () => 200 })

describe("Htpasswd", () => {
  describe("make", () => {
    it.scoped("knows users by their passwords, with colons and beyond ASCII", () =>
      Effect.gen(function* () {
        const ask = asking(yield* Htpasswd.make(yield* fileOf(alice, bob)))
        expect(yield* ask(basic("alice", secret))).toEqual(Either.right({ name: "alice" }))
        expect(yield* ask(basic("alice", secret).replace("Basic", "basic"))).toEqual(Either.right({ name: "alice" }))
        expect(yield* ask(basic("bob", "geheim"))).toEqual(Either.right({ name: "bob" }))
      })
    )

    it.scoped("refuses everybody else with 401 and a challenge", () =>
      Effect.gen(function* () {
        const ask = asking(yield* Htpasswd.make(yield* fileOf(alice, bob), { realm: 'a "realm"' }))
        for (const authorization of [
          undefined,
          basic("alice", "wrong"),
          basic("alice", ""),
          basic("alice", "p"),
          basic("eve", secret),
          basic("eve", "geheim"),
          basic("", secret),
          "Basic !!!",
          "Bearer abc"
        ]) {
          const refused = Either.getOrThrow(Either.flip(yield* ask(authorization)))
          expect([authorization, refused.code, refused.status]).toEqual([authorization, "UNAUTHORIZED", 401])
          expect(refused.headers).toEqual({ "www-authenticate": 'Basic realm="a \\"realm\\"", charset="UTF-8"' })
        }
      })
    )

    it.scoped("takes as long for a name that nobody has as for a wrong password", () =>
      Effect.gen(function* () {
        const ask = asking(yield* Htpasswd.make(yield* fileOf(slow)))
        yield* ask(basic("slow", "to start the thread"))
        const timed = (name: string) =>
          Effect.gen(function* () {
            const start = performance.now()
            yield* ask(basic(name, "wrong"))
            return performance.now() - start
          })
        const fastest = (name: string) =>
          Effect.map(Effect.all([timed(name), timed(name), timed(name)]), (all) => Math.min(...all))
        // A check of this cost takes several times as long on any machine, and a refusal without one a hundredth of it.
        expect(yield* fastest("slow")).toBeGreaterThan(15)
        expect(yield* fastest("nobody")).toBeGreaterThan(15)
      })
    )

    it.scoped("fails where the file cannot be used, naming it but no hash", () =>
      Effect.gen(function* () {
        const path = yield* fileOf(alice, "bob:$apr1$secret")
        const error = yield* Effect.flip(Htpasswd.make(path))
        expect([error.reason, error.message]).toEqual([
          "InvalidHtpasswd",
          `cannot take passwords from ${path}: line 2, user "bob": the hash is not bcrypt ($2y$, $2b$ or $2a$)`
        ])
        expect(error.hint).toContain("htpasswd -B")
        const missing = yield* Effect.flip(Htpasswd.make(`${path}.missing`))
        expect([missing.reason, missing.message]).toEqual(["InvalidHtpasswd", expect.stringContaining("ENOENT")])
      })
    )
  })

  describe("a flood", () => {
    it.scoped("of wrong passwords gets 429, and neither stops others nor holds up the process", () =>
      Effect.gen(function* () {
        const ask = asking(yield* Htpasswd.make(yield* fileOf(alice, bob, slow)))
        yield* ask(basic("alice", secret))
        let turns = 0
        const loop = setInterval(() => turns++, 1)
        let checked = 0
        const attempt = (n: number) =>
          Effect.tap(ask(basic("slow", `wrong ${n}`)), (answer) => {
            if (statusOf(answer) === 401) checked += 1
          })
        const flood = yield* Effect.fork(
          Effect.all(
            Array.from({ length: 60 }, (_, n) => attempt(n)),
            { concurrency: "unbounded" }
          )
        )
        while (checked === 0) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
        expect(statusOf(yield* ask(basic("alice", secret)))).toBe(200)
        expect(checked).toBe(1)
        expect(statusOf(yield* ask(basic("bob", "geheim"), "198.51.100.1"))).toBe(200)
        // Before it came the check that was running, and one whose turn it was already.
        expect(checked).toBeLessThanOrEqual(3)
        const all = yield* flood
        clearInterval(loop)
        const statuses = all.map(statusOf)
        expect(new Set(statuses)).toEqual(new Set([401, 429]))
        expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(9)
        const busy = all.find((answer) => statusOf(answer) === 429)
        expect(busy).toMatchObject({ left: { code: "TOOMANYREQUESTS", headers: { "retry-after": "1" } } })
        expect(turns).toBeGreaterThan(20)
      })
    )

    it.scoped("of one right password is one check", () =>
      Effect.gen(function* () {
        const ask = asking(yield* Htpasswd.make(yield* fileOf(alice)))
        const all = yield* Effect.all(
          Array.from({ length: 100 }, () => ask(basic("alice", secret))),
          { concurrency: "unbounded" }
        )
        expect(new Set(all.map(statusOf))).toEqual(new Set([200]))
      })
    )
  })

  describe("the file", () => {
    it.scoped("is read again when it changes, and who is gone or has a new password is refused", () =>
      Effect.gen(function* () {
        const path = yield* fileOf(alice, bob)
        const ask = asking(yield* Htpasswd.make(path))
        expect(statusOf(yield* ask(basic("alice", secret)))).toBe(200)
        writeFileSync(path, bob.replace("bob", "alice"))
        yield* TestClock.adjust("2 seconds")
        expect(statusOf(yield* ask(basic("alice", secret)))).toBe(401)
        expect(statusOf(yield* ask(basic("bob", "geheim")))).toBe(401)
        expect(statusOf(yield* ask(basic("alice", "geheim")))).toBe(200)
      })
    )

    it.scoped("is read to its end also where the client that made us look goes away meanwhile", () =>
      Effect.gen(function* () {
        const path = yield* fileOf(alice, bob)
        const authenticate = yield* Htpasswd.make(path)
        const ask = asking(authenticate)
        expect(statusOf(yield* ask(basic("alice", secret)))).toBe(200)
        writeFileSync(path, bob)
        yield* TestClock.adjust("2 seconds")
        const leaving = yield* Effect.fork(ask(basic("alice", secret)))
        yield* Effect.yieldNow()
        yield* Effect.promise(() => new Promise(setImmediate))
        yield* Fiber.interrupt(leaving)
        expect(statusOf(yield* ask(basic("alice", secret)))).toBe(401)
      })
    )

    it.scoped("stays in force where the new content is bad or missing, which is logged once", () =>
      Effect.gen(function* () {
        const messages: Array<string> = []
        const logger = Logger.make(({ message }) => void messages.push(String(message)))
        const path = yield* fileOf(alice)
        const ask = asking(yield* Htpasswd.make(path))
        yield* Effect.gen(function* () {
          writeFileSync(path, `${alice}\neve:secret`)
          for (let n = 0; n < 3; n++) {
            yield* TestClock.adjust("2 seconds")
            expect(statusOf(yield* ask(basic("alice", secret)))).toBe(200)
          }
          expect(messages).toEqual([expect.stringMatching(/stay in force: .*users cannot be used: line 2, user "eve"/)])
          expect(messages[0]).not.toContain("secret")
          rmSync(path)
          for (let n = 0; n < 3; n++) {
            yield* TestClock.adjust("2 seconds")
            expect(statusOf(yield* ask(basic("alice", secret)))).toBe(200)
          }
          expect(messages.slice(1)).toEqual([expect.stringContaining("ENOENT")])
          writeFileSync(path, bob)
          yield* TestClock.adjust("2 seconds")
          expect(statusOf(yield* ask(basic("alice", secret)))).toBe(401)
        }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      })
    )
  })

  it.effect("guards everything but the health", () =>
    Effect.gen(function* () {
      for (const path of ["/v2/", "/metrics", "/v2/a/manifests/1", "/none"]) {
        const refused = yield* send("GET", path)
        expect([path, refused.status, codeOf(refused)]).toEqual([path, 401, "UNAUTHORIZED"])
        expect(refused.headers.get("www-authenticate")).toBe('Basic realm="registry", charset="UTF-8"')
      }
      expect((yield* send("GET", "/healthz")).status).toBe(200)
      const headers = { authorization: basic("alice", secret) }
      expect((yield* send("GET", "/v2/", { headers })).status).toBe(200)
      expect((yield* send("GET", "/metrics", { headers })).status).toBe(200)
    }).pipe(
      Effect.provide(
        Layer.unwrapScoped(
          Effect.map(Effect.flatMap(fileOf(alice), Htpasswd.make), (authenticate) =>
            EmbeddedRegistry.layerMemory({ authenticate })
          )
        )
      )
    )
  )
})
