// Times `ereg serve` beside docker-registry: the same disk, the same clients, rounds in turn, medians.
//   npm run bench:server -- [--rounds 5] [--only put,get,small-8,small-16,manifest-get,manifest-head,memory]
import { spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { names, start } from "./registries.mjs"

const here = fileURLToPath(new URL(".", import.meta.url))
const cache = join(here, ".cache")
const gibibyte = 1 << 30

/** What is measured: prepares, and returns what it took. `better` says which way is good, `goal` the ratio to docker-registry's. */
const works = {
  put: { title: "PUT 1 GiB", unit: "s", goal: "≤ 0.5", run: (url) => putFile(url, "big") },
  get: {
    title: "GET 1 GiB",
    unit: "s",
    goal: "≤ 1",
    prepare: (url) => void putFile(url, "big"),
    run: (url) => curl("--output", "/dev/null", `${url}/v2/big/blobs/${file().digest}`)
  },
  "small-8": { title: "100 × 1 MiB PUT, 8 at a time", unit: "s", goal: "≤ 1", run: (url) => load(url, 100, 1, 8) },
  "small-16": { title: "100 × 1 MiB PUT, 16 at a time", unit: "s", goal: "≤ 1", run: (url) => load(url, 100, 1, 16) },
  "manifest-get": {
    title: "GET manifest by tag, 16 connections",
    unit: "req/s",
    goal: "≥ 1",
    prepare: putImage,
    run: (url) => ab(url)
  },
  "manifest-head": {
    title: "HEAD manifest by tag, 16 connections",
    unit: "req/s",
    goal: "≥ 1",
    prepare: putImage,
    run: (url) => ab(url, "-i")
  },
  memory: {
    title: "50 uploads of 100 MiB at once",
    unit: "s",
    goal: "< 200 MB",
    run: (url) => load(url, 50, 100, 50)
  }
}

const { values } = parseArgs({
  options: { only: { type: "string", default: Object.keys(works).join(",") }, rounds: { type: "string", default: "5" } }
})
for (const tool of ["docker-registry", "curl", "ab"]) {
  if (spawnSync(tool, ["-V"]).error !== undefined) {
    console.error(`bench: ${tool} is not on PATH (Debian: docker-registry, curl, apache2-utils)`)
    process.exit(1)
  }
}

console.log(`${cpus().length} cores, Node ${process.version}, load ${loadavg()[0].toFixed(1)} at the start\n`)
console.log("| work | ereg | docker-registry | ratio | goal |\n| --- | --- | --- | --- | --- |")
for (const work of values.only.split(",")) {
  const runs = new Map(names.map((name) => [name, []]))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse())
      runs.get(name).push(await once(name, works[work]))
  }
  printRow(works[work], runs)
}

async function once(name, { prepare, run }) {
  const registry = await start(name)
  try {
    warmUp(registry.url)
    prepare?.(registry.url)
    const before = registry.cpu()
    const measured = run(registry.url)
    return { ...measured, cpu: registry.cpu() - before, memory: registry.memory() }
  } finally {
    await registry.stop()
  }
}

/** Ten blobs, one at a time: code is compiled and folders exist when the clock starts. */
function warmUp(url) {
  load(url, 10, 2, 1)
}

function printRow({ goal, title, unit }, runs) {
  const [ours, theirs] = names.map((name) => {
    const of = (key) => median(runs.get(name).map((run) => run[key]))
    return { value: of("value"), cpu: of("cpu"), memory: of("memory"), client: of("client") }
  })
  const show = ({ cpu, memory, value }) =>
    `${unit === "s" ? value.toFixed(2) : value.toFixed(0)} ${unit}, ${cpu.toFixed(2)} CPU s, ${memory.toFixed(0)} MB`
  console.log(`| ${title} | ${show(ours)} | ${show(theirs)} | ${(ours.value / theirs.value).toFixed(2)} | ${goal} |`)
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** A GiB that nothing can compress, made once. */
function file() {
  const path = join(cache, "1GiB")
  const known = `${path}.sha256`
  if (!existsSync(known)) {
    mkdirSync(cache, { recursive: true })
    const hash = createHash("sha256")
    const out = openSync(`${path}.new`, "w")
    for (let size = 0; size < gibibyte; size += 1 << 20) {
      const block = randomBytes(1 << 20)
      hash.update(block)
      writeSync(out, block)
    }
    closeSync(out)
    renameSync(`${path}.new`, path)
    writeFileSync(known, `sha256:${hash.digest("hex")}`)
  }
  return { path, digest: readFileSync(known, "utf8") }
}

function putFile(url, repository) {
  const { digest, path } = file()
  return curl("--upload-file", path, "--header", "Expect:", startUpload(url, repository, digest))
}

/** Where the bytes of that digest can be put. */
function startUpload(url, repository, digest) {
  const uploads = `${url}/v2/${repository}/blobs/uploads/`
  const started = output("curl", ["-sS", "-o", "/dev/null", "-X", "POST", "-w", "%header{location}", uploads])
  const location = new URL(started, url)
  location.searchParams.set("digest", digest)
  return location.href
}

/** The seconds between curl's first byte and the end of the answer. */
function curl(...args) {
  const [status, seconds] = output("curl", ["-sS", "-w", "\n%{http_code} %{time_total}", ...args])
    .trim()
    .split("\n")
    .at(-1)
    .split(" ")
  if (!status.startsWith("2")) throw new Error(`curl ${args.join(" ")}: ${status}`)
  return { value: Number(seconds) }
}

function load(url, count, mebibytes, parallel) {
  const result = JSON.parse(
    output(process.execPath, [join(here, "load.mjs"), url, "load/blobs", count, mebibytes, parallel].map(String))
  )
  return { value: result.wall, client: result.cpu }
}

function putImage(url) {
  const config = Buffer.from('{"os":"linux","architecture":"amd64"}')
  const digest = `sha256:${createHash("sha256").update(config).digest("hex")}`
  const descriptor = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: config.length }
  const mediaType = "application/vnd.oci.image.manifest.v1+json"
  const layers = [{ ...descriptor, mediaType: "application/vnd.oci.image.layer.v1.tar" }]
  const path = join(cache, "body")
  writeFileSync(path, config)
  curl("--upload-file", path, startUpload(url, "tiny", digest))
  writeFileSync(path, JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers }))
  curl("--upload-file", path, "--header", `Content-Type: ${mediaType}`, `${url}/v2/tiny/manifests/1`)
}

function ab(url, ...args) {
  const accept = "Accept: application/vnd.oci.image.manifest.v1+json"
  const target = `${url}/v2/tiny/manifests/1`
  const each = (n) => output("ab", ["-q", "-k", "-c", "16", "-n", String(n), "-H", accept, ...args, target])
  each(3000)
  const text = each(15_000)
  const failed = /Non-2xx responses:\s+(\d+)/.exec(text)
  if (failed !== null) throw new Error(`${failed[1]} requests failed`)
  return { value: Number(/Requests per second:\s+([\d.]+)/.exec(text)[1]) }
}

function output(command, args) {
  const { error, status, stderr, stdout } = spawnSync(command, args, { encoding: "utf8" })
  if (error !== undefined || status !== 0) throw error ?? new Error(`${command} ended with ${status}\n${stderr}`)
  return stdout
}
