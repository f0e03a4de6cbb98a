import { spawn } from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { ProcessLock } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as NodeProcessLock from "../src/NodeProcessLock.js"
import { modeOf, namesIn, program, start } from "./state.js"
import { tempDir } from "./support.js"

const { acquire } = NodeProcessLock.make
const isLinux = process.platform === "linux"

/** A path in a folder of its own. */
const path = Effect.map(tempDir, (folder) => Path.join(folder, "entry"))

/** What a lock of this process says. */
const ours = Effect.scoped(
  Effect.flatMap(path, (path) =>
    Effect.map(acquire(path), () => JSON.parse(Fs.readFileSync(`${path}.lock`, "utf8")) as Record<string, unknown>)
  )
)

/** A lock as a process left it that was ours but for the changes. */
const leave = (path: string, changes: Readonly<Record<string, unknown>>) =>
  Effect.map(ours, (owner) => Fs.writeFileSync(`${path}.lock`, JSON.stringify({ ...owner, ...changes })))

/** Dies while it takes over the lock: its own one is linked under the name that guards the file, and not moved yet. */
const dieAtGuard = (path: string, file: string) =>
  Effect.map(ours, (owner) => {
    const name = Crypto.createHash("sha256").update(`${Fs.statSync(file).mtimeMs} ${Fs.readFileSync(file, "utf8")}`)
    const guard = `${path}.lock.${name.digest("hex").slice(0, 32)}`
    Fs.writeFileSync(guard, JSON.stringify({ ...owner, pid: nobody }))
    return guard
  })

/** No process has this number: Linux ends at 2^22. */
const nobody = 2 ** 31 - 1

