#!/usr/bin/env node
// Starts the bundled command. Committed, unlike the bundle, so that package managers can link it before the first build.
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import module, { createRequire } from "node:module"
import { homedir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import vm from "node:vm"

const here = dirname(fileURLToPath(import.meta.url))
const bundle = join(here, "../dist/ereg.cjs")
const { version } = JSON.parse(readFileSync(join(here, "../package.json"), "utf8"))

if (process.argv.length === 3 && (process.argv[2] === "--version" || process.argv[2] === "-V")) {
  process.stdout.write(`${version}\n`)
} else if (!existsSync(bundle)) {
  process.stderr.write("ereg is not built yet\n  in this checkout run: npm run build\n")
  process.exitCode = 1
} else if (module.enableCompileCache !== undefined) {
  // Compiled code is code: nobody else may write to where it is kept.
  try {
    mkdirSync(cacheFolder(), { recursive: true, mode: 0o700 })
    module.enableCompileCache(join(cacheFolder(), "compile-cache"))
  } catch {
    // Read-only home: start without a cache.
  }
  createRequire(bundle)(bundle)
} else {
  runCached()
}

function cacheFolder() {
  const cache = process.env.XDG_CACHE_HOME
  return join(cache?.startsWith("/") ? cache : join(homedir(), ".cache"), "effect-registry")
}

// Compiling the bundle takes most of the start, and Node 20 keeps compiled code for nobody who does not ask for it. V8
// takes any code of a source of the same length for its own, so the name holds the hash of the source.
function runCached() {
  const source = readFileSync(bundle, "utf8")
  const hash = createHash("sha256").update(source).digest("hex").slice(0, 16)
  const file = join(cacheFolder(), `ereg-${version}-${process.version}-${process.arch}-${hash}.code`)
  let cachedData
  try {
    cachedData = readFileSync(file)
  } catch {
    // The first start of this version.
  }
  const script = new vm.Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
    filename: bundle,
    cachedData,
    importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER
  })
  if (cachedData === undefined || script.cachedDataRejected) process.once("exit", () => keep(file, script))
  const main = { exports: {} }
  script.runInThisContext()(main.exports, createRequire(bundle), main, bundle, dirname(bundle))
}

// A cache that cannot be written costs the next start some time and nothing else. The rename keeps a second process
// from reading half a file.
function keep(file, script) {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    const temporary = `${file}.${process.pid}`
    writeFileSync(temporary, script.createCachedData(), { mode: 0o600 })
    renameSync(temporary, file)
  } catch {
    // Read-only home, full disk: start without a cache.
  }
}
