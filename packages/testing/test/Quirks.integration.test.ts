import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as Path from "@effect/platform/Path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import {
  Credentials,
  copy,
  deleteImage,
  deleteTag,
  listRepositories,
  listTags,
  MemoryStore,
  Progress,
  ping,
  pull,
  push,
  Registry,
  RegistryConfig,
  tag
} from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { DockerArchive, OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Certificates, Fixture, Quirks, Walk } from "../src/index.js"
import { seed } from "./support/seed.js"

type Services = RegistryConfig.RegistryConfig | HttpClient.HttpClient | FileSystem.FileSystem | Path.Path

/** Short waits, and nothing of the machine's: neither its credentials nor its state. */
const quick = {
  state: false,
  credentials: Credentials.none,
  environment: {},
  retry: { attempts: 4, delay: "1 millis", maxDelay: "2 millis" }
} as const

/** Both data paths; `rewrite` is laid around the client. */
const clients = (
  rewrite: (client: HttpClient.HttpClient) => HttpClient.HttpClient = (client) => client
): ReadonlyArray<readonly [string, Layer.Layer<Services>]> => [
  ["Node", NodeRegistry.layer({ ...quick, transformClient: rewrite })],
  [
    "fetch",
    Layer.mergeAll(
      Layer.provide(
        Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, rewrite)),
        FetchHttpClient.layer
      ),
      RegistryConfig.layer(quick),
      NodeFileSystem.layer,
      NodePath.layer
    )
  ]
]

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "quirks-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const docker = Fixture.image({ size: 5000 })
const oci = Fixture.image({ size: 5000, seed: 2, format: "oci" })
/** With one layer that is to be had elsewhere. */
const foreign: Fixture.ImageFixture = (() => {
  const { blobs, configDescriptor, descriptor, layers } = oci
  const type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
  const manifest = new TextEncoder().encode(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: descriptor.mediaType,
      config: configDescriptor,
      layers: layers.map(({ descriptor }) => ({ ...descriptor, mediaType: type, urls: ["https://example.com/layer"] }))
    })
  )
  const described = Fixture.describeBytes(descriptor.mediaType, manifest)
  return { ...oci, manifest, descriptor: described, blobs, manifests: new Map([[described.digest, manifest]]) }
})()
const diffIds = docker.layers.map(({ diffId }) => diffId)

interface Place {
  /** As references begin. Default that of the simulation. */
  readonly host?: string
  readonly repository?: string
  /** The repository at the registry behind. Default: the same. */
  readonly actual?: string
}

/** What everybody does: push an archive compressed and not, and a layout; tag, list, and pull each way. The judge asks the registry behind. */
const everything = (
  registry: Quirks.Simulation,
  { actual, host = registry.host, repository = "team/app" }: Place = {}
) =>
  Effect.gen(function* () {
    const target = yield* folder
    const archive = join(target, "docker.tar")
    const layout = join(target, "layout")
    yield* Effect.promise(() => writeFile(archive, Fixture.dockerArchive([{ image: docker, tags: ["team/app:1"] }])))
    yield* Fixture.ociLayout(layout, [{ image: oci, tags: ["1"] }])
    const name = `${host}/${repository}`
    const judge = (reference: string) => Walk.registry(registry.behind, actual ?? repository, reference)

    yield* push(DockerArchive.file(archive), `${name}:gzip`)
    assert.deepStrictEqual((yield* judge("gzip")).configs, [docker.configDescriptor.digest])
    yield* push(DockerArchive.file(archive), `${name}:plain`, { compress: "none" })
    assert.includeMembers([...(yield* judge("plain")).blobs.keys()], diffIds)
    yield* push(OciLayout.folder(layout), `${name}:oci`)
    assert.strictEqual<string>((yield* judge("oci")).root, oci.descriptor.digest)
    yield* tag(`${name}:gzip`, "again")
    assert.strictEqual((yield* judge("again")).root, (yield* judge("gzip")).root)
    yield* push(DockerArchive.file(archive), `${name}:gzip`)
    assert.deepStrictEqual(yield* listTags(name), ["again", "gzip", "oci", "plain"])

    yield* pull(`${name}:gzip`, DockerArchive.target(join(target, "pulled.tar")))
    const [loaded] = yield* Walk.dockerArchive(join(target, "pulled.tar"))
    assert.deepStrictEqual(loaded?.diffIds, diffIds)
    yield* pull(`${name}:oci`, OciLayout.target(join(target, "pulled")))
    const [graph] = yield* Walk.layout(join(target, "pulled"))
    assert.strictEqual<string | undefined>(graph?.root, oci.descriptor.digest)
  })