describe("NodeProcessLock", () => {
  describe("acquire", () => {
    it.scoped("owns a path until the scope ends, by a private file that names the process", () =>
      Effect.gen(function* () {
        const entry = yield* path
        const owned = yield* Effect.scoped(
          Effect.map(acquire(entry), (owned) => {
            expect(namesIn(Path.dirname(entry))).toEqual(["entry.lock"])
            expect(modeOf(`${entry}.lock`)).toBe(0o600)
            const owner = JSON.parse(Fs.readFileSync(`${entry}.lock`, "utf8"))
            expect(owner).toMatchObject({ pid: process.pid, host: Os.hostname() })
            if (isLinux) expect(owner).toMatchObject({ start: expect.any(String), boot: expect.any(String) })
            return owned
          })
        )
        expect(owned).toBe(true)
        expect(namesIn(Path.dirname(entry))).toEqual([])
      })
    )

    it.scoped("refuses a second owner in the same process, and leaves the first its lock", () =>
      Effect.gen(function* () {
        const entry = yield* path
        expect(yield* acquire(entry)).toBe(true)
        expect(yield* Effect.scoped(acquire(entry))).toBe(false)
        expect(yield* acquire(entry)).toBe(false)
        expect(namesIn(Path.dirname(entry))).toEqual(["entry.lock"])
      })
    )

    it.scoped("is false, without a failure, where no file can be made", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        Fs.writeFileSync(Path.join(folder, "file"), "")
        expect(yield* acquire(Path.join(folder, "missing", "entry"))).toBe(false)
        expect(yield* acquire(Path.join(folder, "file", "entry"))).toBe(false)
        expect(yield* acquire(Path.join(folder, "x".repeat(300)))).toBe(false)
        expect(namesIn(folder)).toEqual(["file"])
      })
    )

    it.scoped("leaves a lock alone that is somebody else's by the time of its release", () =>
      Effect.gen(function* () {
        const entry = yield* path
        yield* Effect.scoped(
          Effect.map(acquire(entry), () => {
            Fs.rmSync(`${entry}.lock`)
            Fs.writeFileSync(`${entry}.lock`, "another's")
          })
        )
        expect(Fs.readFileSync(`${entry}.lock`, "utf8")).toBe("another's")
      })
    )

    it.scoped("is provided as core's service", () =>
      Effect.gen(function* () {
        const entry = yield* path
        const lock = yield* ProcessLock.ProcessLock
        expect(yield* lock.acquire(entry)).toBe(true)
      }).pipe(Effect.provide(NodeProcessLock.layer))
    )
  })

  describe("a lock that was left", () => {
    const taken = (changes: Readonly<Record<string, unknown>>) =>
      Effect.gen(function* () {
        const entry = yield* path
        yield* leave(entry, changes)
        const owned = yield* acquire(entry)
        expect(namesIn(Path.dirname(entry))).toEqual(["entry.lock"])
        expect(JSON.parse(Fs.readFileSync(`${entry}.lock`, "utf8")).pid).toBe(
          owned ? process.pid : (changes.pid ?? process.pid)
        )
        return owned
      })

    it.scoped("is taken over from a process that is no more", () =>
      Effect.gen(function* () {
        expect(yield* taken({ pid: nobody })).toBe(true)
      })
    )

    it.scoped("is taken over where the number is another process's by now", () =>
      Effect.gen(function* () {
        expect(yield* taken({ start: "1" })).toBe(isLinux)
        expect(yield* taken({ pid: process.ppid, start: "1" })).toBe(isLinux)
      })
    )

    it.scoped("is taken over after the machine was started again", () =>
      Effect.gen(function* () {
        expect(yield* taken({ boot: "00000000-0000-0000-0000-000000000000" })).toBe(isLinux)
      })
    )

    it.scopedLive.runIf(isLinux)("is taken over from a process that ended and that its parent has not waited for", () =>
      Effect.gen(function* () {
        const entry = yield* path
        const parent = yield* Effect.acquireRelease(
          // The shell's successor knows nothing of its child.
          Effect.sync(() => spawn("/bin/sh", ["-c", "sleep 2 & echo $!; exec sleep 60"])),
          (parent) => Effect.sync(() => parent.kill("SIGKILL"))
        )
        const pid = Number(
          yield* Effect.promise(() => new Promise<Buffer>((resolve) => parent.stdout.once("data", resolve)))
        )
        yield* leave(entry, { pid, start: undefined })
        expect(yield* acquire(entry)).toBe(false)
        yield* Effect.sleep("10 millis").pipe(
          Effect.repeat({ until: () => Fs.readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ") })
        )
        expect(yield* acquire(entry)).toBe(true)
      })
    )

    it.scoped("is not taken over from a living process", () =>
      Effect.gen(function* () {
        expect(yield* taken({})).toBe(false)
        expect(yield* taken({ pid: process.ppid, start: undefined })).toBe(false)
      })
    )

    it.scoped("is not taken over from another host or container, whose processes are not seen from here", () =>
      Effect.gen(function* () {
        expect(yield* taken({ pid: nobody, host: "elsewhere" })).toBe(false)
        expect(yield* taken({ host: "elsewhere", boot: "other" })).toBe(false)
        if (isLinux) expect(yield* taken({ pid: nobody, namespace: "pid:[1]" })).toBe(false)
      })
    )

    it.scoped("is taken over where a power failure left it empty", () =>
      Effect.gen(function* () {
        const entry = yield* path
        Fs.writeFileSync(`${entry}.lock`, "")
        expect(yield* acquire(entry)).toBe(true)
      })
    )

    it.scoped("is no lock of ours, and stays, where it says something else", () =>
      Effect.gen(function* () {
        for (const text of [
          "my notes",
          "{}",
          JSON.stringify({ id: "x", pid: -1, host: Os.hostname() }),
          "x".repeat(5000)
        ]) {
          const entry = yield* path
          Fs.writeFileSync(`${entry}.lock`, text)
          expect(yield* acquire(entry)).toBe(false)
          expect(Fs.readFileSync(`${entry}.lock`, "utf8")).toBe(text)
          expect(namesIn(Path.dirname(entry))).toEqual(["entry.lock"])
        }
        const entry = yield* path
        Fs.symlinkSync("nowhere", `${entry}.lock`)
        expect(yield* acquire(entry)).toBe(false)
        const folder = yield* path
        Fs.mkdirSync(`${folder}.lock`)
        expect(yield* acquire(folder)).toBe(false)
      })
    )

    it.scoped("is had by one of many fibers that find it at the same time", () =>
      Effect.gen(function* () {
        for (let round = 0; round < 20; round++) {
          const entry = yield* path
          yield* leave(entry, { pid: nobody })
          if (round % 2 === 1) yield* dieAtGuard(entry, `${entry}.lock`)
          const scope = yield* Scope.make()
          const owned = yield* Effect.forEach(Array.from({ length: 20 }), () => Scope.extend(acquire(entry), scope), {
            concurrency: "unbounded"
          })
          expect(owned.filter((each) => each)).toHaveLength(1)
          expect(namesIn(Path.dirname(entry))).toEqual(["entry.lock"])
          yield* Scope.close(scope, Exit.void)
          expect(namesIn(Path.dirname(entry))).toEqual([])
        }
      })
    )

    it.scoped("is taken over from processes that died while they took it over", () =>
      Effect.gen(function* () {
        const entry = yield* path
        yield* leave(entry, { pid: nobody })
        let file = `${entry}.lock`
        for (let deaths = 0; deaths < 3; deaths++) file = yield* dieAtGuard(entry, file)
        expect(namesIn(Path.dirname(entry))).toHaveLength(4)
        expect(yield* acquire(entry)).toBe(true)
        expect(namesIn(Path.dirname(entry))).toEqual(["entry.lock"])
      })
    )
  })

  describe("processes", () => {
    it.scopedLive("exclude each other, and follow one that ended or was killed at once", () =>
      Effect.gen(function* () {
        const entry = yield* path
        const file = yield* program
        const words = ["lock", JSON.stringify([entry])]
        const [one, two, three] = yield* Effect.all([start(file, words), start(file, words), start(file, words)])
        expect(yield* one.said).toEqual([true])
        expect(yield* two.said).toEqual([false])
        expect(yield* Effect.scoped(acquire(entry))).toBe(false)
        yield* one.kill
        expect(Fs.existsSync(`${entry}.lock`)).toBe(true)
        expect(yield* three.said).toEqual([true])
        expect(yield* Effect.scoped(acquire(entry))).toBe(false)
        expect(yield* three.end).toBe(0)
        expect(namesIn(Path.dirname(entry))).toEqual([])
        expect(yield* acquire(entry)).toBe(true)
      })
    )

    it.scopedLive("of which twenty find the same stale locks: one of them gets each", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const file = yield* program
        const entries = Array.from({ length: 30 }, (_, n) => Path.join(folder, `entry-${n}`))
        for (const entry of entries) yield* leave(entry, { pid: nobody })
        const racers = yield* Effect.all(
          Array.from({ length: 20 }, () => start(file, ["lock", JSON.stringify(entries)])),
          { concurrency: "unbounded" }
        )
        const got = (yield* Effect.all(
          racers.map(({ said }) => said),
          { concurrency: "unbounded" }
        )) as ReadonlyArray<ReadonlyArray<boolean>>
        const owners = entries.map((_, n) => got.filter((mine) => mine[n] === true).length)
        expect(owners).toEqual(entries.map(() => 1))
        expect(namesIn(folder)).toEqual(entries.map((entry) => `${Path.basename(entry)}.lock`).sort())
      })
    )
  })
})
