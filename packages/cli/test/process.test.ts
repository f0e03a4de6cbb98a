/** What only a process shows: exit codes, signals, closed pipes, start-up. */
import { spawn } from "node:child_process"
import { mkdir, readdir } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { bundled, fixture, known, registry, repositoryName, start, temporaryFolder, until } from "./support.js"

/** A manifest whose blobs never come. */
const manifest = (() => {
  const blob = (mediaType: string, fill: string) => ({ mediaType, digest: `sha256:${fill.repeat(64)}`, size: 1000 })
  const type = "application/vnd.oci.image.manifest.v1+json"
  const config = blob("application/vnd.oci.image.config.v1+json", "a")
  const layers = [blob("application/vnd.oci.image.layer.v1.tar+gzip", "b")]
  return { type, bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, config, layers })) }
})()

class Command extends Context.Tag("test/Command")<Command, string>() {}

const command = Layer.scoped(Command, bundled)

/** A registry that takes the start of an upload and then keeps silent. */
const silentRegistry = Effect.acquireRelease(
  Effect.promise(async () => {
    const requests: Array<string> = []
    const server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`)
      if (request.method === "HEAD") response.writeHead(404).end()
      else if (request.method === "POST") response.writeHead(202, { location: `${request.url}session` }).end()
      else if (request.method === "DELETE") response.writeHead(204).end()
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo
    return { server, requests, host: `127.0.0.1:${port}` }
  }),
  ({ server }) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
)

layer(Layer.merge(registry, command), { excludeTestServices: true, timeout: 60_000 })("the process", (it) => {
  describe("exit code", () => {
    it.scoped("is 0, 1 or 2, with data on standard output alone", () =>
      Effect.gen(function* () {
        const file = yield* Command
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const name = `${host}/${repositoryName()}:1`
        const run = (...words: ReadonlyArray<string>) => Effect.flatMap(start(file, words), ({ ended }) => ended)
        expect(yield* run("--version")).toMatchObject({ code: 0, stdout: "1.2.3\n", stderr: "" })
        expect(yield* run("push", fixture("oci-archive.tar"), name)).toMatchObject({
          code: 0,
          stdout: `${name}@${known.ociArchive}\n`
        })
        expect(yield* run("push", fixture("oci-archive.tar"), name, "--quiet")).toMatchObject({ code: 0, stderr: "" })
        expect(yield* run("tags", `${host}/none`)).toMatchObject({ code: 1, stdout: "" })
        const usage = yield* run("tags")
        expect(usage).toMatchObject({ code: 2, stdout: "" })
        expect(usage.stderr.split("\n")).toHaveLength(4)
      })
    )
  })

  describe("a closed pipe", () => {
    it.scoped("is no error", () =>
      Effect.gen(function* () {
        const file = yield* Command
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        for (const words of [`list ${host}`, "--help", `ping ${host} --output json`]) {
          const script = `(node "$0" ${words}; echo "code $?" >&2) | head -c 0`
          const ended = yield* Effect.promise(
            () =>
              new Promise<string>((resolve) => {
                const child = spawn("sh", ["-c", script, file], { stdio: ["ignore", "pipe", "pipe"] })
                let text = ""
                child.stderr.on("data", (chunk) => (text += chunk))
                child.on("close", () => resolve(text))
              })
          )
          expect(ended).toBe("code 0\n")
        }
      })
    )
  })

  describe("a signal", () => {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143]
    ] as const) {
      it.scoped(`ends a push cleanly after ${signal}, within two seconds`, () =>
        Effect.gen(function* () {
          const file = yield* Command
          const silent = yield* silentRegistry
          const { child, ended } = yield* start(file, ["push", fixture("oci-archive.tar"), `${silent.host}/app:1`])
          yield* until(() => silent.requests.some((request) => /^(PUT|PATCH) /.test(request)))
          const before = Date.now()
          child.kill(signal)
          const result = yield* ended
          expect(Date.now() - before).toBeLessThan(2000)
          expect({ code: result.code, signal: result.signal, stdout: result.stdout }).toEqual({
            code,
            signal: null,
            stdout: ""
          })
          expect(result.stderr).not.toContain("error")
          expect(result.stderr).toContain("the same command goes on from here")
          expect(
            silent.requests.filter((request) => request.includes("/manifests/1") && request.startsWith("PUT"))
          ).toEqual([])
        })
      )
    }
    for (const [what, more, left] of [
      ["what the next try needs", [], ["app.tar.ereg-partial", "app.tar.ereg-partial.json"]],
      ["nothing with --no-resume", ["--no-resume"], []]
    ] as const) {
      it.scoped(`leaves of a pull ${what}`, () =>
        Effect.gen(function* () {
          const file = yield* Command
          const folder = yield* temporaryFolder
          const hanging = yield* Effect.acquireRelease(
            Effect.promise(async () => {
              let blobs = 0
              const server = createServer((request, response) => {
                if (request.url?.includes("/manifests/")) {
                  response.writeHead(200, { "content-type": manifest.type, "content-length": manifest.bytes.length })
                  response.end(request.method === "HEAD" ? undefined : manifest.bytes)
                } else {
                  blobs += 1
                  response.writeHead(200, { "content-length": 1000 })
                  response.write("x".repeat(100))
                }
              })
              await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
              return { server, blobs: () => blobs, port: (server.address() as AddressInfo).port }
            }),
            ({ server }) => Effect.sync(() => server.closeAllConnections())
          )
          const temporary = join(folder, "tmp")
          yield* Effect.promise(() => mkdir(temporary))
          const words = ["pull", `127.0.0.1:${hanging.port}/app:1`, join(folder, "app.tar"), ...more]
          const { child, ended } = yield* start(file, words, { TMPDIR: temporary })
          yield* until(() => hanging.blobs() > 0)
          child.kill("SIGINT")
          expect((yield* ended).code).toBe(130)
          expect(yield* Effect.promise(() => readdir(folder))).toEqual([...left, "tmp"])
          expect(yield* Effect.promise(() => readdir(temporary))).toEqual([])
        })
      )
    }
  })

  describe("serve", () => {
    it.scoped("prints its URL, keeps images in its folder and ends with 130", () =>
      Effect.gen(function* () {
        const file = yield* Command
        const root = join(yield* temporaryFolder, "root")
        const first = yield* start(file, ["serve", "--root", root, "--port", "0"])
        yield* until(() => first.stderr().includes("Ctrl-C"))
        const url = first.stdout().trim()
        expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
        expect(first.stderr()).toContain(
          `images are kept in ${root}\npush to it:  ereg push app.tar --registry ${url}\n`
        )
        const host = url.slice("http://".length)
        const pushed = yield* start(file, ["push", fixture("oci-archive.tar"), `${host}/app:1`, "--quiet"])
        expect((yield* pushed.ended).code).toBe(0)
        const taken = yield* start(file, ["serve", "--port", host.split(":")[1] ?? "", "--output", "json"])
        const refused = yield* taken.ended
        expect(refused.code).toBe(1)
        expect(JSON.parse(refused.stdout)).toMatchObject({ error: { tag: "ServerError", reason: "PortInUse" } })
        first.child.kill("SIGINT")
        expect((yield* first.ended).code).toBe(130)

        const second = yield* start(file, ["serve", "--root", root, "--port", "0", "--output", "json"])
        yield* until(() => second.stdout().includes("\n"))
        const described = JSON.parse(second.stdout())
        expect(described).toEqual({
          url: `http://${described.host}`,
          host: `127.0.0.1:${described.port}`,
          port: expect.any(Number),
          root,
          temporary: false
        })
        const digest = yield* start(file, ["digest", `${described.host}/app:1`])
        expect((yield* digest.ended).stdout).toBe(`${known.ociArchive}\n`)
      })
    )
    it.scoped("without a folder removes what it held", () =>
      Effect.gen(function* () {
        const file = yield* Command
        const TMPDIR = yield* temporaryFolder
        const server = yield* start(file, ["serve", "--port", "0"], { TMPDIR })
        yield* until(() => server.stderr().includes("Ctrl-C"))
        expect(server.stderr()).toContain("temporary folder")
        expect(yield* Effect.promise(() => readdir(TMPDIR))).toHaveLength(1)
        server.child.kill("SIGTERM")
        expect((yield* server.ended).code).toBe(143)
        expect(yield* Effect.promise(() => readdir(TMPDIR))).toEqual([])
      })
    )
  })
})
