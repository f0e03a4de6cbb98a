import { assert, describe, it } from "@effect/vitest"
import { Digest, MediaType, RepositoryReader } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { image } from "./support/Image.js"
import * as Scripted from "./support/ScriptedClient.js"

const { bytes, descriptor } = image().manifest
const { digest } = descriptor
const blob = new TextEncoder().encode("a blob")
const blobDigest = Digest.fromBytes(blob)
const missing = Digest.fromBytes(new Uint8Array(0))
const manifestAnswer = {
  status: 200,
  body: bytes,
  headers: {
    "content-type": `${descriptor.mediaType}; charset=utf-8`,
    "docker-content-digest": digest,
    "content-length": String(bytes.length)
  }
}

const at = (
  host: string,
  routes: Parameters<typeof Scripted.byRequest>[0],
  options?: Parameters<typeof Scripted.byRequest>[1]
) => {
  const script = Scripted.byRequest(routes, options)
  const use = <A, E>(f: (reader: RepositoryReader.RepositoryReader) => Effect.Effect<A, E>, repository = "a") =>
    Effect.flatMap(RepositoryReader.open(host, repository), f).pipe(Effect.provide(script.layer))
  return { ...script, use }
}

const all = (found: Option.Option<RepositoryReader.RemoteBlob>) =>
  Effect.map(Stream.runCollect(Option.getOrThrow(found).stream), (chunks) =>
    Buffer.concat(Chunk.toReadonlyArray(chunks)).toString()
  )

