import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { BlobInfoCache, type Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as NodeBlobInfoCache from "../src/NodeBlobInfoCache.js"
import { modeOf, namesIn, program, start } from "./state.js"
import { tempDir } from "./support.js"

const place: BlobInfoCache.Place = { origin: "https://registry.example", account: "somebody" }

const digestOf = (text: string): Digest.Digest =>
  `sha256:${Crypto.createHash("sha256").update(text).digest("hex")}` as Digest.Digest

/** A digest whose entries are in the file 0.json. */
const inFirst = (n: number): Digest.Digest => `sha256:0${n.toString(16).padStart(63, "0")}` as Digest.Digest

/** A run of its own: what it recorded is on the disk afterwards. */
const run = <A>(
  folder: string,
  use: (cache: BlobInfoCache.Service) => Effect.Effect<A, never, Scope.Scope>
): Effect.Effect<A> => Effect.scoped(Effect.flatMap(NodeBlobInfoCache.make({ folder }), use))

const files = (folder: string): ReadonlyArray<string> =>
  namesIn(Path.join(folder, "blobs")).map((name) => Path.join(folder, "blobs", name))

const size = 1234
const [diffId, digest] = [digestOf("plain"), digestOf("compressed")]

describe("NodeBlobInfoCache", () => {
  describe("compressed", () => {
    it.scoped("finds what was recorded, at once and in a later run", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        yield* run(folder, (cache) =>
          Effect.gen(function* () {
            expect(yield* cache.compressed(diffId, "gzip")).toEqual(Option.none())
            yield* cache.recordCompressed(diffId, "gzip", { digest, size })
            expect(yield* cache.compressed(diffId, "gzip")).toEqual(Option.some({ digest, size }))
          })
        )
        expect(yield* run(folder, (cache) => cache.compressed(diffId, "gzip"))).toEqual(Option.some({ digest, size }))
        expect(yield* run(folder, (cache) => cache.compressed(digest, "gzip"))).toEqual(Option.none())
        const other = { digest: digestOf("zstd"), size: 6 }
        expect(yield* run(folder, (cache) => cache.compressed(diffId, "zstd"))).toEqual(Option.none())
        yield* run(folder, (cache) => cache.recordCompressed(diffId, "zstd", other))
        expect(yield* run(folder, (cache) => cache.compressed(diffId, "zstd"))).toEqual(Option.some(other))
        expect(yield* run(folder, (cache) => cache.compressed(diffId, "gzip"))).toEqual(Option.some({ digest, size }))
      })
    )
  })

  describe("repositories", () => {
    it.scoped("are those of the place, the last first, no more than core says", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        for (let n = 0; n < 7; n++) yield* run(folder, (cache) => cache.recordRepository(place, digest, `team/${n}`))
        yield* run(folder, (cache) => cache.recordRepository(place, digest, "team/4"))
        yield* run(folder, (cache) =>
          Effect.gen(function* () {
            expect(yield* cache.repositories(place, digest)).toEqual(["team/4", "team/6", "team/5", "team/3", "team/2"])
            expect(yield* cache.repositories({ ...place, account: "other" }, digest)).toEqual([])
            expect(yield* cache.repositories({ ...place, origin: "https://other.example" }, digest)).toEqual([])
            expect(yield* cache.repositories(place, diffId)).toEqual([])
          })
        )
      })
    )
  })

  describe("files", () => {
    it.scoped("are private, few and whole", () =>
      Effect.gen(function* () {
        const folder = Path.join(yield* tempDir, "made")
        yield* run(folder, (cache) =>
          Effect.forEach(
            Array.from({ length: 100 }, (_, n) => digestOf(String(n))),
            (each) => cache.recordCompressed(each, "gzip", { digest, size })
          )
        )
        expect(modeOf(folder)).toBe(0o700)
        expect(modeOf(Path.join(folder, "blobs"))).toBe(0o700)
        expect(files(folder).length).toBeLessThanOrEqual(16)
        for (const file of files(folder)) {
          expect(Path.basename(file)).toMatch(/^[0-9a-f]\.json$/)
          expect(modeOf(file)).toBe(0o600)
          expect(JSON.parse(Fs.readFileSync(file, "utf8"))).toBeInstanceOf(Array)
        }
      })
    )

    it.scopedLive("are written soon, before the scope ends", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const cache = yield* NodeBlobInfoCache.make({ folder })
        yield* cache.recordCompressed(diffId, "gzip", { digest, size })
        expect(Fs.existsSync(Path.join(folder, "blobs"))).toBe(false)
        yield* Effect.sleep("20 millis").pipe(
          Effect.repeat({ until: () => Fs.existsSync(Path.join(folder, "blobs")) && files(folder).length > 0 })
        )
        yield* cache.recordRepository(place, diffId, "team/app")
        expect(yield* run(folder, (later) => later.compressed(diffId, "gzip"))).toEqual(Option.some({ digest, size }))
      })
    )

    it.scoped("are not written again for what is known", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const push = run(folder, (cache) =>
          Effect.gen(function* () {
            yield* cache.compressed(diffId, "gzip")
            yield* cache.repositories(place, digest)
            yield* cache.recordCompressed(diffId, "gzip", { digest, size })
            yield* cache.recordRepository(place, digest, "team/app")
          })
        )
        yield* push
        const before = files(folder).map((file) => Fs.statSync(file).ino)
        yield* push
        expect(files(folder).map((file) => Fs.statSync(file).ino)).toEqual(before)
      })
    )

    it.scoped("keep what another process wrote after they were read", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        yield* run(folder, (cache) =>
          Effect.gen(function* () {
            expect(yield* cache.compressed(inFirst(1), "gzip")).toEqual(Option.none())
            yield* run(folder, (other) => other.recordCompressed(inFirst(1), "gzip", { digest, size }))
            yield* cache.recordCompressed(inFirst(2), "gzip", { digest, size })
          })
        )
        yield* run(folder, (cache) =>
          Effect.gen(function* () {
            expect(yield* cache.compressed(inFirst(1), "gzip")).toEqual(Option.some({ digest, size }))
            expect(yield* cache.compressed(inFirst(2), "gzip")).toEqual(Option.some({ digest, size }))
          })
        )
      })
    )

    it.scoped("hold so many entries, the oldest go first", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const count = NodeBlobInfoCache.maxEntries + 10
        const record = (from: number, to: number) =>
          run(folder, (cache) =>
            Effect.forEach(
              Array.from({ length: to - from }, (_, n) => from + n),
              (n) => cache.recordCompressed(inFirst(n), "gzip", { digest, size: n })
            )
          )
        yield* record(0, 300)
        yield* record(300, count)
        yield* run(folder, (cache) =>
          Effect.gen(function* () {
            expect(yield* cache.compressed(inFirst(9), "gzip")).toEqual(Option.none())
            expect(yield* cache.compressed(inFirst(10), "gzip")).toEqual(Option.some({ digest, size: 10 }))
            expect(yield* cache.compressed(inFirst(count - 1), "gzip")).toEqual(
              Option.some({ digest, size: count - 1 })
            )
          })
        )
      })
    )

    it.scoped("that a killed process was about to write are removed an hour later", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        Fs.mkdirSync(Path.join(folder, "blobs"))
        const left = (name: string, hours: number) => {
          const time = new Date(Date.now() - hours * 3_600_000)
          Fs.writeFileSync(Path.join(folder, "blobs", name), "")
          Fs.utimesSync(Path.join(folder, "blobs", name), time, time)
        }
        left("0.json.old.tmp", 2)
        left("0.json.new.tmp", 0)
        left("1.json", 2)
        yield* run(folder, (cache) => cache.recordCompressed(inFirst(0), "gzip", { digest, size }))
        expect(namesIn(Path.join(folder, "blobs"))).toEqual(["0.json", "0.json.new.tmp", "1.json"])
      })
    )

    it.scoped("that cannot be used cost nothing but the memory of the next run", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        Fs.mkdirSync(Path.join(folder, "blobs"))
        yield* run(folder, (cache) => cache.recordCompressed(diffId, "gzip", { digest, size }))
        const whole = files(folder).map((file) => Fs.readFileSync(file, "utf8"))
        Fs.chmodSync(Path.join(folder, "blobs"), 0o770)
        yield* run(folder, (cache) =>
          Effect.gen(function* () {
            expect(yield* cache.compressed(diffId, "gzip")).toEqual(Option.none())
            yield* cache.recordCompressed(diffId, "gzip", { digest, size: 5 })
            expect(yield* cache.compressed(diffId, "gzip")).toEqual(Option.some({ digest, size: 5 }))
          })
        )
        expect(files(folder).map((file) => Fs.readFileSync(file, "utf8"))).toEqual(whole)
      })
    )
  })

  describe("a file that was edited", () => {
    const text = BlobInfoCache.placeText(place, inFirst(2))
    const found = (content: string) =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        Fs.mkdirSync(Path.join(folder, "blobs"))
        Fs.writeFileSync(Path.join(folder, "blobs", "0.json"), content)
        return yield* run(folder, (cache) =>
          Effect.all([cache.compressed(inFirst(1), "gzip"), cache.repositories(place, inFirst(2))])
        )
      })
    const entries = (compressed: unknown, repositories: unknown) =>
      found(
        JSON.stringify([
          [inFirst(1), compressed],
          [text, repositories]
        ])
      )
    const nothing = [Option.none(), []]

    it.scoped("is read as this library would have written it", () =>
      Effect.gen(function* () {
        expect(yield* entries({ digest, size }, ["team/app"])).toEqual([Option.some({ digest, size }), ["team/app"]])
      })
    )

    it.scoped("misses digests, sizes and repositories that cannot be", () =>
      Effect.gen(function* () {
        const wrong = [
          { digest: "sha256:abc", size },
          { digest: digest.toUpperCase(), size },
          { digest: `${digest}/../..`, size },
          { digest, size: -1 },
          { digest, size: 1.5 },
          { digest, size: 1e300 },
          { digest, size: "1" },
          { digest },
          null,
          "text"
        ]
        for (const compressed of wrong) expect(yield* entries(compressed, [])).toEqual(nothing)
        const repositories = [
          ["../x"],
          ["Team/App"],
          ["a?from=b"],
          [""],
          [7],
          "team/app",
          {},
          Array(6).fill("team/app")
        ]
        for (const list of repositories) expect(yield* entries({}, list)).toEqual(nothing)
      })
    )

    it.scoped("is empty where it is no list of entries, or too large", () =>
      Effect.gen(function* () {
        const good = JSON.stringify([[inFirst(1), { digest, size }]])
        expect(yield* found(good)).toEqual([Option.some({ digest, size }), []])
        const many = Array.from({ length: NodeBlobInfoCache.maxEntries + 1 }, () => [inFirst(1), { digest, size }])
        const contents = [
          "",
          "{",
          "null",
          "{}",
          "[1]",
          good.slice(0, -3),
          `${good}${" ".repeat(2 << 20)}`,
          JSON.stringify(many)
        ]
        for (const content of contents) expect(yield* found(content)).toEqual(nothing)
      })
    )

    it.scoped("is good again after the next record", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        Fs.mkdirSync(Path.join(folder, "blobs"))
        Fs.writeFileSync(Path.join(folder, "blobs", "0.json"), "{")
        yield* run(folder, (cache) => cache.recordCompressed(inFirst(1), "gzip", { digest, size }))
        expect(yield* run(folder, (cache) => cache.compressed(inFirst(1), "gzip"))).toEqual(
          Option.some({ digest, size })
        )
      })
    )
  })

  describe("time", () => {
    it.scopedLive("of a push of a hundred layers is a fraction of a second", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const layers = Array.from({ length: 100 }, (_, n) => digestOf(`layer ${n}`))
        const push = run(folder, (cache) =>
          Effect.forEach(layers, (layer) =>
            Effect.gen(function* () {
              yield* cache.compressed(layer, "gzip")
              yield* cache.recordCompressed(layer, "gzip", { digest: layer, size })
              yield* cache.recordRepository(place, layer, "team/app")
            })
          )
        )
        const times: Array<number> = []
        for (let n = 0; n < 5; n++) {
          const began = performance.now()
          yield* push
          times.push(performance.now() - began)
        }
        // Far above what it takes, which is some 20 ms, for machines that do other things too.
        expect(Math.min(...times)).toBeLessThan(250)
      })
    )
  })

  describe("processes", () => {
    it.scopedLive(
      "that write at the same time never tear a file, and end with all of theirs written or lost to another",
      () =>
        Effect.gen(function* () {
          const folder = yield* tempDir
          const file = yield* program
          const names = ["one", "two", "three", "four"]
          const writers = yield* Effect.all(
            names.map((name) => start(file, ["record", folder, name])),
            { concurrency: "unbounded" }
          )
          let done = false
          let reads = 0
          const reader = Effect.promise(async () => {
            while (!done) {
              for (const each of Fs.existsSync(Path.join(folder, "blobs")) ? files(folder) : []) {
                if (each.endsWith(".json")) JSON.parse(Fs.readFileSync(each, "utf8"))
                reads += 1
              }
              await new Promise((resolve) => setTimeout(resolve, 1))
            }
          })
          const writing = Effect.gen(function* () {
            yield* Effect.all(
              writers.map(({ said }) => said),
              { concurrency: "unbounded" }
            )
            const codes = yield* Effect.all(
              writers.map(({ end }) => end),
              { concurrency: "unbounded" }
            )
            done = true
            return codes
          })
          const [codes] = yield* Effect.all([writing, reader], { concurrency: "unbounded" })
          expect(codes).toEqual([0, 0, 0, 0])
          expect(reads).toBeGreaterThan(16)
          expect(namesIn(folder).filter((name) => name.endsWith(".tmp"))).toEqual([])
        })
    )

    it.scopedLive("that end cleanly lose nothing, and one that is killed later neither", () =>
      Effect.gen(function* () {
        const folder = yield* tempDir
        const file = yield* program
        const [one, two] = yield* Effect.all([
          start(file, ["record", folder, "one"]),
          start(file, ["record", folder, "two"])
        ])
        yield* one.said
        expect(yield* one.end).toBe(0)
        yield* two.said
        yield* Effect.sleep("500 millis")
        yield* two.kill
        yield* run(folder, (cache) =>
          Effect.gen(function* () {
            for (const account of ["one", "two"]) {
              for (let n = 0; n < 100; n++) {
                const each = digestOf(`${account} ${n}`)
                expect(yield* cache.compressed(each, "gzip")).toEqual(Option.some({ digest: each, size: n }))
                expect(yield* cache.repositories({ ...place, account }, each)).toEqual([`team/${account}`])
              }
            }
          })
        )
      })
    )
  })
})
