/** Images in another format or with other compression: what skopeo and the decompressors make of them. */
import { execFile } from "node:child_process"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { type CopyOptions, copy, push, Registry, type ValidationError } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { DockerArchive } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Fixture, GraphFixture, Tools, Walk } from "../src/index.js"
import { seed } from "./support/seed.js"
import { startEmbedded, temporaryFolder } from "./support/servers.js"
import * as Signed from "./support/signed.js"

interface Document {
  readonly mediaType: string
  readonly config: Part
  readonly layers: ReadonlyArray<Part>
  readonly manifests: ReadonlyArray<Part>
  readonly annotations?: Readonly<Record<string, string>>
}

interface Part {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: { readonly architecture: string }
  readonly annotations?: Readonly<Record<string, string>>
}

const types = {
  docker: {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    none: "application/vnd.docker.image.rootfs.diff.tar",
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip"
  },
  oci: {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    index: "application/vnd.oci.image.index.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    none: "application/vnd.oci.image.layer.v1.tar",
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    zstd: "application/vnd.oci.image.layer.v1.tar+zstd"
  }
} as const

/** A registry, and a copy from one of its repositories into another. */
const setUp = Effect.map(startEmbedded(), (host) => ({
  host,
  convert: (from: string, to: string, options: CopyOptions) =>
    copy(Registry.image(`${host}/${from}:1`), Registry.repository(`${host}/${to}`), { tags: ["1"], ...options }),
  /** What a tag names now, with all below it verified. */
  look: (repository: string) =>
    Effect.map(Walk.registry(`http://${host}`, repository, "1"), (graph) => {
      const document = (digest: string): Document =>
        JSON.parse(new TextDecoder().decode(graph.manifests.get(digest)?.bytes))
      return { ...graph, document: document(graph.root), of: document }
    })
}))

type Looked = Effect.Effect.Success<ReturnType<Effect.Effect.Success<typeof setUp>["look"]>>

