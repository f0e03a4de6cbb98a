import { execFileSync } from "node:child_process"
import { closeSync, ftruncateSync, linkSync, mkdirSync, openSync, symlinkSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { TarBytes, Tools } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { pack } from "tar-stream"
import * as ArchiveFile from "../src/ArchiveFile.js"
import * as TarIndex from "../src/TarIndex.js"
import { folder } from "./support/files.js"

/** The index of bytes, read as a file would be. */
const indexOf = (bytes: Uint8Array) =>
  TarIndex.read((offset, length) => Effect.succeed(bytes.subarray(offset, offset + length)), {
    path: "test.tar",
    size: bytes.length
  })

const member = (index: TarIndex.TarIndex, name: string) => {
  const found = index.members.get(name)
  assert.isDefined(found, `${name} of ${[...index.members.keys()].join(", ")}`)
  return found as TarIndex.Member
}

const failure = (bytes: Uint8Array) => Effect.flip(indexOf(bytes))

/** A header with some fields of its own. */
const header = (fields: {
  readonly name?: string
  readonly size?: Uint8Array | string
  readonly type?: string
}): Uint8Array => {
  const block = TarBytes.make([{ name: fields.name ?? "file", type: fields.type ?? "file" }], { end: false }).slice(
    0,
    512
  )
  if (fields.size !== undefined) block.set(TarBytes.bytes(fields.size), 124)
  block.fill(32, 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.set(TarBytes.bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
  return block
}

const long = `${"folder-with-a-long-name/".repeat(6)}file.txt`

describe("TarIndex", () => {
  describe("read", () => {
    it.effect("finds every member's data, whatever names and sizes there are", () =>
      Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(
            FastCheck.uniqueArray(
              FastCheck.record({
                name: FastCheck.stringMatching(/^[a-zA-Z0-9é한_-]{1,60}(\/[a-zA-Z0-9é한_-]{1,90}){0,3}$/),
                size: FastCheck.oneof(FastCheck.nat(2000), FastCheck.constantFrom(0, 511, 512, 513, 40_000))
              }),
              { selector: ({ name }) => name, maxLength: 30, minLength: 1 }
            ),
            async (entries) => {
              const stream = pack()
              for (const { name, size } of entries) stream.entry({ name }, Buffer.alloc(size, name))
              stream.finalize()
              const parts: Array<Buffer> = []
              for await (const part of stream) parts.push(part as Buffer)
              const bytes = new Uint8Array(Buffer.concat(parts))
              const index = await Effect.runPromise(indexOf(bytes))
              assert.strictEqual(index.members.size, entries.length)
              assert.isTrue(index.ended)
              for (const { name, size } of entries) {
                const { offset, size: found } = member(index, name)
                assert.strictEqual(found, size)
                assert.deepStrictEqual(Buffer.from(bytes.subarray(offset, offset + size)), Buffer.alloc(size, name))
              }
            }
          ),
          { numRuns: 60 }
        )
      )
    )

    it.effect("strips a leading ./ and a trailing slash, and skips the root itself", () =>
      Effect.gen(function* () {
        const index = yield* indexOf(
          TarBytes.make([
            { name: "./", type: "directory" },
            { name: "./a/", type: "directory" },
            { name: "./a//b", content: "b" }
          ])
        )
        assert.deepStrictEqual([...index.members.keys()], ["a", "a/b"])
        assert.strictEqual(member(index, "a").type, "Directory")
      })
    )

    it.effect("lets a folder stand there twice, and nothing else", () =>
      Effect.gen(function* () {
        yield* indexOf(
          TarBytes.make([
            { name: "a/", type: "directory" },
            { name: "a/", type: "directory" }
          ])
        )
        const error = yield* failure(TarBytes.make([{ name: "a" }, { name: "./a" }]))
        assert.strictEqual(error.reason, "DuplicateMember")
        assert.strictEqual(error.offset, 512)
        assert.strictEqual(error.hint, "tar -r appends a second copy of a member: write the archive anew")
      })
    )

    it.effect("reads sizes in base-256, beyond what octal digits hold", () =>
      Effect.gen(function* () {
        const size = new Uint8Array(12)
        size[0] = 0x80
        new DataView(size.buffer).setBigUint64(4, 20n * 1024n ** 3n)
        const read = TarIndex.read((offset) => Effect.succeed(offset === 0 ? header({ size }) : new Uint8Array(0)), {
          path: "huge.tar",
          size: 512 + 20 * 1024 ** 3
        })
        assert.strictEqual(member(yield* read, "file").size, 20 * 1024 ** 3)
        size.fill(0xff)
        assert.strictEqual((yield* failure(header({ size }))).reason, "UnsupportedFormat")
        assert.strictEqual((yield* failure(header({ size: "not a number" }))).reason, "UnsupportedFormat")
      })
    )

    it.effect("takes names and sizes from PAX headers, global ones until a local one says otherwise", () =>
      Effect.gen(function* () {
        const pax = (type: string, text: string) => ({ name: "pax", type, content: text })
        const record = (key: string, value: string) => {
          const body = ` ${key}=${value}\n`
          let length = body.length + 1
          while (String(length).length + body.length !== length) length = String(length).length + body.length
          return `${length}${body}`
        }
        const index = yield* indexOf(
          TarBytes.make([
            pax("g", record("linkpath", "from-global")),
            { name: "one", type: "symlink", link: "own" },
            pax("x", record("linkpath", "from-local") + record("path", "renamed")),
            { name: "two", type: "symlink", link: "own" },
            { name: "three", type: "symlink", link: "own" }
          ])
        )
        assert.strictEqual(member(index, "one").link, "from-global")
        assert.strictEqual(member(index, "renamed").link, "from-local")
        assert.strictEqual(member(index, "three").link, "from-global")
        const takenBack = yield* indexOf(
          TarBytes.make([
            pax("g", record("linkpath", "from-global")),
            pax("x", record("linkpath", "")),
            { name: "one", type: "symlink", link: "own" }
          ])
        )
        assert.strictEqual(member(takenBack, "one").link, "own")
        const sparse = TarBytes.make([pax("g", record("GNU.sparse.major", "1")), { name: "a" }])
        assert.strictEqual((yield* failure(sparse)).reason, "UnsupportedFormat")
        for (const text of ["garbage", "999 a=b\n", "5 a=b", "12 nothing\n"]) {
          assert.strictEqual(
            (yield* failure(TarBytes.make([pax("x", text), { name: "a" }]))).reason,
            "UnsupportedFormat",
            text
          )
        }
      })
    )

    it.effect("reads GNU's long names and links", () =>
      Effect.gen(function* () {
        const index = yield* indexOf(
          TarBytes.make([
            { name: "././@LongLink", type: "L", content: `${long}\0` },
            { name: "././@LongLink", type: "K", content: `${long}.target\0` },
            { name: "short", type: "symlink", link: "short" },
            { name: "next" }
          ])
        )
        assert.strictEqual(member(index, long).link, `${long}.target`)
        assert.isTrue(index.members.has("next"))
      })
    )

    it.effect("refuses sparse members, continued volumes and headers too large to hold", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* failure(header({ type: "S" }))).reason, "UnsupportedFormat")
        assert.strictEqual((yield* failure(header({ type: "M" }))).reason, "UnsupportedFormat")
        const sparse = TarBytes.make([{ name: "pax", type: "x", content: "22 GNU.sparse.major=1\n" }, { name: "a" }])
        assert.strictEqual((yield* failure(sparse)).reason, "UnsupportedFormat")
        const large = TarIndex.read(() => Effect.succeed(header({ type: "x", size: "00200000000\0" })), {
          path: "large.tar",
          size: 1024 ** 3
        })
        assert.strictEqual((yield* Effect.flip(large)).reason, "TooLarge")
      })
    )

    it.effect(
      "refuses a name or link that is too long, as a long name, in a PAX header and in all lengths beyond",
      () =>
        Effect.gen(function* () {
          const named = (length: number, type: "L" | "K") =>
            TarBytes.make([
              { name: "long", type, content: "a".repeat(length) },
              { name: "b", type: "symlink", link: "c" }
            ])
          for (const type of ["L", "K"] as const) {
            yield* indexOf(named(65_000, type))
            const error = yield* failure(named(65_001, type))
            assert.strictEqual(error.reason, "TooLarge")
            assert.strictEqual(error.detail, "a name of 65001 bytes, at most 65000 are read")
            assert.isBelow(error.message.length, 200)
          }
          const pax = yield* failure(TarBytes.make([{ name: "a".repeat(70_000) }]))
          assert.strictEqual(pax.reason, "TooLarge")
        })
    )

    it.effect("refuses more members, or more bytes of names, than it may hold", () =>
      Effect.gen(function* () {
        const limited = (entries: ReadonlyArray<TarBytes.TarEntry>, limits: Partial<TarIndex.Limits>) => {
          const bytes = TarBytes.make(entries)
          return TarIndex.read(
            (offset, length) => Effect.succeed(bytes.subarray(offset, offset + length)),
            { path: "test.tar", size: bytes.length },
            { ...TarIndex.maxima, ...limits }
          )
        }
        const folders = ["a", "b", "a", "b"].map((name) => ({ name, type: "directory" }))
        yield* limited(folders, { members: 2 })
        const many = yield* Effect.flip(limited([...folders, { name: "c" }], { members: 2 }))
        assert.deepStrictEqual([many.reason, many.detail], ["TooLarge", "holds more than 2 members"])
        const links = [
          { name: "aaa", type: "symlink", link: "bbb" },
          { name: "ccc", type: "symlink", link: "ddd" }
        ]
        yield* limited(links, { names: 12 })
        const names = yield* Effect.flip(limited(links, { names: 11 }))
        assert.deepStrictEqual([names.reason, names.detail], ["TooLarge", "its names have more than 11 bytes together"])
      })
    )

    it.effect("tells whether the end is there: both blocks of it", () =>
      Effect.gen(function* () {
        const whole = TarBytes.make([{ name: "a", content: "a" }])
        assert.isTrue((yield* indexOf(whole)).ended)
        assert.isFalse((yield* indexOf(whole.subarray(0, whole.length - 512))).ended)
        assert.isFalse((yield* indexOf(whole.subarray(0, 1024))).ended)
      })
    )

    it.effect("says that the archive became shorter while its headers were read, wherever it ends then", () =>
      Effect.gen(function* () {
        const whole = TarBytes.make([
          { name: "a", content: "a" },
          { name: "././@LongLink", type: "L", content: "x".repeat(600) },
          { name: "b" }
        ])
        for (const left of [0, 100, 512, 1024, 1536, 2048, 3072, whole.length - 512]) {
          let reads = 0
          const shrunk = TarIndex.read(
            (offset, length) => {
              reads++
              return reads > 100
                ? Effect.dieMessage(`reads for ever with ${left} bytes left`)
                : Effect.succeed(whole.subarray(offset, Math.max(offset, Math.min(left, offset + length))))
            },
            { path: "test.tar", size: whole.length }
          )
          const error = yield* Effect.flip(shrunk)
          assert.deepStrictEqual(
            [error.reason, error.message],
            ["SourceChanged", "test.tar: became shorter while it was read"]
          )
        }
      })
    )

    it.effect("misses the member behind an extended header", () =>
      Effect.gen(function* () {
        const cut = TarBytes.make([{ name: "a" }, { name: "././@LongLink", type: "L", content: "long" }])
        assert.strictEqual((yield* failure(cut)).reason, "Truncated")
      })
    )

    it.effect("says at which byte a damaged header begins", () =>
      Effect.gen(function* () {
        const bytes = TarBytes.make([
          { name: "a", content: "a" },
          { name: "b", content: "b" }
        ])
        bytes[1024 + 20] = 1
        const error = yield* failure(bytes)
        assert.deepStrictEqual([error.reason, error.offset], ["NotATar", 1024])
        assert.include(error.message, "checksum is wrong")
      })
    )

    it.effect("takes the checksum as signed sums, which old tars wrote", () =>
      Effect.gen(function* () {
        const block = header({ name: "é" })
        block.fill(32, 148, 156)
        const sum = block.reduce((total, byte) => total + (byte > 127 ? byte - 256 : byte), 0)
        block.set(TarBytes.bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
        assert.isTrue((yield* indexOf(block)).members.has("é"))
      })
    )

    it.effect("indexes 200,000 members in a few reads for each MiB", () =>
      Effect.gen(function* () {
        const one = TarBytes.make([{ name: "0000000", content: "x" }], { end: false })
        const bytes = new Uint8Array(one.length * 200_000)
        for (let n = 0; n < 200_000; n++) {
          bytes.set(one, n * one.length)
          const name = String(n).padStart(7, "0")
          let sum = 0
          for (let i = 0; i < 7; i++) {
            bytes[n * one.length + i] = name.charCodeAt(i)
            sum += name.charCodeAt(i) - 48
          }
          const base = Number.parseInt(Buffer.from(one.subarray(148, 154)).toString(), 8)
          bytes.set(TarBytes.bytes((base + sum).toString(8).padStart(6, "0")), n * one.length + 148)
        }
        let reads = 0
        const index = yield* TarIndex.read(
          (offset, length) => {
            reads++
            return Effect.succeed(bytes.subarray(offset, offset + length))
          },
          { path: "many.tar", size: bytes.length }
        )
        assert.strictEqual(index.members.size, 200_000)
        assert.isBelow(reads, (bytes.length / 1024 ** 2) * 2)
      })
    )
  })

  describe("resolve", () => {
    const links = TarBytes.make([
      { name: "a/file", content: "data" },
      { name: "b/symlink", type: "symlink", link: "../a/file" },
      { name: "b/hardlink", type: "link", link: "a/file" },
      { name: "chain", type: "symlink", link: "b/symlink" },
      { name: "loop", type: "symlink", link: "loop" },
      { name: "up", type: "symlink", link: "../etc/passwd" },
      { name: "absolute", type: "symlink", link: "/etc/passwd" },
      { name: "dangling", type: "symlink", link: "nothing" },
      { name: "folder/", type: "directory" }
    ])
    const resolve = (name: string) =>
      Effect.flatMap(indexOf(links), (index) => TarIndex.resolve(index, name, "test.tar"))

    it.effect("follows symlinks from where they stand and hard links from the root", () =>
      Effect.gen(function* () {
        for (const name of ["a/file", "b/symlink", "b/hardlink", "chain", "./chain"]) {
          assert.strictEqual((yield* resolve(name)).name, "a/file", name)
        }
      })
    )

    it.effect("fails for loops, links that lead out, and names that are not there", () =>
      Effect.gen(function* () {
        const reasons = {
          loop: "LinkLoop",
          up: "UnsafePath",
          absolute: "UnsafePath",
          dangling: "MissingMember",
          folder: "MissingMember",
          nothing: "MissingMember",
          "../x": "UnsafePath",
          "a/../a/file": "UnsafePath"
        }
        for (const [name, reason] of Object.entries(reasons)) {
          assert.strictEqual((yield* Effect.flip(resolve(name))).reason, reason, name)
        }
      })
    )
  })
})

