import { assert } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import {
  bytesOf,
  codeOf,
  digestOf,
  pushBlob,
  pushImage,
  pushParts,
  putManifest,
  random,
  send,
  uniqueName
} from "../support.js"
import { follow, refusal, section, specification } from "./specification.js"

const putTagged = (name: string, digest: string, tags: ReadonlyArray<string>, body: string) =>
  putManifest(name, `${digest}?${tags.map((tag) => `tag=${tag}`).join("&")}`, body)

const tagsOf = (name: string) =>
  Effect.map(send("GET", `/v2/${name}/tags/list`), ({ text }): ReadonlyArray<string> => JSON.parse(text).tags)

const manifestOf = (value: object) => JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociManifest, ...value })

specification("Pushing manifests", (it) => {
  section("Push", () => {
    it.effect("takes a manifest whose subject is not there, and its subject afterwards", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushParts(name)
        const subject = { mediaType: MediaType.ociManifest, digest, size: text.length }
        yield* pushImage(name, "referrer", { subject })
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/manifests/${digest}`)).status, 404)
        assert.strictEqual((yield* putManifest(name, "subject", text)).status, 201)
      })
    )

    it.effect("refuses a manifest whose blobs are not there with one MANIFEST_BLOB_UNKNOWN for each of them", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        const missing = ["a", "b"].map((text) => ({ mediaType: MediaType.ociLayer, digest: digestOf(text), size: 1 }))
        const answer = yield* putManifest(name, "t", manifestOf({ config, layers: [missing[0], layer, ...missing] }))
        assert.strictEqual(answer.status, 404)
        const { errors } = JSON.parse(answer.text)
        assert.deepEqual(
          errors.map(({ code, detail }: { readonly code: string; readonly detail: object }) => ({ code, detail })),
          missing.map(({ digest }) => ({ code: "MANIFEST_BLOB_UNKNOWN", detail: { digest } }))
        )
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/manifests/t`)).status, 404)
      })
    )

    it.effect("takes an index whose manifests are not there, and one that names blobs", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { layer } = yield* pushParts(name)
        for (const child of [{ mediaType: MediaType.ociManifest, digest: digestOf("x"), size: 1 }, layer]) {
          const text = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [child] })
          assert.strictEqual((yield* putManifest(name, "t", text, MediaType.ociIndex)).status, 201)
        }
      })
    )

    it.effect("takes layers that may not be distributed, or live elsewhere, without their bytes", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config } = yield* pushParts(name)
        const types = ["tar", "tar+gzip", "tar+zstd"].map(
          (suffix) => `application/vnd.oci.image.layer.nondistributable.v1.${suffix}`
        )
        const layers = [...types, MediaType.dockerForeignLayer].map((mediaType) => ({
          mediaType,
          digest: digestOf(mediaType),
          size: 10
        }))
        const elsewhere = { ...layers[0], mediaType: MediaType.ociLayer, urls: ["https://example.com/layer"] }
        const answer = yield* putManifest(name, "t", manifestOf({ config, layers: [...layers, elsewhere] }))
        assert.strictEqual(answer.status, 201, answer.text)
      })
    )
  })

  section("Pushing Manifests", () => {
    it.effect("answers 201, the digest and a Location where the manifest can be pulled", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        for (const reference of ["v1", digestOf(text), digestOf(text, "sha512")]) {
          const answer = yield* putManifest(name, reference, text)
          assert.strictEqual(answer.status, 201)
          const digest = reference === "v1" ? digestOf(text) : reference
          assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
          assert.strictEqual((yield* follow(answer)).text, text)
        }
      })
    )

    it.effect("stores a manifest byte for byte", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        const value = {
          schemaVersion: 2,
          config,
          layers: [layer],
          annotations: { ä: "\u2028", z: "1", a: "2" },
          own: [1e3]
        }
        for (const text of [JSON.stringify(value, null, 3), `\n ${JSON.stringify(value)}\r\n\t`]) {
          yield* putManifest(name, "t", text)
          assert.deepEqual((yield* send("GET", `/v2/${name}/manifests/t`)).bytes, new Uint8Array(bytesOf(text)))
        }
      })
    )

    it.effect("refuses a manifest by digest whose bytes have another", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        for (const algorithm of ["sha256", "sha512"] as const) {
          const digest = digestOf("x", algorithm)
          assert.deepEqual(refusal(yield* putManifest(name, digest, text)), [400, "DIGEST_INVALID"])
          assert.strictEqual((yield* send("HEAD", `/v2/${name}/manifests/${digest}`)).status, 404)
        }
      })
    )

    it.effect("ignores parameters of the Content-Type", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        for (const type of [`${MediaType.ociManifest};charset=utf-8`, `${MediaType.ociManifest} ; a="b;c"`]) {
          assert.strictEqual((yield* putManifest(name, "t", text, type)).status, 201, type)
        }
      })
    )

    it.effect(
      "takes the type from the manifest where no Content-Type says it, and from the fields where it has none",
      () =>
        Effect.gen(function* () {
          const name = uniqueName()
          const { config, layer, text } = yield* pushParts(name)
          for (const body of [text, JSON.stringify({ schemaVersion: 2, config, layers: [layer] })]) {
            const answer = yield* send("PUT", `/v2/${name}/manifests/t`, { body: bytesOf(body) })
            assert.strictEqual(answer.status, 201, answer.text)
            const { headers } = yield* send("HEAD", `/v2/${name}/manifests/t`)
            assert.strictEqual(headers.get("content-type"), MediaType.ociManifest)
          }
        })
    )

    it.effect("refuses a manifest whose mediaType is not its Content-Type", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        for (const type of [MediaType.dockerManifest, MediaType.ociIndex, "application/vnd.example+json"]) {
          assert.deepEqual(refusal(yield* putManifest(name, "t", text, type)), [400, "MANIFEST_INVALID"], type)
        }
      })
    )

    it.effect("takes Docker's and OCI's images and indexes, and manifests of types it does not know", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        for (const [mediaType, value] of [
          [MediaType.ociManifest, { config, layers: [layer] }],
          [MediaType.dockerManifest, { config, layers: [layer] }],
          [MediaType.ociIndex, { manifests: [] }],
          [MediaType.dockerIndex, { manifests: [] }],
          ["application/vnd.example.thing.v1+json", { anything: true }]
        ] as const) {
          const text = JSON.stringify({ schemaVersion: 2, mediaType, ...value })
          assert.strictEqual((yield* putManifest(name, "t", text, mediaType)).status, 201, mediaType)
          assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/t`)).text, text)
        }
      })
    )

    it.effect("refuses Docker's schema 1, and a Content-Type that is no media type", () =>
      Effect.gen(function* () {
        for (const type of [
          "application/vnd.docker.distribution.manifest.v1+json",
          "application/vnd.docker.distribution.manifest.v1+prettyjws",
          "manifest",
          "a/b/c"
        ]) {
          assert.deepEqual(refusal(yield* putManifest(uniqueName(), "t", "{}", type)), [400, "MANIFEST_INVALID"], type)
        }
      })
    )

    it.effect("takes manifests without layers, with the empty descriptor and with an empty layer", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const empty = {
          ...(yield* pushBlob(name, bytesOf("{}"))),
          mediaType: "application/vnd.oci.empty.v1+json",
          data: "e30="
        }
        const nothing = { ...(yield* pushBlob(name, bytesOf(""))), mediaType: MediaType.ociLayer }
        const artifactType = "application/vnd.example.thing"
        for (const layers of [[], [empty], [nothing]]) {
          const answer = yield* putManifest(name, "t", manifestOf({ artifactType, config: empty, layers }))
          assert.strictEqual(answer.status, 201, answer.text)
        }
      })
    )

    it.effect("sets ten tags and more with one push by digest, and names each in OCI-Tag", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        for (const [algorithm, count] of [
          ["sha256", 10],
          ["sha512", 100]
        ] as const) {
          const digest = digestOf(text, algorithm)
          const tags = Array.from({ length: count }, (_, index) => `${index}${"x".repeat(120)}`)
          const answer = yield* putTagged(name, digest, tags, text)
          assert.strictEqual(answer.status, 201, answer.text)
          assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
          assert.deepEqual(answer.headers.get("oci-tag")?.split(", "), tags)
          assert.includeMembers([...(yield* tagsOf(name))], tags)
          const get = yield* send("GET", `/v2/${name}/manifests/${tags[9]}`)
          assert.deepEqual([get.headers.get("docker-content-digest"), get.text], [digest, text])
        }
      })
    )

    it.effect("says OCI-Tag of no push without such tags", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushParts(name)
        for (const reference of [digest, "t", "t?tag=other"]) {
          assert.isNull((yield* putManifest(name, reference, text)).headers.get("oci-tag"), reference)
        }
        assert.deepEqual(yield* tagsOf(name), ["t"])
      })
    )

    it.effect("answers 414 to more tags than it takes, 400 to one that is none, and sets none of them", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushParts(name)
        const tags = Array.from({ length: 101 }, (_, index) => `t${index}`)
        assert.strictEqual((yield* putTagged(name, digest, tags, text)).status, 414)
        assert.deepEqual(refusal(yield* putTagged(name, digest, ["ok", ".no"], text)), [400, "TAG_INVALID"])
        assert.deepEqual(yield* tagsOf(name), [])
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/manifests/${digest}`)).status, 404)
      })
    )

    it.effect("answers 404 to a pull from a repository that does not exist", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        for (const path of ["manifests/latest", `manifests/${digestOf("x")}`, `blobs/${digestOf("x")}`, "tags/list"]) {
          assert.strictEqual((yield* send("GET", `/v2/${name}/${path}`)).status, 404, path)
        }
      })
    )

    it.effect("takes manifests of more than 4 megabytes, and answers 413 to one over its limit", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        const sized = (size: number) => manifestOf({ config, layers: [layer], annotations: { a: "x".repeat(size) } })
        const large = sized(4_500_000)
        assert.strictEqual((yield* putManifest(name, "large", large)).status, 201)
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/large`)).text, large)
        const answer = yield* putManifest(name, "larger", sized(8 << 20))
        assert.deepEqual(refusal(answer), [413, "MANIFEST_INVALID"])
      })
    )
  })

  section("Pushing Manifests with Subject", () => {
    it.effect("answers a manifest or index with a subject with OCI-Subject, and others without", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        for (const algorithm of ["sha256", "sha512"] as const) {
          const subject = { mediaType: MediaType.ociManifest, digest: digestOf(random(5), algorithm), size: 5 }
          const image = yield* putManifest(name, "t", manifestOf({ config, layers: [layer], subject }))
          assert.strictEqual(image.headers.get("oci-subject"), subject.digest)
          const text = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [], subject })
          const index = yield* putManifest(name, "t", text, MediaType.ociIndex)
          assert.strictEqual(index.headers.get("oci-subject"), subject.digest)
        }
        const none = yield* putManifest(name, "t", manifestOf({ config, layers: [layer] }))
        assert.isNull(none.headers.get("oci-subject"))
      })
    )

    it.effect("refuses a subject that is no descriptor", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, layer } = yield* pushParts(name)
        for (const subject of ["x", {}, { mediaType: "a/b", digest: "sha256:1", size: 1 }]) {
          const answer = yield* putManifest(name, "t", manifestOf({ config, layers: [layer], subject }))
          assert.strictEqual(codeOf(answer), "MANIFEST_INVALID")
        }
      })
    )
  })
})
