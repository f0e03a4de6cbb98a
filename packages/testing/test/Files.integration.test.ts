/** `ereg files` and `ereg diff` on images that are larger than any, as processes of their own. */
import { createHash } from "node:crypto"
import { closeSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { constants, crc32, deflateRawSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { bundled, start, temporaryFolder } from "../../cli/test/support.js"
import { Fixture, TarBytes } from "../src/index.js"
import { watchPeak } from "./support/process.js"

const mebibyte = 1024 * 1024

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

/** Gzip data made of pieces of deflate that say how often they come. */
class Gzip {
  private crc = 0
  private size = 0
  private readonly hash = createHash("sha256")
  private written = 0
  private readonly file: number

  constructor(private readonly folder: string) {
    this.file = openSync(join(folder, "layer"), "w")
    this.write(Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255))
  }

  add(bytes: Uint8Array, times = 1): void {
    const piece = deflateRawSync(bytes, { finishFlush: constants.Z_FULL_FLUSH, level: 1 })
    for (let n = 0; n < times; n++) {
      this.crc = crc32(bytes, this.crc)
      this.size += bytes.length
      this.write(piece)
    }
  }

  /** The layer's descriptor; its file lies where a layout has it. */
  end(): Descriptor {
    this.write(Uint8Array.of(3, 0))
    const trailer = Buffer.alloc(8)
    trailer.writeUInt32LE(this.crc, 0)
    trailer.writeUInt32LE(this.size % 2 ** 32, 4)
    this.write(trailer)
    closeSync(this.file)
    const digest = this.hash.digest("hex")
    renameSync(join(this.folder, "layer"), join(this.folder, "blobs/sha256", digest))
    const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip"
    return { mediaType, digest: `sha256:${digest}`, size: this.written }
  }

  private write(bytes: Uint8Array): void {
    writeSync(this.file, bytes)
    this.hash.update(bytes)
    this.written += bytes.length
  }
}

/** A layout whose images `N` have the first N of the layers. Their config tells no diff IDs: those cost more than all else here. */
const layout = (folder: string, fills: ReadonlyArray<(gzip: Gzip) => void>): void => {
  mkdirSync(join(folder, "blobs/sha256"), { recursive: true })
  const put = (mediaType: string, value: unknown): Descriptor => {
    const bytes = TarBytes.bytes(JSON.stringify(value))
    const descriptor = Fixture.describeBytes(mediaType, bytes)
    writeFileSync(join(folder, "blobs", descriptor.digest.replace(":", "/")), bytes)
    return descriptor
  }
  const layers = fills.map((fill) => {
    const gzip = new Gzip(folder)
    fill(gzip)
    return gzip.end()
  })
  const rootfs = { type: "layers", diff_ids: [] }
  const config = put("application/vnd.oci.image.config.v1+json", { os: "linux", architecture: "amd64", rootfs })
  const mediaType = "application/vnd.oci.image.manifest.v1+json"
  const manifests = layers.map((_, at) => ({
    ...put(mediaType, { schemaVersion: 2, mediaType, config, layers: layers.slice(0, at + 1) }),
    annotations: { "org.opencontainers.image.ref.name": String(at + 1) }
  }))
  writeFileSync(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }))
  writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}')
}

/** One file of ten GiB of zeros. */
const zeros = (gzip: Gzip): void => {
  gzip.add(header("zeros", (10 * 1024 * mebibyte).toString(8).padStart(12, "0")))
  gzip.add(new Uint8Array(16 * mebibyte), 640)
  gzip.add(new Uint8Array(1024))
}

const count = 1_000_000

/** A million files in folders of a thousand. */
const many = (gzip: Gzip): void => {
  const block = new Uint8Array(1000 * 512)
  for (let folder = 0; folder < count / 1000; folder++) {
    for (let n = 0; n < 1000; n++) {
      const name = `usr/lib/node_modules/package-${String(folder).padStart(4, "0")}/dist/file-${String(n).padStart(4, "0")}`
      if (folder === 0) block.set(header(name), n * 512)
      else rename(block.subarray(n * 512, n * 512 + 512), name)
    }
    gzip.add(block)
  }
  gzip.add(new Uint8Array(1024))
}

const header = (name: string, size = "000000000000"): Uint8Array => {
  const bytes = TarBytes.make([{ name }], { end: false }).slice(0, 512)
  bytes.set(TarBytes.bytes(size), 124)
  return checked(bytes)
}

const rename = (block: Uint8Array, name: string): void => {
  block.set(TarBytes.bytes(name), 0)
  checked(block)
}

const checked = (block: Uint8Array): Uint8Array => {
  block.fill(32, 148, 156)
  let sum = 0
  for (let at = 0; at < 512; at++) sum += block[at] ?? 0
  block.set(TarBytes.bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
  return block
}

/** Runs the command; the most memory it ever had, in MB, beside its end. */
const run = (command: string, words: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { child, ended } = yield* start(command, words)
    const peakOf = watchPeak(child)
    const end = yield* ended
    const peak = peakOf()
    assert.strictEqual(end.code, 0, end.stderr)
    return { ...end, peak }
  })

describe.skipIf(process.platform !== "linux")("an image of a million files and ten GiB of zeros", () => {
  it.scopedLive(
    "is listed and compared in bounded memory, and left at once",
    () =>
      Effect.gen(function* () {
        const command = yield* bundled
        const folder = yield* temporaryFolder
        const source = join(folder, "layout")
        yield* Effect.sync(() => layout(source, [many, zeros]))
        const { host } = yield* EmbeddedRegistry.make({ root: join(folder, "registry"), fsync: false })
        const remote = `${host}/large:1`
        yield* run(command, ["push", `oci:${source}:2`, remote, "--quiet"])

        const stopped = yield* start(command, ["files", remote])
        yield* Effect.sleep("1500 millis")
        const before = Date.now()
        stopped.child.kill("SIGINT")
        assert.strictEqual((yield* stopped.ended).code, 130)
        assert.isBelow(Date.now() - before, 2000)

        const all = yield* run(command, ["files", remote])
        const lines = all.stdout.trimEnd().split("\n")
        // The folders that hold them are in no layer.
        assert.strictEqual(lines.length, count + 3 + (2 * count) / 1000 + 1)
        assert.match(lines[lines.length - 1] ?? "", /^-rw-r--r-- 0:0 10737418240 {2}[0-9a-f]{12} {2}zeros$/)
        assert.match(lines[lines.length - 2] ?? "", /package-0999\/dist\/file-0999$/)
        assert.isBelow(all.peak, 400)

        const both = yield* run(command, ["diff", `oci:${source}:1`, remote])
        assert.match(both.stdout, /\nfiles:\n {2}A \+10737418240 {2}zeros\nsize: /)
        assert.isBelow(both.peak, 400)
      }),
    300_000
  )
})
