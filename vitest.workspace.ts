import { defineWorkspace } from "vitest/config"

const packages = ["core", "tar", "node", "server", "cli", "testing"].map((name) => ({ name, root: `packages/${name}` }))

export default defineWorkspace(
  [...packages, { name: "examples", root: "examples" }].map(({ name, root }) => ({
    test: {
      name,
      root,
      include: name === "examples" ? ["*.test.ts"] : ["test/**/*.test.ts"],
      testTimeout: 30_000,
      hookTimeout: 30_000
    }
  }))
)
