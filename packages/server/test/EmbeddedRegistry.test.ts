import { execFile } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import { Tools } from "@effect-registry/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { codeOf, folderOf, openSocket, pushImage, random, send, startUpload, uniqueName } from "./support.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "embedded-registry-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const fixture = (name: string) => fileURLToPath(new URL(`../../../fixtures/${name}`, import.meta.url))

describe("EmbeddedRegistry", () => {
  it.effect("answers /v2/ as a registry does, on the loopback address", () =>
    Effect.gen(function* () {
      const { host, port, url } = yield* EmbeddedRegistry.EmbeddedRegistry
      assert.deepEqual([url, host], [`http://127.0.0.1:${port}`, `127.0.0.1:${port}`])
      const answer = yield* send("GET", "/v2/")
      assert.deepEqual([answer.status, answer.text], [200, "{}"])
      assert.strictEqual(answer.headers.get("docker-distribution-api-version"), "registry/2.0")
      const unknown = yield* send("GET", "/v1/")
      assert.deepEqual([unknown.status, codeOf(unknown)], [404, "UNSUPPORTED"])
    }).pipe(Effect.provide(EmbeddedRegistry.layerTemp()))
  )

  it.scoped("keeps everything in its folder from one run to the next", () =>
    Effect.gen(function* () {
      const root = join(yield* folder, "made", "when", "missing")
      const name = uniqueName()
      const image = yield* Effect.provide(pushImage(name), EmbeddedRegistry.layer({ root }))
      const answer = yield* Effect.provide(send("GET", `/v2/${name}/manifests/1.0`), EmbeddedRegistry.layer({ root }))
      assert.strictEqual(answer.text, image.text)
    })
  )

  it.effect("removes a temporary folder with the scope", () =>
    Effect.gen(function* () {
      const root = yield* folderOf.pipe(
        Effect.tap(() => pushImage(uniqueName())),
        Effect.provide(EmbeddedRegistry.layerTemp())
      )
      assert.isFalse(existsSync(root))
    })
  )

  it.scoped("ends at once, whatever connections are open", () =>
    Effect.gen(function* () {
      const start = yield* Effect.provide(
        Effect.gen(function* () {
          const location = yield* startUpload(uniqueName())
          yield* openSocket
          const socket = yield* openSocket
          socket.write(`PATCH ${location} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n`)
          socket.write(random(10))
          yield* send("GET", location)
          return performance.now()
        }),
        EmbeddedRegistry.layerTemp()
      )
      assert.isBelow(performance.now() - start, 2000)
    })
  )

  it.scoped("fails typed where the port is taken or the folder cannot be", () =>
    Effect.gen(function* () {
      const root = yield* folder
      const { port } = yield* EmbeddedRegistry.make({ root: join(root, "one") })
      const taken = yield* Effect.flip(EmbeddedRegistry.make({ root: join(root, "two"), port }))
      assert.strictEqual(taken.reason, "PortInUse")
      assert.strictEqual(taken.message, `cannot listen on 127.0.0.1:${port}: another program does already`)
      assert.strictEqual(taken.hint, "choose another port, or 0 for a free one")
      const refused = yield* Effect.flip(
        EmbeddedRegistry.make({ root: join(root, "three"), host: "203.0.113.1", anonymousWrite: true })
      )
      assert.strictEqual(refused.reason, "AddressRefused")
      writeFileSync(join(root, "file"), "")
      const unusable = yield* Effect.flip(EmbeddedRegistry.make({ root: join(root, "file") }))
      assert.strictEqual(unusable.reason, "RootUnusable")
      assert.include(unusable.message, join(root, "file"))
    })
  )

  it.scopedLive("answers nothing but its health, and changes nothing, once another one has taken its folder over", () =>
    Effect.gen(function* () {
      const root = yield* folder
      yield* Effect.gen(function* () {
        const { collect } = yield* EmbeddedRegistry.EmbeddedRegistry
        const name = uniqueName()
        yield* pushImage(name)
        // What another one does that found no sign of life for ten seconds.
        renameSync(join(root, "control", "1.json"), join(root, "control", "2.json"))
        yield* Effect.sleep("2200 millis")
        for (const path of ["/v2/", `/v2/${name}/manifests/1.0`, "/metrics"]) {
          const answer = yield* send("GET", path)
          assert.deepEqual([answer.status, codeOf(answer)], [503, "UNKNOWN"])
          assert.notInclude(answer.text, root)
        }
        assert.strictEqual((yield* send("DELETE", `/v2/${name}/manifests/1.0`)).status, 503)
        const health = yield* send("GET", "/healthz")
        assert.deepEqual([health.status, health.text], [503, '{"status":"another registry owns the folder"}'])
        const error = yield* Effect.flip(collect())
        assert.strictEqual(error.message, "collect garbage: another registry owns the folder")
      }).pipe(Effect.provide(EmbeddedRegistry.layer({ root })))
    })
  )

  it.scoped("answers 500 without a path when the storage fails", () =>
    Effect.gen(function* () {
      const root = yield* folder
      yield* Effect.gen(function* () {
        mkdirSync(join(root, "repositories", "a", "_tags", "folder"), { recursive: true })
        const answer = yield* send("GET", "/v2/a/manifests/folder")
        assert.deepEqual([answer.status, codeOf(answer)], [500, "UNKNOWN"])
        assert.notInclude(answer.text, root)
      }).pipe(Effect.provide(EmbeddedRegistry.layer({ root })))
    })
  )
})

