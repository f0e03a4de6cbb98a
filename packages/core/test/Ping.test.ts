import { createServer, type Server } from "node:net"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { ping, RegistryConfig } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scripted from "./support/ScriptedClient.js"

const v2 = { "docker-distribution-api-version": "registry/2.0" }
const answered = (answer: Scripted.Answer, host: string | undefined = "r.example", url?: string) => {
  const script = Scripted.make(() => answer, url === undefined ? {} : { url })
  return { script, result: Effect.provide(ping(host), script.layer) }
}

/** A port that answers every connection with these bytes; `undefined`: one that nobody listens on. */
const port = (bytes: string | undefined) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Server>((resume) => {
        const server = createServer((socket) =>
          socket.on("error", () => {}).once("data", () => socket.end(bytes ?? ""))
        )
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => {
      const address = server.address()
      if (bytes === undefined) server.close()
      return typeof address === "object" && address !== null ? address.port : 0
    }
  )
const real = Layer.merge(FetchHttpClient.layer, RegistryConfig.layer({ retry: { delay: 1, attempts: 2 } }))

describe("Ping", () => {
  describe("ping", () => {
    it.live("tells host, URL and API version", () => {
      const { result, script } = answered({ status: 200, headers: v2, body: "{}" }, "localhost:5000")
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* result, {
          host: "localhost:5000",
          url: "http://localhost:5000",
          version: Option.some("registry/2.0"),
          warnings: []
        })
        assert.deepStrictEqual(script.lines(), ["GET /v2/"])
      })
    })
    it.live("asks the configured registry by default, and takes names and URLs", () =>
      Effect.gen(function* () {
        const ok = { status: 200, headers: v2, body: "{}" }
        const asked = (host: string | undefined, url?: string) => {
          const { result, script } = answered(ok, host, url)
          return Effect.map(result, () => script.seen[0]?.url)
        }
        const script = Scripted.make(() => ok, { url: "http://r.example:15000" })
        yield* Effect.provide(ping(), script.layer)
        assert.strictEqual(script.seen[0]?.url, "http://r.example:15000/v2/")
        assert.strictEqual(yield* asked("r.example:15000", "http://r.example:15000"), "http://r.example:15000/v2/")
        assert.strictEqual(yield* asked("other.example"), "https://other.example/v2/")
        assert.strictEqual(yield* asked("registry"), "https://registry/v2/")
        assert.strictEqual(yield* asked("docker.io"), "https://registry-1.docker.io/v2/")
        assert.strictEqual(yield* asked("http://r.example:5000/"), "http://r.example:5000/v2/")
      })
    )
    it.live("refuses what is no host", () =>
      Effect.gen(function* () {
        for (const host of ["a b", "", "host/path", "host:port", "ftp://x", "https://u:p@x"]) {
          const error = yield* Effect.flip(answered({ status: 200 }, host).result)
          assert.strictEqual(error.reason, "InvalidReference", host)
        }
      })
    )
    it.live("only warns where the version header is absent", () =>
      Effect.gen(function* () {
        for (const body of ["{}", ""]) {
          const result = yield* answered({ status: 200, body }).result
          assert.deepStrictEqual(result.version, Option.none())
          assert.strictEqual(result.warnings.length, 1)
        }
      })
    )
    it.live("knows what is no registry", () =>
      Effect.gen(function* () {
        for (const answer of [
          { status: 200, body: "<!doctype html><p>hello", headers: { "content-type": "text/html" } },
          { status: 200, body: "<html>" },
          { status: 200, body: "OK" },
          { status: 200, body: "x".repeat(100_000) },
          { status: 200, body: "{}", headers: { "docker-distribution-api-version": "registry/1.0" } },
          { status: 404, body: "nothing" }
        ]) {
          const error = yield* Effect.flip(answered(answer).result)
          assert.strictEqual(error.reason, "NotARegistry", answer.body.slice(0, 20))
          assert.match(error.hint ?? "", /check the port/)
        }
      })
    )
    it.live("tells a registry that wants credentials", () =>
      Effect.gen(function* () {
        const answer = { status: 401, body: `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}` }
        const { result, script } = answered(answer)
        const error = yield* Effect.flip(result)
        assert.strictEqual(error.reason, "Unauthorized")
        assert.include(error.message, "authentication required")
        assert.strictEqual(script.seen.length, 1)
      })
    )
    it.live("succeeds after one 500", () => {
      const script = Scripted.inOrder([{ status: 500 }, { status: 200, headers: v2 }])
      return Effect.provide(ping("r.example"), script.layer)
    })
    it.live("tells a host that is down", () =>
      Effect.gen(function* () {
        const host = `127.0.0.1:${yield* port(undefined)}`
        const error = yield* Effect.flip(ping(host))
        assert.strictEqual(error.reason, "Unreachable")
        assert.strictEqual(error._tag === "RegistryError" ? error.hint : "", `is a registry running at ${host}?`)
      }).pipe(Effect.scoped, Effect.provide(real))
    )
    it.live("tells a port where something else answers", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ping(`127.0.0.1:${yield* port("SSH-2.0-OpenSSH_9.2\r\n")}`))
        assert.strictEqual(error.reason, "NotARegistry")
      }).pipe(Effect.scoped, Effect.provide(real))
    )
    it.live("tells a plain server that was called by TLS", () =>
      Effect.gen(function* () {
        const host = `https://127.0.0.1:${yield* port("HTTP/1.1 400 Bad Request\r\n\r\n")}`
        const error = yield* Effect.flip(ping(host))
        assert.strictEqual(error.reason, "PlainHttpServer")
        assert.match(error.hint ?? "", /--plain-http/)
      }).pipe(Effect.scoped, Effect.provide(real))
    )
  })
})
