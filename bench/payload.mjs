// The images that are measured, as docker-archives in bench/.cache, made once.
import { spawnSync } from "node:child_process"
import { createCipheriv, createHash } from "node:crypto"
import { closeSync, existsSync, mkdirSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from "node:fs"
import { join } from "node:path"

const mebibyte = 1024 * 1024

export const payloads = {
  "1x1GiB": { layers: 1, size: 1024 * mebibyte },
  "10x100MiB": { layers: 10, size: 100 * mebibyte },
  "100x1MiB": { layers: 100, size: mebibyte },
  rootfs: { folders: ["usr/bin", "usr/lib", "usr/share"], size: 320 * mebibyte }
}

/** The path of the archive of this name. */
export const prepare = (cache, name) => {
  const file = join(cache, `${name}.tar`)
  if (existsSync(file)) return file
  mkdirSync(cache, { recursive: true })
  console.error(`bench: making ${name}`)
  const payload = payloads[name]
  const archive = new Archive(`${file}.partial`)
  if (payload.folders === undefined) {
    for (let index = 0; index < payload.layers; index++)
      archive.addLayer(noiseLayer(index, payload.size), payload.size + 512 + 1024)
  } else {
    const layer = rootfs(cache, payload)
    archive.addLayer(readAll(layer), statSync(layer).size)
    rmSync(layer)
  }
  archive.finish(`bench/${name.toLowerCase()}:1`)
  renameSync(`${file}.partial`, file)
  return file
}

class Archive {
  constructor(path) {
    this.fd = openSync(path, "w")
    this.layers = []
  }

  addLayer(chunks, size) {
    const path = `layer-${this.layers.length}/layer.tar`
    const hash = createHash("sha256")
    writeSync(this.fd, header(path, size))
    for (const chunk of chunks) {
      hash.update(chunk)
      writeSync(this.fd, chunk)
    }
    writeSync(this.fd, Buffer.alloc(padding(size)))
    this.layers.push({ path, diffId: `sha256:${hash.digest("hex")}` })
  }

  add(path, text) {
    const bytes = Buffer.from(text)
    writeSync(this.fd, Buffer.concat([header(path, bytes.length), bytes, Buffer.alloc(padding(bytes.length))]))
  }

  finish(tag) {
    const config = JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created: "2024-01-01T00:00:00Z",
      config: {},
      rootfs: { type: "layers", diff_ids: this.layers.map(({ diffId }) => diffId) },
      history: this.layers.map(() => ({ created: "2024-01-01T00:00:00Z", created_by: "bench" }))
    })
    const name = `${createHash("sha256").update(config).digest("hex")}.json`
    this.add(name, config)
    this.add(
      "manifest.json",
      JSON.stringify([{ Config: name, RepoTags: [tag], Layers: this.layers.map(({ path }) => path) }])
    )
    writeSync(this.fd, Buffer.alloc(1024))
    closeSync(this.fd)
  }
}

/** A tar with one file that no compressor can make smaller, the same each time. */
function* noiseLayer(index, size) {
  yield header(`noise-${index}`, size)
  const key = Buffer.alloc(16)
  key.writeUInt32BE(index + 1)
  const cipher = createCipheriv("aes-128-ctr", key, Buffer.alloc(16))
  const zeros = Buffer.alloc(mebibyte)
  for (let left = size; left > 0; left -= mebibyte) yield cipher.update(zeros)
  yield Buffer.alloc(1024)
}

/** Real binaries and text of this machine, cut to about `size` by leaving out what comes last by name. */
const rootfs = (cache, { folders, size }) => {
  const layer = join(cache, "rootfs-layer.tar")
  const list = join(cache, "rootfs-files")
  const select = `cd / && find ${folders.join(" ")} -xdev -type f -size -20M -printf '%s %p\\n' | LC_ALL=C sort -k2 | awk '{ sum += $1; if (sum > ${size}) exit; print substr($0, index($0, " ") + 1) }' > ${list}`
  if (spawnSync("sh", ["-c", select]).status !== 0) throw new Error("cannot list the files of /usr")
  const tar = [
    "--create",
    "--file",
    layer,
    "--directory",
    "/",
    "--no-recursion",
    "--files-from",
    list,
    "--mtime=@0",
    "--owner=0",
    "--group=0"
  ]
  spawnSync("tar", tar, { stdio: "ignore" })
  rmSync(list)
  if (!existsSync(layer) || statSync(layer).size < 300 * mebibyte)
    throw new Error("this machine's /usr has less than 300 MiB of files")
  return layer
}

function* readAll(path) {
  const fd = openSync(path, "r")
  const buffer = Buffer.alloc(mebibyte)
  for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) yield buffer.subarray(0, read)
  closeSync(fd)
}

const padding = (size) => (512 - (size % 512)) % 512

const header = (name, size) => {
  const block = Buffer.alloc(512)
  block.write(name, 0, 100)
  block.write("0000644\0", 100)
  block.write("0000000\0", 108)
  block.write("0000000\0", 116)
  block.write(`${size.toString(8).padStart(11, "0")}\0`, 124)
  block.write("00000000000\0", 136)
  block.write("        0ustar\x0000", 148)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148)
  return block
}