const run = (file: string, ...words: ReadonlyArray<string>) =>
  Effect.async<string>((resume) => {
    execFile(file, words, { maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
      resume(error === null ? Effect.succeed(stdout) : Effect.dieMessage(`${file} ${words.join(" ")}\n${stderr}`))
    )
  })

/** Copies it away, all platforms, verifying every digest; the manifest that came is this one. */
const expectSkopeo = (host: string, repository: string, digest: string) =>
  Effect.gen(function* () {
    const target = join(yield* temporaryFolder, "copied")
    yield* run(
      "skopeo",
      "copy",
      "--quiet",
      "--all",
      "--src-tls-verify=false",
      `docker://${host}/${repository}:1`,
      `dir:${target}`
    )
    const manifest = yield* Effect.promise(() => readFile(join(target, "manifest.json")))
    assert.strictEqual<string>(Fixture.digest(manifest), digest)
  })

/** The layers of an image, decompressed by others, are those that its config tells. */
const expectDiffIds = ({ blobs, document }: Pick<Looked, "blobs" | "document">) =>
  Effect.gen(function* () {
    const bytesOf = (digest: string) => blobs.get(digest)?.bytes ?? new Uint8Array()
    const config: { readonly rootfs: { readonly diff_ids: ReadonlyArray<string> } } = JSON.parse(
      new TextDecoder().decode(bytesOf(document.config.digest))
    )
    const plain = yield* Effect.forEach(document.layers, (layer) => decompress(layer.mediaType, bytesOf(layer.digest)))
    assert.deepStrictEqual<ReadonlyArray<string>>(plain.map(Fixture.digest), config.rootfs.diff_ids)
  })

const decompress = (mediaType: string, bytes: Uint8Array) =>
  Effect.gen(function* () {
    if (mediaType.endsWith("gzip")) return new Uint8Array(gunzipSync(bytes))
    if (!mediaType.endsWith("zstd")) return bytes
    const file = join(yield* temporaryFolder, "layer.zst")
    yield* Effect.promise(() => writeFile(file, bytes))
    yield* run("zstd", "--quiet", "--decompress", file)
    return new Uint8Array(yield* Effect.promise(() => readFile(file.slice(0, -4))))
  })

const layersOf = ({ document }: Looked) => document.layers.map(({ digest }) => digest)
const typesOf = ({ document }: Looked) => [
  document.mediaType,
  document.config.mediaType,
  ...new Set(document.layers.map(({ mediaType }) => mediaType))
]

const node = NodeRegistry.layer({ state: false })

const test = (title: string, body: Effect.Effect<void, unknown, Layer.Layer.Success<typeof node> | Scope.Scope>) =>
  Tools.needing(it.scopedLive, "skopeo", "zstd")(title, () => Effect.provide(body, node))

describe("copy with a format", () => {
  test(
    "makes an OCI image of Docker's with the same config and layers, and the same Docker image of that again",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      const folder = yield* temporaryFolder
      const archive = join(folder, "app.tar")
      yield* Effect.promise(() => writeFile(archive, Fixture.dockerArchive([{ image: Fixture.image({ seed: 401 }) }])))
      yield* push(DockerArchive.file(archive), `${host}/docker:1`)
      const original = yield* look("docker")
      assert.deepStrictEqual(typesOf(original), [types.docker.manifest, types.docker.config, types.docker.gzip])

      const result = yield* convert("docker", "oci", { format: "oci" })
      const converted = yield* look("oci")
      assert.deepStrictEqual(typesOf(converted), [types.oci.manifest, types.oci.config, types.oci.gzip])
      assert.deepStrictEqual([converted.configs, layersOf(converted)], [original.configs, layersOf(original)])
      assert.deepStrictEqual<unknown>(result.changed, [{ from: original.root, to: converted.root }])
      assert.strictEqual(result.blobs.sent, 0)
      yield* expectSkopeo(host, "oci", converted.root)

      yield* convert("oci", "again", { format: "docker" })
      assert.strictEqual((yield* look("again")).root, original.root)
      yield* expectSkopeo(host, "again", original.root)
    })
  )

  test(
    "changes nothing where the image has that format",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      const image = Fixture.image({ seed: 402, format: "oci" })
      yield* seed(`${host}/app`, image, "1")
      const { changed } = yield* convert("app", "same", { format: "oci" })
      assert.deepStrictEqual<unknown>([changed, (yield* look("same")).root], [[], image.descriptor.digest])
    })
  )

  test(
    "makes a list for Docker of an OCI index, its platforms kept",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      yield* seed(`${host}/app`, Signed.root, "1")
      yield* convert("app", "docker", { format: "docker" })
      const list = yield* look("docker")
      assert.strictEqual(list.document.mediaType, types.docker.index)
      assert.deepStrictEqual(
        list.document.manifests.map(({ platform }) => platform?.architecture),
        ["amd64", "arm64"]
      )
      assert.deepStrictEqual(list.configs, (yield* look("app")).configs)
      for (const { digest } of list.document.manifests) {
        assert.strictEqual(list.of(digest).mediaType, types.docker.manifest)
        yield* expectDiffIds({ ...list, document: list.of(digest) })
      }
      yield* expectSkopeo(host, "docker", list.root)
    })
  )

  test(
    "makes one Docker image of a platform of an OCI index",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      yield* seed(`${host}/app`, Signed.root, "1")
      const platforms = [{ os: "linux", architecture: "arm64" }]
      const result = yield* convert("app", "one", { format: "docker", platforms })
      const one = yield* look("one")
      assert.deepStrictEqual(typesOf(one), [types.docker.manifest, types.docker.config, types.docker.gzip])
      // The name means another manifest, and that one is written anew.
      assert.strictEqual(result.changed.length, 2)
      assert.deepInclude<unknown>(result.changed, { from: Signed.root.descriptor.digest, to: one.root })
      assert.strictEqual(one.configs[0], (yield* look("app")).configs[1])
      yield* expectDiffIds(one)
      yield* expectSkopeo(host, "one", one.root)
    })
  )

  test(
    "refuses to take signatures along, and zstd into Docker's format",
    Effect.gen(function* () {
      const { convert, host } = yield* setUp
      yield* GraphFixture.toRegistry({ url: `http://${host}`, name: "app", referrersApi: true }, Signed.graph)
      yield* seed(`${host}/app`, Signed.root, "1")
      const refused = (options: CopyOptions, from = "app") =>
        Effect.map(Effect.flip(convert(from, "refused", options)), (error) => {
          const { _tag, reason }: Pick<ValidationError, "reason"> & { readonly _tag: string } = error as ValidationError
          return [_tag, reason]
        })
      const invalid = ["ValidationError", "InvalidOption"]
      assert.deepStrictEqual<unknown>(yield* refused({ format: "docker", referrers: true }), invalid)
      assert.deepStrictEqual<unknown>(yield* refused({ compress: "zstd", digestTags: true }), invalid)
      yield* convert("app", "zstd", { compress: "zstd" })
      assert.deepStrictEqual<unknown>(yield* refused({ format: "docker" }, "zstd"), invalid)
      const tags = yield* Effect.promise(() => fetch(`http://${host}/v2/refused/tags/list`))
      assert.strictEqual(tags.status, 404)
    })
  )
})