describe("RepositoryReader", () => {
  describe("resolve", () => {
    it.live("is what a tag names, and nothing where there is no such tag", () =>
      Effect.gen(function* () {
        const { lines, use } = at("r.example", {
          "HEAD /v2/a/manifests/1": manifestAnswer,
          "HEAD /v2/a/manifests/2": { status: 404 }
        })
        assert.deepEqual(yield* use((reader) => reader.resolve("1")), Option.some(digest))
        assert.deepEqual(yield* use((reader) => reader.resolve("2")), Option.none())
        assert.strictEqual(lines().length, 2)
      })
    )

    it.live("calls Docker's own images by their whole name at Docker Hub", () =>
      Effect.gen(function* () {
        const { seen, use } = at("docker.io", { "HEAD /v2/library/alpine/manifests/1": manifestAnswer })
        assert.deepEqual(yield* use((reader) => reader.resolve("1"), "alpine"), Option.some(digest))
        assert.deepEqual(yield* use((reader) => reader.resolve("1"), "library/alpine"), Option.some(digest))
        assert.strictEqual(seen[0]?.url, "https://registry-1.docker.io/v2/library/alpine/manifests/1")
      })
    )

    it.live("asks mirrors first", () =>
      Effect.gen(function* () {
        const script = Scripted.make(
          ({ url }) => (url.startsWith("https://mirror.example/v2/a/") ? { status: 404 } : manifestAnswer),
          { hosts: { "r.example": { mirrors: ["https://mirror.example"] } } }
        )
        const found = Effect.flatMap(RepositoryReader.open("r.example", "a"), (reader) => reader.resolve("1"))
        assert.deepEqual(yield* Effect.provide(found, script.layer), Option.some(digest))
        assert.deepEqual(
          script.seen.map(({ url }) => new URL(url).host),
          ["mirror.example", "r.example"]
        )
      })
    )

    it.live("fails where the registry refuses", () =>
      Effect.gen(function* () {
        const { use } = at("r.example", { "HEAD /v2/a/manifests/1": { status: 403 } })
        const error = yield* Effect.flip(use((reader) => reader.resolve("1")))
        assert.strictEqual(error.reason, "Denied")
      })
    )
  })

  describe("manifest", () => {
    it.live("is the exact bytes of whatever type, with the type they came under", () =>
      Effect.gen(function* () {
        const odd = new TextEncoder().encode("no JSON at all")
        const { use } = at("r.example", {
          [`GET /v2/a/manifests/${digest}`]: manifestAnswer,
          [`GET /v2/a/manifests/${Digest.fromBytes(odd)}`]: {
            status: 200,
            body: odd,
            headers: { "content-type": "text/odd" }
          },
          [`GET /v2/a/manifests/${missing}`]: { status: 404 }
        })
        const found = Option.getOrThrow(yield* use((reader) => reader.manifest(digest)))
        assert.deepEqual([found.mediaType, Buffer.from(found.bytes)], [MediaType.ociManifest, Buffer.from(bytes)])
        const other = Option.getOrThrow(yield* use((reader) => reader.manifest(Digest.fromBytes(odd))))
        assert.deepEqual([other.mediaType, Buffer.from(other.bytes)], ["text/odd", Buffer.from(odd)])
        assert.isTrue(Option.isNone(yield* use((reader) => reader.manifest(missing))))
      })
    )

    it.live("fetches again what has another digest, and fails in the end", () =>
      Effect.gen(function* () {
        const wrong = { ...manifestAnswer, body: "{}", headers: { "content-type": descriptor.mediaType } }
        const { lines, use } = at("r.example", { [`GET /v2/a/manifests/${digest}`]: [wrong, manifestAnswer] })
        assert.isTrue(Option.isSome(yield* use((reader) => reader.manifest(digest))))
        assert.strictEqual(lines().length, 2)
        const never = at("r.example", { [`GET /v2/a/manifests/${digest}`]: wrong })
        const error = yield* Effect.flip(never.use((reader) => reader.manifest(digest)))
        assert.strictEqual(error.reason, "DigestMismatch")
      })
    )
  })

  describe("blob", () => {
    it.live("says whether it is there, and reads it when told to", () =>
      Effect.gen(function* () {
        const path = `/v2/a/blobs/${blobDigest}`
        const { lines, use } = at("r.example", {
          [`HEAD ${path}`]: { status: 200, headers: { "content-length": "6" } },
          [`GET ${path}`]: { status: 200, body: blob },
          [`HEAD /v2/a/blobs/${missing}`]: { status: 404 }
        })
        assert.isTrue(Option.isNone(yield* use((reader) => reader.blob(missing))))
        const found = yield* use((reader) => reader.blob(blobDigest))
        assert.deepEqual([Option.getOrThrow(found).size, lines().length], [Option.some(6), 2])
        assert.strictEqual(yield* use((reader) => Effect.flatMap(reader.blob(blobDigest), all)), "a blob")
      })
    )

    it.live("is found at a registry without HEAD", () =>
      Effect.gen(function* () {
        const path = `/v2/a/blobs/${blobDigest}`
        const { use } = at("r.example", {
          [`HEAD ${path}`]: { status: 405 },
          [`GET ${path}`]: { status: 200, body: blob },
          [`HEAD /v2/a/blobs/${missing}`]: { status: 405 },
          [`GET /v2/a/blobs/${missing}`]: { status: 404 }
        })
        assert.strictEqual(yield* use((reader) => Effect.flatMap(reader.blob(blobDigest), all)), "a blob")
        assert.isTrue(Option.isNone(yield* use((reader) => reader.blob(missing))))
      })
    )
  })

  describe("tags", () => {
    it.live("are all pages, or nothing where there is no such repository", () =>
      Effect.gen(function* () {
        const { use } = at("r.example", {
          "GET /v2/a/tags/list?n=1000": {
            status: 200,
            body: `{"tags":["1"]}`,
            headers: { link: `</v2/a/tags/list?n=1000&last=1>; rel="next"` }
          },
          "GET /v2/a/tags/list?n=1000&last=1": { status: 200, body: `{"tags":["2"]}` },
          "GET /v2/b/tags/list?n=1000": { status: 404 }
        })
        assert.deepEqual(yield* use((reader) => reader.tags), Option.some(["1", "2"]))
        assert.deepEqual(yield* use((reader) => reader.tags, "b"), Option.none())
      })
    )
  })

  describe("referrers", () => {
    it.live("are those that the registry lists", () =>
      Effect.gen(function* () {
        const entry = { mediaType: MediaType.ociManifest, digest: missing, size: 3 }
        const { use } = at("r.example", {
          [`GET /v2/a/referrers/${digest}`]: {
            status: 200,
            body: JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [entry] }),
            headers: { "content-type": MediaType.ociIndex }
          }
        })
        assert.deepEqual(yield* use((reader) => reader.referrers(digest)), [entry])
      })
    )
  })
})