/** What the tools archive: the tricky names that images have. */
const tree = (root: string) => {
  mkdirSync(join(root, "a", ...long.split("/").slice(0, -1)), { recursive: true })
  writeFileSync(join(root, "a", "plain"), "plain")
  writeFileSync(join(root, "a", "한국어.txt"), "utf8")
  writeFileSync(join(root, "a", long), "long")
  symlinkSync("plain", join(root, "a", "link"))
  linkSync(join(root, "a", "plain"), join(root, "a", "hard"))
}

const checkTree = (path: string) =>
  Effect.gen(function* () {
    const archive = yield* ArchiveFile.open(path)
    const text = (name: string) => Effect.map(archive.bytes(name, 1000), (bytes) => new TextDecoder().decode(bytes))
    assert.deepStrictEqual(yield* Effect.forEach(["a/plain", "a/한국어.txt", `a/${long}`, "a/link", "a/hard"], text), [
      "plain",
      "utf8",
      "long",
      "plain",
      "plain"
    ])
    assert.isTrue(archive.index.ended)
  })

const withTree = (make: (root: string, out: string) => void) =>
  Effect.gen(function* () {
    const root = yield* folder
    tree(root)
    const out = join(root, "out.tar")
    make(root, out)
    yield* checkTree(out)
  }).pipe(Effect.provide(NodeFileSystem.layer))

