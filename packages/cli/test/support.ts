/** Streams in memory, and the command run in this process or as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { build } from "esbuild"
import { run } from "../src/ereg.js"
import { type Service, Stdio } from "../src/stdio.js"

/** A file of the project's fixtures. */
export const fixture = (name: string): string => fileURLToPath(new URL(`../../../fixtures/${name}`, import.meta.url))

/** Config digests and manifest digests of the fixtures, from their README. */
export const known = {
  app: "sha256:a0240ec1650aaa891203fead86b5e29138d0765c62de37f26e3b99c857e85e92",
  web: "sha256:4439b80caf280b55a8e43f1b20d7a3eeace20335a99ceaeb182861b872db7339",
  ociArchive: "sha256:55976a8105eda62433abf23fb470a44d0737ea37f634fbaeab9b529db7ec8424",
  ociMultiarch: "sha256:5b03ea336cb6fceaa0bd19f71ee3f49100691e16acb29d7b9000932d66088ad7",
  partial: "sha256:ed9c58e4ead7ef2caef8af0f5c40086b4007f7736cb65eb3fca959f4f8bf5c83"
} as const

/** No test reads or writes the home folder of whoever runs it. */
const home = mkdtempSync(join(tmpdir(), "ereg-home-"))
process.once("exit", () => rmSync(home, { recursive: true, force: true }))

/** What every command gets, in this process and as another. */
const baseEnvironment: Readonly<Record<string, string>> = {
  PATH: process.env.PATH ?? "",
  HOME: home,
  XDG_STATE_HOME: join(home, "state"),
  XDG_CACHE_HOME: join(home, "cache")
}

export const registry: Layer.Layer<EmbeddedRegistry.EmbeddedRegistry, unknown> = EmbeddedRegistry.layerMemory()

export interface MemoryStdio {
  readonly stdio: Service
  readonly stdout: () => string
  readonly stdoutBytes: () => Uint8Array
  readonly stderr: () => string
}

export interface MemoryOptions {
  /** Whether input and error look like a terminal. */
  readonly terminal?: boolean | undefined
  /** Whether standard error looks like one too. Default: as `terminal`. */
  readonly errorTerminal?: boolean | undefined
  /** Whether standard output looks like one. Default false. */
  readonly outputTerminal?: boolean | undefined
  readonly input?: Uint8Array | undefined
  readonly environment?: Readonly<Record<string, string>> | undefined
}

/** Standard output and error that are kept. */
export const memoryStdio = (options: MemoryOptions = {}): MemoryStdio => {
  const out: Array<Uint8Array> = []
  const err: Array<Uint8Array> = []
  const error = new Writable({
    write: (chunk: Uint8Array, _encoding, done) => {
      err.push(Buffer.from(chunk))
      done()
    }
  })
  const terminal = options.terminal === true
  const errorTerminal = options.errorTerminal ?? terminal
  return {
    stdio: {
      input: () => Readable.from(options.input === undefined ? [] : [options.input]),
      inputIsTerminal: terminal,
      write: (data) => Effect.sync(() => void out.push(Buffer.from(data))),
      outputIsTerminal: options.outputTerminal === true,
      // What makes a stream a terminal to those who draw on it.
      error: errorTerminal ? Object.assign(error, { isTTY: true, columns: 100 }) : error,
      errorIsTerminal: errorTerminal,
      environment: { ...baseEnvironment, ...options.environment }
    },
    stdout: () => Buffer.concat(out).toString("utf8"),
    stdoutBytes: () => new Uint8Array(Buffer.concat(out)),
    stderr: () => Buffer.concat(err).toString("utf8")
  }
}

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stdoutBytes: Uint8Array
  readonly stderr: string
}

/** `ereg WORDS`, in this process. */
export const ereg = (words: ReadonlyArray<string>, options: MemoryOptions = {}): Effect.Effect<Outcome> =>
  Effect.gen(function* () {
    const memory = memoryStdio(options)
    const code = yield* run(words).pipe(
      Effect.provideService(Stdio, memory.stdio),
      Effect.withConfigProvider(
        ConfigProvider.fromMap(new Map(Object.entries({ ...baseEnvironment, ...options.environment })))
      )
    )
    return { code, stdout: memory.stdout(), stdoutBytes: memory.stdoutBytes(), stderr: memory.stderr() }
  })

/** `ereg WORDS` that must succeed; its standard output. */
export const output = (words: ReadonlyArray<string>, options: MemoryOptions = {}): Effect.Effect<string> =>
  Effect.map(ereg(words, options), ({ code, stderr, stdout }) => {
    if (code !== 0) throw new Error(`ereg ${words.join(" ")} ended with ${code}\n${stderr}`)
    return stdout
  })

/** What a failure says with `--output json`. */
export const errorOf = (text: string): Record<string, unknown> => {
  const { error } = JSON.parse(text) as { readonly error: Record<string, unknown> }
  return error
}

/** A folder that goes with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "ereg-test-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

let names = 0

/** A repository that no other test uses. */
export const repositoryName = (): string => `cli/r${process.pid}-${++names}`

// ---- as a process

/** Pushes a fixture as tag `1` of a repository of the test's own; its name. */
export const pushed = (file: string) =>
  Effect.gen(function* () {
    const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
    const name = `${host}/${repositoryName()}`
    yield* output(["push", fixture(file), `${name}:1`])
    return name
  })

/** The command, bundled as it is released, into a folder that goes with the scope. */
export const bundled = Effect.flatMap(temporaryFolder, (folder) =>
  Effect.promise(async () => {
    const outfile = join(folder, "ereg.cjs")
    await build({
      entryPoints: [fileURLToPath(new URL("../src/bin.ts", import.meta.url))],
      outfile,
      bundle: true,
      platform: "node",
      format: "cjs",
      target: "node20",
      define: { EREG_VERSION: '"1.2.3"' },
      logLevel: "error"
    })
    return outfile
  })
)

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** Milliseconds from the start. */
  readonly took: number
}

/** Starts a process that is killed with the scope at the latest. */
export const start = (file: string, words: ReadonlyArray<string>, environment: Readonly<Record<string, string>> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const began = Date.now()
      const child = spawn(process.execPath, [file, ...words], {
        env: { ...baseEnvironment, TMPDIR: tmpdir(), ...environment },
        stdio: ["pipe", "pipe", "pipe"]
      })
      const out: Array<Buffer> = []
      const err: Array<Buffer> = []
      child.stdout.on("data", (chunk: Buffer) => out.push(chunk))
      child.stderr.on("data", (chunk: Buffer) => err.push(chunk))
      const stdout = () => Buffer.concat(out).toString("utf8")
      const stderr = () => Buffer.concat(err).toString("utf8")
      const ended = new Promise<Ended>((resolve) => {
        child.on("close", (code, signal) =>
          resolve({ code, signal, stdout: stdout(), stderr: stderr(), took: Date.now() - began })
        )
      })
      return { child, stdout, stderr, ended: Effect.promise(() => ended) }
    }),
    ({ child }) => Effect.promise(() => stop(child))
  )

const stop = async (child: ChildProcess) => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once("close", resolve))
  child.kill("SIGKILL")
  await gone
}

/** Waits until the text appears. */
export const until = (condition: () => boolean) =>
  Effect.promise(async () => {
    for (let tries = 0; tries < 400 && !condition(); tries++) await new Promise((resolve) => setTimeout(resolve, 25))
    if (!condition()) throw new Error("it did not happen")
  })
