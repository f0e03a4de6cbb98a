import * as Fs from "node:fs"
import * as Path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { BlobInfoCache, type Digest, UploadJournal } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import * as FastCheck from "fast-check"
import * as NodeUploadJournal from "../src/NodeUploadJournal.js"
import { modeOf, namesIn, program, start } from "./state.js"
import { tempDir } from "./support.js"

const key: UploadJournal.Key = {
  origin: "https://registry.example",
  repository: "team/app",
  content: `sha256:${"a".repeat(64)}`
}
const location = "https://registry.example/v2/team/app/blobs/uploads/1?_state=secret"

/** Claims the upload for as long as `use` takes. */
const claiming = <A>(
  folder: string,
  use: (claim: UploadJournal.Claim) => Effect.Effect<A>,
  of: UploadJournal.Key = key
): Effect.Effect<A> =>
  Effect.scoped(
    Effect.gen(function* () {
      const journal = yield* NodeUploadJournal.make({ folder })
      return yield* use(Option.getOrThrow(yield* journal.claim(of)))
    })
  )

const write = (folder: string, of = key) => claiming(folder, (claim) => claim.write({ location }), of)
const read = (folder: string, of = key) => claiming(folder, (claim) => claim.read, of)

/** The files of the journal. */
const files = (folder: string): ReadonlyArray<string> =>
  namesIn(Path.join(folder, "uploads")).map((name) => Path.join(folder, "uploads", name))

/** The one entry's file. */
const entryFile = (folder: string): string => files(folder)[0] ?? ""

const daysAgo = (days: number): Date => new Date(Date.now() - days * 24 * 60 * 60 * 1000)

