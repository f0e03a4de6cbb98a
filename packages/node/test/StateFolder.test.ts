import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as StateFolder from "../src/StateFolder.js"
import { modeOf, namesIn } from "./state.js"
import { tempDir } from "./support.js"

const withEnvironment = (environment: Readonly<Record<string, string>>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))

const privateFolder = (root: string) => Effect.promise(() => StateFolder.privateFolder(root, "uploads"))

/** The tests of owners need root, who may give files away. */
const asRoot = it.scoped.skipIf(process.getuid?.() !== 0)

describe("StateFolder", () => {
  describe("stateHome and cacheHome", () => {
    it.effect("are below the XDG folders", () =>
      Effect.gen(function* () {
        expect(yield* StateFolder.stateHome).toBe("/state/effect-registry")
        expect(yield* StateFolder.cacheHome).toBe("/cache/effect-registry")
      }).pipe(withEnvironment({ XDG_STATE_HOME: "/state", XDG_CACHE_HOME: "/cache" }))
    )

    it.effect("are below the home folder where these are missing, empty or not absolute", () =>
      Effect.gen(function* () {
        for (const value of [undefined, "", "state", "./state"]) {
          const environment: Record<string, string> =
            value === undefined ? {} : { XDG_STATE_HOME: value, XDG_CACHE_HOME: value }
          const homes = Effect.all([StateFolder.stateHome, StateFolder.cacheHome])
          expect(yield* withEnvironment(environment)(homes)).toEqual([
            Path.join(Os.homedir(), ".local/state/effect-registry"),
            Path.join(Os.homedir(), ".cache/effect-registry")
          ])
        }
      })
    )
  })

  describe("privateFolder", () => {
    it.effect("comes to an end where the system makes no folder", () =>
      Effect.gen(function* () {
        expect(yield* Effect.promise(() => StateFolder.privateFolder("/proc/none/state", "uploads"))).toBeUndefined()
      })
    )

    it.scoped("makes what is missing, for the user alone", () =>
      Effect.gen(function* () {
        const root = Path.join(yield* tempDir, "xdg", "effect-registry")
        expect(yield* privateFolder(root)).toBe(Path.join(root, "uploads"))
        for (const folder of [Path.dirname(root), root, Path.join(root, "uploads")]) expect(modeOf(folder)).toBe(0o700)
        expect(yield* privateFolder(root)).toBe(Path.join(root, "uploads"))
      })
    )

    it.scoped("takes a folder that others may only read, and one behind the user's own symlink", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const root = Path.join(folder, "root")
        Fs.mkdirSync(root, { mode: 0o755 })
        Fs.symlinkSync(root, Path.join(folder, "link"))
        expect(yield* privateFolder(root)).toBe(Path.join(root, "uploads"))
        expect(yield* privateFolder(Path.join(folder, "link"))).toBe(Path.join(folder, "link", "uploads"))
      })
    )

    it.scoped("refuses a folder that others can write to, the root or the one in it", () =>
      Effect.gen(function* () {
        for (const mode of [0o770, 0o702, 0o1777]) {
          const root = yield* tempDir
          Fs.chmodSync(root, mode)
          expect(yield* privateFolder(root)).toBe(undefined)
          expect(namesIn(root)).toEqual([])
          Fs.chmodSync(root, 0o700)
          Fs.mkdirSync(Path.join(root, "uploads"))
          Fs.chmodSync(Path.join(root, "uploads"), mode)
          expect(yield* privateFolder(root)).toBe(undefined)
        }
      })
    )

    it.scoped("refuses what is no folder, leads nowhere or is not absolute", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const file = Path.join(folder, "file")
        Fs.writeFileSync(file, "")
        Fs.symlinkSync(file, Path.join(folder, "to-file"))
        Fs.symlinkSync(Path.join(folder, "nothing"), Path.join(folder, "to-nothing"))
        for (const root of [
          file,
          Path.join(file, "below"),
          Path.join(folder, "to-file"),
          Path.join(folder, "to-nothing")
        ]) {
          expect(yield* privateFolder(root)).toBe(undefined)
        }
        expect(yield* privateFolder("relative")).toBe(undefined)
        expect(namesIn(folder)).toEqual(["file", "to-file", "to-nothing"])
      })
    )

    asRoot("refuses somebody else's folder, and somebody else's symlink to one of ours", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const ours = Path.join(folder, "ours")
        const theirs = Path.join(folder, "theirs")
        const link = Path.join(folder, "link")
        Fs.mkdirSync(ours, { mode: 0o700 })
        Fs.mkdirSync(theirs, { mode: 0o700 })
        Fs.chownSync(theirs, 12_345, 12_345)
        Fs.symlinkSync(ours, link)
        expect(yield* privateFolder(link)).not.toBe(undefined)
        Fs.lchownSync(link, 12_345, 12_345)
        expect(yield* privateFolder(link)).toBe(undefined)
        expect(yield* privateFolder(theirs)).toBe(undefined)
      })
    )
  })

  describe("read", () => {
    const read = (path: string) => Effect.promise(() => StateFolder.read(path, 10))

    it.scoped("takes regular files up to the limit, and nothing else", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const at = (name: string) => Path.join(folder, name)
        Fs.writeFileSync(at("small"), "0123456789")
        Fs.writeFileSync(at("large"), "0123456789a")
        Fs.symlinkSync(at("small"), at("link"))
        expect((yield* read(at("small")))?.text).toBe("0123456789")
        for (const name of ["large", "link", "missing", "."]) expect(yield* read(at(name))).toBe(undefined)
        expect(yield* read("/dev/zero")).toBe(undefined)
      })
    )
  })

  describe("write", () => {
    it.scoped("replaces a file whole, with mode 600, and leaves nothing beside it", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const path = Path.join(folder, "file")
        Fs.writeFileSync(path, "before", { mode: 0o644 })
        const before = Fs.openSync(path, "r")
        expect(yield* Effect.promise(() => StateFolder.write(path, "after", true))).toBe(true)
        expect(Fs.readFileSync(path, "utf8")).toBe("after")
        expect(Fs.readFileSync(before, "utf8")).toBe("before")
        Fs.closeSync(before)
        expect(modeOf(path)).toBe(0o600)
        expect(namesIn(folder)).toEqual(["file"])
      })
    )

    it.scoped("is false where that cannot be done, and what was there stays", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const target = Path.join(folder, "folder")
        Fs.mkdirSync(target)
        for (const path of [target, Path.join(folder, "missing", "file")]) {
          expect(yield* Effect.promise(() => StateFolder.write(path, "text", false))).toBe(false)
        }
        expect(namesIn(folder)).toEqual(["folder"])
      })
    )
  })
})
