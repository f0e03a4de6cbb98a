// Compiles packages/core/native with the sources of zstd and writes packages/core/src/Compressor/zstdWasm.ts.
// Needed only after a change there; it takes clang 14 or later with lld (set CLANG to its name), whose output is committed.
// The sources are those of zstd 1.5.7, which a package of the npm registry carries unchanged.
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"

const version = "1.5.7"
const carrier = { name: "zstd-napi@0.0.13", sha256: "5b76defc67c808989c5f3920e14f662d6318b84b8d53ac3e94b99463d8d65e76" }

// Level 3 takes no strategy above "dfast"; of the decoder the small variants, which are no slower as WebAssembly.
const leaveOut = ["GREEDY", "LAZY", "LAZY2", "BTLAZY2", "BTOPT", "BTULTRA"].map(
  (name) => `ZSTD_EXCLUDE_${name}_BLOCK_COMPRESSOR`
)
const defines = [
  "NDEBUG",
  "ZSTD_DISABLE_ASM",
  "DYNAMIC_BMI2=0",
  "ZSTD_LEGACY_SUPPORT=0",
  "ZSTD_STRIP_ERROR_STRINGS",
  "ZSTD_TRACE=0",
  "HUF_FORCE_DECOMPRESS_X1",
  "ZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT",
  ...leaveOut
]

const core = fileURLToPath(new URL("../packages/core/", import.meta.url))
const native = join(core, "native")
const folder = mkdtempSync(join(tmpdir(), "zstd-"))
try {
  execFileSync("npm", ["pack", "--silent", carrier.name], { cwd: folder })
  const packed = readdirSync(folder)[0]
  const sum = createHash("sha256")
    .update(readFileSync(join(folder, packed)))
    .digest("hex")
  if (sum !== carrier.sha256) throw new Error(`${carrier.name} has the SHA-256 ${sum}, not ${carrier.sha256}`)
  execFileSync("tar", ["-xzf", packed], { cwd: folder })
  const zstd = join(folder, "package/deps/zstd")
  const files = ["common", "compress", "decompress"].flatMap((part) =>
    readdirSync(join(zstd, "lib", part))
      .filter((name) => name.endsWith(".c") && !/^(?:zstdmt_|pool|threading)/.test(name))
      .map((name) => join(zstd, "lib", part, name))
  )
  const binary = join(folder, "zstd.wasm")
  const flags = ["--target=wasm32", "-nostdlib", "-nostdlibinc", "-flto", "-Os", "-mbulk-memory", "-msign-ext"]
  flags.push("-isystem", native, "-I", join(zstd, "lib"), ...defines.map((define) => `-D${define}`))
  flags.push("-Wl,--no-entry,--gc-sections,--strip-all,--stack-first,--lto-O3,-z,stack-size=131072")
  execFileSync(process.env.CLANG ?? "clang", [...flags, "-o", binary, join(native, "zstd.c"), ...files], {
    stdio: "inherit"
  })
  const bytes = readFileSync(binary)
  const hash = createHash("sha256")
  for (const name of readdirSync(native).sort()) hash.update(readFileSync(join(native, name)))
  const license = readFileSync(join(zstd, "LICENSE"), "utf8").trimEnd().replace(/^/gm, " * ").replace(/ +$/gm, "")
  writeFileSync(
    join(core, "src/Compressor/zstdWasm.ts"),
    `// Made by scripts/build-zstd.mjs from native/ and zstd ${version}. Do not edit.
/*!
${license}
 */

/** SHA-256 of the sources in native/, in the order of their names, that this was compiled from. */
export const sourceSha256 = "${hash.digest("hex")}"

/** The module, ${bytes.length} bytes, gzipped. */
export const base64 =
  "${gzipSync(bytes, { level: 9 }).toString("base64")}"
`
  )
  console.log(`${bytes.length} bytes of WebAssembly`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
