// Runs one command as a process and says what it took: seconds, CPU seconds, peak memory in MiB.
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

if (!existsSync("/usr/bin/time")) {
  console.error("bench: /usr/bin/time is needed to measure CPU and memory (Debian's package is called time)")
  process.exit(1)
}

export const measure = async (command, args, options = {}) => {
  const folder = mkdtempSync(join(tmpdir(), "ereg-bench-"))
  const report = join(folder, "time")
  const started = performance.now()
  const child = spawn("/usr/bin/time", ["-q", "-o", report, "-f", "%U %S %M", command, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    ...options
  })
  let errors = ""
  child.stderr.on("data", (text) => {
    errors = (errors + text).slice(-2000)
  })
  const status = await new Promise((resolve) => child.once("close", resolve))
  const wall = (performance.now() - started) / 1000
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}\n${errors}`)
  const [user, system, kibibytes] = readFileSync(report, "utf8").trim().split(" ").map(Number)
  rmSync(folder, { recursive: true })
  return { wall, cpu: user + system, memory: kibibytes / 1024 }
}

/** Debian's docker-registry with nothing in it. */
export const startRegistry = async () => {
  const folder = mkdtempSync(join(tmpdir(), "ereg-bench-registry-"))
  const port = await freePort()
  const config = join(folder, "config.yml")
  writeFileSync(
    config,
    `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${folder}/data}, delete: {enabled: true}}
http: {addr: 127.0.0.1:${port}}
`
  )
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" })
  const gone = new Promise((resolve) => child.once("exit", resolve))
  for (let tries = 0; ; tries++) {
    const up = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      ({ ok }) => ok,
      () => false
    )
    if (up) break
    if (tries > 200) throw new Error("docker-registry does not answer")
    await sleep(50)
  }
  return {
    host: `127.0.0.1:${port}`,
    stop: async () => {
      child.kill("SIGKILL")
      await gone
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    }
  }
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
