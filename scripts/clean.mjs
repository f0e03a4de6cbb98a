// Removes what builds and tests leave behind; node_modules and the registry's data stay.
import { readdirSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const packages = readdirSync(`${root}packages`).map((name) => `packages/${name}`)
const left = [...packages.map((path) => `${path}/dist`), "coverage", "docs/api", "bench/.cache", "node_modules/.cache"]
for (const path of left) rmSync(`${root}${path}`, { recursive: true, force: true })
