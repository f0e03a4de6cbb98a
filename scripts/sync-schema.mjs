// Writes docs/sync.schema.json, which editors check the file of `ereg sync` with, from the schema that reads it.
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { build } from "esbuild"

const root = fileURLToPath(new URL("..", import.meta.url))
const target = join(root, "docs/sync.schema.json")
const folder = mkdtempSync(join(root, "node_modules/.cache/sync-schema-"))

try {
  const outfile = join(folder, "schema.mjs")
  const contents = `
    import { Sync } from "@effect-registry/core"
    import * as JSONSchema from "effect/JSONSchema"
    export const schema = JSONSchema.make(Sync.Config)`
  await build({
    stdin: { contents, resolveDir: join(root, "packages/cli") },
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "warning"
  })
  const { schema } = await import(pathToFileURL(outfile).href)
  writeFileSync(target, `${JSON.stringify(schema, null, 2)}\n`)
  const { status } = spawnSync("biome", ["format", "--write", target], { cwd: root, stdio: "inherit" })
  process.exitCode = status ?? 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