/** What a client gets that does not know the quirk. */
const naive = (url: string, init: RequestInit = {}) =>
  Effect.promise(async () => {
    const response = await fetch(url, { redirect: "manual", ...init })
    return { status: response.status, headers: response.headers, text: await response.text() }
  })

/** Where an upload goes on, as the registry wrote it. */
const begin = (registry: Quirks.Simulation, query = "") =>
  Effect.map(
    naive(`${registry.url}/v2/team/app/blobs/uploads/${query}`, { method: "POST" }),
    ({ headers }) => headers.get("location") ?? ""
  )

const chunked = (bytes: Uint8Array<ArrayBuffer>): RequestInit & { readonly duplex: "half" } => ({
  method: "PATCH",
  body: new Blob([bytes]).stream(),
  duplex: "half"
})

/** The tests of one registry with each client. */
const withClients = (
  title: string,
  test: (layer: Layer.Layer<Services>) => Effect.Effect<void, unknown, Scope.Scope>,
  wanted?: ReadonlyArray<string>
) => {
  for (const [client, layer] of clients()) {
    if (wanted?.includes(client) ?? true) it.scopedLive(`${title} (${client})`, () => test(layer))
  }
}

const manifestOf = (registry: Quirks.Simulation, reference: string) =>
  `${registry.url}/v2/team/app/manifests/${reference}`

interface Case {
  readonly quirk: () => Quirks.Quirk
  /** Default: both. One does where the data path does not differ. */
  readonly clients?: ReadonlyArray<string>
  /** Shows that a client without the handling fails; the registry holds what `everything` left. */
  readonly naive: (registry: Quirks.Simulation) => Effect.Effect<void>
}

