/** Starts the registry of `fuzzServer.ts`, watches what it logs, holds and opens, and compares folders. */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { EmbeddedRegistry } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { build } from "esbuild"
import { isRunning } from "./process.js"

/** The path of the bundled program. */
export class Program extends Context.Tag("testing/FuzzProgram")<Program, string>() {
  static readonly layer: Layer.Layer<Program> = Layer.scoped(
    Program,
    Effect.gen(function* () {
      const outfile = join(yield* temporaryFolder, "server.cjs")
      const entryPoints = [fileURLToPath(new URL("./fuzzServer.ts", import.meta.url))]
      const options = { bundle: true, platform: "node", target: "node20", format: "cjs" } as const
      yield* Effect.promise(() => build({ entryPoints, outfile, ...options }))
      return outfile
    })
  )
}

export interface Server {
  readonly host: string
  readonly port: number
  /** Lines that were logged, and whatever was written to stderr. */
  readonly logged: () => ReadonlyArray<string>
  readonly isRunning: () => boolean
  /** Resident memory now, in MB; 0 where the system does not tell. */
  readonly memory: () => number
  /** The most it ever had, in MB. */
  readonly peak: () => number
  /** Open files and sockets; 0 where the system does not tell. */
  readonly descriptors: () => number
  /** Ends it as a service manager would; the exit code, or the signal that it took. */
  readonly stop: Effect.Effect<number | string>
}

export type Options = Omit<EmbeddedRegistry.Options, "onRequest" | "observe" | "authenticate"> & {
  /** Without, it is all in memory. */
  readonly root?: string
  readonly [other: string]: unknown
}

/** A registry in a process of its own, killed with the scope. */
export const serve = (options: Options): Effect.Effect<Server, never, Program | Scope.Scope> =>
  Effect.gen(function* () {
    const program = yield* Program
    const logged: Array<string> = []
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ["ignore", "pipe", "pipe"] })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const port = yield* portOf(child, logged)
    return {
      host: `127.0.0.1:${port}`,
      port,
      logged: () => logged,
      isRunning: () => isRunning(child),
      memory: () => statusOf(child, "VmRSS"),
      peak: () => statusOf(child, "VmHWM"),
      descriptors: () => (onLinux ? readdirSync(`/proc/${child.pid}/fd`).length : 0),
      stop: Effect.async((resume) => {
        child.once("exit", (code, signal) => resume(Effect.succeed(signal ?? code ?? "gone")))
        child.kill("SIGTERM")
      })
    }
  })

export const onLinux = process.platform === "linux"

export const temporaryFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "hostile-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Every file, folder and link below a folder, by its relative path: what it is, and the hash of a small file. */
export const walk = (folder: string, prefix = ""): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  for (const name of readdirSync(join(folder, prefix))) {
    const path = prefix === "" ? name : `${prefix}/${name}`
    const stat = lstatSync(join(folder, path))
    if (stat.isDirectory()) {
      found.set(path, "folder")
      for (const [below, what] of walk(folder, path)) found.set(below, what)
    } else if (!stat.isFile()) found.set(path, "neither file nor folder")
    else
      found.set(
        path,
        createHash("sha256")
          .update(readFileSync(join(folder, path)))
          .digest("hex")
      )
  }
  return found
}

// internal

const portOf = (child: ChildProcess, logged: Array<string>) =>
  Effect.async<number>((resume) => {
    let pending = ""
    child.stderr?.on("data", (text: Buffer) => logged.push(String(text)))
    child.stdout?.on("data", (text: Buffer) => {
      const lines = (pending + String(text)).split("\n")
      pending = lines.pop() ?? ""
      for (const line of lines) {
        const said: { readonly port?: number; readonly line?: string } = JSON.parse(line)
        if (said.port === undefined) logged.push(said.line ?? "")
        else resume(Effect.succeed(said.port))
      }
    })
    child.once("exit", () => resume(Effect.dieMessage(`the server did not start: ${logged.join("\n")}`)))
  })

const statusOf = ({ pid }: ChildProcess, field: string): number => {
  if (!onLinux) return 0
  const line = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))
  return (Number(line?.[1] ?? 0) * 1024) / 1e6
}
