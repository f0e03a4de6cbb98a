import { defineWorkspace } from "vitest/config"

export default defineWorkspace(
  ["core", "tar", "node", "server", "cli", "testing"].map((name) => ({
    test: {
      name,
      root: `packages/${name}`,
      include: ["test/**/*.test.ts"],
      testTimeout: 30_000
    }
  }))
)
