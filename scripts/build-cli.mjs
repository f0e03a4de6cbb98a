// Bundles the command into one file without dependencies: packages/cli/dist/ereg.cjs.
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const cli = new URL("../packages/cli/", import.meta.url)
const { version } = JSON.parse(readFileSync(new URL("package.json", cli), "utf8"))

await build({
  entryPoints: [fileURLToPath(new URL("src/bin.ts", cli))],
  outfile: fileURLToPath(new URL("dist/ereg.cjs", cli)),
  bundle: true,
  platform: "node",
  target: "node20",
  // CommonJS is what V8's code cache of the launcher can hold on Node 20.
  format: "cjs",
  // Names go: keeping them costs a call for every closure that is made, also on the data path.
  minify: true,
  define: { EREG_VERSION: JSON.stringify(version) },
  // The license of zstd, which is compiled in, has to go along.
  legalComments: "eof",
  logLevel: "warning"
})
