// The main job on this machine in one go: a docker save archive goes to a registry and comes back, digests unchanged.
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const ereg = join(root, "packages/cli/bin/ereg.mjs")
const archive = "fixtures/docker26-multi.tar"
const folder = mkdtempSync(join(tmpdir(), "ereg-quickstart-"))
let registry

const stop = () => {
  registry?.kill("SIGTERM")
  // The registry may still be finishing a file.
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
}
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143]
]) {
  process.on(signal, () => {
    stop()
    process.exit(code)
  })
}

try {
  prepare()
  await tour()
} catch (error) {
  console.error(`\nquickstart: ${error.message}`)
  process.exitCode = 1
} finally {
  stop()
}

function prepare() {
  const setup = spawnSync(process.execPath, [join(root, "scripts/setup.mjs")], { stdio: "inherit" })
  if (setup.status !== 0) throw new Error("the setup failed")
  const build = spawnSync(process.execPath, [join(root, "scripts/build-cli.mjs")], { stdio: "inherit" })
  if (build.status !== 0) throw new Error("the build failed")
}

async function tour() {
  // Nothing of the tour stays behind.
  Object.assign(process.env, { XDG_CACHE_HOME: join(folder, "cache"), XDG_STATE_HOME: join(folder, "state") })
  const url = await serve()
  say("A registry of our own runs", `ereg serve --root ${folder} --port 0`, url)

  const pushed = run("Push every tag of a docker save archive", ["push", archive, "--registry", url])
  run("List the repositories", ["list", "--registry", url])
  run("List the tags of one", ["tags", "fixture/app", "--registry", url])
  run("Look at an image", ["inspect", pushed[0]])

  const copy = join(folder, "back.tar")
  const [name, digest] = pushed[0].split("@")
  run("Pull it back into a file for docker load", ["pull", name, copy])
  const [back] = run("The digest in that file", ["digest", copy])
  prove("what came back is what was pushed", back, digest)

  const [again] = run("Push the file under another name", ["push", copy, `${new URL(url).host}/copies/app:1.0`])
  prove("a pull and a push later it is the same image", again.split("@")[1], digest)

  const manifest = output(["manifest", name])
  prove("the bytes hash to the digest", `sha256:${createHash("sha256").update(manifest).digest("hex")}`, digest)
  run("Delete a tag", ["delete", `${new URL(url).host}/copies/app:1.0`])

  console.log("\nDone. All digests are equal; the registry is stopped and its data removed.")
  console.log("Try it yourself:  npx ereg --help     Use it in a program:  examples/push.ts")
}

function serve() {
  registry = spawn(process.execPath, [ereg, "serve", "--root", join(folder, "registry"), "--port", "0"], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  return new Promise((resolve, reject) => {
    let errors = ""
    registry.stderr.on("data", (text) => {
      errors += text
    })
    registry.stdout.once("data", (text) => resolve(String(text).trim()))
    registry.once("exit", () => reject(new Error(`the registry did not start\n${errors}`)))
  })
}

function output(args) {
  const { status, stderr, stdout } = spawnSync(process.execPath, [ereg, ...args], { cwd: root, maxBuffer: 1 << 26 })
  if (status !== 0) throw new Error(`ereg ${args.join(" ")} ended with ${status}\n${stderr}`)
  return stdout
}

function run(title, args) {
  const lines = output(args)
    .toString()
    .trim()
    .split("\n")
    .filter((line) => line !== "")
  say(title, `ereg ${args.join(" ").replaceAll(folder, "$TMP")}`, ...lines)
  return lines
}

function say(title, command, ...lines) {
  console.log(`\n# ${title}\n$ ${command.replaceAll(folder, "$TMP")}`)
  const shown = lines.length > 14 ? [...lines.slice(0, 12), `… ${lines.length - 12} lines more`] : lines
  for (const line of shown) console.log(`  ${line.replaceAll(folder, "$TMP")}`)
}

function prove(claim, actual, expected) {
  if (actual !== expected) throw new Error(`${claim}: no! ${actual} is not ${expected}`)
  console.log(`  ✓ ${claim}`)
}
