// Installs what the lockfile names, unless that is there already. Needs nothing but Node and npm.
import { spawnSync } from "node:child_process"
import { existsSync, statSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The one place that pins the package manager. */
export const pnpm = "pnpm@12.21.0"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Runs pnpm through npm, so that nobody has to install it. */
export const runPnpm = (args, options = {}) =>
  spawnSync("npm", ["exec", "--yes", `--package=${pnpm}`, "--", "pnpm", ...args], {
    cwd: root,
    stdio: "inherit",
    ...options
  })

const isInstalled = () => {
  const installed = `${root}node_modules/.modules.yaml`
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(`${root}pnpm-lock.yaml`).mtimeMs
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [major, minor] = process.versions.node.split(".").map(Number)
  if (major < 20 || (major === 20 && minor < 15)) {
    console.error(`setup: Node 20.15 or newer is needed, this is ${process.versions.node}`)
    process.exit(1)
  }
  if (!isInstalled() || process.argv.includes("--force")) {
    console.error("setup: installing the packages of pnpm-lock.yaml")
    const { status } = runPnpm(["install", "--frozen-lockfile", "--reporter=append-only", "--loglevel=warn"])
    if (status !== 0) {
      console.error("setup: the installation failed; its output above says why")
      process.exit(status ?? 1)
    }
  }
}
