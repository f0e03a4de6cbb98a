import { assert, describe, it } from "@effect/vitest"
import { blobExists, Digest, getBlob, getImageInfo, getManifest, Manifest, MediaType } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Image, image, index, serve } from "./support/Image.js"
import * as Scripted from "./support/ScriptedClient.js"

const one = image()
const { digest } = one.manifest.descriptor
const configRoute = (made: Image) => ({
  [`GET /v2/a/blobs/${made.configDescriptor.digest}`]: { status: 200, body: made.config }
})
const single = () => Scripted.byRequest({ ...serve("a", "1", one.manifest), ...configRoute(one) })

const linux = (architecture: string, variant?: string) =>
  variant === undefined ? { os: "linux", architecture } : { os: "linux", architecture, variant }
const arm = image({ architecture: "arm64" })
const windows = image({ os: "windows" })
const attestation = image({ os: "unknown", architecture: "unknown" })
const served = (...children: Parameters<typeof index>[0]) => {
  const all = index(children)
  return Scripted.byRequest({
    ...serve("a", "1", all),
    ...Object.assign({}, ...children.map(([child]) => serve("a", undefined, child))),
    ...configRoute(one),
    ...configRoute(arm),
    ...configRoute(windows)
  })
}

describe("Inspect", () => {
  describe("getImageInfo", () => {
    it.live("is manifest and config as one value", () =>
      Effect.gen(function* () {
        const info = yield* getImageInfo("r.example/a:1")
        assert.deepInclude(info, {
          reference: `r.example/a:1@${digest}`,
          digest,
          mediaType: MediaType.ociManifest,
          indexDigest: undefined,
          platforms: [],
          configDigest: one.configDescriptor.digest,
          architecture: "amd64",
          os: "linux",
          variant: undefined,
          created: "2024-05-01T10:00:00Z",
          totalSize: one.config.length + 1000,
          layerCount: 1,
          env: ["PATH=/bin"],
          cmd: ["serve"],
          entrypoint: ["/app"],
          user: "app",
          workingDir: "/srv",
          exposedPorts: ["8080/tcp"],
          labels: { team: "x" }
        })
        assert.deepStrictEqual(
          info.layers.map(({ createdBy, diffId, digest, size }) => ({ createdBy, diffId, digest, size })),
          [{ createdBy: "COPY . /", diffId: one.diffId, digest: one.layer.digest, size: 1000 }]
        )
        assert.strictEqual(info.history.length, 2)
      }).pipe(Effect.provide(single().layer))
    )
    it.live("chooses the wanted platform of an index, whatever machine this is", () =>
      Effect.gen(function* () {
        const info = yield* getImageInfo("r.example/a:1", { platform: "linux/arm64" })
        assert.strictEqual(info.digest, arm.manifest.descriptor.digest)
        assert.strictEqual(info.architecture, "arm64")
        assert.isDefined(info.indexDigest)
        assert.deepStrictEqual(info.platforms, ["linux/amd64", "linux/arm64/v8"])
      }).pipe(Effect.provide(served([one.manifest, linux("amd64")], [arm.manifest, linux("arm64", "v8")]).layer))
    )
    it.live("takes the only image there is, attestations aside", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* getImageInfo("r.example/a:1")).os, "windows")
      }).pipe(
        Effect.provide(
          served(
            [windows.manifest, { os: "windows", architecture: "amd64" }],
            [attestation.manifest, { os: "unknown", architecture: "unknown" }]
          ).layer
        )
      )
    )
    it.live("lists the platforms where none fits", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(getImageInfo("r.example/a:1", { platform: "linux/s390x" }))
        assert.strictEqual(error.reason, "PlatformNotFound")
        assert.include(error.message, "linux/amd64, linux/arm64")
      }).pipe(Effect.provide(served([one.manifest, linux("amd64")], [arm.manifest, linux("arm64")]).layer))
    )
    it.live("refuses a malformed platform before it asks", () => {
      const script = served([one.manifest, linux("amd64")])
      return Effect.gen(function* () {
        assert.strictEqual(
          (yield* Effect.flip(getImageInfo("r.example/a:1", { platform: "amd64" }))).reason,
          "InvalidPlatform"
        )
      }).pipe(Effect.provide(script.layer))
    })
    it.live("fails for a config that is no JSON, and one larger than its bound", () => {
      const broken = (size: number, body: Uint8Array) => {
        const config = { ...one.configDescriptor, digest: Digest.fromBytes(body), size }
        const manifest = Manifest.assemble("oci", config, [])
        return Scripted.byRequest({
          ...serve("a", "1", manifest),
          [`GET /v2/a/blobs/${config.digest}`]: { status: 200, body, headers: { "content-length": String(size) } }
        })
      }
      const text = Scripted.utf8("not JSON")
      return Effect.gen(function* () {
        const info = Effect.flip(getImageInfo("r.example/a:1"))
        assert.strictEqual((yield* Effect.provide(info, broken(text.length, text).layer)).reason, "InvalidImageConfig")
        assert.strictEqual((yield* Effect.provide(info, broken(17 * 1024 * 1024, text).layer)).reason, "TooLarge")
      })
    })
  })
  describe("getManifest", () => {
    it.live("takes the digest where a tag stands beside it, and latest where there is neither", () => {
      const script = Scripted.byRequest({ ...serve("a", "latest", one.manifest) })
      return Effect.gen(function* () {
        yield* getManifest(`r.example/a:other@${digest}`)
        yield* getManifest("r.example/a")
        assert.deepStrictEqual(script.lines(), [`GET /v2/a/manifests/${digest}`, "GET /v2/a/manifests/latest"])
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("blobExists", () => {
    it.live("tells, also where HEAD is unsupported", () => {
      const script = Scripted.inOrder([
        { status: 200 },
        { status: 404 },
        { status: 405 },
        { status: 200, body: "x" },
        { status: 501 },
        { status: 404 }
      ])
      return Effect.gen(function* () {
        const answers = yield* Effect.forEach([1, 2, 3, 4], () => blobExists(`r.example/a@${digest}`))
        assert.deepStrictEqual(answers, [true, false, true, false])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("wants a digest", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(blobExists("r.example/a:1"))).reason, "InvalidReference")
      }).pipe(Effect.provide(single().layer))
    )
  })
  describe("getBlob", () => {
    it.live("streams the verified bytes", () =>
      Effect.gen(function* () {
        const chunks = yield* Stream.runCollect(getBlob(`r.example/a@${one.configDescriptor.digest}`))
        assert.deepStrictEqual(
          Chunk.toReadonlyArray(chunks).flatMap((chunk) => [...chunk]),
          [...one.config]
        )
      }).pipe(Effect.provide(single().layer))
    )
  })
})
