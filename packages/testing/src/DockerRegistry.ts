/** Docker's own registry, as Debian packages it, for a test: a free loopback port and a folder that goes with the scope. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Options {
  /** Default true. */
  readonly deletes?: boolean | undefined
}

export interface DockerRegistry {
  readonly url: string
  /** `127.0.0.1:PORT`, as references begin. */
  readonly host: string
  /** Where it keeps everything. */
  readonly root: string
}

/** A registry that answers. Dies where `docker-registry` is missing or does not start: see `Tools.needing`. */
export const make = (options: Options = {}): Effect.Effect<DockerRegistry, never, Scope.Scope> =>
  Effect.gen(function* () {
    const root = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "docker-registry-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
    )
    const host = `127.0.0.1:${yield* freePort}`
    const file = join(root, "config.yml")
    yield* Effect.promise(() => writeFile(file, config(root, host, options.deletes ?? true)))
    yield* Effect.acquireRelease(start(file), (child) => stop(child))
    const url = `http://${host}`
    const answers = Effect.promise(() =>
      fetch(`${url}/v2/`).then(
        ({ ok }) => ok,
        () => false
      )
    )
    const up = yield* Effect.repeat(Effect.delay(answers, "20 millis"), { until: (is) => is, times: 500 })
    if (!up) return yield* Effect.dieMessage(`docker-registry does not answer at ${url}`)
    return { url, host, root }
  })

// internal

const config = (root: string, host: string, deletes: boolean): string => `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${root}/data}, delete: {enabled: ${deletes}}}
http: {addr: ${host}}
`

const freePort = Effect.async<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const start = (file: string): Effect.Effect<ChildProcess> =>
  Effect.async((resume) => {
    const child = spawn("docker-registry", ["serve", file], { stdio: "ignore" })
    child.once("error", (cause) => resume(Effect.die(cause)))
    child.once("spawn", () => resume(Effect.succeed(child)))
  })

const stop = (child: ChildProcess): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