const cases: Readonly<Record<string, Case>> = {
  "absolute Locations": {
    quirk: Quirks.absoluteLocation,
    naive: (registry) =>
      Effect.map(begin(registry), (location) => assert.isFalse(URL.canParse(`${registry.url}${location}`)))
  },
  "relative Locations": {
    quirk: () => ({}),
    naive: (registry) => Effect.map(begin(registry), (location) => assert.isFalse(URL.canParse(location)))
  },
  "Locations with a query": {
    quirk: Quirks.locationWithQuery,
    naive: (registry) =>
      Effect.gen(function* () {
        const url = new URL(yield* begin(registry), registry.url)
        url.searchParams.set("digest", Fixture.digest(new Uint8Array()))
        assert.strictEqual((yield* naive(url.href, { method: "PUT" })).status, 404)
      })
  },
  "uploads that are redirected": {
    quirk: Quirks.redirectedUploads,
    naive: (registry) =>
      Effect.gen(function* () {
        const url = `${registry.url}/v2/team/app/blobs/uploads/`
        const { headers, status } = yield* naive(url, { method: "POST" })
        assert.strictEqual(status, 307)
        const authorization = { authorization: "Bearer secret" }
        const again = yield* naive(headers.get("location") ?? "", { method: "POST", headers: authorization })
        assert.strictEqual(again.status, 400)
        assert.isTrue(registry.elsewhere().some(({ method }) => method === "PUT"))
      })
  },
  "tags in no order": {
    quirk: Quirks.unsortedTags,
    clients: ["Node"],
    naive: (registry) =>
      Effect.map(naive(`${registry.url}/v2/team/app/tags/list?n=1`), ({ text }) =>
        assert.deepStrictEqual(JSON.parse(text).tags, ["plain", "oci", "gzip", "again"])
      )
  },
  "no Docker-Content-Digest": {
    quirk: Quirks.noContentDigest,
    naive: (registry) =>
      Effect.map(naive(manifestOf(registry, "gzip"), { method: "HEAD" }), ({ headers }) => {
        assert.isFalse(headers.has("docker-content-digest"))
        const puts = registry.requests().filter(({ method, reference }) => method === "PUT" && reference === "gzip")
        assert.strictEqual(puts.length, 1)
      })
  },
  ...Object.fromEntries(
    ([404, 405, 501] as const).map((status) => [
      `no HEAD (${status})`,
      {
        quirk: () => Quirks.headUnsupported(status),
        ...(status === 405 ? {} : { clients: ["Node"] }),
        naive: (registry: Quirks.Simulation) =>
          Effect.map(naive(manifestOf(registry, "gzip"), { method: "HEAD" }), (answer) =>
            assert.strictEqual(answer.status, status)
          )
      }
    ])
  ),
  ...Object.fromEntries(
    ([400, 411, 501] as const).map((status) => [
      `no body of unknown length (${status})`,
      {
        quirk: () => Quirks.chunkedRefused(status),
        clients: ["Node"],
        naive: (registry: Quirks.Simulation) =>
          Effect.gen(function* () {
            assert.isTrue(registry.requests().some((request) => request.status === status))
            const url = new URL(yield* begin(registry), registry.url).href
            assert.strictEqual((yield* naive(url, chunked(new Uint8Array(10)))).status, status)
          })
      }
    ])
  ),
  "uploads whose status cannot be asked": {
    quirk: Quirks.statusUnsupported,
    clients: ["Node"],
    naive: (registry) =>
      Effect.gen(function* () {
        const url = new URL(yield* begin(registry), registry.url).href
        assert.strictEqual((yield* naive(url)).status, 405)
      })
  },
  "a Content-Length of HEAD that is not that of GET": {
    quirk: Quirks.harbor,
    clients: ["Node"],
    naive: (registry) =>
      Effect.gen(function* () {
        const length = ({ headers }: { readonly headers: Headers }) => headers.get("content-length")
        const head = yield* naive(manifestOf(registry, "gzip"), { method: "HEAD" })
        assert.notStrictEqual(length(head), length(yield* naive(manifestOf(registry, "gzip"))))
      })
  }
}

