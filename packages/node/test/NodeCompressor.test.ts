import { execFileSync, spawnSync } from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Zlib from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { type Algorithm, Compressor, type PlainContent } from "@effect-registry/core"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Pool from "../src/NodeCompressor/Pool.js"
import { workerSource } from "../src/NodeCompressor/workerSource.js"
import * as NodeCompressor from "../src/NodeCompressor.js"
import { fileContent, openFile, type ReadError } from "./support.js"

const MiB = 1 << 20
const sha256 = (bytes: Uint8Array): string => `sha256:${Crypto.createHash("sha256").update(bytes).digest("hex")}`
/** Text, noise and zeros by turns. */
const mixed = (size: number): Buffer => {
  const noise = Crypto.randomBytes(300_000)
  const text = Buffer.from("a layer is a tar of the changes to a file system\n".repeat(9_000))
  const parts: Array<Buffer> = []
  for (let n = 0; n < size; n += 1_000_000) parts.push(text, noise, Buffer.alloc(300_000))
  return Buffer.concat(parts).subarray(0, size)
}
const collect = <E>(service: Compressor.Service, plain: PlainContent<E>, algorithm: Algorithm = "gzip") =>
  Effect.gen(function* () {
    let read = 0
    const { result, stream } = service.compress(algorithm, plain, (n) => {
      read += n
    })
    const bytes = Buffer.concat(Chunk.toReadonlyArray(yield* Stream.runCollect(stream)))
    return { bytes, read, result: Option.getOrThrow(result()) }
  })
/** The outcome; a lost thread is a defect. */
const run = (pool: Pool.Pool, block: Pool.Block, verify: boolean) => Effect.promise(() => pool.run(block, verify))

const hasPython = spawnSync("python3", ["--version"]).status === 0
const hasGzip = spawnSync("gzip", ["--version"]).status === 0

