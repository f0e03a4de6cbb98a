import { execFileSync } from "node:child_process"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Sync } from "@effect-registry/core"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Yaml from "../src/yaml.js"
import { bundled, ereg, errorOf, fixture, known, output, start, temporaryFolder, until } from "./support.js"

const registry = (hooks: Faults.Hooks = {}) =>
  Effect.map(Layer.build(EmbeddedRegistry.layerMemory(hooks)), (context) =>
    Context.get(context, EmbeddedRegistry.EmbeddedRegistry)
  )

/** A source with two tags of one image, an empty target, and a file that says to copy the one to the other. */
const prepared = (more = "", hooks: Faults.Hooks = {}) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const from = (yield* registry()).host
    const to = (yield* registry(hooks)).host
    for (const tag of ["1.0", "2.0"]) yield* output(["push", fixture("oci-archive.tar"), `${from}/team/app:${tag}`])
    const file = join(folder, "sync.yaml")
    const text = `sync:\n  - from: ${from}/team/app\n    to: ${to}/mirror/\n    tags: [1.0, 2.0]\n${more}`
    yield* Effect.promise(() => writeFile(file, text))
    return { folder, file, from, to, write: (content: string) => Effect.promise(() => writeFile(file, content)) }
  })

describe("sync", () => {
  it.scopedLive("shows a plan, does it, and does nothing the second time", () =>
    Effect.gen(function* () {
      const { file, from, to } = yield* prepared()
      const shown = yield* output(["sync", file, "--plan"])
      assert.match(
        shown,
        new RegExp(`^copy +${to}/mirror/app:1.0 +from ${from}/team/app:1.0 +[0-9.]+ kB +[0-9a-f]{12}\n`)
      )
      assert.match(shown, /\ncopy 2; at most [0-9.]+ kB to move\n$/)
      const done = yield* ereg(["sync", file])
      assert.strictEqual(
        done.stdout,
        ["1.0", "2.0"].map((tag) => `${to}/mirror/app:${tag}@${known.ociArchive}\n`).join("")
      )
      assert.match(done.stderr, /tags: 2 copied; \d+ blobs \([0-9.]+ kB\) sent\n$/)
      const again = yield* ereg(["sync", file])
      assert.deepInclude(again, { code: 0, stdout: "" })
      assert.include(again.stderr, "tags: 2 as before")
      assert.strictEqual(yield* output(["sync", file, "--plan"]), "leave 2 tags: the target has it\nnothing to do\n")
    })
  )

  it.scopedLive("applies a kept plan, and skips what changed", () =>
    Effect.gen(function* () {
      const { file, folder, from, to } = yield* prepared()
      const kept = join(folder, "plan.json")
      const plan = yield* output(["sync", file, "--plan", "--output", "json"])
      yield* Effect.promise(() => writeFile(kept, plan))
      yield* output(["push", fixture("oci-multiarch.tar"), `${from}/team/app:2.0`])
      const applied = yield* ereg(["sync", "--apply", kept, "--output", "json"])
      assert.strictEqual(applied.code, 1)
      const report = JSON.parse(applied.stdout) as {
        readonly actions: ReadonlyArray<{ readonly to: string; readonly outcome: string; readonly note: string }>
      }
      assert.deepStrictEqual(
        report.actions.map(({ outcome, to }) => `${to} ${outcome}`),
        [`${to}/mirror/app:1.0 done`, `${to}/mirror/app:2.0 skipped`]
      )
      assert.match(applied.stderr, /warning: copy of .*2\.0 is skipped: the source names sha256:/)
      const tags = yield* output(["tags", `${to}/mirror/app`])
      assert.strictEqual(tags, "1.0\n")
    })
  )

  it.scopedLive("ends with 1 and lists what failed at the end", () =>
    Effect.gen(function* () {
      const { file, from, to, write } = yield* prepared()
      yield* write(`sync: [{from: ${from}/team/app, to: ${to}/a, tags: [1.0, 9.0]}]`)
      const { code, stderr, stdout } = yield* ereg(["sync", file])
      assert.strictEqual(code, 1)
      assert.strictEqual(stdout, `${to}/a:1.0@${known.ociArchive}\n`)
      assert.match(stderr, new RegExp(`error: sync ${from}/team/app:9.0 to ${to}/a:9.0\n  why: .*not found`))
      assert.match(stderr, /tags: 1 copied, 1 failed/)
      const asJson = yield* ereg(["sync", file, "--output", "json"])
      assert.strictEqual(errorOf(asJson.stdout).reason, "NotFound")
      assert.strictEqual((yield* ereg(["sync", file, "--plan"])).code, 1)
    })
  )

  it.scopedLive("says everything that is wrong with a file", () =>
    Effect.gen(function* () {
      const { file, folder, write } = yield* prepared()
      yield* write("sync:\n  - form: a/b\n    to: c/d\n    tags: {semver: nope}\n")
      const { code, stderr } = yield* ereg(["sync", file])
      assert.strictEqual(code, 1)
      assert.include(stderr, "sync[0].form: there is no such field; did you mean from?")
      assert.include(stderr, "sync[0].from: is missing")
      assert.strictEqual(stderr.split("did you mean from").length, 2)
      assert.include(stderr, "docs/sync.md describes every field")
      const applied = yield* ereg(["sync", "--apply", file])
      assert.match(applied.stderr, /is not JSON\n.*the configuration goes without it/)
      const missing = yield* ereg(["sync", join(folder, "none.yaml"), "--output", "json"])
      assert.include(String(errorOf(missing.stdout).message), "there is no such file")
      yield* write("x".repeat(Yaml.maxSize + 1))
      assert.strictEqual(errorOf((yield* ereg(["sync", file, "--output", "json"])).stdout).reason, "TooLarge")
    })
  )

  it.scopedLive("reads the file from standard input or another pipe", () =>
    Effect.gen(function* () {
      const { file, folder } = yield* prepared()
      const text = yield* Effect.promise(() => readFile(file))
      const done = yield* ereg(["sync", "-", "--plan"], { input: text })
      assert.deepInclude(done, { code: 0, stdout: yield* output(["sync", file, "--plan"]) })
      const pipe = join(folder, "pipe")
      execFileSync("mkfifo", [pipe])
      const [fromPipe] = yield* Effect.all(
        [ereg(["sync", pipe, "--plan"]), Effect.promise(() => writeFile(pipe, text))],
        { concurrency: 2 }
      )
      assert.deepInclude(fromPipe, { code: 0, stdout: done.stdout })
    })
  )

  it.scopedLive("wants one file, and a host with --plain-http", () =>
    Effect.gen(function* () {
      const { file } = yield* prepared()
      for (const words of [["sync"], ["sync", file, "--apply", file], ["sync", file, "--plain-http"]]) {
        assert.strictEqual((yield* ereg(words)).code, 2, words.join(" "))
      }
    })
  )

  it.scopedLive(
    "completes what a killed one has left",
    () =>
      Effect.gen(function* () {
        const command = yield* bundled
        const recorder = Faults.recorder()
        let puts = 0
        const onRequest: Faults.Hooks["onRequest"] = ({ method, path }) =>
          Effect.sync(() => {
            if (method === "PUT" && path.includes("/blobs/")) puts += 1
            return puts > 2 ? Faults.delay("50 millis") : undefined
          })
        const { file, to } = yield* prepared("", { onRequest, observe: recorder.observe })
        const first = yield* start(command, ["sync", file])
        yield* until(() => puts > 1)
        first.child.kill("SIGKILL")
        assert.strictEqual((yield* first.ended).signal, "SIGKILL")
        const second = yield* start(command, ["sync", file])
        assert.strictEqual((yield* second.ended).code, 0)
        assert.strictEqual(yield* output(["tags", `${to}/mirror/app`]), "1.0\n2.0\n")
        const third = yield* start(command, ["sync", file])
        assert.include((yield* third.ended).stderr, "tags: 2 as before")
      }),
    60_000
  )

  it.effect("has an example that can be read", () =>
    Effect.gen(function* () {
      const path = new URL("../../../examples/sync.yaml", import.meta.url)
      const text = yield* Effect.promise(() => readFile(path, "utf8"))
      const { sync } = yield* Sync.decode(yield* Yaml.parse(text, "sync.yaml"))
      assert.deepStrictEqual(sync[1]?.tags, ["1.36", "1.37", "latest"])
      assert.strictEqual(sync[2]?.maxDelete, "10%")
    })
  )
})
