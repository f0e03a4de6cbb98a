/** Other people's clients against the registry of this project: what they push, they and others find byte for byte. */
import { execFile, spawn } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Tools, Walk } from "../src/index.js"
import { temporaryFolder } from "./support/servers.js"

const archive = (name: string) => fileURLToPath(new URL(`../../../fixtures/${name}`, import.meta.url))
const app = `docker-archive:${archive("docker26-multi.tar")}:docker.io/fixture/app:1.0`
const multi = `oci-archive:${archive("oci-multiarch.tar")}:1.0`

const run = (program: string, ...words: ReadonlyArray<string>) =>
  Effect.async<string>((resume) => {
    // podman refuses to start where this names a folder without the file.
    const { DOCKER_CONFIG: _, ...env } = process.env
    execFile(program, words, { encoding: "utf8", maxBuffer: 1 << 24, env }, (error, stdout, stderr) =>
      resume(error === null ? Effect.succeed(stdout) : Effect.dieMessage(`${program} ${words.join(" ")}: ${stderr}`))
    )
  })

/** `copy` and `sync` reach both sides without TLS; the others have one side. */
const skopeo = (verb: string, ...words: ReadonlyArray<string>) =>
  verb === "copy" || verb === "sync"
    ? run("skopeo", "--insecure-policy", verb, "--src-tls-verify=false", "--dest-tls-verify=false", ...words)
    : run("skopeo", "--insecure-policy", verb, "--tls-verify=false", ...words)

const digestOf = (image: string) =>
  Effect.map(skopeo("inspect", "--format", "{{.Digest}}", image), (text) => text.trim())

/** The graph below a tag, with every digest and size in it verified. */
const look = (host: string, repository: string, reference = "1") =>
  Walk.registry(`http://${host}`, repository, reference)

/** A registry over a folder, as `ereg serve` has it. */
const registry = Effect.flatMap(temporaryFolder, (root) =>
  Effect.map(EmbeddedRegistry.make({ root }), ({ host }) => host)
)

const statusOf = (host: string, path: string) =>
  Effect.promise(async () => (await fetch(`http://${host}/v2/${path}`, { method: "HEAD" })).status)

Tools.needing(describe, "skopeo")("skopeo", () => {
  for (const format of ["v2s2", "oci"]) {
    it.scopedLive(`pushes an image as ${format}, copies it to another repository, and pulls it`, () =>
      Effect.gen(function* () {
        const host = yield* registry
        const folder = yield* temporaryFolder
        yield* skopeo("copy", "--format", format, app, `docker://${host}/team/app:1`)
        const { root } = yield* look(host, "team/app")
        yield* skopeo("copy", `docker://${host}/team/app:1`, `docker://${host}/other/app:1`)
        assert.strictEqual((yield* look(host, "other/app")).root, root)
        yield* skopeo("copy", "--preserve-digests", `docker://${host}/team/app@${root}`, `dir:${folder}/pulled`)
        const bytes = yield* Effect.promise(() => readFile(join(folder, "pulled", "manifest.json")))
        assert.strictEqual(`sha256:${createHash("sha256").update(bytes).digest("hex")}`, root)
      })
    )
  }

  it.scopedLive("pushes an index with all its images, every digest as it was, and copies it on", () =>
    Effect.gen(function* () {
      const host = yield* registry
      yield* skopeo("copy", "--all", "--preserve-digests", multi, `docker://${host}/multi/app:1`)
      const pushed = yield* look(host, "multi/app")
      assert.strictEqual(pushed.root, (yield* Walk.ociArchive(archive("oci-multiarch.tar")))[0]?.root)
      yield* skopeo(
        "copy",
        "--all",
        "--preserve-digests",
        `docker://${host}/multi/app:1`,
        `docker://${host}/multi/copy:1`
      )
      assert.deepStrictEqual(yield* look(host, "multi/copy"), pushed)
    })
  )

  it.scopedLive("lists tags, and deletes an image with all of them", () =>
    Effect.gen(function* () {
      const host = yield* registry
      for (const tag of ["2", "1", "10"]) yield* skopeo("copy", app, `docker://${host}/app:${tag}`)
      const { Tags } = JSON.parse(yield* skopeo("list-tags", `docker://${host}/app`))
      assert.deepStrictEqual(Tags, ["1", "10", "2"])
      const digest = yield* digestOf(`docker://${host}/app:1`)
      yield* skopeo("delete", `docker://${host}/app:1`)
      for (const reference of ["1", "10", "2", digest]) {
        assert.strictEqual(yield* statusOf(host, `app/manifests/${reference}`), 404)
      }
    })
  )

  it.scopedLive("synchronises a repository with all its tags, to a folder and back", () =>
    Effect.gen(function* () {
      const host = yield* registry
      const folder = yield* temporaryFolder
      yield* skopeo("copy", app, `docker://${host}/from/app:1`)
      yield* skopeo("copy", "--format", "oci", app, `docker://${host}/from/app:2`)
      yield* skopeo("sync", "--src", "docker", "--dest", "dir", `${host}/from/app`, folder)
      yield* skopeo("sync", "--src", "dir", "--dest", "docker", folder, `${host}/to`)
      for (const tag of ["1", "2"]) {
        assert.strictEqual((yield* look(host, "to/app", tag)).root, (yield* look(host, "from/app", tag)).root)
      }
    })
  )

  it.scopedLive("pushes many images at once that share their layers", () =>
    Effect.gen(function* () {
      const host = yield* registry
      const names = Array.from({ length: 6 }, (_, index) => `at-once/app${index % 3}:${index}`)
      yield* Effect.forEach(names, (name) => skopeo("copy", app, `docker://${host}/${name}`), { concurrency: 6 })
      const digests = yield* Effect.forEach(names, (name) => digestOf(`docker://${host}/${name}`))
      assert.strictEqual(new Set(digests).size, 1)
      for (const name of names) yield* look(host, ...(name.split(":") as [string, string]))
    })
  )
})

