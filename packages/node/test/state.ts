/** What the tests of files that outlive a process share: processes of their own, and what is on the disk. */
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { build } from "esbuild"
import { tempDir } from "./support.js"

/** The program in stateProcess.ts, bundled into a folder that goes with the scope. */
export const program = Effect.tap(
  Effect.map(tempDir, (folder) => Path.join(folder, "process.cjs")),
  (outfile) =>
    Effect.promise(() =>
      build({
        entryPoints: [fileURLToPath(new URL("./stateProcess.ts", import.meta.url))],
        outfile,
        bundle: true,
        platform: "node",
        format: "cjs",
        target: "node20",
        logLevel: "error"
      })
    )
)

export interface Started {
  /** Lets it begin, and waits for what it says. */
  readonly said: Effect.Effect<unknown>
  /** Kills it, and waits until it is gone. */
  readonly kill: Effect.Effect<void>
  /** Ends it cleanly; its exit code. */
  readonly end: Effect.Effect<number | null>
}

/** A process that waits to begin, and is killed with the scope at the latest. */
export const start = (file: string, words: ReadonlyArray<string>): Effect.Effect<Started, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, [file, ...words], { stdio: ["pipe", "pipe", "inherit"] })),
      (child) => Effect.promise(() => stop(child, () => child.kill("SIGKILL")))
    )
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const line = Effect.promise(async () => {
      const { done, value } = await lines.next()
      if (done === true) throw new Error("the process said nothing")
      return JSON.parse(value) as unknown
    })
    yield* line
    return {
      said: Effect.suspend(() => {
        child.stdin.write("begin\n")
        return line
      }),
      kill: Effect.promise(() => stop(child, () => child.kill("SIGKILL"))),
      end: Effect.promise(async () => {
        await stop(child, () => child.stdin.end())
        return child.exitCode
      })
    }
  })

/** Permission bits. */
export const modeOf = (path: string): number => Fs.statSync(path).mode & 0o777

/** All below the folder, folders included. */
export const namesIn = (folder: string): ReadonlyArray<string> =>
  (Fs.readdirSync(folder, { recursive: true }) as Array<string>).sort()

// internal

const stop = async (child: ChildProcess, how: () => void): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once("close", resolve))
  how()
  await gone
}
