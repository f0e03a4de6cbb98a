import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Fixture } from "../src/index.js"
import type * as Grammar from "./support/fuzzGrammar.js"
import * as Process from "./support/fuzzProcess.js"
import * as Run from "./support/fuzzRun.js"
import * as Shapes from "./support/fuzzShapes.js"
import * as Socket from "./support/fuzzSocket.js"
import * as Client from "./support/fuzzUploads.js"
import { emptyDigest, sha256 } from "./support/fuzzWords.js"

/** `FUZZ_SEED` runs another sequence, `FUZZ_REQUESTS` a longer one. */
const seed = Number(process.env.FUZZ_SEED ?? 20_261)
const requests = Number(process.env.FUZZ_REQUESTS ?? 21_000)

const image = Fixture.image({ format: "oci", size: 3000 })
const name = "known/image"
const known: Grammar.Known = { name, tag: "1.0", manifest: image.descriptor.digest, blobs: [...image.blobs.keys()] }

/** Pushes the image that has to be there unchanged at the end. */
const prepare = (port: number) =>
  Effect.promise(async () => {
    for (const [digest, body] of image.blobs) {
      const path = `/v2/${name}/blobs/uploads/?digest=${digest}`
      Client.expectStatus(await Socket.request(port, "POST", path, { body }), 201)
    }
    const headers = { "content-type": image.descriptor.mediaType }
    const path = `/v2/${name}/manifests/${known.tag}`
    Client.expectStatus(await Socket.request(port, "PUT", path, { headers, body: image.manifest }), 201)
    // So that it matters when a request that is hidden in another is run: in the open it is done.
    const open = await Socket.open(port)
    open.send(Shapes.hidden.replace(Shapes.smuggled, "in/the/open"))
    Client.expectStatus(await open.answer("POST"), 201)
    open.destroy()
  })

/** Says what is not as it was pushed. */
const checkKnown = async (port: number): Promise<string | undefined> => {
  const wanted: ReadonlyArray<readonly [string, Uint8Array]> = [
    [`/v2/${name}/manifests/${known.tag}`, image.manifest],
    [`/v2/${name}/manifests/${known.manifest}`, image.manifest],
    ...[...image.blobs].map(([digest, bytes]) => [`/v2/${name}/blobs/${digest}`, bytes] as const)
  ]
  for (const [path, bytes] of wanted) {
    const outcome = await Socket.request(port, "GET", path)
    if (!Socket.isAnswer(outcome)) return `${path}: ${JSON.stringify(outcome)}`
    if (outcome.status !== 200 || !outcome.body.equals(bytes))
      return `${path} is not what was pushed: ${outcome.status}`
  }
  return undefined
}

const part = "[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
const hex = "sha(256|512)(/[0-9a-f]+)?"
const whole = (patterns: ReadonlyArray<string>) => new RegExp(`^(${patterns.join("|")})$`)

/** Everything that a registry may have in its folder: outside of repositories, and in each of those that were asked for. */
const layout = {
  folders: whole(["control|tmp|blobs|repositories", `blobs/sha(256|512)`, `repositories/(known|in|fuzz)(/${part})*`]),
  files: whole(["registry\\.json", "control/[0-9]+\\.json", "tmp/[0-9a-f-]+", `blobs/${hex}`]),
  own: whole([
    `_layout(/oci-layout|/index\\.json|/blobs(/${hex})?)?`,
    `_manifests(/${hex})?`,
    "_referrers(/sha(256|512)(/[0-9a-f]+(/sha(256|512)-[0-9a-f]+)?)?)?",
    "_tags(/[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?",
    "_uploads(/[0-9a-f-]{36}(\\.[a-z]+)?)?"
  ])
}

/** What is in the folder and has no place there. */
const strangers = (root: string) =>
  [...Process.walk(root)].filter(([path, what]) => {
    const [, repository, own] = /^(repositories\/.*?)\/(_.*)$/.exec(path) ?? []
    if (what.startsWith("neither")) return true
    if (repository !== undefined) return !layout.folders.test(repository) || !layout.own.test(own ?? "")
    return what === "folder" ? !layout.folders.test(path) : !layout.files.test(path)
  })

const checkWorking = (server: Process.Server) =>
  Effect.promise(async () => {
    assert.isTrue(server.isRunning(), "the process ended")
    assert.isUndefined(await checkKnown(server.port))
    Client.expectStatus(await Socket.request(server.port, "HEAD", `/v2/${Shapes.smuggled}/blobs/${emptyDigest}`), 404)
    assert.deepStrictEqual(server.logged(), [])
  })

const attack = (server: Process.Server, requests: number) =>
  Effect.gen(function* () {
    const started = Date.now()
    yield* prepare(server.port)
    const before = server.descriptors()
    const { port } = server
    const report = yield* Run.run({ port, seed, requests, lanes: 12, known, check: () => checkKnown(port) })
    const outcomes = JSON.stringify(Object.fromEntries([...report.outcomes].sort()))
    const seconds = ((Date.now() - started) / 1000).toFixed(1)
    console.log(
      `seed ${seed}: ${report.judged} requests in ${seconds} s, ${server.peak().toFixed(0)} MB at most, ${outcomes}`
    )
    assert.deepStrictEqual(report.findings, [], `findings with FUZZ_SEED=${seed}`)
    assert.isAtLeast(report.judged, requests)
    // The requests reach what they are about: a fuzz test that is only refused tests the parser.
    for (const status of [200, 201, 202, 204, 206, 304, 400, 404, 405, 416]) {
      assert.isAbove(report.outcomes.get(String(status)) ?? 0, 0, `no ${status}`)
    }
    yield* checkWorking(server)
    // Connections are closed a little after their clients are gone, and a thread or two may have come.
    yield* Client.eventually(
      "files and sockets closed",
      10_000,
      Effect.sync(() => (server.descriptors() <= before + 8 ? true : undefined))
    )
    assert.isBelow(server.peak(), 600)
  })

layer(Process.Program.layer, { excludeTestServices: true, timeout: "1 minute" })(
  "a registry under fuzzed requests",
  (it) => {
    it.scoped(
      "refuses or answers each of them, loses nothing and leaves its folder in order",
      () =>
        Effect.gen(function* () {
          const folder = yield* Process.temporaryFolder
          const root = join(folder, "root")
          mkdirSync(join(folder, "canary"))
          writeFileSync(join(folder, "canary", "file"), "untouched")
          const server = yield* Process.serve({ root })
          yield* attack(server, requests)
          assert.deepStrictEqual([...Process.walk(join(folder, "canary"))], [["file", sha256("untouched").slice(7)]])
          assert.sameMembers(
            [...Process.walk(folder).keys()].filter((path) => !path.includes("/")),
            ["canary", "root"]
          )
          assert.deepStrictEqual(strangers(root), [])
          assert.strictEqual(yield* server.stop, 0)
        }),
      180_000
    )

    it.scoped(
      "does so with everything in memory",
      () =>
        Effect.gen(function* () {
          const server = yield* Process.serve({})
          yield* attack(server, Math.ceil(requests / 4))
          assert.strictEqual(yield* server.stop, 0)
        }),
      180_000
    )
  }
)
