import { createServer } from "node:http"
import { connect, type Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Listener from "../src/Listener.js"
import { Requests } from "../src/Requests.js"
import { openSocket, readSocket, send, startUpload, uniqueName } from "./support.js"

const closed = (socket: Socket) =>
  Effect.async<void>((resume) => {
    if (socket.destroyed) resume(Effect.void)
    else socket.once("close", () => resume(Effect.void))
  })

/** A registry in a scope of its own, and a part of an upload on a connection. */
const uploading = (shutdownGrace: EmbeddedRegistry.Options["shutdownGrace"]) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const registry = yield* Scope.extend(EmbeddedRegistry.makeMemory({ shutdownGrace }), scope)
    const within = Effect.provideService(EmbeddedRegistry.EmbeddedRegistry, registry)
    const location = yield* within(startUpload(uniqueName()))
    const socket = yield* within(openSocket)
    socket.write(`PATCH ${location} HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n0123456789`)
    yield* Effect.sleep("50 millis")
    return { end: Scope.close(scope, Exit.void), location, registry, socket, within }
  })

describe("Listener", () => {
  describe("the end of the scope", () => {
    it.scopedLive("lets requests in flight finish, takes no new ones, and closes idle connections at once", () =>
      Effect.gen(function* () {
        const { end, registry, socket, within } = yield* uploading("10 seconds")
        const idle = yield* within(openSocket)
        const first = readSocket(idle, "\r\n\r\n{}")
        idle.write("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n")
        yield* first
        const asking = yield* within(openSocket)
        asking.write("GET /healthz HTTP/1.1\r\n")
        yield* Effect.sleep("50 millis")

        const start = performance.now()
        const ending = yield* Effect.fork(end)
        yield* closed(idle)
        expect(performance.now() - start).toBeLessThan(5000)
        const refused = yield* Effect.promise(
          () =>
            new Promise<string>((resolve) => {
              connect(registry.port, "127.0.0.1").on("error", (error) =>
                resolve("code" in error ? `${error.code}` : "")
              )
            })
        )
        expect(refused).toBe("ECONNREFUSED")
        const health = yield* Effect.fork(readSocket(asking, "shutting down"))
        asking.write("host: x\r\n\r\n")
        const said = yield* Fiber.join(health)
        expect(said).toMatch(/^HTTP\/1.1 503 /)
        expect(said.toLowerCase()).toContain("connection: close")

        const answer = yield* Effect.fork(readSocket(socket, "\r\n\r\n"))
        socket.write("0123456789")
        expect(yield* Fiber.join(answer)).toMatch(/^HTTP\/1.1 202 [\s\S]*range: 0-19/i)
        yield* Fiber.join(ending)
        expect(performance.now() - start).toBeLessThan(9000)
      })
    )

    it.scopedLive("cuts off what takes longer", () =>
      Effect.gen(function* () {
        const { end, socket } = yield* uploading("200 millis")
        const start = performance.now()
        yield* Effect.all([end, closed(socket)], { concurrency: 2 })
        const took = performance.now() - start
        expect(took).toBeGreaterThan(150)
        expect(took).toBeLessThan(4000)
      })
    )
  })

  describe("headers", () => {
    it.scopedLive("that come too slowly, or never, end the connection", () =>
      Effect.gen(function* () {
        const options = { host: "127.0.0.1", port: 0, tls: undefined, grace: 0, headersWithin: "200 millis" } as const
        const { port } = yield* Listener.make(options, new Requests(undefined), (_, response) => response.end("never"))
        const open = Effect.sync(() => connect(port, "127.0.0.1").on("error", () => {}))
        const [silent, slow] = [yield* open, yield* open]
        let sent = 0
        const timer = setInterval(() => slow.write(sent++ === 0 ? "GET / HTTP/1.1\r\n" : `x-${sent}: 1\r\n`), 20)
        const start = performance.now()
        const answers = [readSocket(silent, "never"), readSocket(slow, "never")]
        const texts = yield* Effect.all(answers, { concurrency: 2 })
        clearInterval(timer)
        expect(texts.join()).not.toContain("never")
        expect(performance.now() - start).toBeLessThan(10_000)
        expect(performance.now() - start).toBeGreaterThan(150)
      })
    )

    it.effect("of more than 16 KiB are refused", () =>
      Effect.gen(function* () {
        const headers = { "x-long": "x".repeat(20_000) }
        expect((yield* send("GET", "/v2/", { headers })).status).toBe(431)
      }).pipe(Effect.provide(EmbeddedRegistry.layerMemory()))
    )
  })

  it.scopedLive("cuts off a client that never takes its answer, and not one whose answer takes long", () =>
    Effect.gen(function* () {
      const options = { host: "127.0.0.1", port: 0, tls: undefined, grace: 0, answerWithin: "200 millis" } as const
      const { port } = yield* Listener.make(options, new Requests(undefined), (request, response) =>
        request.url === "/large" ? response.end(Buffer.alloc(64 << 20)) : setTimeout(() => response.end("late"), 700)
      )
      const asking = (path: string) =>
        Effect.sync(() => {
          const socket = connect(port, "127.0.0.1").on("error", () => {})
          socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`)
          return socket
        })
      const [greedy, patient] = [yield* asking("/large"), yield* asking("/slow")]
      greedy.pause()
      expect(yield* readSocket(patient, "late")).toContain("late")
      yield* Effect.sleep("300 millis")
      let received = 0
      greedy.on("data", (chunk) => {
        received += chunk.length
      })
      greedy.resume()
      yield* closed(greedy)
      expect(received).toBeLessThan(64 << 20)
    })
  )

  it.scoped("answers a request to change protocols as any other", () =>
    Effect.gen(function* () {
      const socket = yield* openSocket
      const answer = yield* Effect.fork(readSocket(socket, "}"))
      socket.write("GET /v2/ HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
      expect(yield* Fiber.join(answer)).toMatch(/^HTTP\/1.1 200 /)
    }).pipe(Effect.provide(EmbeddedRegistry.layerMemory()))
  )

  it.scoped("says when the port is taken", () =>
    Effect.gen(function* () {
      const port = yield* Effect.acquireRelease(
        Effect.async<{ readonly port: number; readonly end: () => void }>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () => {
            const address = server.address()
            const port = typeof address === "object" && address !== null ? address.port : 0
            resume(Effect.succeed({ port, end: () => void server.close() }))
          })
        }),
        ({ end }) => Effect.sync(end)
      )
      const error = yield* Effect.flip(EmbeddedRegistry.makeMemory({ port: port.port }))
      expect(error.reason).toBe("PortInUse")
    })
  )

  describe("an address that others reach", () => {
    it.scoped("is refused where everybody could write and nothing says that they may", () =>
      Effect.gen(function* () {
        for (const host of ["0.0.0.0", "::", "registry.example"]) {
          const error = yield* Effect.flip(EmbeddedRegistry.makeMemory({ host }))
          expect([error.reason, error.message]).toEqual([
            "AnonymousWrite",
            `cannot serve ${host}: everybody who reaches that address could write`
          ])
          expect(error.hint).toMatch(/authenticate.*readOnly.*anonymousWrite/)
        }
        const authenticate = () => Effect.succeed({ name: "alice" })
        for (const options of [{ anonymousWrite: true }, { readOnly: true }, { authenticate }]) {
          const { host, port, url } = yield* EmbeddedRegistry.makeMemory({ host: "0.0.0.0", ...options })
          expect([host, url]).toEqual([`127.0.0.1:${port}`, `http://127.0.0.1:${port}`])
        }
      })
    )
  })

  it.effect("tells nobody more than that it is well", () =>
    Effect.gen(function* () {
      const health = yield* send("GET", "/healthz")
      expect([health.status, health.text]).toEqual([200, '{"status":"ok"}'])
      expect((yield* send("HEAD", "/healthz")).status).toBe(200)
    }).pipe(Effect.provide(EmbeddedRegistry.layerMemory({ authenticate: () => Effect.die("not asked") })))
  )
})
