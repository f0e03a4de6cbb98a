// What users get: packs the packages, lints the tarballs, installs them together in an empty folder, and runs a program
// and the command there.
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { runPnpm } from "./setup.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const names = ["core", "tar", "node", "server", "cli"]
const folder = mkdtempSync(join(tmpdir(), "effect-registry-packages-"))

try {
  const tarballs = pack()
  lint(tarballs)
  consume(tarballs)
  console.log("check-packages: all tarballs are clean, install together, compile and run")
} catch (error) {
  console.error(`check-packages: ${error.message}`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function pack() {
  return names.map((name) => {
    const cwd = join(root, "packages", name)
    const out = join(folder, "tarballs", name)
    mkdirSync(out, { recursive: true })
    const { status, stderr, stdout } = runPnpm(["pack", "--pack-destination", out], { cwd, stdio: "pipe" })
    if (status !== 0) throw new Error(`packing ${name} failed\n${stdout}${stderr}`)
    return join(out, readdirSync(out)[0])
  })
}

function lint(tarballs) {
  for (const tarball of tarballs) {
    execute("publint", ["run", "--strict", tarball])
    // The command's package is run, not imported.
    if (!tarball.includes("-cli-")) execute("attw", [tarball, "--profile", "esm-only"])
  }
}

function consume(tarballs) {
  const app = join(folder, "app")
  mkdirSync(app)
  const versions = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies
  const peers = ["effect", "@effect/platform", "@effect/platform-node", "typescript", "@types/node"]
  const manifest = {
    private: true,
    type: "module",
    dependencies: {
      ...Object.fromEntries(tarballs.map((path, index) => [`@effect-registry/${names[index]}`, `file:${path}`])),
      ...Object.fromEntries(peers.map((name) => [name, versions[name]]))
    }
  }
  writeFileSync(join(app, "package.json"), JSON.stringify(manifest, null, 2))
  const options = {
    compilerOptions: {
      module: "NodeNext",
      target: "ES2022",
      lib: ["ES2023", "DOM"],
      strict: true,
      exactOptionalPropertyTypes: true,
      types: ["node"],
      outDir: "out"
    },
    include: ["main.ts"]
  }
  writeFileSync(join(app, "tsconfig.json"), JSON.stringify(options))
  cpSync(join(root, "examples/consumer.ts"), join(app, "main.ts"))
  cpSync(join(root, "fixtures/docker26-multi.tar"), join(app, "app.tar"))
  execute("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], app)
  execute(join(app, "node_modules/.bin/tsc"), ["-p", "."], app)
  // What the program learns goes with the folder.
  execute(process.execPath, ["out/main.js"], app, { XDG_CACHE_HOME: app, XDG_STATE_HOME: app })
  const said = execute(join(app, "node_modules/.bin/ereg"), ["validate", "app.tar"], app)
  if (!said.includes("app.tar")) throw new Error(`the command says ${JSON.stringify(said)}`)
}

function execute(command, args, cwd = root, environment = {}) {
  const env = { ...process.env, ...environment }
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd, env, encoding: "utf8" })
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed\n${error?.message ?? ""}${stdout}${stderr}`)
  return stdout
}
