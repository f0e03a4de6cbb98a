// Writes packages/server/src/Auth/bcryptSource.ts: bcryptjs as the text of a function, because a worker of a bundled program
// has no file that it could load a package from. Needed only for another version of bcryptjs; the output is committed.
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const version = "3.0.3"
const expected = "419a1c3122155f61c46eda54e851ba238272f8bd3859005a91b891020b0efc2c"

const folder = mkdtempSync(join(tmpdir(), "bcryptjs-"))
try {
  execFileSync("npm", ["pack", "--silent", `bcryptjs@${version}`], { cwd: folder })
  const packed = join(folder, `bcryptjs-${version}.tgz`)
  const sum = createHash("sha256").update(readFileSync(packed)).digest("hex")
  if (sum !== expected) throw new Error(`bcryptjs@${version} has the SHA-256 ${sum}, not ${expected}`)
  execFileSync("tar", ["-xzf", packed], { cwd: folder })
  const { outputFiles } = await build({
    stdin: { contents: `export { compareSync } from "./package/index.js"`, resolveDir: folder },
    bundle: true,
    write: false,
    platform: "node",
    target: "node20",
    format: "iife",
    globalName: "bcrypt",
    minify: true,
    legalComments: "none"
  })
  const license = readFileSync(join(folder, "package/LICENSE"), "utf8")
    .trimEnd()
    .replace(/^/gm, " * ")
    .replace(/ +$/gm, "")
  writeFileSync(
    fileURLToPath(new URL("../packages/server/src/Auth/bcryptSource.ts", import.meta.url)),
    `// Made by scripts/build-bcrypt.mjs from bcryptjs ${version}. Do not edit.
/*!
${license}
 */

/** A script that defines \`bcrypt.compareSync\`. */
// biome-ignore format: one line
export const bcryptSource =
  ${JSON.stringify(outputFiles[0].text.trimEnd())}
`
  )
} finally {
  rmSync(folder, { recursive: true })
}
