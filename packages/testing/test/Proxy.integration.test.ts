/** A pull-through cache between real registries and real clients. */
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { readdir } from "node:fs/promises"
import * as Http from "node:http"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Credentials, copy, type Digest, deleteTag, MediaType, MemoryStore, Registry, tag } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults, TokenServer, Upstream } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { DockerRegistry, Fixture, TcpProxy, Tools } from "../src/index.js"
import { seed } from "./support/seed.js"
import { startEmbedded, startGuarded, temporaryFolder } from "./support/servers.js"

const mebibyte = 1 << 20

const registryLayer = (url: string, options: NodeRegistry.Options = {}) =>
  NodeRegistry.layer({
    url,
    state: false,
    credentials: Credentials.make({}),
    retry: { delay: "20 millis" },
    ...options
  })

/** A cache of `url` in this folder, with what it was asked. */
const cacheOf = (url: string, root: string, options: NodeRegistry.Options = {}) =>
  Effect.gen(function* () {
    const client = yield* Layer.build(registryLayer(url, options))
    const upstream = yield* Effect.provide(Upstream.fromRegistry(url), client)
    return yield* EmbeddedRegistry.make({ root, fsync: false, upstream })
  }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))

type Start = Effect.Effect<{ readonly url: string; readonly host: string }, unknown, Scope.Scope>

/** A registry with an image, a line to it that can be watched and cut, and a cache at its other end. */
const setup = (start: Start, image: Fixture.ImageFixture, options: NodeRegistry.Options = {}) =>
  Effect.gen(function* () {
    const registry = yield* start
    yield* Effect.provide(seed(`${registry.host}/team/app`, image, "1"), registryLayer(registry.url))
    const line = yield* TcpProxy.make(registry.url)
    const root = join(yield* temporaryFolder, "cache")
    return { registry, line, root, cache: yield* cacheOf(line.url, root, options) }
  })

const pull = (host: string, reference = "team/app:1") =>
  Effect.suspend(() => {
    const store = MemoryStore.make()
    return Effect.as(copy(Registry.image(`${host}/${reference}`), store.target), store)
  }).pipe(Effect.provide(registryLayer(`http://${host}`, { retry: { attempts: 1 } })))

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Buffer
}

const get = (url: string, path: string, init: RequestInit = {}) =>
  Effect.tryPromise(async (): Promise<Answer> => {
    const response = await fetch(new URL(path, url), { ...init })
    return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) }
  })

const codeOf = ({ bytes }: Answer): string => JSON.parse(bytes.toString()).errors[0].code

/** How often each blob was asked for; a HEAD is none. */
const transfers = (line: TcpProxy.TcpProxy) =>
  line.requests().filter(({ method, url }) => method === "GET" && url.includes("/blobs/")).length

const hash = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

/** The blobs of a cache, in its folder; and unfinished uploads nowhere. */
const stored = (root: string) =>
  Effect.promise(async () => {
    const names = await readdir(root, { recursive: true })
    const uploads = names.filter((name) => /_uploads?\/./.test(name))
    return { blobs: names.filter((name) => /(^|\/)blobs\/sha256\/[0-9a-f]{64}$/.test(name)), uploads }
  })

const blobOf = (image: Fixture.ImageFixture, index = 0): { readonly digest: Digest.Digest; readonly size: number } =>
  image.layers[index]?.descriptor ?? image.configDescriptor

const upstreams: Readonly<Record<string, Start>> = {
  "an embedded registry": Effect.map(startEmbedded(), (host) => ({ host, url: `http://${host}` })),
  "docker-registry": DockerRegistry.make()
}

