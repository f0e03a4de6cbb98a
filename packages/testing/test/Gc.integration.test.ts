/** Garbage collection beside clients that push, mount and delete; by the command; and killed in the middle. */
import { createHash } from "node:crypto"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Command from "../../cli/test/support.js"
import { random } from "./support/process.js"
import { temporaryFolder } from "./support/servers.js"

const digestOf = (bytes: Uint8Array | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

const mediaType = "application/vnd.oci.image.manifest.v1+json"

interface Image {
  readonly repository: string
  readonly layers: ReadonlyArray<string>
  readonly text: string
  readonly digest: string
}

const imageOf = (repository: string, layers: ReadonlyArray<string>, name: string): Image => {
  const describe = (type: string, content: string) => ({
    mediaType: type,
    digest: digestOf(content),
    size: Buffer.byteLength(content)
  })
  const config = describe("application/vnd.oci.image.config.v1+json", `{"os":"linux","name":"${name}"}`)
  const parts = layers.map((text) => describe("application/vnd.oci.image.layer.v1.tar", text))
  const text = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: parts })
  return { repository, layers: [`{"os":"linux","name":"${name}"}`, ...layers], text, digest: digestOf(text) }
}

const request = async (url: string, method: string, body?: string, type = "application/octet-stream") => {
  const init = body === undefined ? { method } : { method, body, headers: { "content-type": type } }
  const response = await fetch(url, init)
  return { status: response.status, location: response.headers.get("location") ?? "", text: await response.text() }
}

/** A client as most are: what is there is not sent, what another repository may have is mounted, the manifest comes last. */
const client = (url: string) => {
  const putBlob = async (repository: string, content: string, from?: string) => {
    const digest = digestOf(content)
    const base = `${url}/v2/${repository}/blobs`
    if ((await request(`${base}/${digest}`, "HEAD")).status === 200) return
    const mount = from === undefined ? "" : `?mount=${digest}&from=${from}`
    const started = await request(`${base}/uploads/${mount}`, "POST")
    if (started.status === 201) return
    const ended = await request(`${new URL(started.location, url)}?digest=${digest}`, "PUT", content)
    assert.strictEqual(ended.status, 201, ended.text)
  }
  const putImage = async (image: Image, tag: string, from?: string) => {
    for (const content of image.layers) await putBlob(image.repository, content, from)
    return request(`${url}/v2/${image.repository}/manifests/${tag}`, "PUT", image.text, mediaType)
  }
  const remove = (image: Image) => request(`${url}/v2/${image.repository}/manifests/${image.digest}`, "DELETE")
  const isWhole = async (image: Image) => {
    const manifest = await request(`${url}/v2/${image.repository}/manifests/${image.digest}`, "GET")
    assert.deepEqual([manifest.status, manifest.text], [200, image.text])
    for (const content of image.layers) {
      const blob = await request(`${url}/v2/${image.repository}/blobs/${digestOf(content)}`, "GET")
      assert.deepEqual([blob.status, blob.text], [200, content])
    }
  }
  return { putBlob, putImage, remove, isWhole }
}

/** Several clients that share layers, a part of whose images is deleted again; gives the images that must be there. */
const traffic = (url: string, rounds: number, seed: number) =>
  Effect.promise(async () => {
    const { putImage, remove } = client(url)
    const left: Array<Image> = []
    let refused = 0
    const one = async (worker: number) => {
      const next = random(seed + worker)
      const pick = (n: number) => Math.floor(next() * n)
      for (let round = 0; round < rounds; round++) {
        const layers = [`shared ${pick(6)}`, `shared ${pick(6)}`, `own ${worker} ${pick(4)}`]
        const image = imageOf(`team/r${pick(3)}`, layers, `${worker}-${round}`)
        const tag = pick(2) === 0 ? `w${worker}` : image.digest
        for (;;) {
          const answer = await putImage(image, tag, `team/r${pick(3)}`)
          if (answer.status === 201) break
          assert.include(answer.text, "MANIFEST_BLOB_UNKNOWN")
          refused += 1
        }
        if (pick(3) > 0) assert.strictEqual((await remove(image)).status, 202)
        else left.push(image)
      }
    }
    await Promise.all([0, 1, 2, 3].map(one))
    return { left, refused }
  })

describe("Gc", () => {
  for (const [name, server] of [
    ["a folder", EmbeddedRegistry.layerTemp()],
    ["memory", EmbeddedRegistry.layerMemory()]
  ] as const) {
    const beside = (options: { readonly grace?: number }, rounds: number, seed: number) =>
      Effect.gen(function* () {
        const { collect, url } = yield* EmbeddedRegistry.EmbeddedRegistry
        let removed = 0
        const next = random(seed)
        const again = Effect.gen(function* () {
          const { removedCount } = yield* collect(options)
          removed += removedCount
          // Now and then a push fits in between.
          yield* Effect.sleep(next() * 400)
        })
        const collecting = yield* Effect.fork(Effect.forever(again))
        const { left, refused } = yield* traffic(url, rounds, seed)
        yield* Fiber.interrupt(collecting)
        yield* collect(options)
        const { isWhole } = client(url)
        yield* Effect.promise(() => Promise.all(left.map(isWhole)))
        return { left, refused, removed }
      })

    it.live(
      `never makes a push to ${name} fail, nor takes a part of an image`,
      () =>
        Effect.gen(function* () {
          const { left, refused, removed } = yield* beside({}, 25, 1)
          assert.deepEqual([refused, removed], [0, 0])
          assert.isAbove(left.length, 10)
        }).pipe(Effect.provide(server)),
      60_000
    )

    it.live(
      `takes no part of an image from ${name} without a grace either, and who sends again what is missing succeeds`,
      () =>
        Effect.gen(function* () {
          const { left, removed } = yield* beside({ grace: 0 }, 15, 2)
          assert.isAbove(left.length, 10)
          assert.isAbove(removed, 10)
        }).pipe(Effect.provide(server)),
      60_000
    )
  }
})

