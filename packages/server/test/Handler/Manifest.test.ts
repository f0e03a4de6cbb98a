import { assert, describe, layer } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import {
  bytesOf,
  codeOf,
  digestOf,
  openSocket,
  pushBlob,
  pushImage,
  pushParts,
  putManifest,
  random,
  readSocket,
  send,
  uniqueName
} from "../support.js"

const limit = 100_000

layer(EmbeddedRegistry.layerTemp({ limits: { manifestSize: limit } }))("Manifest", (it) => {
  describe("put and get", () => {
    it.effect("gives back the exact bytes by tag and by digest, under the type they came with", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        const text = `{ "schemaVersion":2,\n "x": "\u00e9", "config":${JSON.stringify(config)},"layers": [${JSON.stringify(layer)}]\n}\n`
        const put = yield* putManifest(name, "v1", text)
        const digest = digestOf(text)
        assert.strictEqual(put.status, 201, put.text)
        assert.strictEqual(put.headers.get("location"), `/v2/${name}/manifests/${digest}`)
        assert.strictEqual(put.headers.get("docker-content-digest"), digest)
        for (const reference of ["v1", digest]) {
          const get = yield* send("GET", `/v2/${name}/manifests/${reference}`)
          const head = yield* send("HEAD", `/v2/${name}/manifests/${reference}`)
          assert.strictEqual(get.text, text)
          assert.strictEqual(head.bytes.length, 0)
          for (const answer of [get, head]) {
            assert.strictEqual(answer.status, 200)
            assert.strictEqual(answer.headers.get("content-type"), MediaType.ociManifest)
            assert.strictEqual(answer.headers.get("content-length"), String(bytesOf(text).length))
            assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
          }
        }
      })
    )

    it.effect("takes a manifest by digest, sha512 too, and refuses one with another digest", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        for (const algorithm of ["sha256", "sha512"] as const) {
          const digest = digestOf(text, algorithm)
          assert.strictEqual((yield* putManifest(name, digest, text)).headers.get("docker-content-digest"), digest)
          assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/${digest}`)).text, text)
          const wrong = yield* putManifest(name, digestOf("x", algorithm), text)
          assert.deepEqual([wrong.status, codeOf(wrong)], [400, "DIGEST_INVALID"])
        }
      })
    )

    it.effect("takes any media type, JSON or not", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        for (const [type, body] of [
          ["application/vnd.example.thing.v1+json", "{}"],
          ["text/x-thing", "not JSON"]
        ] as const) {
          assert.strictEqual((yield* putManifest(name, "t", body, type)).status, 201)
          const answer = yield* send("GET", `/v2/${name}/manifests/t`)
          assert.deepEqual([answer.headers.get("content-type"), answer.text], [type, body])
        }
      })
    )

    it.effect("takes a sparse index", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const child = { mediaType: MediaType.ociManifest, digest: digestOf("absent"), size: 6 }
        const text = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [child] })
        assert.strictEqual((yield* putManifest(name, "t", text, MediaType.ociIndex)).status, 201)
      })
    )

    it.effect("refuses a manifest whose blobs are not in this repository", () =>
      Effect.gen(function* () {
        const [name, other] = [uniqueName(), uniqueName()]
        const { layer, text } = yield* pushParts(other)
        yield* pushBlob(name, bytesOf(`{"os":"linux","id":"${other}"}`))
        const answer = yield* putManifest(name, "t", text)
        assert.deepEqual([answer.status, codeOf(answer)], [404, "MANIFEST_BLOB_UNKNOWN"])
        assert.include(answer.text, layer.digest)
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/t`)).status, 404)
      })
    )

    it.effect("does not ask for layers that live elsewhere", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config } = yield* pushParts(name)
        const layers = [
          { mediaType: MediaType.dockerForeignLayer, digest: digestOf("a"), size: 1 },
          { mediaType: MediaType.ociLayer, digest: digestOf("b"), size: 1, urls: ["https://example.com/b"] }
        ]
        const text = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers })
        assert.strictEqual((yield* putManifest(name, "t", text)).status, 201)
      })
    )

    it.effect("refuses a size that is not the blob's", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        const layers = [{ ...layer, size: layer.size + 1 }]
        const text = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers })
        assert.strictEqual(codeOf(yield* putManifest(name, "t", text)), "SIZE_INVALID")
      })
    )

    it.effect("refuses what is no manifest, or two in one", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer, text } = yield* pushParts(name)
        const bodies = [
          "",
          "{",
          "[]",
          "{}",
          JSON.stringify({ schemaVersion: 2, config, layers: [layer], manifests: [] }),
          JSON.stringify({ schemaVersion: 2, config: { ...config, digest: "sha256:../../x" }, layers: [] }),
          text.replace(MediaType.ociManifest, MediaType.dockerManifest),
          `{"a":${"[".repeat(20_000)}`
        ]
        for (const body of bodies) {
          const answer = yield* putManifest(name, "t", body)
          assert.deepEqual([answer.status, codeOf(answer)], [400, "MANIFEST_INVALID"], body.slice(0, 60))
        }
      })
    )

    it.scoped("answers 413 to a manifest over the limit, announced or not", () =>
      Effect.gen(function* () {
        const path = `/v2/${uniqueName()}/manifests/t`
        const fits = yield* putManifest(uniqueName(), "t", "x".repeat(limit), "text/plain+x")
        assert.strictEqual(fits.status, 201)
        for (const framing of ["content-length: 5000000000", "transfer-encoding: chunked"]) {
          const socket = yield* openSocket
          socket.write(`PUT ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain+x\r\n${framing}\r\n\r\n`)
          if (framing.endsWith("chunked")) socket.write(`${(limit + 1).toString(16)}\r\n${"x".repeat(limit + 1)}`)
          assert.match(yield* readSocket(socket, "MANIFEST_INVALID"), /^HTTP\/1.1 413 /)
        }
      })
    )

    it.effect("moves a tag, many at once too", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const images = yield* Effect.forEach([1, 2, 3, 4], () => pushParts(name))
        const answers = yield* Effect.forEach([...images, ...images], ({ text }) => putManifest(name, "t", text), {
          concurrency: "unbounded"
        })
        for (const answer of answers) assert.strictEqual(answer.status, 201)
        const now = yield* send("GET", `/v2/${name}/manifests/t`)
        assert.include(
          images.map(({ text }) => text),
          now.text
        )
        assert.strictEqual(now.headers.get("docker-content-digest"), digestOf(now.text))
      })
    )

    it.effect("answers 404 for what is not there", () =>
      Effect.gen(function* () {
        for (const reference of ["nope", digestOf("nope"), ".INVALID"]) {
          const answer = yield* send("GET", `/v2/${uniqueName()}/manifests/${reference}`)
          assert.deepEqual([answer.status, codeOf(answer)], [404, "MANIFEST_UNKNOWN"])
        }
      })
    )

    it.effect("answers 304 to who has it", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushImage(name)
        const answer = yield* send("GET", `/v2/${name}/manifests/1.0`, {
          headers: { "if-none-match": `W/"x", "${digest}"` }
        })
        assert.strictEqual(answer.status, 304)
      })
    )
  })

  describe("remove", () => {
    it.effect("by tag removes that tag alone", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name, "a")
        yield* putManifest(name, "b", text)
        assert.strictEqual((yield* send("DELETE", `/v2/${name}/manifests/a`)).status, 202)
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/a`)).status, 404)
        for (const reference of ["b", digest]) {
          assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/${reference}`)).status, 200)
        }
        assert.strictEqual(codeOf(yield* send("DELETE", `/v2/${name}/manifests/a`)), "MANIFEST_UNKNOWN")
      })
    )

    it.effect("by digest removes the manifest and its tags, and nothing of other manifests", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, layer, text } = yield* pushImage(name, "a")
        yield* putManifest(name, "b", text)
        yield* pushImage(name, "c", { annotations: { other: "yes" } })
        assert.strictEqual((yield* send("DELETE", `/v2/${name}/manifests/${digest}`)).status, 202)
        for (const reference of ["a", "b", digest]) {
          assert.strictEqual((yield* send("HEAD", `/v2/${name}/manifests/${reference}`)).status, 404)
        }
        assert.deepEqual(JSON.parse((yield* send("GET", `/v2/${name}/tags/list`)).text), { name, tags: ["c"] })
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/blobs/${layer.digest}`)).status, 200)
        assert.strictEqual((yield* putManifest(name, "a", text)).status, 201)
      })
    )
  })

  describe("referrers", () => {
    it.effect("lists what names the digest as its subject, filtered when asked, and forgets what is deleted", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name)
        const subject = { mediaType: MediaType.ociManifest, digest, size: text.length }
        const { config, layer } = yield* pushParts(name)
        const referrer = (extra: object) =>
          JSON.stringify({
            schemaVersion: 2,
            mediaType: MediaType.ociManifest,
            config,
            layers: [layer],
            subject,
            ...extra
          })
        const sbom = referrer({ artifactType: "application/sbom+json", annotations: { a: "b" } })
        const signature = referrer({})
        for (const body of [sbom, signature]) {
          assert.strictEqual((yield* putManifest(name, digestOf(body), body)).headers.get("oci-subject"), digest)
        }
        const list = (query = "") =>
          Effect.map(send("GET", `/v2/${name}/referrers/${digest}${query}`), (answer) => {
            assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, MediaType.ociIndex])
            return { manifests: JSON.parse(answer.text).manifests, filter: answer.headers.get("oci-filters-applied") }
          })
        const entry = {
          mediaType: MediaType.ociManifest,
          digest: digestOf(sbom),
          size: sbom.length,
          artifactType: "application/sbom+json",
          annotations: { a: "b" }
        }
        const all = yield* list()
        assert.strictEqual(all.manifests.length, 2)
        assert.deepInclude(all.manifests, entry)
        assert.deepInclude(
          all.manifests.find((other: typeof entry) => other.digest === digestOf(signature)),
          {
            artifactType: MediaType.ociConfig
          }
        )
        assert.deepEqual(yield* list("?artifactType=application/sbom%2Bjson"), {
          manifests: [entry],
          filter: "artifactType"
        })
        yield* send("DELETE", `/v2/${name}/manifests/${digestOf(signature)}`)
        assert.deepEqual((yield* list()).manifests, [entry])
      })
    )

    it.effect("takes the type of the config where a manifest's own is empty, and none for an index without one", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name)
        const subject = { mediaType: MediaType.ociManifest, digest, size: text.length }
        yield* pushImage(name, "empty", { artifactType: "", subject })
        const index = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [], subject })
        const put = yield* putManifest(name, digestOf(index), index, MediaType.ociIndex)
        assert.strictEqual(put.headers.get("oci-subject"), digest)
        const { manifests } = JSON.parse((yield* send("GET", `/v2/${name}/referrers/${digest}`)).text)
        const types = manifests.map((each: { readonly mediaType: string; readonly artifactType?: string }) => [
          each.mediaType,
          each.artifactType
        ])
        assert.sameDeepMembers(types, [
          [MediaType.ociManifest, MediaType.ociConfig],
          [MediaType.ociIndex, undefined]
        ])
      })
    )

    it.effect("is an empty index for a digest nobody refers to", () =>
      Effect.gen(function* () {
        const answer = yield* send("GET", `/v2/${uniqueName()}/referrers/${digestOf(random(5))}`)
        assert.deepEqual(JSON.parse(answer.text), { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [] })
      })
    )
  })
})

layer(EmbeddedRegistry.layerTemp({ referrers: false }))("Manifest of a registry without referrers", (it) => {
  describe("put", () => {
    it.effect("does not say that it lists a manifest, and knows no such list", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name)
        const subject = { mediaType: MediaType.ociManifest, digest, size: text.length }
        const { text: body } = yield* pushParts(name, { subject })
        const put = yield* putManifest(name, "sbom", body)
        assert.deepEqual([put.status, put.headers.get("oci-subject")], [201, null])
        const answer = yield* send("GET", `/v2/${name}/referrers/${digest}`)
        assert.deepEqual([answer.status, codeOf(answer)], [404, "UNSUPPORTED"])
      })
    )
  })
})