for (const [name, start] of Object.entries(upstreams)) {
  const block = name === "docker-registry" ? Tools.needing(describe, "docker-registry") : describe
  block(`a cache of ${name}`, () => {
    it.scopedLive("pulls cold, warm, and without its upstream, where an empty one cannot", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ layers: 3, size: 50_000 })
        const { cache, line, root } = yield* setup(start, image)
        yield* pull(cache.host)
        assert.strictEqual(transfers(line), 4)
        yield* pull(cache.host)
        assert.strictEqual(transfers(line), 4)
        yield* line.refuse
        yield* pull(cache.host)
        const again = yield* cacheOf(line.url, join(root, "..", "other"))
        assert.strictEqual((yield* Effect.flip(pull(again.host)))._tag, "RegistryError")
      })
    )

    it.scopedLive("keeps its images from one run to the next", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ layers: 2 })
        const registry = yield* start
        yield* Effect.provide(seed(`${registry.host}/team/app`, image, "1"), registryLayer(registry.url))
        const line = yield* TcpProxy.make(registry.url)
        const root = join(yield* temporaryFolder, "cache")
        yield* Effect.scoped(Effect.flatMap(cacheOf(line.url, root), ({ host }) => pull(host)))
        yield* line.refuse
        const { host } = yield* cacheOf(line.url, root)
        yield* pull(host)
        const { bytes } = yield* get(`http://${host}`, `/v2/team/app/manifests/1`)
        assert.strictEqual(hash(bytes), image.descriptor.digest)
        assert.deepEqual(JSON.parse((yield* get(`http://${host}`, "/v2/_catalog")).bytes.toString()), {
          repositories: ["team/app"]
        })
      })
    )

    it.scopedLive("follows tags that move and go", () =>
      Effect.gen(function* () {
        const one = Fixture.image({ seed: 1 })
        const two = Fixture.image({ seed: 2 })
        const { cache, registry } = yield* setup(start, one)
        const at = registryLayer(registry.url)
        const digest = Effect.map(
          get(cache.url, "/v2/team/app/manifests/1"),
          ({ headers, status }) => [status, headers.get("docker-content-digest")] as const
        )
        assert.deepEqual(yield* digest, [200, one.descriptor.digest])
        yield* Effect.provide(seed(`${registry.host}/team/app`, two, "1"), at)
        assert.deepEqual(yield* digest, [200, two.descriptor.digest])
        yield* Effect.provide(tag(`${registry.host}/team/app:1`, "2"), at)
        const tags = Effect.map(get(cache.url, "/v2/team/app/tags/list"), ({ bytes }) => JSON.parse(bytes.toString()))
        assert.deepEqual(yield* tags, { name: "team/app", tags: ["1", "2"] })
        yield* Effect.provide(deleteTag(`${registry.host}/team/app:1`), at)
        const gone = yield* get(cache.url, "/v2/team/app/manifests/1")
        assert.deepEqual([gone.status, codeOf(gone)], [404, "MANIFEST_UNKNOWN"])
        assert.deepEqual((yield* tags).tags, ["2"])
      })
    )

    it.scopedLive("moves each blob once for twenty clients that come at the same time", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ layers: 3, size: 1.5 * mebibyte })
        const { cache, line } = yield* setup(start, image)
        const digests = [...image.blobs.keys()]
        const client = Effect.gen(function* () {
          const manifest = yield* get(cache.url, "/v2/team/app/manifests/1")
          assert.strictEqual(hash(manifest.bytes), image.descriptor.digest)
          yield* Effect.forEach(
            digests,
            (digest) =>
              Effect.map(get(cache.url, `/v2/team/app/blobs/${digest}`), ({ bytes }) =>
                assert.strictEqual(hash(bytes), digest)
              ),
            { concurrency: 3 }
          )
        })
        yield* Effect.all(
          Array.from({ length: 20 }, () => client),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(transfers(line), 4)
        const manifests = line.requests().filter(({ method, url }) => method === "GET" && url.includes("/manifests/"))
        assert.strictEqual(manifests.length, 1)
      })
    )

    it.scopedLive("hands out and keeps no blob with another digest", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ layers: 1, size: 4 * mebibyte })
        const { cache, line, root } = yield* setup(start, image)
        const { digest } = blobOf(image)
        const path = `/v2/team/app/blobs/${digest}`
        yield* line.script(({ method, url }) =>
          method === "GET" && url === path ? TcpProxy.flipResponse(() => 2 * mebibyte) : undefined
        )
        yield* Effect.flip(Effect.asVoid(get(cache.url, path)))
        yield* Effect.flip(Effect.asVoid(get(cache.url, path, { headers: { range: "bytes=0-99" } })))
        assert.isAtLeast(line.struck(), 2)
        assert.deepEqual(yield* stored(root), { blobs: [], uploads: [] })
        yield* line.script(() => undefined)
        assert.strictEqual(hash((yield* get(cache.url, path)).bytes), digest)
      })
    )

    it.scopedLive("goes on by itself where its upstream is cut, and anew where that does not help", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ layers: 1, size: 4 * mebibyte })
        const { cache, line } = yield* setup(start, image)
        const path = `/v2/team/app/blobs/${blobOf(image).digest}`
        let cuts = 1
        const cut: TcpProxy.Script = ({ method, url }) =>
          method === "GET" && url === path && cuts-- > 0 ? TcpProxy.cutResponse(() => mebibyte) : undefined
        yield* line.script(cut)
        assert.strictEqual(hash((yield* get(cache.url, path)).bytes), blobOf(image).digest)
        assert.deepEqual([transfers(line), line.struck()], [2, 1])
      })
    )

    it.scopedLive("breaks off where its upstream does, keeps nothing, and the next try completes", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ layers: 1, size: 4 * mebibyte })
        const { cache, line, root } = yield* setup(start, image, { retry: { attempts: 1 } })
        const path = `/v2/team/app/blobs/${blobOf(image).digest}`
        yield* line.script(({ method, url }) =>
          method === "GET" && url === path ? TcpProxy.cutResponse(() => mebibyte) : undefined
        )
        yield* Effect.flip(Effect.asVoid(get(cache.url, path)))
        assert.deepEqual(yield* stored(root), { blobs: [], uploads: [] })
        yield* line.script(() => undefined)
        yield* pull(cache.host)
      })
    )

    Tools.needing(it.scopedLive, "skopeo")("lets skopeo pull through it", () =>
      Effect.gen(function* () {
        const image = Fixture.image({ layers: 2, size: mebibyte })
        const { cache, line } = yield* setup(start, image)
        const folder = yield* temporaryFolder
        for (const target of ["one", "two"]) {
          const words = [
            "copy",
            "--src-tls-verify=false",
            `docker://${cache.host}/team/app:1`,
            `dir:${join(folder, target)}`
          ]
          yield* Effect.async<void>((resume) => {
            execFile("skopeo", words, (error, _, stderr) =>
              resume(error === null ? Effect.void : Effect.dieMessage(stderr))
            )
          })
        }
        assert.strictEqual(transfers(line), 3)
      })
    )
  })
}