describe("copy with a compression", () => {
  for (const compressed of [true, false]) {
    test(
      `makes zstd of ${compressed ? "gzip" : "plain"} layers and gzip of that, the same at every time`,
      Effect.gen(function* () {
        const { convert, host, look } = yield* setUp
        const image = Fixture.image({ seed: 403, format: "oci", compressed, size: 300_000, layers: 3 })
        yield* seed(`${host}/app`, image, "1")
        yield* convert("app", "zstd", { compress: "zstd" })
        const zstd = yield* look("zstd")
        assert.deepStrictEqual(typesOf(zstd), [types.oci.manifest, types.oci.config, types.oci.zstd])
        assert.strictEqual<string | undefined>(zstd.configs[0], image.configDescriptor.digest)
        yield* expectDiffIds(zstd)
        yield* expectSkopeo(host, "zstd", zstd.root)

        yield* convert("zstd", "gzip", { compress: "gzip" })
        const gzip = yield* look("gzip")
        assert.deepStrictEqual(typesOf(gzip), [types.oci.manifest, types.oci.config, types.oci.gzip])
        yield* expectDiffIds(gzip)
        yield* expectSkopeo(host, "gzip", gzip.root)

        yield* convert("gzip", "zstd-again", { compress: "zstd" })
        assert.strictEqual((yield* look("zstd-again")).root, zstd.root)
      })
    )
  }

  test(
    "gzips plain layers as a push of their archive does",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      const folder = yield* temporaryFolder
      const image = Fixture.image({ seed: 404, compressed: false })
      const archive = join(folder, "app.tar")
      yield* Effect.promise(() => writeFile(archive, Fixture.dockerArchive([{ image }])))
      yield* push(DockerArchive.file(archive), `${host}/pushed:1`)
      yield* seed(`${host}/plain`, image, "1")
      yield* convert("plain", "gzip", { compress: "gzip" })
      assert.strictEqual((yield* look("gzip")).root, (yield* look("pushed")).root)
    })
  )

  test(
    "gzips zstd layers on the way into Docker's format",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      yield* seed(`${host}/app`, Fixture.image({ seed: 405, format: "oci" }), "1")
      yield* convert("app", "zstd", { compress: "zstd" })
      assert.include(typesOf(yield* look("zstd")), types.oci.zstd)
      yield* convert("zstd", "docker", { compress: "gzip", format: "docker" })
      const docker = yield* look("docker")
      assert.deepStrictEqual(typesOf(docker), [types.docker.manifest, types.docker.config, types.docker.gzip])
      yield* expectDiffIds(docker)
      yield* expectSkopeo(host, "docker", docker.root)
    })
  )

  test(
    "leaves layers that have it as they are",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      for (const [name, compressed, compress] of [
        ["gzip", true, "gzip"],
        ["plain", false, "none"]
      ] as const) {
        const image = Fixture.image({ seed: 406, compressed })
        yield* seed(`${host}/${name}`, image, "1")
        yield* convert(name, `${name}-again`, { compress })
        assert.strictEqual<string>((yield* look(`${name}-again`)).root, image.descriptor.digest)
      }
    })
  )

  test(
    "compresses a layer of several images once",
    Effect.gen(function* () {
      const { convert, host, look } = yield* setUp
      yield* seed(`${host}/app`, Signed.root, "1")
      const { blobs } = yield* convert("app", "zstd", { compress: "zstd" })
      const index = yield* look("zstd")
      const layers = new Set(index.document.manifests.flatMap(({ digest }) => index.of(digest).layers))
      assert.strictEqual(new Set([...layers].map(({ digest }) => digest)).size, 3)
      // Two configs are mounted.
      assert.deepStrictEqual([blobs.sent, blobs.mounted], [3, 2])
      for (const { digest } of index.document.manifests) yield* expectDiffIds({ ...index, document: index.of(digest) })
      yield* expectSkopeo(host, "zstd", index.root)
    })
  )
})
