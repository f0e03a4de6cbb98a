import { assert, describe, it } from "@effect/vitest"
import { Descriptor, Digest, MediaType, Manifest as Model } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Client from "../../src/Registry/Client.js"
import * as Manifest from "../../src/Registry/Manifest.js"
import * as Scripted from "../support/ScriptedClient.js"

const client = Client.make({ host: "r.example", origin: "http://r.example" }, { repository: Option.none(), scopes: [] })
const blob = Descriptor.make(MediaType.ociConfig, Digest.fromBytes(Scripted.utf8("{}")), 2)
const image = Model.assemble("oci", blob, [])
const { digest } = image.descriptor
const good = {
  status: 200,
  body: image.bytes,
  headers: { "content-type": MediaType.ociManifest, "docker-content-digest": digest }
}
const flipped = { ...good, body: Uint8Array.from(image.bytes, (byte, index) => (index === 30 ? byte ^ 1 : byte)) }
const get = (identifier: string) => Effect.flatMap(client, (client) => Manifest.get(client, "a", identifier))

describe("Manifest", () => {
  describe("get", () => {
    it.live("returns the exact bytes and asks for all four types", () => {
      const script = Scripted.inOrder([good])
      return Effect.gen(function* () {
        const manifest = yield* get("1")
        assert.deepStrictEqual(manifest.bytes, image.bytes)
        assert.strictEqual(manifest.descriptor.digest, digest)
        for (const type of MediaType.manifestAccept) assert.include(script.seen[0]?.headers.accept ?? "", type)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("fetches bytes again that are not those of the digest", () => {
      const script = Scripted.inOrder([flipped, flipped, good])
      return Effect.gen(function* () {
        assert.strictEqual((yield* get(digest)).descriptor.digest, digest)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("fails with DigestMismatch after the third wrong answer, by digest and by tag", () => {
      const script = Scripted.make(() => flipped)
      return Effect.gen(function* () {
        for (const identifier of [digest, "1"]) {
          const error = yield* Effect.flip(get(identifier))
          assert.strictEqual(error._tag, "RegistryError")
          assert.strictEqual(error.reason, "DigestMismatch")
        }
        assert.strictEqual(script.seen.length, 6)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("fetches again what does not parse, then says what is wrong", () => {
      const script = Scripted.make(() => ({
        status: 200,
        body: "{",
        headers: { "content-type": MediaType.ociManifest }
      }))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(get("1"))
        assert.strictEqual(error.reason, "InvalidManifest")
        assert.strictEqual(script.seen.length, 3)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("tries again after a 500 and a lost connection", () => {
      const script = Scripted.inOrder([{ status: 500 }, { code: "ECONNRESET" }, good])
      return Effect.gen(function* () {
        assert.strictEqual((yield* get("1")).descriptor.digest, digest)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("tells a web page, a schema 1 manifest, and one that could be read in two ways", () => {
      const both = `{"schemaVersion":2,"layers":[],"manifests":[],"config":${JSON.stringify(blob)}}`
      const script = Scripted.inOrder([
        { status: 200, body: "<html>", headers: { "content-type": "text/html; charset=utf-8" } },
        {
          status: 200,
          body: `{"schemaVersion":1}`,
          headers: { "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws" }
        },
        { status: 200, body: both, headers: { "content-type": MediaType.ociIndex } },
        { ...good, headers: { "content-type": MediaType.dockerManifest } }
      ])
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(get("1"))).reason, "NotARegistry")
        const old = yield* Effect.flip(get("1"))
        assert.strictEqual(old.reason, "UnsupportedManifest")
        assert.isDefined(old.hint)
        assert.strictEqual((yield* Effect.flip(get("1"))).reason, "AmbiguousManifest")
        assert.strictEqual((yield* Effect.flip(get("1"))).reason, "AmbiguousManifest")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("holds no more than its bound", () => {
      const script = Scripted.inOrder([
        { status: 200, body: "", headers: { "content-length": String(Model.maxSize + 1) } }
      ])
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(get("1"))).reason, "TooLarge")
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("head", () => {
    it.live("reads the manifest where HEAD is unsupported or says too little", () => {
      const script = Scripted.byRequest({
        "HEAD /v2/a/manifests/1": { status: 405 },
        "GET /v2/a/manifests/1": good,
        "HEAD /v2/a/manifests/2": { status: 200, headers: { "content-type": MediaType.ociManifest } },
        "GET /v2/a/manifests/2": good,
        "HEAD /v2/a/manifests/3": { status: 405 },
        "GET /v2/a/manifests/3": { status: 404 }
      })
      return Effect.gen(function* () {
        const one = yield* client
        assert.deepStrictEqual(yield* Manifest.head(one, "a", "1"), Option.some(image.descriptor))
        assert.deepStrictEqual(yield* Manifest.head(one, "a", "2"), Option.some(image.descriptor))
        assert.deepStrictEqual(yield* Manifest.head(one, "a", "3"), Option.none())
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("tag", () => {
    const tag = Effect.flatMap(client, (client) => Manifest.tag(client, "a", "1", image.descriptor, image.bytes))
    const present = { status: 200, headers: { ...good.headers, "content-length": String(image.bytes.length) } }
    it.live("puts nothing where the tag has the digest", () => {
      const script = Scripted.byRequest({ "HEAD /v2/a/manifests/1": present })
      return Effect.provide(tag, script.layer)
    })
    it.live("puts the bytes as they are under their media type", () => {
      const script = Scripted.byRequest({
        "HEAD /v2/a/manifests/1": { status: 404 },
        "PUT /v2/a/manifests/1": [{ status: 503 }, { status: 201, headers: { "docker-content-digest": digest } }]
      })
      return Effect.gen(function* () {
        yield* tag
        const puts = script.seen.filter(({ method }) => method === "PUT")
        assert.strictEqual(puts.length, 2)
        assert.deepStrictEqual(puts[1]?.body, image.bytes)
        assert.strictEqual(puts[1]?.headers["content-type"], MediaType.ociManifest)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("looks whether it is there after a lost answer: the tag may be immutable", () => {
      const script = Scripted.byRequest({
        "HEAD /v2/a/manifests/1": [{ status: 404 }, present],
        "PUT /v2/a/manifests/1": [{ code: "ECONNRESET" }, { status: 400 }]
      })
      return Effect.gen(function* () {
        yield* tag
        assert.strictEqual(script.seen.filter(({ method }) => method === "PUT").length, 1)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("puts bytes again that the registry finds damaged, twice at most", () => {
      const damaged = { status: 400, body: '{"errors":[{"code":"MANIFEST_INVALID"}]}' }
      const script = Scripted.byRequest({
        "HEAD /v2/a/manifests/1": { status: 404 },
        "PUT /v2/a/manifests/1": damaged
      })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(tag)
        assert.strictEqual(error._tag === "RegistryError" ? error.status : 0, 400)
        assert.strictEqual(script.seen.filter(({ method }) => method === "PUT").length, 3)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("reports a registry that lacks a blob with its codes", () => {
      const script = Scripted.byRequest({
        "HEAD /v2/a/manifests/1": { status: 404 },
        "PUT /v2/a/manifests/1": {
          status: 404,
          body: `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}`
        }
      })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(tag)
        assert.strictEqual(error._tag, "RegistryError")
        assert.include(error.message, "MANIFEST_BLOB_UNKNOWN: blob unknown")
        assert.isDefined(error.hint)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("advises Docker's formats where the type is refused, and nowhere else", () => {
      const body = (code: string, message = "") => JSON.stringify({ errors: [{ code, message }] })
      const artifact = Model.ofImage({
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        artifactType: "application/x",
        config: blob,
        layers: []
      })
      const hintOf = (answer: { readonly status: number; readonly body?: string }, made = image) => {
        const script = Scripted.make(({ method }) => (method === "HEAD" ? { status: 404 } : answer))
        const put = Effect.flatMap(client, (one) => Manifest.put(one, "a", "1", made.descriptor, made.bytes))
        return Effect.map(Effect.provide(Effect.flip(put), script.layer), ({ hint }) =>
          hint?.includes("--format docker")
        )
      }
      return Effect.gen(function* () {
        for (const answer of [
          { status: 415 },
          { status: 400, body: body("MANIFEST_INVALID") },
          { status: 422, body: body("UNSUPPORTED") },
          { status: 400, body: body("UNKNOWN", "unsupported media type") }
        ]) {
          assert.isTrue(yield* hintOf(answer), JSON.stringify(answer))
        }
        for (const answer of [
          { status: 400 },
          { status: 400, body: body("TAG_INVALID", "tags are immutable") },
          { status: 400, body: `{"errors":[{"code":"MANIFEST_INVALID"},{"code":"MANIFEST_BLOB_UNKNOWN"}]}` }
        ]) {
          assert.isNotTrue(yield* hintOf(answer), JSON.stringify(answer))
        }
        assert.isNotTrue(yield* hintOf({ status: 415 }, artifact))
      })
    })
    it.live("notices a registry that stored something else", () => {
      const other = Digest.fromBytes(Scripted.utf8("other"))
      const script = Scripted.make(({ method }) =>
        method === "HEAD" ? { status: 404 } : { status: 201, headers: { "docker-content-digest": other } }
      )
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(tag)).reason, "DigestMismatch")
      }).pipe(Effect.provide(script.layer))
    })
  })
})
