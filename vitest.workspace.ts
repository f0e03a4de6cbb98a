import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { defineWorkspace } from "vitest/config"

// Tests neither read the developer's credentials nor leave anything in the home folder.
const home = mkdtempSync(join(tmpdir(), "effect-registry-tests-"))
process.on("exit", () => rmSync(home, { recursive: true, force: true }))
const env = {
  XDG_STATE_HOME: join(home, "state"),
  XDG_CACHE_HOME: join(home, "cache"),
  XDG_CONFIG_HOME: join(home, "config"),
  XDG_RUNTIME_DIR: join(home, "runtime"),
  DOCKER_CONFIG: join(home, "docker")
}

const packages = ["core", "tar", "node", "server", "cli", "testing"].map((name) => ({ name, root: `packages/${name}` }))

export default defineWorkspace(
  [...packages, { name: "examples", root: "examples" }].map(({ name, root }) => ({
    test: {
      name,
      root,
      env,
      include: name === "examples" ? ["*.test.ts"] : ["test/**/*.test.ts"],
      testTimeout: 30_000,
      hookTimeout: 30_000
    }
  }))
)