const run = (...args: ReadonlyArray<string>) =>
  Effect.async<string>((resume) => {
    execFile("skopeo", args, { encoding: "utf8" }, (error, stdout, stderr) =>
      resume(error === null ? Effect.succeed(stdout) : Effect.die(new Error(`skopeo ${args.join(" ")}: ${stderr}`)))
    )
  })

const inNetwork = <A, E>(use: (host: string, folder: string) => Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
    return yield* use(host, yield* folder)
  }).pipe(Effect.scoped, Effect.provide(EmbeddedRegistry.layerTemp()))

const image = "sha256:55976a8105eda62433abf23fb470a44d0737ea37f634fbaeab9b529db7ec8424"
const index = "sha256:5b03ea336cb6fceaa0bd19f71ee3f49100691e16acb29d7b9000932d66088ad7"

Tools.needing(describe, "skopeo")("skopeo", () => {
  it.effect("pushes an image, pulls it back with the digest unchanged, and deletes it", () =>
    inNetwork((host, folder) =>
      Effect.gen(function* () {
        const remote = `docker://${host}/team/web:2.0`
        yield* run("copy", "--dest-tls-verify=false", `oci-archive:${fixture("oci-archive.tar")}`, remote)
        const inspected = JSON.parse(yield* run("inspect", "--tls-verify=false", remote))
        assert.deepEqual([inspected.Digest, inspected.RepoTags, inspected.Layers.length], [image, ["2.0"], 3])
        yield* run("copy", "--src-tls-verify=false", remote, `dir:${folder}`)
        yield* run("copy", "--dest-tls-verify=false", `dir:${folder}`, `docker://${host}/again:1`)
        const again = yield* run("inspect", "--tls-verify=false", `docker://${host}/again:1`)
        assert.strictEqual(JSON.parse(again).Digest, image)
        yield* run("delete", "--tls-verify=false", remote)
        const exit = yield* Effect.exit(run("inspect", "--tls-verify=false", remote))
        assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "manifest unknown")
        yield* run("inspect", "--tls-verify=false", `docker://${host}/again:1`)
      })
    )
  )

  it.effect("pushes and pulls an index with all its platforms", () =>
    inNetwork((host, folder) =>
      Effect.gen(function* () {
        const remote = `docker://${host}/team/multi:1.0`
        yield* run("copy", "--all", "--dest-tls-verify=false", `oci-archive:${fixture("oci-multiarch.tar")}`, remote)
        yield* run("copy", "--all", "--src-tls-verify=false", remote, `oci:${folder}:1.0`)
        const raw = yield* run("inspect", "--raw", "--tls-verify=false", remote)
        assert.strictEqual(JSON.parse(raw).manifests.length, 3)
        yield* run("inspect", "--tls-verify=false", `docker://${host}/team/multi@${index}`)
        assert.isTrue(existsSync(join(folder, "blobs/sha256", index.slice(7))))
      })
    )
  )

  it.effect("pushes docker-archives, which it compresses on the way", () =>
    inNetwork((host) =>
      Effect.gen(function* () {
        for (const [file, tag] of [
          ["docker20-multi.tar", "fixture/app:1.0"],
          ["docker26-multi.tar", "fixture/web:2.0"]
        ] as const) {
          const remote = `docker://${host}/${tag}`
          yield* run("copy", "--dest-tls-verify=false", `docker-archive:${fixture(file)}:${tag}`, remote)
          yield* run("inspect", "--tls-verify=false", remote)
        }
      })
    )
  )
})
