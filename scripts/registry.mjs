// Starts and stops a registry on localhost:15000 for trying things: Debian's docker-registry where it is installed, else
// our own. Its data stays in .registry/.
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL("../.registry/", import.meta.url))
const pidFile = `${folder}pid`
const url = "http://localhost:15000"

const answers = () =>
  fetch(`${url}/v2/`).then(
    ({ ok }) => ok,
    () => false
  )

const start = async () => {
  if (await answers()) return console.log(`a registry answers at ${url} already`)
  mkdirSync(`${folder}data`, { recursive: true })
  const config = `${folder}config.yml`
  writeFileSync(
    config,
    `version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: ${folder}data}, delete: {enabled: true}}
http: {addr: 127.0.0.1:15000}
`
  )
  const installed = spawnSync("docker-registry", ["--version"]).status === 0
  const ereg = fileURLToPath(new URL("../packages/cli/bin/ereg.mjs", import.meta.url))
  const [program, args] = installed
    ? ["docker-registry", ["serve", config]]
    : [process.execPath, [ereg, "serve", "--root", `${folder}ereg`, "--port", "15000"]]
  const log = openSync(`${folder}log`, "a")
  const child = spawn(program, args, { detached: true, stdio: ["ignore", log, log] })
  child.unref()
  for (let tries = 0; tries < 100; tries++) {
    if (await answers()) {
      writeFileSync(pidFile, String(child.pid))
      return console.log(
        `${installed ? "docker-registry" : "ereg serve"} answers at ${url}; npm run stop-registry ends it`
      )
    }
    await sleep(100)
  }
  child.kill()
  console.error(`the registry does not answer at ${url}; see ${folder}log`)
  process.exitCode = 1
}

const stop = () => {
  if (!existsSync(pidFile)) return console.log("no registry was started here")
  const pid = Number(readFileSync(pidFile, "utf8"))
  rmSync(pidFile)
  // The number may belong to another process by now.
  const { stdout } = spawnSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" })
  if (!stdout.includes(folder)) return console.log("the registry had ended already")
  process.kill(pid)
  console.log("stopped; its data stays in .registry/")
}

if (process.argv[2] === "stop") stop()
else await start()
