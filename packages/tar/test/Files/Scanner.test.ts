import { execFileSync } from "node:child_process"
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { TarBytes, Tools } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { type Fault, Scanner } from "../../src/Files/Scanner.js"
import { type Header, text } from "../../src/TarHeader.js"
import { folder } from "../support/files.js"

interface Seen
  extends Pick<Header, "type" | "size" | "fileSize" | "sparse" | "mode" | "uid" | "mtime" | "major" | "minor"> {
  readonly name: string
  readonly link: string
  data: string
  ended: boolean
}

/** Scans the bytes in pieces of these sizes, over and over. */
const scan = (bytes: Uint8Array, pieces: ReadonlyArray<number> = [bytes.length]) => {
  const seen: Array<Seen> = []
  const scanner = new Scanner({
    member: (header) => {
      seen.push({ ...header, name: text(header.name), link: text(header.link), data: "", ended: false })
      return undefined
    },
    data: (piece) => {
      const last = seen[seen.length - 1]
      if (last !== undefined) last.data += Buffer.from(piece).toString("latin1")
    },
    end: () => {
      const last = seen[seen.length - 1]
      if (last !== undefined) last.ended = true
    }
  })
  let fault: Fault | undefined
  for (let at = 0, n = 0; at < bytes.length && fault === undefined; n++) {
    const length = Math.max(1, pieces[n % pieces.length] ?? 1)
    fault = scanner.push(bytes.subarray(at, at + length))
    at += length
  }
  return { seen, fault: fault ?? scanner.finish() }
}

const record = (key: string, value: string): string => {
  const body = ` ${key}=${value}\n`
  let length = body.length + 1
  while (String(length).length + body.length !== length) length = String(length).length + body.length
  return `${length}${body}`
}
const pax = (records: string, type = "x"): TarBytes.TarEntry => ({ name: "pax", type, content: records })

const sample = TarBytes.make([
  { name: "./", type: "directory" },
  { name: `${"long/".repeat(60)}name`, content: "a".repeat(1300) },
  { name: "empty" },
  { name: "bin/sh", type: "symlink", link: "busybox" },
  { name: "full", content: "b".repeat(1024) },
  { name: "hard", type: "link", link: "full" }
])

