import { describe, expect, it } from "@effect/vitest"
import { AccessLog, EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { openSocket, pushBlob, random, readSocket, send, startUpload, uniqueName } from "./support.js"

const entry: AccessLog.Entry = {
  remote: "192.0.2.7",
  account: "alice",
  time: Date.UTC(2025, 5, 4, 11, 2, 27),
  duration: 2.4,
  method: "GET",
  path: "/v2/",
  httpVersion: "1.1",
  status: 200,
  received: 187,
  sent: 212,
  referrer: undefined,
  userAgent: "docker/28.2",
  complete: true
}

describe("AccessLog", () => {
  describe("combined", () => {
    it("is the combined format with bytes received, seconds and how it ended", () => {
      expect(AccessLog.combined(entry)).toBe(
        '192.0.2.7 - alice [04/Jun/2025:11:02:27 +0000] "GET /v2/ HTTP/1.1" 200 212 "-" "docker/28.2" 187 0.002 +'
      )
      expect(AccessLog.combined({ ...entry, account: undefined, status: undefined, complete: false })).toBe(
        '192.0.2.7 - - [04/Jun/2025:11:02:27 +0000] "GET /v2/ HTTP/1.1" - 212 "-" "docker/28.2" 187 0.002 -'
      )
    })

    it("escapes what strangers write, and cuts what is long", () => {
      const line = AccessLog.combined({
        ...entry,
        account: 'a b"\n',
        path: "/v2/\u001b[2J\u0085ä",
        userAgent: 'x" 200 "\\\r\n127.0.0.1',
        referrer: "r".repeat(5000)
      })
      expect(line).toMatch(/^[\x20-\x7e]*$/)
      expect(line).toContain('- a\\x20b\\"\\x0a [')
      expect(line).toContain("/v2/\\x1b[2J\\xc2\\x85\\xc3\\xa4 HTTP")
      expect(line).toContain('"x\\" 200 \\"\\\\\\x0d\\x0a127.0.0.1"')
      expect(line.length).toBeLessThan(1300)
    })
  })

  describe("toJson", () => {
    it("has every field, null where there is nothing", () => {
      expect(AccessLog.toJson({ ...entry, account: undefined, status: undefined })).toEqual({
        ...entry,
        account: null,
        status: null,
        referrer: null,
        time: "2025-06-04T11:02:27.000Z"
      })
    })
  })
})

/** What was logged while `use` ran, once there are so many entries. */
const logged = <A, E>(
  count: number,
  options: EmbeddedRegistry.Options,
  use: Effect.Effect<A, E, EmbeddedRegistry.EmbeddedRegistry | Scope.Scope>
) =>
  Effect.gen(function* () {
    const entries: Array<AccessLog.Entry> = []
    const accessLog = (entry: AccessLog.Entry) => Effect.sync(() => void entries.push(entry))
    yield* Effect.provide(use, EmbeddedRegistry.layerTemp({ ...options, accessLog }))
    expect(entries).toHaveLength(count)
    return entries
  })

describe("the access log of a registry", () => {
  it.scoped("has each request at its end, with its bytes, but not those for the health", () =>
    Effect.gen(function* () {
      const name = uniqueName()
      const entries = yield* logged(
        5,
        {},
        Effect.gen(function* () {
          const { digest } = yield* pushBlob(name, random(200_000))
          yield* send("GET", "/healthz")
          yield* send("GET", `/v2/${name}/blobs/${digest}?secret=1`, { headers: { "user-agent": "us" } })
          yield* send("HEAD", `/v2/${name}/blobs/${digest}`)
          yield* send("GET", "/v2/none/tags/list")
        })
      )
      expect(entries.map(({ complete, method, status }) => [method, status, complete])).toEqual([
        ["POST", 202, true],
        ["PUT", 201, true],
        ["GET", 200, true],
        ["HEAD", 200, true],
        ["GET", 404, true]
      ])
      const [, put, get, head] = entries
      expect(put?.received).toBeGreaterThan(200_000)
      expect(put?.received).toBeLessThan(201_000)
      expect(put?.sent).toBeLessThan(1000)
      expect(get?.sent).toBeGreaterThan(200_000)
      expect(get?.sent).toBeLessThan(201_000)
      expect(head?.sent).toBeLessThan(1000)
      expect(head?.received).toBeLessThan(1000)
      expect(get).toMatchObject({ remote: "127.0.0.1", userAgent: "us", httpVersion: "1.1", account: undefined })
      expect(get?.path).toMatch(/^\/v2\/.*\/blobs\/sha256:[0-9a-f]{64}$/)
    })
  )

  it.scoped("counts the bytes of each request on a connection that is kept", () =>
    Effect.gen(function* () {
      const request = "GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n"
      const answers: Array<string> = []
      const entries = yield* logged(
        2,
        {},
        Effect.gen(function* () {
          const socket = yield* openSocket
          for (let n = 0; n < 2; n++) {
            const answer = yield* Effect.fork(readSocket(socket, "\r\n\r\n{}"))
            socket.write(request)
            answers.push(yield* Fiber.join(answer))
            socket.removeAllListeners("data")
          }
        })
      )
      expect(entries.map(({ received, sent }) => [received, sent])).toEqual(
        answers.map(({ length }) => [request.length, length])
      )
    })
  )

  it.scoped("says which client left early", () =>
    Effect.gen(function* () {
      const [, patch] = yield* logged(
        3,
        {},
        Effect.gen(function* () {
          const location = yield* startUpload(uniqueName())
          const socket = yield* openSocket
          socket.write(`PATCH ${location} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n0123456789`)
          yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 100)))
          socket.destroy()
          yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 100)))
          yield* send("GET", location)
        })
      )
      expect(patch).toMatchObject({ method: "PATCH", status: undefined, complete: false })
      expect(patch?.received).toBeGreaterThan(50)
      expect(patch?.duration).toBeGreaterThan(50)
    })
  )

  it.scoped("has pipelined requests whose connection went before their turn", () =>
    Effect.gen(function* () {
      const onRequest: EmbeddedRegistry.Options["onRequest"] = ({ path }) =>
        Effect.succeed(path.includes("slow") ? Faults.delay("1 minute") : undefined)
      const entries = yield* logged(
        3,
        { onRequest },
        Effect.gen(function* () {
          const socket = yield* openSocket
          const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`
          socket.write(get("/v2/slow/tags/list") + get("/v2/") + get("/v2/"))
          yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 100)))
          socket.destroy()
        })
      )
      expect(entries.map(({ complete, path }) => [path, complete]).sort()).toEqual([
        ["/v2/", false],
        ["/v2/", false],
        ["/v2/slow/tags/list", false]
      ])
    })
  )

  it.scoped("names the account, and never a password", () =>
    Effect.gen(function* () {
      const authorization = `Basic ${Buffer.from("alice:geheim").toString("base64")}`
      const authenticate: EmbeddedRegistry.Options["authenticate"] = () => Effect.succeed({ name: "alice" })
      const entries = yield* logged(1, { authenticate }, send("GET", "/v2/", { headers: { authorization } }))
      expect(entries[0]?.account).toBe("alice")
      expect(JSON.stringify(entries)).not.toMatch(/geheim|Basic/)
    })
  )
})