Tools.needing(describe, "curl")("curl", () => {
  it.scopedLive("uploads with Expect: 100-continue, by POST, PATCH and PUT, and goes on after a part", () =>
    Effect.gen(function* () {
      const host = yield* registry
      const folder = yield* temporaryFolder
      const bytes = randomBytes(3_000_000)
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`
      const [whole, first, rest] = [join(folder, "whole"), join(folder, "first"), join(folder, "rest")]
      yield* Effect.promise(() => writeFile(whole, bytes))
      yield* Effect.promise(() => writeFile(first, bytes.subarray(0, 1_000_000)))
      yield* Effect.promise(() => writeFile(rest, bytes.subarray(1_000_000)))
      const curl = (...words: ReadonlyArray<string>) =>
        run("curl", "-sS", "--fail", "--expect100-timeout", "60", "-o", "-", "-w", "%{http_code}", ...words)
      const send = (method: string, path: string, url: string) =>
        curl(
          "-X",
          method,
          "-H",
          "Expect: 100-continue",
          "-H",
          "Content-Type: application/octet-stream",
          "--data-binary",
          `@${path}`,
          url
        )
      assert.strictEqual(yield* send("POST", whole, `http://${host}/v2/a/blobs/uploads/?digest=${digest}`), "201")
      const location = /^location: (\S+)/im.exec(
        yield* run("curl", "-sS", "-i", "-X", "POST", `http://${host}/v2/b/blobs/uploads/`)
      )?.[1]
      assert.strictEqual(yield* send("PATCH", first, `http://${host}${location}`), "202")
      assert.strictEqual(yield* send("PUT", rest, `http://${host}${location}?digest=${digest}`), "201")
      const stream = /^location: (\S+)/im.exec(
        yield* run("curl", "-sS", "-i", "-X", "POST", `http://${host}/v2/c/blobs/uploads/`)
      )?.[1]
      const chunked = ["-H", "Transfer-Encoding: chunked", "-T", whole, "-X", "PATCH", `http://${host}${stream}`]
      assert.strictEqual(yield* curl(...chunked), "202")
      assert.strictEqual(yield* curl("-X", "PUT", `http://${host}${stream}?digest=${digest}`), "201")
      for (const repository of ["a", "b", "c"]) {
        const got = join(folder, repository)
        yield* run(
          "curl",
          "-sS",
          "--fail",
          "-r",
          "0-999999",
          "-o",
          got,
          `http://${host}/v2/${repository}/blobs/${digest}`
        )
        yield* run("curl", "-sS", "--fail", "-C", "-", "-o", got, `http://${host}/v2/${repository}/blobs/${digest}`)
        assert.isTrue(bytes.equals(yield* Effect.promise(() => readFile(got))), repository)
      }
    })
  )
})

// They unpack images as root, into a storage of their own; nothing is run.
const isRoot = process.getuid?.() === 0
const engines = (isRoot ? ["podman", "buildah"] : []).filter(Tools.has)
const hasDocker = isRoot && Tools.has("docker") && Tools.has("dockerd")
if (engines.length < 2 || !hasDocker) {
  process.stderr.write("podman, buildah and dockerd are tried as root, where they are installed\n")
}

