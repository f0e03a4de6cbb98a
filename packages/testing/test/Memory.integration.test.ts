import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { closeSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { bundled } from "../../cli/test/support.js"
import { Fixture, TarBytes } from "../src/index.js"
import { watchPeak } from "./support/process.js"
import { temporaryFolder } from "./support/servers.js"

const mebibyte = 1024 * 1024

/** A docker-archive with one layer of a GiB, half of it noise, as binaries are. */
const makeArchive = (path: string): void => {
  const size = 1024 * mebibyte
  const block = Buffer.alloc(mebibyte)
  Buffer.from(Fixture.noise(mebibyte / 2, 7)).copy(block)
  const layer = {
    header: TarBytes.make([{ name: "data", size }], { end: false }).subarray(0, 512),
    end: Buffer.alloc(1024)
  }
  const hash = createHash("sha256").update(layer.header)
  for (let n = 0; n < size / mebibyte; n++) hash.update(block)
  const diffId = `sha256:${hash.update(layer.end).digest("hex")}`
  const config = JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [diffId] } })
  const layerSize = 512 + size + 1024
  const file = openSync(path, "w")
  writeSync(file, TarBytes.make([{ name: "layer.tar", size: layerSize }], { end: false }).subarray(0, 512))
  writeSync(file, layer.header)
  for (let n = 0; n < size / mebibyte; n++) writeSync(file, block)
  writeSync(file, layer.end)
  writeSync(
    file,
    TarBytes.make([
      { name: "config.json", content: config },
      {
        name: "manifest.json",
        content: JSON.stringify([{ Config: "config.json", RepoTags: ["big:1"], Layers: ["layer.tar"] }])
      }
    ])
  )
  closeSync(file)
}

/** Runs the command to its end and returns the most memory it ever had, in MB. */
const peakOf = (command: string, args: ReadonlyArray<string>): Effect.Effect<number> =>
  Effect.async((resume) => {
    const child = spawn(process.execPath, [command, ...args], { stdio: ["ignore", "ignore", "pipe"] })
    let errors = ""
    child.stderr.on("data", (text) => {
      errors += text
    })
    const peak = watchPeak(child)
    child.once("exit", (code) => {
      const most = peak()
      resume(code === 0 ? Effect.succeed(most) : Effect.dieMessage(errors))
    })
  })

describe.skipIf(process.platform !== "linux")("memory", () => {
  it.scopedLive(
    "stays under 200 MB while a layer of 1 GiB is pushed and pulled",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const command = yield* bundled
        const archive = join(folder, "big.tar")
        yield* Effect.sync(() => makeArchive(archive))
        const { host } = yield* EmbeddedRegistry.make({ root: join(folder, "registry"), fsync: false })
        const gzip = yield* peakOf(command, ["push", archive, `${host}/big:1`, "--quiet"])
        const plain = yield* peakOf(command, ["push", archive, `${host}/plain:1`, "--compress", "none", "--quiet"])
        const pull = yield* peakOf(command, ["pull", `${host}/plain:1`, join(folder, "back.tar"), "--quiet"])
        for (const [what, peak] of Object.entries({ gzip, plain, pull })) {
          assert.isAbove(peak, 20, what)
          assert.isBelow(peak, 200, what)
        }
      }),
    180_000
  )
})