describe("Quirks", () => {
  for (const [name, { clients, naive: shows, quirk }] of Object.entries(cases)) {
    withClients(
      `${name}: everything works, and a client that does not expect it fails`,
      (layer) =>
        Effect.gen(function* () {
          const registry = yield* Quirks.serve(quirk())
          yield* Effect.provide(everything(registry), layer)
          yield* shows(registry)
        }),
      clients
    )
  }

  withClients("catalogLimit: repositories are listed", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.catalogLimit(1000))
      yield* seed(`${registry.behindHost}/team/app`, docker, "1")
      assert.deepStrictEqual(yield* listRepositories(registry.host), ["team/app"])
      assert.strictEqual((yield* naive(`${registry.url}/v2/_catalog?n=100000`)).status, 400)
    }).pipe(Effect.provide(layer))
  )

  withClients("nullTags: no tags are an empty list", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.nullTags())
      yield* seed(`${registry.behindHost}/team/app`, docker, "1")
      assert.deepStrictEqual(yield* listTags(`${registry.host}/team/app`), ["1"])
      yield* deleteTag(`${registry.host}/team/app:1`)
      assert.deepStrictEqual(yield* listTags(`${registry.host}/team/app`), [])
      assert.isNull(JSON.parse((yield* naive(`${registry.url}/v2/team/app/tags/list`)).text).tags)
    }).pipe(Effect.provide(layer))
  )

  withClients("warnings: the user is told once", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.warnings("this registry closes"))
      const messages: Array<string> = []
      yield* Effect.provideService(listTags(`${registry.host}/team/app`).pipe(Effect.ignore), Progress.Progress, {
        emit: (event) => void (event._tag === "Warning" && messages.push(event.message))
      })
      yield* Effect.provideService(seed(`${registry.host}/team/app`, docker, "1"), Progress.Progress, {
        emit: (event) => void (event._tag === "Warning" && messages.push(event.message))
      })
      const text = `${registry.host}: this registry closes`
      assert.deepStrictEqual(messages, [text, text])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("httpLocation: an http Location behind a proxy that speaks HTTPS is used as https", () =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.httpLocation(), { tls: true })
      const { ca } = yield* Certificates.make
      const { host } = registry
      const layer = NodeRegistry.layer({
        ...quick,
        hosts: { [host]: { plainHttp: false } },
        tls: { hosts: { [host]: { ca } } }
      })
      yield* Effect.provide(everything(registry), layer)
      const locations = registry.requests().filter(({ kind, method }) => kind === "upload" && method === "POST")
      assert.isNotEmpty(locations)
      const plain = Effect.tryPromise(() => fetch(`http://${host}/v2/team/app/blobs/uploads/`, { method: "POST" }))
      assert.strictEqual((yield* Effect.exit(plain))._tag, "Failure")
    })
  )

  describe("mounts", () => {
    withClients("mountBegins: the upload that a 202 begins is used", (layer) =>
      Effect.gen(function* () {
        const registry = yield* Quirks.serve(Quirks.mountBegins())
        yield* seed(`${registry.behindHost}/team/app`, docker, "1")
        const copied = copy(
          Registry.image(`${registry.host}/team/app:1`),
          Registry.repository(`${registry.host}/other/app`)
        )
        assert.deepStrictEqual([(yield* copied).blobs.mounted, (yield* copied).blobs.sent], [0, 0])
        assert.strictEqual<string>(
          (yield* Walk.registry(registry.behind, "other/app", "1")).root,
          docker.descriptor.digest
        )
        const begun = registry.requests().filter(({ method }) => method === "POST")
        assert.strictEqual(begun.length, docker.blobs.size)
        const [digest = ""] = docker.blobs.keys()
        const mount = `?mount=${encodeURIComponent(digest)}&from=team/app`
        const url = `${registry.url}/v2/third/app/blobs/uploads/${mount}`
        assert.strictEqual((yield* naive(url, { method: "POST" })).status, 202)
        assert.strictEqual((yield* naive(`${registry.url}/v2/third/app/blobs/${digest}`)).status, 404)
      }).pipe(Effect.provide(layer))
    )
  })

  describe("manifests", () => {
    withClients("sparseIndexRefused: an archive that lacks platforms is pushed nevertheless", (layer) =>
      Effect.gen(function* () {
        const registry = yield* Quirks.serve(Quirks.sparseIndexRefused())
        const { images } = yield* push(
          DockerArchive.file(Fixture.archives.docker26Partial),
          `${registry.host}/team/app:1`
        )
        const { root } = yield* Walk.registry(registry.behind, "team/app", "1")
        assert.strictEqual<string | undefined>(root, images[0]?.digest)
        const { descriptor, manifest } = Fixture.index([docker, Fixture.image({ seed: 9 })])
        const init = { method: "PUT", body: Buffer.from(manifest), headers: { "content-type": descriptor.mediaType } }
        const answer = yield* naive(manifestOf(registry, "sparse"), init)
        assert.strictEqual(answer.status, 400)
        assert.include(answer.text, "MANIFEST_BLOB_UNKNOWN")
      }).pipe(Effect.provide(layer))
    )

    withClients("ociRefused: an archive goes in Docker's format, and a layout's refusal says how", (layer) =>
      Effect.gen(function* () {
        for (const status of [400, 415] as const) {
          const registry = yield* Quirks.serve(Quirks.ociRefused(status))
          yield* push(
            DockerArchive.file(Fixture.archives.docker20Multi, { image: "fixture/app:1.0" }),
            `${registry.host}/team/app:1`
          )
          yield* Walk.registry(registry.behind, "team/app", "1")
          const layout = join(yield* folder, "layout")
          yield* Fixture.ociLayout(layout, [{ image: oci, tags: ["1"] }])
          const error = yield* Effect.flip(push(OciLayout.folder(layout), `${registry.host}/team/app:2`))
          assert.strictEqual(error._tag, "RegistryError")
          if (error._tag !== "RegistryError") return
          assert.deepStrictEqual([error.reason, error.status], ["Rejected", status])
          assert.match(error.hint ?? "", /--format docker/)
        }
      }).pipe(Effect.provide(layer))
    )

    for (const status of [500, 400] as const) {
      withClients(`foreignLayersRefused: the refusal of a layer with urls says why (${status})`, (layer) =>
        Effect.gen(function* () {
          const registry = yield* Quirks.serve(Quirks.foreignLayersRefused(status))
          const layout = join(yield* folder, "layout")
          yield* Fixture.ociLayout(layout, [{ image: foreign, tags: ["1"] }])
          const error = yield* Effect.flip(push(OciLayout.folder(layout), `${registry.host}/team/app:1`))
          assert.strictEqual(error._tag, "RegistryError")
          if (error._tag === "RegistryError") assert.match(error.hint ?? "", /`urls`/)
        }).pipe(Effect.provide(layer))
      )
    }
  })

  describe("uploads", () => {
    /** An archive with a layer of this size, compressed on the way and not. */
    const pushLarge = (registry: Quirks.Simulation, size: number) =>
      Effect.gen(function* () {
        const large = Fixture.image({ size, layers: 1, seed: 5 })
        const archive = join(yield* folder, "large.tar")
        yield* Effect.promise(() => writeFile(archive, Fixture.dockerArchive([{ image: large, tags: ["team/app:1"] }])))
        for (const compress of ["gzip", "none"] as const) {
          yield* push(DockerArchive.file(archive), `${registry.host}/team/app:${compress}`, { compress })
          const { configs } = yield* Walk.registry(registry.behind, "team/app", compress)
          assert.deepStrictEqual(configs, [large.configDescriptor.digest])
        }
      })
    const pieces = Layer.succeed(RegistryConfig.RegistryConfig, RegistryConfig.make({ ...quick, chunkSize: 5 << 20 }))

    withClients("chunkMinLength: chunks are as long as the registry asks", (layer) =>
      Effect.gen(function* () {
        const registry = yield* Quirks.serve(Quirks.all(Quirks.chunkedRefused(), Quirks.chunkMinLength(6 << 20)))
        yield* pushLarge(registry, 13 << 20).pipe(Effect.provide(pieces))
        assert.isTrue(
          registry
            .requests()
            .some(({ headers, method }) => method === "PATCH" && headers["content-length"] === `${6 << 20}`)
        )
        const url = new URL(yield* begin(registry), registry.url).href
        const patch = { method: "PATCH", body: new Uint8Array(10) }
        assert.strictEqual((yield* naive(url, patch)).status, 202)
        assert.strictEqual((yield* naive(url, patch)).status, 400)
      }).pipe(Effect.provide(layer))
    )

    withClients("brokenUpload, statusUnsupported, cancelUnsupported: a blob starts again", (layer) =>
      Effect.gen(function* () {
        for (const status of [405, 500] as const) {
          const registry = yield* Quirks.serve(
            Quirks.all(Quirks.brokenUpload(1 << 20), Quirks.statusUnsupported(), Quirks.cancelUnsupported(status))
          )
          yield* pushLarge(registry, 2 << 20)
          assert.isTrue(registry.requests().some((request) => request.status === undefined))
          const url = new URL(yield* begin(registry), registry.url).href
          assert.strictEqual((yield* naive(url)).status, 405)
          assert.strictEqual((yield* naive(url, { method: "DELETE" })).status, status)
        }
      }).pipe(Effect.provide(layer))
    )
  })

  describe("downloads", () => {
    const large = Fixture.image({ size: 3 << 20, layers: 1, seed: 6 })
    const [blob = ""] = large.layers.map(({ descriptor }) => descriptor.digest)
    const ranged = (registry: Quirks.Simulation) =>
      naive(`${registry.url}/v2/team/app/blobs/${blob}`, { headers: { range: "bytes=1000-" } })
    const downloads: Readonly<
      Record<
        string,
        { readonly quirk: () => Quirks.Quirk; readonly naive: (status: number, range: string | null) => void }
      >
    > = {
      rangeIgnored: { quirk: Quirks.rangeIgnored, naive: (status) => assert.strictEqual(status, 200) },
      rangeWrong: { quirk: Quirks.rangeWrong, naive: (_, range) => assert.match(range ?? "", /^bytes 0-99\//) },
      openRangeRefused: { quirk: Quirks.openRangeRefused, naive: (status) => assert.strictEqual(status, 416) }
    }
    for (const [name, { naive: shows, quirk }] of Object.entries(downloads)) {
      withClients(`${name}: a download that broke off is completed`, (layer) =>
        Effect.gen(function* () {
          const registry = yield* Quirks.serve(Quirks.all(Quirks.brokenDownload(1 << 20), quirk()))
          yield* seed(`${registry.behindHost}/team/app`, large, "1")
          const target = join(yield* folder, "pulled")
          yield* pull(`${registry.host}/team/app:1`, OciLayout.target(target))
          const [graph] = yield* Walk.layout(target)
          assert.strictEqual<string | undefined>(graph?.root, large.descriptor.digest)
          assert.isTrue(registry.requests().some(({ headers, kind }) => kind === "blob" && headers.range !== undefined))
          const { headers, status } = yield* ranged(registry)
          shows(status, headers.get("content-range"))
        }).pipe(Effect.provide(layer))
      )

      withClients(`${name}: a copy to another registry is completed`, (layer) =>
        Effect.gen(function* () {
          const registry = yield* Quirks.serve(Quirks.all(Quirks.brokenDownload(1 << 20), quirk()))
          const target = yield* Quirks.serve({})
          yield* seed(`${registry.behindHost}/team/app`, large, "1")
          yield* copy(Registry.image(`${registry.host}/team/app:1`), Registry.repository(`${target.host}/team/app`))
          const { root } = yield* Walk.registry(target.behind, "team/app", "1")
          assert.strictEqual<string>(root, large.descriptor.digest)
        }).pipe(Effect.provide(layer))
      )
    }
  })
})