for (const engine of engines) {
  describe(engine, () => {
    const setUp = Effect.gen(function* () {
      const host = yield* registry
      const folder = yield* temporaryFolder
      const storage = ["--root", join(folder, "root"), "--runroot", join(folder, "run"), "--storage-driver", "vfs"]
      const call = (...words: ReadonlyArray<string>) =>
        run(engine, ...storage, ...(engine === "podman" ? ["--events-backend", "none"] : []), ...words)
      return { host, call }
    })

    it.scopedLive("pulls what skopeo pushed, and pushes it in both formats", () =>
      Effect.gen(function* () {
        const { call, host } = yield* setUp
        yield* skopeo("copy", app, `docker://${host}/from/app:1`)
        yield* call("pull", "--tls-verify=false", `${host}/from/app:1`)
        const { configs } = yield* look(host, "from/app")
        for (const format of ["v2s2", "oci"]) {
          const to = `${host}/to/${format}`
          yield* call("push", "--tls-verify=false", "--format", format, `${host}/from/app:1`, `docker://${to}:1`)
          const pushed = yield* look(host, `to/${format}`)
          assert.strictEqual(yield* digestOf(`docker://${to}:1`), pushed.root)
          assert.strictEqual(pushed.configs.length, configs.length)
          yield* call("pull", "--tls-verify=false", `${to}@${pushed.root}`)
        }
      })
    )

    it.scopedLive("pushes an index that it made of two images, and pulls one of it", () =>
      Effect.gen(function* () {
        const { call, host } = yield* setUp
        yield* skopeo("copy", "--all", multi, `docker://${host}/from/multi:1`)
        yield* call("manifest", "create", "list")
        yield* call("manifest", "add", "--all", "--tls-verify=false", "list", `docker://${host}/from/multi:1`)
        yield* call("manifest", "push", "--all", "--tls-verify=false", "list", `docker://${host}/to/multi:1`)
        const [from, to] = [yield* look(host, "from/multi"), yield* look(host, "to/multi")]
        assert.sameDeepMembers([...to.configs], [...from.configs])
        yield* call("pull", "--tls-verify=false", `${host}/to/multi:1`)
        yield* skopeo("delete", `docker://${host}/to/multi:1`)
        assert.strictEqual(yield* statusOf(host, "to/multi/manifests/1"), 404)
      })
    )
  })
}

/** An engine with a network and a storage of its own; it starts no container. */
const dockerEngine = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const socket = `unix://${join(folder, "socket")}`
  const places = [
    "--data-root",
    join(folder, "data"),
    "--exec-root",
    join(folder, "exec"),
    "--pidfile",
    join(folder, "pid")
  ]
  const network = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const daemon = spawn("dockerd", [...places, ...network, "--storage-driver", "vfs", "-H", socket], {
        stdio: "ignore"
      })
      const ended = new Promise<void>((resolve) => daemon.once("close", () => resolve()))
      return { daemon, ended }
    }),
    ({ daemon, ended }) => {
      daemon.kill()
      return Effect.promise(() => ended)
    }
  )
  const docker = (...words: ReadonlyArray<string>) => run("docker", "-H", socket, ...words)
  const info = Effect.sandbox(docker("info"))
  yield* Effect.retry(info, { schedule: Schedule.spaced("200 millis"), times: 100 }).pipe(Effect.orDie)
  return docker
})

;(hasDocker ? describe : describe.skip)("docker", () => {
  it.scopedLive("pushes an image, and pulls it again under the same digest", () =>
    Effect.gen(function* () {
      const host = yield* registry
      const docker = yield* dockerEngine
      const image = `${host}/team/web:1`
      yield* docker("load", "--quiet", "--input", archive("docker20-multi.tar"))
      yield* docker("tag", "fixture/web:2.0", image)
      yield* docker("push", image)
      const { root } = yield* look(host, "team/web")
      const id = yield* docker("image", "inspect", "--format", "{{.Id}}", image)
      yield* docker("tag", image, `${host}/team/again:1`)
      yield* docker("push", `${host}/team/again:1`)
      assert.strictEqual((yield* look(host, "team/again")).root, root)
      yield* docker("rmi", "--force", id.trim())
      assert.include(yield* docker("pull", `${host}/team/web@${root}`), root)
      assert.strictEqual(yield* docker("image", "inspect", "--format", "{{.Id}}", `${host}/team/web@${root}`), id)
    })
  )
})
