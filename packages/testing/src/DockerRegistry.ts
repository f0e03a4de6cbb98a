/** Docker's own registry, as Debian packages it, for a test: a free loopback port and a folder that goes with the scope. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { hash } from "bcryptjs"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Options {
  /** Default true. */
  readonly deletes?: boolean | undefined
  /** Passwords by user name; everybody else is refused. Default: open to all. */
  readonly users?: Readonly<Record<string, string>> | undefined
  /** Of the server, PEM. Default: plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
  /** With `tls`: only clients whose certificate this authority signed, PEM. */
  readonly clientCa?: string | undefined
  /** The token server whose tokens are taken, and no others. */
  readonly token?:
    | {
        readonly realm: string
        readonly service: string
        readonly issuer: string
        /** The authority of those who sign tokens, PEM. */
        readonly rootcertbundle: string
      }
    | undefined
}

export interface DockerRegistry {
  /** `https:` with `tls`. */
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
    const file = yield* Effect.promise(() => writeConfig(root, options))
    const log = join(root, "log")
    const child = yield* Effect.acquireRelease(start(file, log), (child) => stop(child))
    const listening = Effect.promise(async () => {
      const text = await readFile(log, "utf8")
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(text)?.[1]
      if (port === undefined && child.exitCode !== null) throw new Error(`docker-registry does not start\n${text}`)
      return port
    })
    const port = yield* Effect.repeat(Effect.delay(listening, "20 millis"), {
      until: (port) => port !== undefined,
      times: 500
    })
    if (port === undefined) return yield* Effect.dieMessage("docker-registry does not listen")
    const host = `127.0.0.1:${port}`
    return { url: `${options.tls === undefined ? "http" : "https"}://${host}`, host, root }
  })

// internal

/** Every file that the registry needs, in its folder; the path of its configuration, JSON being YAML too. */
const writeConfig = async (root: string, options: Options): Promise<string> => {
  const write = async (name: string, content: string): Promise<string> => {
    const path = join(root, name)
    await writeFile(path, content, { mode: 0o600 })
    return path
  }
  const { clientCa, tls, token, users } = options
  const auth = {
    ...(users === undefined
      ? {}
      : { htpasswd: { realm: "registry", path: await write("htpasswd", await htpasswd(users)) } }),
    ...(token === undefined
      ? {}
      : { token: { ...token, rootcertbundle: await write("token.crt", token.rootcertbundle) } })
  }
  const config = {
    version: 0.1,
    // The line that tells the port has this level.
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(root, "data") }, delete: { enabled: options.deletes ?? true } },
    ...(Object.keys(auth).length === 0 ? {} : { auth }),
    http: {
      addr: "127.0.0.1:0",
      ...(tls === undefined
        ? {}
        : {
            tls: {
              certificate: await write("server.crt", tls.cert),
              key: await write("server.key", tls.key),
              ...(clientCa === undefined ? {} : { clientcas: [await write("clients.crt", clientCa)] })
            }
          })
    }
  }
  return write("config.yml", JSON.stringify(config))
}

/** The registry checks a password with every request, so it is the cheapest cost that bcrypt has. */
const htpasswd = async (users: NonNullable<Options["users"]>): Promise<string> => {
  const lines = Object.entries(users).map(async ([name, password]) => `${name}:${await hash(password, 4)}\n`)
  return (await Promise.all(lines)).join("")
}

/** The log goes to a file: a pipe would fill while a test waits for another program. */
const start = (file: string, log: string): Effect.Effect<ChildProcess> =>
  Effect.promise(async () => {
    const handle = await open(log, "w")
    try {
      const child = spawn("docker-registry", ["serve", file], { stdio: ["ignore", "ignore", handle.fd] })
      await new Promise<void>((resolve, reject) => {
        child.once("error", reject)
        child.once("spawn", () => resolve())
      })
      return child
    } finally {
      await handle.close()
    }
  })

const stop = (child: ChildProcess): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })
