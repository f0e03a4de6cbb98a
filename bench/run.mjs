// Times ereg beside skopeo, crane and oras: the same payloads, the same registry, rounds in turn, medians.
//   npm run bench -- [--only 1x1GiB,rootfs] [--rounds 3] [--work push,plain,repush,pull,layout]
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { cpus, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { measure, startRegistry } from "./measure.mjs"
import { payloads, prepare } from "./payload.mjs"

const here = fileURLToPath(new URL(".", import.meta.url))
const cache = join(here, ".cache")
const ereg = [process.execPath, join(here, "../packages/cli/bin/ereg.mjs")]

// What it learns stays in the bench: every tool keeps its cache from one round to the next.
const home = mkdtempSync(join(tmpdir(), "ereg-bench-home-"))
Object.assign(process.env, { XDG_CACHE_HOME: join(home, "cache"), XDG_STATE_HOME: join(home, "state") })
process.on("exit", () => rmSync(home, { recursive: true, force: true }))

const skopeo = (...args) => ["skopeo", "copy", "--quiet", ...args]

/** Each work's command line for each tool; undefined where the tool has no such thing. */
const tools = {
  ereg: {
    push: ({ archive, ref }) => [...ereg, "push", archive, ref, "--quiet"],
    plain: ({ archive, ref }) => [...ereg, "push", archive, ref, "--compress", "none", "--quiet"],
    pull: ({ out, ref }) => [...ereg, "pull", ref, join(out, "image.tar"), "--quiet"],
    layout: ({ out, ref }) => [...ereg, "pull", ref, `oci:${out}/layout`, "--quiet"]
  },
  skopeo: {
    push: ({ archive, ref }) => skopeo("--dest-tls-verify=false", `docker-archive:${archive}`, `docker://${ref}`),
    plain: ({ archive, ref }) =>
      skopeo("--preserve-digests", "--dest-tls-verify=false", `docker-archive:${archive}`, `docker://${ref}`),
    pull: ({ out, ref }) => skopeo("--src-tls-verify=false", `docker://${ref}`, `docker-archive:${out}/image.tar`),
    layout: ({ out, ref }) => skopeo("--src-tls-verify=false", `docker://${ref}`, `oci:${out}/layout:1`)
  },
  crane: {
    push: ({ archive, ref }) => ["crane", "push", "--insecure", archive, ref],
    pull: ({ out, ref }) => ["crane", "pull", "--insecure", ref, join(out, "image.tar")],
    layout: ({ out, ref }) => ["crane", "pull", "--insecure", "--format", "oci", ref, join(out, "layout")]
  },
  oras: {
    layout: ({ out, ref }) => ["oras", "cp", "--from-plain-http", "--to-oci-layout", ref, `${out}/layout:1`]
  }
}

/** A repush is a push of what is there. */
const commandOf = (tool, work) => tools[tool][work === "repush" ? "push" : work]

const { values } = parseArgs({
  options: {
    only: { type: "string", default: Object.keys(payloads).join(",") },
    rounds: { type: "string", default: "3" },
    work: { type: "string", default: "push,plain,repush,pull,layout" }
  }
})

const found = Object.keys(tools).filter((tool) => tool === "ereg" || spawnSync(tool, ["--version"]).error === undefined)
const missing = Object.keys(tools).filter((tool) => !found.includes(tool))
if (spawnSync("docker-registry", ["--version"]).error !== undefined) {
  console.error("bench: docker-registry is not on PATH; it is what everything is measured against")
  process.exit(1)
}
console.log(
  `${cpus().length} cores, Node ${process.version}, ${found
    .filter((tool) => tool !== "ereg")
    .map(version)
    .join(", ")}`
)
if (missing.length > 0) console.log(`not on PATH, left out: ${missing.join(", ")}`)

for (const name of values.only.split(",")) {
  if (payloads[name] === undefined) throw new Error(`no payload ${name}; there are ${Object.keys(payloads).join(", ")}`)
  const archive = prepare(cache, name)
  for (const work of values.work.split(",")) {
    const runs = new Map()
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const tool of found) {
        if (commandOf(tool, work) === undefined) continue
        runs.set(tool, [...(runs.get(tool) ?? []), await once(tool, work, archive)])
      }
    }
    print(name, work, runs)
  }
}

async function once(tool, work, archive) {
  const registry = await startRegistry()
  const out = mkdtempSync(join(tmpdir(), "ereg-bench-out-"))
  const subject = { archive, out, ref: `${registry.host}/bench/image:1` }
  try {
    if (work !== "push" && work !== "plain") {
      // Pushed again is what the same tool pushed; pulled is what ereg pushed, the same image for every tool.
      const [command, ...args] = (work === "repush" ? commandOf(tool, work) : tools.ereg.plain)(subject)
      await measure(command, args)
    }
    const [command, ...args] = commandOf(tool, work)(subject)
    return await measure(command, args)
  } finally {
    rmSync(out, { recursive: true, force: true })
    await registry.stop()
  }
}

function print(name, work, runs) {
  const rows = [...runs].map(([tool, each]) => ({
    tool,
    wall: median(each.map(({ wall }) => wall)),
    cpu: median(each.map(({ cpu }) => cpu)),
    memory: median(each.map(({ memory }) => memory))
  }))
  const best = rows.filter(({ tool }) => tool !== "ereg").sort((a, b) => a.wall - b.wall)[0]
  console.log(`\n${name} ${work}`)
  for (const { cpu, memory, tool, wall } of rows) {
    const ratio = best === undefined || tool !== "ereg" ? "" : `  ${(wall / best.wall).toFixed(2)} × ${best.tool}`
    console.log(
      `  ${tool.padEnd(8)}${wall.toFixed(2).padStart(7)} s${cpu.toFixed(2).padStart(8)} CPU s${memory.toFixed(0).padStart(7)} MiB${ratio}`
    )
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function version(tool) {
  const { stdout } = spawnSync(tool, [tool === "crane" ? "version" : "--version"], { encoding: "utf8" })
  return `${tool} ${/\d+\.\d+\.\d+/.exec(stdout ?? "")?.[0] ?? ""}`.trim()
}
