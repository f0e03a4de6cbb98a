import { assert } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { digestOf, pushBlob, pushImage, putManifest, random, send, startUpload, uniqueName } from "../support.js"
import { refusal, section, specification } from "./specification.js"

const statusOf = (method: string, path: string) => Effect.map(send(method, path), ({ status }) => status)

specification("Content management", (it) => {
  section("Deleting tags", () => {
    it.effect("answers 202, has the tag no more, and keeps the manifest and its other tags", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name, "a")
        yield* putManifest(name, "b", text)
        const path = `/v2/${name}/manifests`
        assert.strictEqual(yield* statusOf("DELETE", `${path}/a`), 202)
        for (const method of ["GET", "HEAD", "DELETE"]) assert.strictEqual(yield* statusOf(method, `${path}/a`), 404)
        for (const reference of ["b", digest]) assert.strictEqual(yield* statusOf("GET", `${path}/${reference}`), 200)
        assert.deepEqual(JSON.parse((yield* send("GET", `/v2/${name}/tags/list`)).text), { name, tags: ["b"] })
      })
    )
  })

  section("Deleting Manifests", () => {
    it.effect("answers 202, and has neither the manifest nor any tag of it", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name, "a")
        yield* putManifest(name, "b", text)
        assert.strictEqual(yield* statusOf("DELETE", `/v2/${name}/manifests/${digest}`), 202)
        for (const reference of ["a", "b", digest]) {
          assert.strictEqual(yield* statusOf("GET", `/v2/${name}/manifests/${reference}`), 404)
        }
        assert.deepEqual(JSON.parse((yield* send("GET", `/v2/${name}/tags/list`)).text), { name, tags: [] })
        assert.strictEqual((yield* putManifest(name, "a", text)).status, 201)
      })
    )

    it.effect("leaves another manifest whole that has the deleted one as a layer", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { config, digest, text } = yield* pushImage(name, "a")
        const layers = [{ mediaType: MediaType.ociLayer, digest, size: text.length }]
        const outer = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers })
        assert.strictEqual((yield* putManifest(name, "outer", outer)).status, 201)
        assert.strictEqual(yield* statusOf("DELETE", `/v2/${name}/manifests/${digest}`), 202)
        assert.strictEqual(yield* statusOf("GET", `/v2/${name}/manifests/${digest}`), 404)
        assert.strictEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).text, text)
        assert.strictEqual(yield* statusOf("DELETE", `/v2/${name}/blobs/${digest}`), 202)
        assert.strictEqual(yield* statusOf("GET", `/v2/${name}/blobs/${digest}`), 404)
      })
    )

    it.effect("answers 404 for a repository that does not exist, and for a manifest that is not there", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        yield* pushImage(name)
        for (const each of [name, uniqueName()]) {
          const answer = yield* send("DELETE", `/v2/${each}/manifests/${digestOf("x")}`)
          assert.deepEqual(refusal(answer), [404, "MANIFEST_UNKNOWN"])
        }
      })
    )
  })

  section("Deleting Blobs", () => {
    it.effect("answers 202, and has the blob no more", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(10))
        assert.strictEqual(yield* statusOf("DELETE", `/v2/${name}/blobs/${digest}`), 202)
        for (const method of ["GET", "HEAD"]) {
          assert.strictEqual(yield* statusOf(method, `/v2/${name}/blobs/${digest}`), 404)
        }
      })
    )

    it.effect("answers 404 for a blob that is not there, here or in any repository", () =>
      Effect.gen(function* () {
        const { digest } = yield* pushBlob(uniqueName(), random(10))
        for (const each of [digest, digestOf("x")]) {
          assert.deepEqual(refusal(yield* send("DELETE", `/v2/${uniqueName()}/blobs/${each}`)), [404, "BLOB_UNKNOWN"])
        }
      })
    )

    it.effect("leaves the blob to the repositories that it was mounted into", () =>
      Effect.gen(function* () {
        const [name, other] = [uniqueName(), uniqueName()]
        const { digest } = yield* pushBlob(name, random(10))
        yield* send("POST", `/v2/${other}/blobs/uploads/?mount=${digest}&from=${name}`)
        yield* send("DELETE", `/v2/${name}/blobs/${digest}`)
        assert.strictEqual(yield* statusOf("GET", `/v2/${other}/blobs/${digest}`), 200)
      })
    )
  })
})

specification(
  "Content management of a registry that is read-only",
  (it) => {
    section("Content Management", () => {
      it.effect("answers 405 to every deletion and every push, and says what can be done", () =>
        Effect.gen(function* () {
          const name = uniqueName()
          for (const [method, path] of [
            ["DELETE", "manifests/tag"],
            ["DELETE", `manifests/${digestOf("x")}`],
            ["DELETE", `blobs/${digestOf("x")}`],
            ["PUT", "manifests/tag"],
            ["POST", "blobs/uploads/"]
          ] as const) {
            const answer = yield* send(method, `/v2/${name}/${path}`)
            assert.deepEqual(refusal(answer), [405, "UNSUPPORTED"], path)
            assert.strictEqual(answer.headers.get("allow"), "GET, HEAD")
          }
        })
      )
    })
  },
  { readOnly: true }
)

specification(
  "Uploads at their limit",
  (it) => {
    section("Error Codes", () => {
      it.effect("answers 429 with Retry-After while too many uploads are open", () =>
        Effect.gen(function* () {
          const name = uniqueName()
          const location = yield* startUpload(name)
          const answer = yield* send("POST", `/v2/${name}/blobs/uploads/`)
          assert.deepEqual(refusal(answer), [429, "TOOMANYREQUESTS"])
          assert.match(answer.headers.get("retry-after") ?? "", /^[0-9]+$/)
          yield* send("DELETE", location)
          yield* startUpload(name)
        })
      )
    })
  },
  { limits: { openUploads: 1 } }
)