describe("NodeCompressor", () => {
  describe("gzip", () => {
    it.scoped(
      "gives the bytes of the portable compressor, with any number of threads, from files, bytes and streams",
      () =>
        Effect.gen(function* () {
          const plain = mixed(5 * MiB + 4_321)
          const file = yield* openFile(Buffer.concat([Buffer.alloc(777), plain, Buffer.alloc(5)]))
          const expected = yield* collect(Compressor.portable, { _tag: "Bytes", bytes: plain })
          for (const threads of [1, 2, 3]) {
            const service = yield* NodeCompressor.make({ threads })
            const contents: ReadonlyArray<PlainContent<ReadError>> = [
              fileContent(file, 777, plain.length),
              { _tag: "Bytes", bytes: plain },
              {
                _tag: "Stream",
                size: plain.length,
                stream: Stream.make(plain.subarray(0, 1_500_000), plain.subarray(1_500_000))
              }
            ]
            for (const content of contents) {
              const { bytes, read, result } = yield* collect(service, content)
              expect(Buffer.compare(bytes, expected.bytes)).toBe(0)
              expect(result).toEqual(expected.result)
              expect(read).toBe(plain.length)
            }
          }
          expect(expected.result.digest).toBe(sha256(expected.bytes))
          expect(expected.result.diffId).toBe(sha256(plain))
        })
    )

    it.scoped.each([[0], [1], [MiB - 1], [MiB], [MiB + 1], [2 * MiB], [2 * MiB + 65_535]] as const)(
      "writes one member that zlib reads, for %i bytes",
      ([size]) =>
        Effect.gen(function* () {
          const plain = mixed(size)
          const file = yield* openFile(plain)
          const { bytes, result } = yield* collect(
            yield* NodeCompressor.make({ threads: 2 }),
            fileContent(file, 0, size)
          )
          expect(Buffer.compare(Zlib.gunzipSync(bytes), plain)).toBe(0)
          expect(result.size).toBe(bytes.length)
          expect(result.diffSize).toBe(size)
        })
    )

    it.scoped.skipIf(!hasGzip || !hasPython)("writes what gzip and Python read", () =>
      Effect.gen(function* () {
        const plain = mixed(3 * MiB)
        const { bytes } = yield* collect(yield* NodeCompressor.make(), { _tag: "Bytes", bytes: plain })
        const file = yield* openFile(bytes)
        execFileSync("gzip", ["-t"], { input: bytes })
        const script = "import gzip,hashlib,sys; print(hashlib.sha256(gzip.open(sys.argv[1]).read()).hexdigest())"
        expect(`sha256:${execFileSync("python3", ["-c", script, file.path]).toString().trim()}`).toBe(sha256(plain))
      })
    )

    it.scoped("compresses several contents at once", () =>
      Effect.gen(function* () {
        const service = yield* NodeCompressor.make({ threads: 2 })
        const plains = [3, 1, 2, 4].map((n) => mixed(n * MiB - n))
        const all = yield* Effect.forEach(plains, (bytes) => collect(service, { _tag: "Bytes", bytes }), {
          concurrency: "unbounded"
        })
        for (const [i, { bytes }] of all.entries()) {
          expect(Buffer.compare(Zlib.gunzipSync(bytes), plains[i] ?? Buffer.alloc(0))).toBe(0)
        }
      })
    )

    it.scoped("fails with the source's error when the file is shorter or cannot be read", () =>
      Effect.gen(function* () {
        const service = yield* NodeCompressor.make({ threads: 1 })
        const file = yield* openFile(Buffer.alloc(MiB + 10))
        const short = yield* Effect.flip(collect(service, fileContent(file, 0, 2 * MiB)))
        expect(short).toMatchObject({ _tag: "ReadError", cause: { message: "the file ends 1048566 bytes too early" } })
        const closed = fileContent({ fd: 1_000_000, path: "x" }, 0, 10)
        expect(yield* Effect.flip(collect(service, closed))).toMatchObject({
          _tag: "ReadError",
          cause: { code: "EBADF" }
        })
        const failing: PlainContent<string> = { _tag: "Stream", size: 1, stream: Stream.fail("gone") }
        expect(yield* Effect.flip(collect(service, failing))).toBe("gone")
        // and goes on working
        expect((yield* collect(service, fileContent(file, 0, 10))).result.diffSize).toBe(10)
      })
    )

    it.scoped("reads no further ahead than its threads need", () =>
      Effect.gen(function* () {
        const service = yield* NodeCompressor.make({ threads: 2 })
        let produced = 0
        const stream = Stream.tap(Stream.take(Stream.repeatValue(new Uint8Array(MiB)), 100), () =>
          Effect.sync(() => {
            produced++
          })
        )
        const { stream: gzip } = service.compress("gzip", { _tag: "Stream", size: 100 * MiB, stream }, () => {})
        yield* Stream.runDrain(Stream.take(gzip, 3))
        expect(produced).toBeLessThan(20)
      })
    )

    it.scoped("lets go of the file when it is interrupted", () =>
      Effect.gen(function* () {
        const service = yield* NodeCompressor.make({ threads: 2 })
        const file = yield* openFile(mixed(40 * MiB))
        let blocks = 0
        const { result, stream } = service.compress("gzip", fileContent(file, 0, 40 * MiB), () => {
          blocks++
        })
        const fiber = yield* Effect.fork(Stream.runDrain(stream))
        while (blocks < 3) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
        const start = Date.now()
        yield* Fiber.interrupt(fiber)
        expect(Date.now() - start).toBeLessThan(1_000)
        const after = blocks
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 60)))
        expect(blocks).toBe(after)
        expect(blocks).toBeLessThan(40)
        expect(result()).toEqual(Option.none())
      })
    )
  })

  describe("zstd", () => {
    it.scoped(
      "gives the bytes of the portable compressor, with any number of threads, from files, bytes and streams",
      () =>
        Effect.gen(function* () {
          for (const size of [0, 1, 4 * MiB, 9 * MiB + 4_321]) {
            const plain = mixed(size)
            const file = yield* openFile(Buffer.concat([Buffer.alloc(777), plain, Buffer.alloc(5)]))
            const expected = yield* collect(Compressor.portable, { _tag: "Bytes", bytes: plain }, "zstd")
            for (const threads of [1, 3]) {
              const service = yield* NodeCompressor.make({ threads })
              const contents: ReadonlyArray<PlainContent<ReadError>> = [
                fileContent(file, 777, size),
                { _tag: "Bytes", bytes: plain },
                { _tag: "Stream", size, stream: Stream.make(plain.subarray(0, 1_500_000), plain.subarray(1_500_000)) }
              ]
              for (const content of contents) {
                const { bytes, read, result } = yield* collect(service, content, "zstd")
                expect(Buffer.compare(bytes, expected.bytes)).toBe(0)
                expect(result).toEqual(expected.result)
                expect(read).toBe(size)
              }
            }
            expect(expected.result.digest).toBe(sha256(expected.bytes))
            expect(expected.result.diffId).toBe(sha256(plain))
          }
        })
    )

    it.scoped("is undone by the service itself", () =>
      Effect.gen(function* () {
        const plain = mixed(9 * MiB)
        const service = yield* NodeCompressor.make({ threads: 2 })
        const { stream } = service.compress<never, never>("zstd", { _tag: "Bytes", bytes: plain }, () => {})
        const back = yield* Stream.runCollect(service.decompress("zstd", stream, { subject: "layer" }))
        expect(Buffer.compare(Buffer.concat(Chunk.toReadonlyArray(back)), plain)).toBe(0)
      })
    )

    it.scoped("fails with the error of the source, and lets go of the file when it is interrupted", () =>
      Effect.gen(function* () {
        const service = yield* NodeCompressor.make({ threads: 2 })
        const failing: PlainContent<string> = { _tag: "Stream", size: 1, stream: Stream.fail("gone") }
        expect(yield* Effect.flip(collect(service, failing, "zstd"))).toBe("gone")
        const file = yield* openFile(mixed(40 * MiB))
        let blocks = 0
        const { result, stream } = service.compress("zstd", fileContent(file, 0, 40 * MiB), () => {
          blocks++
        })
        const fiber = yield* Effect.fork(Stream.runDrain(stream))
        while (blocks < 2) yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
        yield* Fiber.interrupt(fiber)
        const after = blocks
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 60)))
        expect(blocks).toBe(after)
        expect(blocks).toBeLessThan(10)
        expect(result()).toEqual(Option.none())
      })
    )

    it.scoped("notices a block that does not become what it was", () =>
      Effect.gen(function* () {
        const pool = yield* Pool.make(
          1,
          "zstd",
          workerSource.replace("if (verify", "compressed[40] ^= 255\nif (verify")
        )
        const noise: Pool.Block = { _tag: "Bytes", bytes: Crypto.randomBytes(70_000) }
        expect(yield* run(pool, noise, true)).toEqual({ _tag: "Wrong" })
        expect((yield* run(pool, noise, false))._tag).toBe("Compressed")
      })
    )
  })

  describe("Pool", () => {
    const abc: Pool.Block = { _tag: "Bytes", bytes: Buffer.from("abc".repeat(1_000)) }
    it.scoped("gives the block back with what it became, and reuses its memory", () =>
      Effect.gen(function* () {
        const pool = yield* Pool.make(1)
        const buffers = new Set<ArrayBufferLike>()
        for (let i = 0; i < 3; i++) {
          const outcome = yield* run(pool, abc, true)
          expect(outcome._tag).toBe("Compressed")
          if (outcome._tag !== "Compressed") return
          expect(Buffer.from(outcome.plain).toString()).toBe("abc".repeat(1_000))
          buffers.add(outcome.plain.buffer)
          pool.free(outcome.plain)
        }
        expect(buffers.size).toBeLessThanOrEqual(3)
      })
    )

    it.scoped.each([
      ["other bytes", "compressed[40] ^= 255"],
      ["no deflate at all", "compressed.fill(255)"],
      ["fewer bytes", "compressed.set([3, 0])"]
    ] as const)("tells when a block would inflate to %s", ([, fault]) =>
      Effect.gen(function* () {
        const pool = yield* Pool.make(1, "gzip", workerSource.replace("if (verify", `${fault}\nif (verify`))
        const noise: Pool.Block = { _tag: "Bytes", bytes: Crypto.randomBytes(70_000) }
        expect(yield* run(pool, noise, true)).toEqual({ _tag: "Wrong" })
        expect((yield* run(pool, noise, false))._tag).toBe("Compressed")
      })
    )

    it.scoped("dies when a thread ends, and starts another one", () =>
      Effect.gen(function* () {
        const pool = yield* Pool.make(
          1,
          "gzip",
          workerSource.replace("try {", "if (length === 7) process.exit(1)\ntry {")
        )
        const exit = yield* Effect.exit(run(pool, { _tag: "Bytes", bytes: new Uint8Array(7) }, false))
        expect(Exit.isFailure(exit) && String(Cause.squash(exit.cause))).toContain("a gzip thread ended")
        expect((yield* run(pool, abc, false))._tag).toBe("Compressed")
      })
    )
  })

  it("neither keeps the process alive nor needs a file of its own", { timeout: 30_000 }, () => {
    const dir = Fs.mkdtempSync(Path.join(Os.tmpdir(), "gzip-bundle-"))
    try {
      const root = new URL("..", import.meta.url).pathname
      const bundle = Path.join(dir, "bundle.cjs")
      const esbuild = Path.join(root, "../../node_modules/.bin/esbuild")
      const program = `
        import * as NodeCompressor from "./src/NodeCompressor.ts"
        import * as Effect from "effect/Effect"
        import * as Scope from "effect/Scope"
        import * as Stream from "effect/Stream"
        Effect.runPromise(Effect.gen(function* () {
          const scope = yield* Scope.make()
          const service = yield* Scope.extend(NodeCompressor.make(), scope)
          for (const algorithm of ["gzip", "zstd"]) {
            const plain = { _tag: "Bytes", bytes: new Uint8Array(3 << 20) }
            const { result, stream } = service.compress(algorithm, plain, () => {})
            yield* Stream.runDrain(service.decompress(algorithm, stream, { subject: "layer" }))
            console.log(result().value.digest)
          }
        }))`
      execFileSync(
        esbuild,
        ["--bundle", "--platform=node", "--format=cjs", `--outfile=${bundle}`, "--log-level=error"],
        {
          input: program,
          cwd: root
        }
      )
      expect(execFileSync(process.execPath, [bundle], { timeout: 10_000 }).toString().trim().split("\n")).toEqual([
        "sha256:6b93a23fac89a1abec0ab3a3623257fd781f265c70252fbf5069e503969f58d4",
        "sha256:305811a42884b5043c46acd7f9c046d1837a4f7073eb2d2404820918361f946d"
      ])
    } finally {
      Fs.rmSync(dir, { recursive: true, force: true })
    }
  })
})