Tools.needing(describe, "tar")("archives by GNU tar", () => {
  for (const format of ["gnu", "oldgnu", "pax", "posix"]) {
    it.scopedLive(format, () =>
      withTree((root, out) => execFileSync("tar", ["-c", `--format=${format}`, "-f", out, "-C", root, "./a"]))
    )
  }
  it.scopedLive("with a file of more than 8 GiB, which needs another number format", () =>
    Effect.gen(function* () {
      const root = yield* folder
      // Only the header is written; the data is a hole that GNU tar would have written in full.
      for (const format of ["gnu", "pax"]) {
        const out = join(root, `${format}.tar`)
        const big = join(root, "big")
        const fd = openSync(big, "w")
        ftruncateSync(fd, 9 * 1024 ** 3)
        closeSync(fd)
        const head = execFileSync("sh", [
          "-c",
          `tar -c --format=${format} -f - -C ${root} big 2>/dev/null | head -c 4096`
        ])
        const file = openSync(out, "w")
        writeSync(file, head)
        ftruncateSync(file, 9 * 1024 ** 3 + 20 * 512)
        closeSync(file)
        const { index } = yield* ArchiveFile.open(out)
        assert.strictEqual(index.members.get("big")?.size, 9 * 1024 ** 3, format)
      }
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
  it.scopedLive("refuses a sparse file, old format and new", () =>
    Effect.gen(function* () {
      const root = yield* folder
      const fd = openSync(join(root, "sparse"), "w")
      ftruncateSync(fd, 1024 ** 2)
      writeSync(fd, "end", 1024 ** 2)
      closeSync(fd)
      for (const format of ["oldgnu", "pax"]) {
        const out = join(root, `${format}.tar`)
        execFileSync("tar", ["-c", "--sparse", `--format=${format}`, "-f", out, "-C", root, "sparse"])
        assert.strictEqual((yield* Effect.flip(ArchiveFile.open(out))).reason, "UnsupportedFormat", format)
      }
    }).pipe(Effect.provide(NodeFileSystem.layer))
  )
})

Tools.needing(describe, "bsdtar")("archives by bsdtar", () => {
  for (const format of ["gnutar", "pax", "pax restricted".replace("pax restricted", "posix")]) {
    it.scopedLive(format, () =>
      withTree((root, out) =>
        execFileSync("bsdtar", ["-c", "--format", format, "-f", out, "-C", root, "a"], {
          env: { ...process.env, LC_ALL: "C.UTF-8" }
        })
      )
    )
  }
})

Tools.needing(describe, "python3")("archives by Python", () => {
  for (const format of ["GNU_FORMAT", "PAX_FORMAT"]) {
    it.scopedLive(format, () =>
      withTree((root, out) =>
        execFileSync("python3", [
          "-c",
          `import sys,tarfile;t=tarfile.open(sys.argv[2],"w",format=tarfile.${format});t.add(sys.argv[1]+"/a","a");t.close()`,
          root,
          out
        ])
      )
    )
  }
})
