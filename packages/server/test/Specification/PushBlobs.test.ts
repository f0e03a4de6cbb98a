import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { bytesOf, codeOf, digestOf, pushBlob, random, send, startUpload, uniqueName } from "../support.js"
import { follow, refusal, section, specification } from "./specification.js"

const uuid = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/

specification("Pushing blobs", (it) => {
  section("Pushing blobs", () => {
    it.effect("answers 400 to a digest that is none, or of an algorithm it does not have", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        for (const digest of ["", "sha256:12", `sha256:${"A".repeat(64)}`, "md5:d41d8cd98f00b204e9800998ecf8427e"]) {
          const post = yield* send("POST", `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: random(5) })
          assert.deepEqual(refusal(post), [400, "DIGEST_INVALID"], digest)
          const put = yield* send("PUT", `${yield* startUpload(name)}?digest=${digest}`, { body: random(5) })
          assert.deepEqual(refusal(put), [400, "DIGEST_INVALID"], digest)
        }
      })
    )

    it.effect("answers 400 to bytes with another digest, however they came, and has no such blob", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf("something else")
        const post = yield* send("POST", `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: random(10) })
        const put = yield* send("PUT", `${yield* startUpload(name)}?digest=${digest}`, { body: random(10) })
        const location = yield* startUpload(name)
        yield* send("PATCH", location, { body: random(10) })
        const closing = yield* send("PUT", `${location}?digest=${digest}`)
        for (const answer of [post, put, closing]) assert.deepEqual(refusal(answer), [400, "DIGEST_INVALID"])
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/blobs/${digest}`)).status, 404)
      })
    )
  })

  section("POST then PUT", () => {
    it.effect("answers the POST with 202 and a Location that has an id of its own", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const [first, second] = [yield* startUpload(name), yield* startUpload(name)]
        for (const location of [first, second]) assert.match(location, uuid)
        assert.notStrictEqual(first, second)
      })
    )

    it.effect("takes the POST without the slash at the end", () =>
      Effect.gen(function* () {
        for (const path of ["uploads", "uploads/"]) {
          assert.strictEqual((yield* send("POST", `/v2/${uniqueName()}/blobs/${path}`)).status, 202)
        }
      })
    )

    it.effect("answers the PUT with 201 and a Location where the blob can be pulled", () =>
      Effect.gen(function* () {
        const bytes = random(1000)
        const location = yield* startUpload(uniqueName())
        const answer = yield* send("PUT", `${location}?digest=${digestOf(bytes)}`, {
          body: bytes,
          headers: { "content-type": "application/octet-stream" }
        })
        assert.strictEqual(answer.status, 201)
        assert.deepEqual((yield* follow(answer)).bytes, bytes)
      })
    )

    it.effect("takes blobs without a byte, and the empty JSON object", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        for (const text of ["", "{}"]) {
          const { digest } = yield* pushBlob(name, bytesOf(text))
          assert.strictEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).text, text)
        }
      })
    )

    it.effect("takes a blob again that is there already", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(1000)
        for (const _ of [1, 2]) yield* pushBlob(name, bytes)
        assert.deepEqual((yield* send("GET", `/v2/${name}/blobs/${digestOf(bytes)}`)).bytes, bytes)
      })
    )
  })

  section("Single POST", () => {
    it.effect("answers 201 and a Location where the blob can be pulled", () =>
      Effect.gen(function* () {
        for (const algorithm of ["sha256", "sha512"] as const) {
          const bytes = random(1000)
          const digest = digestOf(bytes, algorithm)
          const answer = yield* send("POST", `/v2/${uniqueName()}/blobs/uploads/?digest=${digest}`, { body: bytes })
          assert.strictEqual(answer.status, 201)
          assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
          assert.deepEqual((yield* follow(answer)).bytes, bytes)
        }
      })
    )
  })

  section("Cancel a blob upload", () => {
    it.effect("answers 204, and the upload is gone", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        yield* send("PATCH", location, { body: random(10) })
        assert.strictEqual((yield* send("DELETE", location)).status, 204)
        for (const method of ["GET", "PATCH", "DELETE"]) {
          assert.deepEqual(refusal(yield* send(method, location)), [404, "BLOB_UPLOAD_UNKNOWN"], method)
        }
      })
    )
  })

  section("Mounting a blob from another repository", () => {
    it.effect("answers 201, the digest and a Location where the blob can be pulled", () =>
      Effect.gen(function* () {
        const [from, name] = [uniqueName(), uniqueName("deep/er/name")]
        const bytes = random(1000)
        const { digest } = yield* pushBlob(from, bytes)
        const answer = yield* send("POST", `/v2/${name}/blobs/uploads/?mount=${digest}&from=${from}`)
        assert.deepEqual([answer.status, answer.headers.get("docker-content-digest")], [201, digest])
        assert.strictEqual(answer.headers.get("location"), `/v2/${name}/blobs/${digest}`)
        assert.deepEqual((yield* follow(answer)).bytes, bytes)
      })
    )

    it.effect("mounts a blob that any repository has where none is named", () =>
      Effect.gen(function* () {
        const bytes = random(1000)
        const { digest } = yield* pushBlob(uniqueName(), bytes)
        const answer = yield* send("POST", `/v2/${uniqueName()}/blobs/uploads/?mount=${digest}`)
        assert.strictEqual(answer.status, 201)
        assert.deepEqual((yield* follow(answer)).bytes, bytes)
      })
    )

    it.effect("answers 202 and starts an upload where it cannot mount", () =>
      Effect.gen(function* () {
        const [from, name] = [uniqueName(), uniqueName()]
        const bytes = random(1000)
        const { digest } = yield* pushBlob(from, bytes)
        for (const query of [
          `mount=${digestOf("nowhere")}&from=${from}`,
          `mount=${digest}&from=${uniqueName()}`,
          `mount=${digestOf("nowhere")}`,
          `mount=${digest}&from=../x`,
          "mount=x"
        ]) {
          const location = yield* startUpload(name, `?${query}`)
          const answer = yield* send("PUT", `${location}?digest=${digest}`, { body: bytes })
          assert.strictEqual(answer.status, 201, query)
          yield* send("DELETE", `/v2/${name}/blobs/${digest}`)
        }
      })
    )
  })
})

describe("Unfinished uploads", () => {
  section("Cancel a blob upload", () => {
    const limits = { uploadExpiry: "300 millis" } as const
    for (const registry of [EmbeddedRegistry.layerTemp({ limits }), EmbeddedRegistry.layerMemory({ limits })]) {
      it.live("forgets after a time what nobody goes on with", () =>
        Effect.gen(function* () {
          const location = yield* startUpload(uniqueName())
          const answer = yield* Effect.repeat(send("GET", location), { until: ({ status }) => status !== 204 })
          assert.strictEqual(codeOf(answer), "BLOB_UPLOAD_UNKNOWN")
        }).pipe(Effect.timeout("10 seconds"), Effect.provide(registry))
      )
    }
  })
})