describe("Scanner", () => {
  it("sees the same members and data however the bytes are cut", () => {
    const whole = scan(sample)
    assert.strictEqual(whole.fault, undefined)
    assert.deepStrictEqual(
      whole.seen.map(({ data, name }) => [name, data.length]),
      [
        ["./", 0],
        [`${"long/".repeat(60)}name`, 1300],
        ["empty", 0],
        ["bin/sh", 0],
        ["full", 1024],
        ["hard", 0]
      ]
    )
    assert.isTrue(whole.seen.every(({ ended }) => ended))
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 8 }), (pieces) => {
        assert.deepStrictEqual(scan(sample, pieces), whole)
      }),
      { numRuns: 100 }
    )
  })

  it("takes names, sizes, owners and times from PAX headers", () => {
    const { seen } = scan(
      TarBytes.make([
        pax(record("uid", "7"), "g"),
        pax(record("path", "renamed") + record("uid", "4000000000") + record("mtime", "-1.5") + record("size", "3")),
        { name: "short", content: "abc", size: 0 },
        { name: "next" }
      ])
    )
    assert.deepStrictEqual(
      seen.map(({ data, mtime, name, size, uid }) => [name, size, uid, mtime, data]),
      [
        ["renamed", 3, 4000000000, -1.5, "abc"],
        ["next", 0, 7, 0, ""]
      ]
    )
  })

  it("reads numbers in base-256, also times before 1970", () => {
    const bytes = TarBytes.make([{ name: "old", content: "x" }])
    bytes.fill(0xff, 136, 148)
    bytes[147] = 0xfe
    bytes.fill(0, 108, 116)
    bytes[108] = 0x80
    bytes[112] = 1
    fixChecksum(bytes)
    const [old] = scan(bytes).seen
    assert.deepStrictEqual([old?.mtime, old?.uid], [-2, 2 ** 24])
  })

  it("tells a device by its numbers", () => {
    const bytes = TarBytes.make([{ name: "null", type: "3" }])
    bytes.set(TarBytes.bytes("0000001\0" + "0000003\0"), 329)
    fixChecksum(bytes)
    const [device] = scan(bytes).seen
    assert.deepStrictEqual([device?.type, device?.major, device?.minor], ["3", 1, 3])
  })

  it("says where the archive is damaged or cut", () => {
    const bytes = TarBytes.make([
      { name: "a", content: "a" },
      { name: "b", content: "bb" }
    ])
    const at = (change: (copy: Uint8Array) => Uint8Array | undefined) => {
      const copy = bytes.slice()
      const { fault } = scan(change(copy) ?? copy)
      return [fault?.reason, fault?.offset, fault?.entry, fault?.detail]
    }
    assert.deepStrictEqual(
      at((copy) => {
        copy[1024] = 1
        return undefined
      }),
      ["NotATar", 1024, undefined, "a header's checksum is wrong: the archive is damaged here"]
    )
    assert.deepStrictEqual(
      at(() => TarBytes.bytes("text".repeat(500))),
      ["NotATar", 0, undefined, "is no tar archive"]
    )
    assert.deepStrictEqual(
      at((copy) => copy.subarray(0, 1537)),
      ["Truncated", 1024, "b", "the archive ends 1 bytes before the end of this member"]
    )
    assert.deepStrictEqual(
      at((copy) => copy.subarray(0, 1100)),
      ["Truncated", 1024, undefined, "the archive ends inside a header"]
    )
    assert.deepStrictEqual(
      at(() => TarBytes.make([{ name: "l", type: "L", content: "name" }])),
      ["Truncated", 1024, undefined, "the archive ends between an extended header and its member"]
    )
    assert.deepStrictEqual(
      at(() => TarBytes.make([{ name: "v", type: "M", content: "x" }])),
      ["UnsupportedFormat", 0, undefined, "is continued from another volume"]
    )
    assert.strictEqual(at(() => TarBytes.make([{ name: "x", type: "x", size: 17 * 1024 ** 2 }]))[0], "TooLarge")
  })

  it("takes no bytes, and an archive without its end, for what they are", () => {
    assert.deepStrictEqual(scan(new Uint8Array(0)), { seen: [], fault: undefined })
    const cut = TarBytes.make([{ name: "a", content: "a" }], { end: false })
    assert.strictEqual(scan(cut).fault, undefined)
    assert.strictEqual(scan(cut.subarray(0, 513)).fault, undefined)
    assert.strictEqual(scan(TarBytes.concat([cut, new Uint8Array(100)]), [700]).fault, undefined)
  })

  it("ignores what stands behind the end", () => {
    const { fault, seen } = scan(TarBytes.concat([TarBytes.make([{ name: "a" }]), TarBytes.bytes("junk".repeat(500))]))
    assert.deepStrictEqual([seen.length, fault], [1, undefined])
  })
})

Tools.needing(describe, "tar")("Scanner on sparse files of GNU tar", () => {
  const formats = {
    gnu: ["--format=gnu"],
    "pax 0.0": ["--format=pax", "--sparse-version=0.0"],
    "pax 0.1": ["--format=pax", "--sparse-version=0.1"],
    "pax 1.0": ["--format=pax", "--sparse-version=1.0"]
  }
  for (const [format, options] of Object.entries(formats)) {
    it.scoped(`knows name and size: ${format}`, () =>
      Effect.gen(function* () {
        const root = yield* folder
        const fd = openSync(join(root, "sparse"), "w")
        ftruncateSync(fd, 100 * 1024 ** 2)
        // More pieces than the first header's map has room for.
        for (let n = 0; n < 40; n++) writeSync(fd, `piece ${n}`, n * 1024 ** 2)
        closeSync(fd)
        writeSync(openSync(join(root, "sparse.next"), "w"), "behind")
        const bytes = execFileSync("tar", [
          "-c",
          "--sparse",
          ...options,
          "-f",
          "-",
          "-C",
          root,
          "sparse",
          "sparse.next"
        ])
        const { fault, seen } = scan(bytes, [1000])
        assert.strictEqual(fault, undefined)
        assert.deepStrictEqual(
          seen.map(({ fileSize, name, sparse }) => [name, fileSize, sparse]),
          [
            ["sparse", 100 * 1024 ** 2, true],
            ["sparse.next", 6, false]
          ]
        )
        assert.isBelow(seen[0]?.size ?? Number.POSITIVE_INFINITY, 1024 ** 2)
      })
    )
  }
})

const fixChecksum = (bytes: Uint8Array): void => {
  bytes.fill(32, 148, 156)
  const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  bytes.set(TarBytes.bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
}