describe("Quirks of vendors", () => {
  const hub = (registry: { readonly url: string }) =>
    HttpClient.mapRequest((request) =>
      HttpClientRequest.setUrl(
        request,
        request.url.replace(/^https:\/\/(registry-1\.docker\.io|auth\.docker\.io)(?=\/)/, registry.url)
      )
    )

  for (const at of [0, 1]) {
    it.scopedLive(`dockerHub: short names, counted pulls, no catalog, no delete (${at === 0 ? "Node" : "fetch"})`, () =>
      Effect.gen(function* () {
        const registry = yield* Quirks.serve(Quirks.dockerHub({ pulls: 6 }))
        const layer = clients(hub(registry))[at]?.[1] ?? Layer.die("no client")
        yield* Effect.gen(function* () {
          yield* everything(registry, { host: "docker.io", repository: "app", actual: "library/app" })
          const listing = yield* Effect.flip(listRepositories("docker.io"))
          assert.deepStrictEqual([listing._tag === "RegistryError" && listing.reason], ["Unauthorized"])
          const deleted = yield* Effect.flip(deleteTag("docker.io/app:gzip"))
          assert.deepStrictEqual([deleted._tag === "RegistryError" && deleted.reason], ["DeleteDisabled"])
          const pulls = Effect.forEach(Array.from({ length: 6 }), () =>
            copy(Registry.image("docker.io/app:gzip"), MemoryStore.make().target)
          )
          const limited = yield* Effect.flip(pulls)
          assert.strictEqual(limited._tag, "RegistryError")
          if (limited._tag !== "RegistryError") return
          assert.deepStrictEqual([limited.reason, limited.status], ["RateLimited", 429])
          assert.match(limited.hint ?? "", /later/)
        }).pipe(Effect.provide(layer))
        const headers = { authorization: `Bearer ${Buffer.from('["repository:app:*"]').toString("base64url")}` }
        assert.strictEqual((yield* naive(`${registry.url}/v2/app/manifests/gzip`, { headers })).status, 401)
      })
    )
  }

  const ecr = ({ host }: Quirks.Simulation) =>
    Credentials.layer({
      [host]: Credentials.password(Quirks.ecrLogin.username, Redacted.make(Quirks.ecrLogin.password))
    })

  withClients("ecr: everything works in a repository that exists", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.ecr({ repositories: ["team/app"], immutable: true }))
      yield* everything(registry).pipe(Effect.provide(ecr(registry)))
      assert.strictEqual((yield* naive(`${registry.url}/v2/team/app/manifests/gzip`)).status, 401)
    }).pipe(Effect.provide(layer))
  )

  withClients("ecr, redirectedUploads: credentials stay where they belong", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(
        Quirks.all(Quirks.ecr({ repositories: ["team/app"] }), Quirks.redirectedUploads())
      )
      yield* everything(registry).pipe(Effect.provide(ecr(registry)))
      assert.isNotEmpty(registry.elsewhere())
      assert.isTrue(registry.elsewhere().every(({ headers }) => headers.authorization === undefined))
    }).pipe(Effect.provide(layer))
  )

  withClients("ecr: a repository that does not exist is said to be made first", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.ecr({ repositories: [] }))
      const pushed = push(DockerArchive.file(Fixture.archives.docker26Untagged), `${registry.host}/team/app:1`)
      const error = yield* Effect.flip(pushed.pipe(Effect.provide(ecr(registry))))
      assert.strictEqual(error._tag, "RegistryError")
      if (error._tag !== "RegistryError") return
      assert.strictEqual(error.reason, "NotFound")
      assert.include(error.message, "The repository with name 'team/app' does not exist")
      assert.match(error.hint ?? "", /creat|made/)
    }).pipe(Effect.provide(layer))
  )

  withClients("ecr: an immutable tag gets no second PUT, and another image under it is refused", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.ecr({ repositories: ["team/app"], immutable: true }))
      const reference = `${registry.host}/team/app:1`
      yield* Effect.gen(function* () {
        const image = DockerArchive.file(Fixture.archives.docker20Multi, { image: "fixture/app:1.0" })
        yield* push(image, reference)
        yield* push(image, reference)
        yield* tag(reference, "1")
        const puts = registry.requests().filter(({ kind, method }) => kind === "manifest" && method === "PUT")
        assert.strictEqual(puts.length, 1)
        const other = DockerArchive.file(Fixture.archives.docker20Multi, { image: "fixture/web:2.0" })
        const error = yield* Effect.flip(push(other, reference))
        assert.include(error.message, "TAG_INVALID")
        assert.deepStrictEqual([error._tag === "RegistryError" && error.reason], ["Rejected"])
      }).pipe(Effect.provide(ecr(registry)))
      const manifest = yield* naive(`${registry.behind}/v2/team/app/manifests/1`)
      const { password, username } = Quirks.ecrLogin
      const again = yield* naive(manifestOf(registry, "1"), {
        method: "PUT",
        body: manifest.text,
        headers: {
          authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`,
          "content-type": manifest.headers.get("content-type") ?? ""
        }
      })
      assert.strictEqual(again.status, 400)
    }).pipe(Effect.provide(layer))
  )

  withClients(
    "ecr: layers of another repository are mounted where the account allows it, and sent where not",
    (layer) =>
      Effect.gen(function* () {
        for (const mounts of [true, false]) {
          const registry = yield* Quirks.serve(Quirks.ecr({ repositories: ["team/app", "other/app"], mounts }))
          yield* seed(`${registry.behindHost}/team/app`, docker, "1")
          const { blobs } = yield* copy(
            Registry.image(`${registry.host}/team/app:1`),
            Registry.repository(`${registry.host}/other/app`)
          ).pipe(Effect.provide(ecr(registry)))
          assert.deepStrictEqual([blobs.mounted, blobs.sent], mounts ? [3, 0] : [0, 3])
          yield* Walk.registry(registry.behind, "other/app", "1")
        }
      }).pipe(Effect.provide(layer))
  )

  withClients("acr: an identity token is exchanged for access tokens", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.acr())
      const token = { _tag: "IdentityToken", token: Redacted.make(Quirks.acrRefreshToken) } as const
      yield* everything(registry).pipe(Effect.provide(Credentials.layer({ [registry.host]: token })))
      const basic = `Basic ${Buffer.from(`x:${Quirks.acrRefreshToken}`).toString("base64")}`
      const url = `${registry.url}/oauth2/token?service=registry.azurecr.io&scope=repository:team/app:pull`
      assert.strictEqual((yield* naive(url, { headers: { authorization: basic } })).status, 401)
    }).pipe(Effect.provide(layer))
  )

  withClients("ghcr: everything works, tags of all pages are listed, and deletes are said to be off", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.ghcr(3))
      yield* everything(registry)
      yield* ping(registry.host)
      const error = yield* Effect.flip(deleteTag(`${registry.host}/team/app:gzip`))
      assert.deepStrictEqual([error._tag === "RegistryError" && error.reason], ["DeleteDisabled"])
      const headers = { authorization: `Bearer ${Buffer.from('["repository:team/app:*"]').toString("base64url")}` }
      const page = yield* naive(`${registry.url}/v2/team/app/tags/list?n=1000`, { headers })
      assert.deepStrictEqual(JSON.parse(page.text).tags, ["again", "gzip", "oci"])
      assert.include((yield* naive(`${registry.url}/v2/`)).headers.get("www-authenticate") ?? "", "user/image")
    }).pipe(Effect.provide(layer))
  )

  withClients("gitlab: a token for one repository does, and what cannot be mounted is sent", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.gitlab())
      yield* everything(registry)
      const { blobs } = yield* copy(
        Registry.image(`${registry.host}/team/app:oci`),
        Registry.repository(`${registry.host}/other/app`)
      )
      assert.deepStrictEqual([blobs.mounted, blobs.sent], [0, oci.blobs.size])
      yield* Walk.registry(registry.behind, "other/app", "oci")
      const listing = yield* Effect.flip(listRepositories(registry.host))
      assert.deepStrictEqual([listing._tag === "RegistryError" && listing.reason], ["Unauthorized"])
      const both = "scope=repository:a/a:pull,push&scope=repository:b/b:pull"
      const { text } = yield* naive(`${registry.url}/jwt/auth?service=container_registry&${both}`)
      const granted = Buffer.from(JSON.parse(text).token, "base64url").toString()
      assert.strictEqual(granted, '["repository:a/a:pull,push"]')
    }).pipe(Effect.provide(layer))
  )

  withClients("quay: everything works, and so do deletes, for which it knows no scope", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.quay())
      yield* everything(registry)
      yield* deleteTag(`${registry.host}/team/app:again`)
      yield* deleteImage(`${registry.host}/team/app:plain`)
      assert.deepStrictEqual(yield* listTags(`${registry.host}/team/app`), ["gzip", "oci"])
      const [digest = ""] = docker.blobs.keys()
      assert.strictEqual(
        (yield* naive(`${registry.url}/v2/x/y/blobs/uploads/?mount=${digest}`, { method: "POST" })).status,
        400
      )
      const scope = "repository:team/app:delete,pull,push"
      assert.strictEqual((yield* naive(`${registry.url}/v2/auth?service=quay.io&scope=${scope}`)).status, 400)
    }).pipe(Effect.provide(layer))
  )

  withClients("k8s: images are pulled, listed and read from where it leads", (layer) =>
    Effect.gen(function* () {
      const registry = yield* Quirks.serve(Quirks.k8s())
      const index = Fixture.index([docker, Fixture.image({ seed: 3 })])
      yield* seed(`${registry.behindHost}/pause`, index, "3.9")
      const reference = `${registry.host}/pause:3.9`
      assert.deepStrictEqual(yield* listTags(`${registry.host}/pause`), ["3.9"])
      const target = join(yield* folder, "pulled")
      yield* pull(reference, OciLayout.target(target))
      const [graph] = yield* Walk.layout(target)
      assert.strictEqual<string | undefined>(graph?.root, index.descriptor.digest)
      const error = yield* Effect.flip(seed(`${registry.host}/pause`, docker, "4"))
      assert.deepStrictEqual([error._tag === "RegistryError" && error.status], [405])
      assert.strictEqual((yield* naive(`${registry.url}/v2/pause/manifests/3.9`)).status, 307)
    }).pipe(Effect.provide(layer))
  )
})
