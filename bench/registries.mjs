// The two registries that are compared, each as a process with an empty folder on the same disk.
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const here = fileURLToPath(new URL(".", import.meta.url))
const cache = join(here, ".cache")
/** Another build of the command can be measured in its place. */
const ereg = process.env.BENCH_EREG ?? join(here, "../packages/cli/dist/ereg.cjs")
const ticks = Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout)

const commands = {
  ereg: ({ data, port }) => [process.execPath, ereg, "serve", "--root", data, "--port", String(port), "--quiet"],
  "docker-registry": ({ data, folder, port }) => {
    const config = join(folder, "config.yml")
    writeFileSync(
      config,
      `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${data}}, delete: {enabled: true}}
http: {addr: 127.0.0.1:${port}}
`
    )
    return ["docker-registry", "serve", config]
  }
}

export const names = Object.keys(commands)

/** Starts one and waits until it answers. `cpu` is seconds since its start, `memory` the most MB it ever had. */
export const start = async (name) => {
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, "registry-"))
  const port = await freePort()
  const [command, ...args] = commands[name]({ data: join(folder, "data"), folder, port })
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] })
  const gone = new Promise((resolve) => child.once("exit", resolve))
  const stop = async () => {
    child.kill("SIGKILL")
    await gone
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
  const url = `http://127.0.0.1:${port}`
  if (await answers(`${url}/v2/`)) return { url, cpu: () => cpuOf(child.pid), memory: () => memoryOf(child.pid), stop }
  await stop()
  throw new Error(`${name} does not answer`)
}

const answers = async (url) => {
  for (let tries = 0; tries < 200; tries++) {
    const isUp = await fetch(url).then(
      ({ ok }) => ok,
      () => false
    )
    if (isUp) return true
    await sleep(50)
  }
  return false
}

/** User and system time of all its threads. */
const cpuOf = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")
  return (Number(fields[11]) + Number(fields[12])) / ticks
}

const memoryOf = (pid) =>
  (Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024) / 1e6

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
