/** The command as a process of its own, stopped and started again, and what is too large for a fixture. */
import type { ChildProcess } from "node:child_process"
import { createHash } from "node:crypto"
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Command from "../../../cli/test/support.js"
import { Fixture, TarBytes } from "../../src/index.js"

export const mebibyte = 1024 * 1024

/** Starts the command with its home in `home`, so that runs can share one. */
export const start = (command: string, home: string, words: ReadonlyArray<string>) =>
  Command.start(command, words, {
    HOME: home,
    XDG_STATE_HOME: join(home, "state"),
    XDG_CACHE_HOME: join(home, "cache"),
    XDG_CONFIG_HOME: join(home, "config")
  })

export const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

/** Watches a process from now on; called at its end, gives the most memory that it ever had, in MB. */
export const watchPeak = (child: ChildProcess): (() => number) => {
  let peak = 0
  const watch = setInterval(() => {
    try {
      const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))
      peak = Math.max(peak, (Number(line?.[1] ?? 0) * 1024) / 1e6)
    } catch {
      // It has just ended.
    }
  }, 20)
  return () => {
    clearInterval(watch)
    return peak
  }
}

/** Numbers from 0 to 1, the same for the same seed. */
export const random = (seed: number): (() => number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Waits until it is so, for half a minute at most. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let tries = 0; tries < 3000 && !condition(); tries++) await new Promise((resolve) => setTimeout(resolve, 10))
    if (!condition()) throw new Error("it did not happen in time")
  })

export interface Layout {
  readonly folder: string
  readonly root: string
  /** The digests of the layers. */
  readonly layers: ReadonlyArray<string>
  /** Bytes of all blobs. */
  readonly size: number
}

/** An OCI layout with layers of this many MiB that nothing can compress, pushed as they are. */
export const layout = (folder: string, sizes: ReadonlyArray<number>, seed: number): Effect.Effect<Layout> =>
  Effect.sync(() => {
    const blobs = join(folder, "blobs", "sha256")
    mkdirSync(blobs, { recursive: true })
    const put = (mediaType: string, value: unknown) => {
      const bytes = TarBytes.bytes(JSON.stringify(value))
      const descriptor = Fixture.describeBytes(mediaType, bytes)
      writeFileSync(join(blobs, descriptor.digest.slice(7)), bytes)
      return descriptor
    }
    const layers = sizes.map((size, at) => {
      const path = join(blobs, "new")
      const file = openSync(path, "w")
      const hash = createHash("sha256")
      writeNoise(size, seed * 100 + at, (block) => {
        hash.update(block)
        writeSync(file, block)
      })
      closeSync(file)
      const digest = hash.digest("hex")
      renameSync(path, join(blobs, digest))
      const mediaType = "application/vnd.oci.image.layer.v1.tar"
      return { mediaType, digest: `sha256:${digest}`, size: size * mebibyte }
    })
    const config = put("application/vnd.oci.image.config.v1+json", {
      os: "linux",
      architecture: "amd64",
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) }
    })
    const mediaType = "application/vnd.oci.image.manifest.v1+json"
    const manifest = put(mediaType, { schemaVersion: 2, mediaType, config, layers })
    const annotations = { "org.opencontainers.image.ref.name": "1" }
    writeFileSync(
      join(folder, "index.json"),
      JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] })
    )
    writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}')
    return {
      folder,
      root: manifest.digest,
      layers: layers.map(({ digest }) => digest),
      size: config.size + layers.reduce((sum, layer) => sum + layer.size, 0)
    }
  })

/** A docker-archive with one layer of this many MiB; it goes up compressed and is hardly smaller then. Returns its diff ID. */
export const archive = (path: string, size: number, seed: number): Effect.Effect<string> =>
  Effect.sync(() => {
    const layerSize = 512 + size * mebibyte + 1024
    const first = TarBytes.make([{ name: "data", size: size * mebibyte }], { end: false }).subarray(0, 512)
    const hash = createHash("sha256").update(first)
    const file = openSync(path, "w")
    writeSync(file, TarBytes.make([{ name: "layer.tar", size: layerSize }], { end: false }).subarray(0, 512))
    writeSync(file, first)
    writeNoise(size, seed, (block) => {
      hash.update(block)
      writeSync(file, block)
    })
    writeSync(file, new Uint8Array(1024))
    const diffId = `sha256:${hash.update(new Uint8Array(1024)).digest("hex")}`
    const rootfs = { type: "layers", diff_ids: [diffId] }
    const config = JSON.stringify({ os: "linux", architecture: "amd64", rootfs })
    const manifest = JSON.stringify([{ Config: "config.json", RepoTags: ["big:1"], Layers: ["layer.tar"] }])
    writeSync(
      file,
      TarBytes.make([
        { name: "config.json", content: config },
        { name: "manifest.json", content: manifest }
      ])
    )
    closeSync(file)
    return diffId
  })

// internal

/** Blocks of a MiB, each another one, too far apart for gzip to see what they share. */
const writeNoise = (size: number, seed: number, write: (block: Uint8Array) => void): void => {
  const block = Fixture.noise(mebibyte, seed)
  const stamp = new DataView(block.buffer)
  for (let n = 0; n < size; n++) {
    stamp.setUint32(0, n)
    write(block)
  }
}
