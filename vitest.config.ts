import { defineConfig } from "vitest/config"
import workspace from "./vitest.workspace.js"

export default defineConfig({
  test: {
    projects: workspace,
    reporters: ["default"],
    coverage: {
      provider: "v8",
      include: ["packages/{core,tar,node,server,cli}/src/**/*.ts"],
      exclude: ["packages/cli/src/bin.ts"],
      reporter: ["text-summary", "html"],
      thresholds: { lines: 85 }
    }
  }
})