class File extends Context.Tag("File")<File, string>() {}

layer(Layer.scoped(File, Command.bundled))("ereg gc", (it) => {
  const gc = (root: string, ...words: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const run = yield* Command.start(yield* File, ["gc", "--root", root, "--output", "json", ...words])
      const { code, stderr, stdout } = yield* run.ended
      return { code, stderr, json: JSON.parse(stdout) }
    })

  const serve = (root: string) =>
    Effect.gen(function* () {
      const run = yield* Command.start(yield* File, ["serve", "--root", root, "--port", "0"])
      yield* Command.until(() => run.stdout().includes("\n"))
      return { ...run, url: run.stdout().trim() }
    })

  it.scoped(
    "asks the running registry, and does it alone at once after that one was killed",
    () =>
      Effect.gen(function* () {
        const root = join(yield* temporaryFolder, "root")
        const missing = yield* gc(root)
        assert.deepEqual([missing.code, missing.json.error.reason], [1, "RootUnknown"])
        const server = yield* serve(root)
        const { isWhole, putBlob, putImage } = client(server.url)
        const image = imageOf("team/app", ["one", "two"], "app")
        yield* Effect.promise(() => putImage(image, "1"))
        yield* Effect.promise(() => putBlob("team/app", "loose"))

        const young = yield* gc(root)
        assert.deepEqual([young.code, young.json.online, young.json.removedCount], [0, true, 0])
        const removed = [{ kind: "blob", repository: "team/app", digest: digestOf("loose"), upload: null, size: 5 }]
        const freed = { online: true, blobs: 1, bytes: 5, manifests: 0, uploads: 0, repositories: 1, removed, kept: [] }
        assert.deepEqual((yield* gc(root, "--grace", "0", "--dry-run")).json, {
          ...freed,
          dryRun: true,
          removedCount: 1
        })
        assert.deepEqual((yield* gc(root, "--grace", "0")).json, { ...freed, dryRun: false, removedCount: 1 })
        yield* Effect.promise(() => isWhole(image))

        const second = yield* Command.start(yield* File, ["serve", "--root", root, "--port", "0"])
        const refused = yield* second.ended
        assert.strictEqual(refused.code, 1)
        assert.include(
          refused.stderr,
          `error: cannot use ${root}\n  why: a registry runs on it, process ${server.child.pid} on `
        )

        yield* Effect.promise(() => putBlob("team/app", "more"))
        server.child.kill("SIGKILL")
        yield* server.ended
        const alone = yield* gc(root, "--grace", "0")
        assert.deepEqual([alone.json.online, alone.json.bytes], [false, 4])
        assert.isBelow((yield* (yield* Command.start(yield* File, ["gc", "--root", root])).ended).took, 8000)
        const again = yield* serve(root)
        yield* Effect.promise(() => client(again.url).isWhole(image))
      }),
    120_000
  )

  it.scoped(
    "killed in the middle loses nothing that is needed, and the next one goes on",
    () =>
      Effect.gen(function* () {
        const root = join(yield* temporaryFolder, "root")
        const images = Array.from({ length: 12 }, (_, n) =>
          imageOf(`r${n % 3}`, [`live ${n}`, `live ${n % 4}`], `live ${n}`)
        )
        const garbage = Array.from({ length: 60 }, (_, n) =>
          imageOf(`r${n % 3}`, [`dead ${n}`, `live ${n % 4}`], `dead ${n}`)
        )
        const use = <A>(run: (client_: ReturnType<typeof client>) => Promise<A>) =>
          Effect.scoped(
            Effect.flatMap(EmbeddedRegistry.make({ root, fsync: false }), ({ url }) =>
              Effect.promise(() => run(client(url)))
            )
          )
        yield* use(async ({ putBlob, putImage }) => {
          await Promise.all(images.map((image, n) => putImage(image, `t${n}`)))
          await Promise.all(garbage.map((image) => putImage(image, image.digest)))
          await Promise.all(Array.from({ length: 200 }, (_, n) => putBlob(`r${n % 3}`, `loose ${n}`)))
        })
        const contents = () => readdirSync(join(root, "blobs", "sha256")).length
        const held = () => readdirSync(join(root, "repositories", "r0", "_layout", "blobs", "sha256")).length
        const files = () => held() + contents()
        let interrupted = 0
        for (let kill = 0; kill < 8; kill++) {
          const before = files()
          const run = yield* Command.start(yield* File, ["gc", "--root", root, "--untagged", "--grace", "0"])
          // Now it has begun to remove, and has more to do.
          yield* Command.until(() => files() < before || run.child.exitCode !== null)
          if (run.child.exitCode === null && files() < before) interrupted += 1
          run.child.kill("SIGKILL")
          yield* run.ended
          yield* use(({ isWhole }) => Promise.all(images.map(isWhole)))
        }
        const { code, json } = yield* gc(root, "--untagged", "--grace", "0")
        assert.isAtLeast(interrupted, 2)
        assert.deepEqual([code, json.kept], [0, []])
        yield* use(({ isWhole }) => Promise.all(images.map(isWhole)))
        const needed = new Set(
          images.flatMap(({ digest, layers }) => [digest, ...layers.map((text) => digestOf(text))])
        )
        assert.strictEqual(contents(), needed.size)
      }),
    180_000
  )
})
