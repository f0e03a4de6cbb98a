import { defineConfig } from "vitest/config"
import workspace from "./vitest.workspace.js"

export default defineConfig({
  test: {
    projects: workspace,
    reporters: ["default"],
    // Vitest would leave one core to others; on two cores that is half of them.
    maxWorkers: "100%",
    minWorkers: 1,
    coverage: {
      provider: "v8",
      include: ["packages/{core,tar,node,server,cli}/src/**/*.ts"],
      exclude: ["packages/cli/src/bin.ts"],
      reporter: ["text-summary", "html"],
      thresholds: { lines: 85 }
    }
  }
})
