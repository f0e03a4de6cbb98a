// Compiles packages/core/assembly and writes packages/core/src/Compressor/deflateWasm.ts.
// Needed only after a change of the encoder; the compiler is fetched by npx, pinned, because its output is committed.
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const compiler = "assemblyscript@0.28.8"
const core = fileURLToPath(new URL("../packages/core/", import.meta.url))
const sources = join(core, "assembly")
const folder = mkdtempSync(join(tmpdir(), "deflate-"))
try {
  const binary = join(folder, "deflate.wasm")
  const flags = ["-O3", "--noAssert", "--runtime", "stub", "--initialMemory", "48", "--memoryBase", "1024"]
  execFileSync("npx", ["--yes", "-p", compiler, "asc", join(sources, "deflate.ts"), "-o", binary, ...flags], {
    stdio: "inherit",
    cwd: folder
  })
  const bytes = readFileSync(binary)
  const hash = createHash("sha256")
  for (const name of readdirSync(sources).sort()) hash.update(readFileSync(join(sources, name)))
  const sha256 = hash.digest("hex")
  writeFileSync(
    join(core, "src/Compressor/deflateWasm.ts"),
    `// Made by scripts/build-deflate.mjs from assembly/. Do not edit.

/** SHA-256 of the sources, in the order of their names, that this was compiled from. */
export const sourceSha256 = "${sha256}"

/** The module, ${bytes.length} bytes. */
export const base64 =
  "${bytes.toString("base64")}"
`
  )
  console.log(`${bytes.length} bytes of WebAssembly`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