describe("a cache", () => {
  const start = upstreams["an embedded registry"] ?? Effect.die("none")

  it.scopedLive("refuses every change", () =>
    Effect.gen(function* () {
      const image = Fixture.image()
      const { cache } = yield* setup(start, image)
      yield* pull(cache.host)
      const { digest } = image.descriptor
      const changes = [
        ["POST", "/v2/team/app/blobs/uploads/"],
        ["PATCH", `/v2/team/app/blobs/uploads/${crypto.randomUUID()}`],
        ["PUT", `/v2/team/app/blobs/uploads/${crypto.randomUUID()}?digest=${digest}`],
        ["PUT", "/v2/team/app/manifests/1"],
        ["DELETE", `/v2/team/app/manifests/${digest}`],
        ["DELETE", "/v2/team/app/manifests/1"],
        ["DELETE", `/v2/team/app/blobs/${blobOf(image).digest}`]
      ] as const
      for (const [method, path] of changes) {
        const answer = yield* get(cache.url, path, { method })
        assert.deepEqual([method, path, answer.status, codeOf(answer)], [method, path, 405, "UNSUPPORTED"])
      }
      yield* pull(cache.host)
    })
  )

  it.scopedLive("asks by its own credentials and hands on none of a client's", () =>
    Effect.gen(function* () {
      const tokens = yield* TokenServer.make({ users: { ann: { password: "secret-of-ann" } } })
      const registry = yield* startGuarded(tokens)
      const ann = Credentials.make({ [registry.host]: Credentials.password("ann", Redacted.make("secret-of-ann")) })
      const image = Fixture.image()
      yield* Effect.provide(
        seed(`${registry.host}/team/app`, image, "1"),
        registryLayer(registry.url, { credentials: ann })
      )
      const folder = yield* temporaryFolder
      const cache = yield* cacheOf(registry.url, join(folder, "ann"), { credentials: ann })
      const before = (yield* registry.exchanges).length
      const headers = { authorization: "Basic Y2xpZW50OnNlY3JldC1vZi1jbGllbnQ=", cookie: "client=secret-of-client" }
      const answer = yield* get(cache.url, "/v2/team/app/manifests/1?ns=docker.io", { headers })
      assert.deepEqual([answer.status, hash(answer.bytes)], [200, image.descriptor.digest])
      yield* get(cache.url, `/v2/team/app/blobs/${blobOf(image).digest}`, { headers })
      const asked = (yield* registry.exchanges).slice(before)
      assert.isAtLeast(asked.length, 4)
      for (const { headers, query } of asked) {
        assert.notInclude(JSON.stringify(headers), "client")
        assert.notInclude(headers.authorization ?? "", "Basic")
        assert.strictEqual(query, "")
      }
      for (const { headers } of tokens.requests()) assert.notInclude(JSON.stringify(headers), "Y2xpZW50")

      const nobody = yield* cacheOf(registry.url, join(folder, "nobody"))
      const own = { authorization: `Basic ${Buffer.from("ann:secret-of-ann").toString("base64")}` }
      const refused = yield* get(nobody.url, "/v2/team/app/manifests/1", { headers: own })
      assert.deepEqual([refused.status, codeOf(refused)], [403, "DENIED"])
      assert.notInclude(refused.bytes.toString(), registry.host)
      assert.isNull(refused.headers.get("www-authenticate"))
    })
  )

  it.scopedLive("answers no tag of an upstream that refuses it from then on", () =>
    Effect.gen(function* () {
      const image = Fixture.image()
      let refuses = false
      const onRequest = () => Effect.sync(() => (refuses ? Faults.respond(403) : undefined))
      const open = Effect.map(startEmbedded({ onRequest }), (host) => ({ host, url: `http://${host}` }))
      const { cache } = yield* setup(open, image)
      yield* pull(cache.host)
      refuses = true
      assert.strictEqual((yield* get(cache.url, "/v2/team/app/manifests/1")).status, 403)
      assert.strictEqual((yield* get(cache.url, `/v2/team/app/manifests/${image.descriptor.digest}`)).status, 200)
    })
  )

  it.scopedLive("answers HEAD, Range, If-None-Match and what is not there as any registry", () =>
    Effect.gen(function* () {
      const image = Fixture.image({ layers: 1, size: 3 * mebibyte })
      const { cache, line } = yield* setup(start, image)
      const { digest, size } = blobOf(image)
      const path = `/v2/team/app/blobs/${digest}`
      const head = yield* get(cache.url, path, { method: "HEAD" })
      assert.deepEqual([head.status, head.headers.get("content-length")], [200, String(size)])
      assert.strictEqual(transfers(line), 0)
      const range = yield* get(cache.url, path, { headers: { range: "bytes=1000-1999" } })
      const whole = image.blobs.get(digest) ?? new Uint8Array()
      assert.deepEqual([range.status, hash(range.bytes)], [206, hash(whole.subarray(1000, 2000))])
      const known = yield* get(cache.url, path, { headers: { "if-none-match": `"${digest}"` } })
      assert.strictEqual(known.status, 304)
      assert.strictEqual(transfers(line), 1)
      const zeros = `sha256:${"0".repeat(64)}`
      for (const [path, code] of [
        [`/v2/team/app/blobs/${zeros}`, "BLOB_UNKNOWN"],
        [`/v2/team/app/manifests/${zeros}`, "MANIFEST_UNKNOWN"],
        ["/v2/team/app/manifests/none", "MANIFEST_UNKNOWN"],
        ["/v2/nobody/tags/list", "NAME_UNKNOWN"]
      ] as const) {
        const answer = yield* get(cache.url, path)
        assert.deepEqual([path, answer.status, codeOf(answer)], [path, 404, code])
      }
    })
  )

  it.scopedLive("says 502 and 504 in general words where it has nothing to answer", () =>
    Effect.gen(function* () {
      const { cache, line } = yield* setup(start, Fixture.image(), {
        retry: { attempts: 1 },
        responseTimeout: "200 millis"
      })
      yield* line.script(() => TcpProxy.respond(503, {}, "secret-of-upstream"))
      for (const [fault, status] of [
        [TcpProxy.respond(503, {}, "secret-of-upstream"), 502],
        [TcpProxy.respond(429, {}, "secret-of-upstream"), 429],
        [TcpProxy.silence, 504],
        [TcpProxy.disconnect, 502]
      ] as const) {
        yield* line.script(() => fault)
        const answer = yield* get(cache.url, "/v2/team/app/manifests/1")
        assert.strictEqual(answer.status, status)
        assert.notInclude(answer.bytes.toString(), "secret")
        assert.notInclude(answer.bytes.toString(), line.host)
      }
    })
  )

  it.scopedLive("lets clients be slow and leave while others are served", () =>
    Effect.gen(function* () {
      const image = Fixture.image({ layers: 1, size: 24 * mebibyte })
      const { cache, line } = yield* setup(start, image)
      const { digest } = blobOf(image)
      const ask = Effect.async<Http.IncomingMessage>((resume) => {
        Http.get(`${cache.url}/v2/team/app/blobs/${digest}`, (response) => resume(Effect.succeed(response)))
      })
      // Neither reads; one is slow, the other one leaves.
      const slow = yield* ask
      const leaving = yield* ask
      leaving.on("error", () => {})
      leaving.destroy()
      const all = yield* Effect.all(
        [1, 2, 3].map(() => get(cache.url, `/v2/team/app/blobs/${digest}`)),
        {
          concurrency: 3
        }
      )
      for (const { bytes } of all) assert.strictEqual(hash(bytes), digest)
      const late = yield* Effect.promise(async () => {
        const chunks: Array<Uint8Array> = []
        for await (const chunk of slow as AsyncIterable<Uint8Array>) chunks.push(chunk)
        return Buffer.concat(chunks)
      })
      assert.strictEqual(hash(late), digest)
      assert.strictEqual(transfers(line), 1)
    })
  )

  it.scopedLive("lists what refers to an image", () =>
    Effect.gen(function* () {
      const image = Fixture.image({ format: "oci" })
      const { cache, line, registry } = yield* setup(start, image)
      const config = {
        mediaType: "application/vnd.test.signature",
        digest: image.configDescriptor.digest,
        size: image.config.length
      }
      const { digest, mediaType, size } = image.descriptor
      const body = JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config,
        layers: [],
        subject: { mediaType, digest, size }
      })
      const put = { method: "PUT", body, headers: { "content-type": MediaType.ociManifest } }
      assert.strictEqual(
        (yield* get(registry.url, `/v2/team/app/manifests/${hash(Buffer.from(body))}`, put)).status,
        201
      )
      const referrers = Effect.map(get(cache.url, `/v2/team/app/referrers/${digest}`), ({ bytes }) =>
        JSON.parse(bytes.toString()).manifests.map((each: { readonly digest: string }) => each.digest)
      )
      assert.deepEqual(yield* referrers, [hash(Buffer.from(body))])
      yield* get(cache.url, `/v2/team/app/manifests/${hash(Buffer.from(body))}`)
      yield* line.refuse
      assert.deepEqual(yield* referrers, [hash(Buffer.from(body))])
    })
  )

  it.scopedLive("is a cache of a cache", () =>
    Effect.gen(function* () {
      const image = Fixture.image({ layers: 2, size: 2 * mebibyte })
      const { cache, line } = yield* setup(start, image)
      const second = yield* cacheOf(cache.url, join(yield* temporaryFolder, "second"))
      yield* pull(second.host)
      assert.strictEqual(transfers(line), 3)
    })
  )
})