describe("NodeUploadJournal", () => {
  describe("claim", () => {
    it.scoped("keeps an entry for a later service, until it is removed", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        expect(yield* read(folder)).toEqual(Option.none())
        yield* write(folder)
        expect(yield* read(folder)).toEqual(Option.some({ location }))
        yield* claiming(folder, (claim) => claim.remove)
        expect(yield* read(folder)).toEqual(Option.none())
        expect(files(folder)).toEqual([])
      })
    )

    it.scoped("tells uploads apart that differ in one part", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        yield* write(folder)
        for (const part of ["origin", "repository", "content"] as const) {
          expect(yield* read(folder, { ...key, [part]: "other" })).toEqual(Option.none())
        }
        expect(yield* read(folder)).toEqual(Option.some({ location }))
      })
    )

    it.scoped("writes files that only the user can read, in folders of the same kind", () =>
      Effect.gen(function* () {
        const folder = Path.join(yield* tempDir, "made")
        yield* claiming(folder, (claim) =>
          Effect.map(claim.write({ location }), () => {
            expect(files(folder)).toHaveLength(2)
            for (const file of files(folder)) expect(modeOf(file)).toBe(0o600)
          })
        )
        expect(modeOf(folder)).toBe(0o700)
        expect(modeOf(Path.join(folder, "uploads"))).toBe(0o700)
        // The name says nothing of the registry.
        expect(Path.basename(entryFile(folder))).toMatch(/^[0-9a-f]{64}\.json$/)
      })
    )

    it.scoped("is None while somebody else owns the entry, also through another service", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const one = yield* NodeUploadJournal.make({ folder })
        const other = yield* NodeUploadJournal.make({ folder })
        yield* Effect.scoped(
          Effect.gen(function* () {
            expect(Option.isSome(yield* one.claim(key))).toBe(true)
            expect(Option.isSome(yield* one.claim(key))).toBe(false)
            expect(Option.isSome(yield* other.claim(key))).toBe(false)
            expect(Option.isSome(yield* other.claim({ ...key, content: "other" }))).toBe(true)
          })
        )
        expect(Option.isSome(yield* other.claim(key))).toBe(true)
      })
    )

    it.scoped("works in memory where the folder cannot be used", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        Fs.writeFileSync(Path.join(folder, "file"), "")
        const open = Path.join(folder, "open")
        Fs.mkdirSync(open)
        Fs.chmodSync(open, 0o777)
        for (const unusable of [Path.join(folder, "file"), open]) {
          const journal = yield* UploadJournal.UploadJournal.pipe(
            Effect.provide(NodeUploadJournal.layer({ folder: unusable }))
          )
          const entry = Effect.scoped(Effect.flatMap(journal.claim(key), (claim) => Option.getOrThrow(claim).read))
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* Option.getOrThrow(yield* journal.claim(key)).write({ location })
              expect(yield* journal.claim(key)).toEqual(Option.none())
            })
          )
          expect(yield* entry).toEqual(Option.some({ location }))
        }
        expect(namesIn(open)).toEqual([])
      })
    )
  })

  describe("read", () => {
    /** What is read after the entry was changed; it must be gone then. */
    const after = (change: (file: string) => void) =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        yield* write(folder)
        change(entryFile(folder))
        const found = yield* read(folder)
        if (Option.isNone(found)) expect(files(folder)).toEqual([])
        return found
      })
    const edit = (changes: Readonly<Record<string, unknown>>) =>
      after((file) =>
        Fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(Fs.readFileSync(file, "utf8")), ...changes }))
      )

    it.scoped("misses entries that are damaged, another upload's or too large, and removes them", () =>
      Effect.gen(function* () {
        expect(yield* edit({})).toEqual(Option.some({ location }))
        expect(yield* edit({ key: { ...key, repository: "other" } })).toEqual(Option.none())
        expect(yield* edit({ key: undefined })).toEqual(Option.none())
        expect(yield* edit({ location: "" })).toEqual(Option.none())
        expect(yield* edit({ location: 7 })).toEqual(Option.none())
        expect(yield* edit({ time: "now" })).toEqual(Option.none())
        expect(yield* edit({ padding: "x".repeat(40_000) })).toEqual(Option.none())
        for (const text of ["", "{", "null", "[]", "\0\0\0"]) {
          expect(yield* after((file) => Fs.writeFileSync(file, text))).toEqual(Option.none())
        }
        expect(yield* after((file) => Fs.truncateSync(file, 40))).toEqual(Option.none())
      })
    )

    it.scoped("misses a symlink to an entry, and leaves what it leads to", () =>
      Effect.gen(function* () {
        const elsewhere = Path.join(yield* tempDir, "entry")
        const found = yield* after((file) => {
          Fs.renameSync(file, elsewhere)
          Fs.symlinkSync(elsewhere, file)
        })
        expect(found).toEqual(Option.none())
        expect(Fs.existsSync(elsewhere)).toBe(true)
      })
    )

    it.scoped("misses entries older than seven days", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        yield* write(folder)
        yield* TestClock.adjust("7 days")
        expect(yield* read(folder)).toEqual(Option.some({ location }))
        yield* TestClock.adjust("1 millis")
        expect(yield* read(folder)).toEqual(Option.none())
        expect(files(folder)).toEqual([])
      })
    )
  })

  describe("write", () => {
    it.scoped("leaves no entry where the new one is too large, for the old one is of no use", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        yield* write(folder)
        yield* claiming(folder, (claim) => claim.write({ location: `https://x/${"y".repeat(40_000)}` }))
        expect(files(folder)).toEqual([])
      })
    )
  })

  describe("the first claim", () => {
    it.scopedLive("removes what is old, with what killed processes left, but not what is owned", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const [old, owned, fresh] = ["old", "owned", "fresh"].map((content) => ({ ...key, content }))
        for (const each of [old, owned, fresh]) yield* write(folder, each)
        const before = files(folder)
        const journal = yield* NodeUploadJournal.make({ folder })
        yield* journal.claim({ ...key, content: "owned" })
        yield* write(folder, old)
        const oldFile = before.find((file) => Fs.readFileSync(file, "utf8").includes('"old"')) ?? ""
        const freshFile = before.find((file) => Fs.readFileSync(file, "utf8").includes('"fresh"')) ?? ""
        Fs.writeFileSync(`${oldFile}.1234.tmp`, "")
        Fs.writeFileSync(`${oldFile}.lock`, "")
        for (const file of files(folder)) if (!file.startsWith(freshFile)) Fs.utimesSync(file, daysAgo(8), daysAgo(8))
        yield* read(folder, { ...key, content: "unrelated" })
        const names = files(folder)
        expect(names).toContain(freshFile)
        expect(names.filter((file) => file.startsWith(oldFile))).toEqual([])
        expect(names).toHaveLength(3)
        expect(names.filter((file) => file.endsWith(".lock"))).toHaveLength(1)
      })
    )

    it.scopedLive("keeps a thousand entries, the newest", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        yield* write(folder)
        const name = (n: number) => Path.join(folder, "uploads", `${n.toString(16).padStart(64, "0")}.json`)
        for (let n = 1; n <= NodeUploadJournal.maxEntries + 20; n++) {
          Fs.writeFileSync(name(n), "{}")
          const time = new Date(Date.now() - n * 1000)
          Fs.utimesSync(name(n), time, time)
        }
        expect(yield* read(folder)).toEqual(Option.some({ location }))
        expect(files(folder)).toHaveLength(NodeUploadJournal.maxEntries)
        expect(Fs.existsSync(name(1))).toBe(true)
        expect(Fs.existsSync(name(NodeUploadJournal.maxEntries + 20))).toBe(false)
      })
    )
  })

  describe("processes", () => {
    it.scopedLive("own an entry one at a time, and find what a killed one wrote", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const file = yield* program
        const words = (location: string) => ["claim", folder, JSON.stringify({ key, location })]
        const [one, two] = yield* Effect.all([
          start(file, words("https://one.example/1?_state=x")),
          start(file, words("https://two.example/2"))
        ])
        expect(yield* one.said).toBe(true)
        expect(yield* two.said).toBe(false)
        const journal = yield* NodeUploadJournal.make({ folder })
        expect(yield* journal.claim(key)).toEqual(Option.none())
        yield* one.kill
        expect(yield* read(folder)).toEqual(Option.some({ location: "https://one.example/1?_state=x" }))
        expect(yield* two.end).toBe(0)
        expect(files(folder)).toHaveLength(1)
      })
    )
  })
})

describe("the texts that files are found by", () => {
  it("are different for different keys and places", () => {
    // Pieces that would run together if the parts were only joined.
    const part = FastCheck.oneof(
      FastCheck.constantFrom("", "a", "b", '"', ",", '","', "\\", "/", "\0"),
      FastCheck.string()
    )
    const key = FastCheck.record({ origin: part, repository: part, content: part })
    const place = FastCheck.tuple(part, part, part)
    const placeText = ([origin, account, digest]: readonly [string, string, string]) =>
      BlobInfoCache.placeText({ origin, account }, digest as Digest.Digest)
    FastCheck.assert(
      FastCheck.property(key, key, (one, other) => {
        const same = (["origin", "repository", "content"] as const).every((name) => one[name] === other[name])
        return (UploadJournal.keyText(one) === UploadJournal.keyText(other)) === same
      }),
      { numRuns: 2000 }
    )
    FastCheck.assert(
      FastCheck.property(place, place, (one, other) => {
        const same = one.every((text, n) => text === other[n])
        return (placeText(one) === placeText(other)) === same
      }),
      { numRuns: 2000 }
    )
  })
})
