import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { digestOf, random, send, startUpload, uniqueName } from "../support.js"
import { follow, refusal, section, specification } from "./specification.js"

const patch = (location: string, bytes: Uint8Array<ArrayBuffer>, range?: string) =>
  send("PATCH", location, { body: bytes, headers: range === undefined ? {} : { "content-range": range } })

/** What an upload has: `0-99`. */
const rangeOf = (location: string) => Effect.map(send("GET", location), ({ headers }) => headers.get("range"))

specification("Pushing a blob in chunks", (it) => {
  section("Pushing a blob in chunks", () => {
    it.effect("starts an upload for the algorithm that digest-algorithm names", () =>
      Effect.gen(function* () {
        for (const algorithm of ["sha256", "sha512"] as const) {
          const bytes = random(1000)
          const location = yield* startUpload(uniqueName(), `?digest-algorithm=${algorithm}`)
          yield* patch(location, bytes)
          const answer = yield* send("PUT", `${location}?digest=${digestOf(bytes, algorithm)}`)
          assert.deepEqual((yield* follow(answer)).bytes, bytes)
        }
      })
    )

    it.effect("answers 400 to a digest-algorithm that it does not have", () =>
      Effect.gen(function* () {
        for (const algorithm of ["md5", "", "SHA256"]) {
          const answer = yield* send("POST", `/v2/${uniqueName()}/blobs/uploads/?digest-algorithm=${algorithm}`)
          assert.deepEqual(refusal(answer), [400, "DIGEST_INVALID"], algorithm)
        }
      })
    )

    it.effect("asks for no least size, and takes chunks of any", () =>
      Effect.gen(function* () {
        const start = yield* send("POST", `/v2/${uniqueName()}/blobs/uploads/`)
        assert.isNull(start.headers.get("oci-chunk-min-length"))
        const location = start.headers.get("location") ?? ""
        const bytes = random(5)
        for (const [at, byte] of bytes.entries()) {
          assert.strictEqual((yield* patch(location, new Uint8Array([byte]), `${at}-${at}`)).status, 202)
        }
        assert.strictEqual((yield* send("PUT", `${location}?digest=${digestOf(bytes)}`)).status, 201)
      })
    )

    it.effect("answers a chunk with 202, a Location to go on at and the Range it has", () =>
      Effect.gen(function* () {
        const bytes = random(300)
        let location = yield* startUpload(uniqueName())
        for (const start of [0, 100, 200]) {
          const answer = yield* patch(location, bytes.slice(start, start + 100), `${start}-${start + 99}`)
          assert.deepEqual([answer.status, answer.headers.get("range")], [202, `0-${start + 99}`])
          location = answer.headers.get("location") ?? ""
        }
        const answer = yield* send("PUT", `${location}?digest=${digestOf(bytes)}`)
        assert.deepEqual((yield* follow(answer)).bytes, bytes)
      })
    )

    it.effect("takes a Content-Range in the form of the specification and in those that clients send besides", () =>
      Effect.gen(function* () {
        for (const range of ["0-99", "bytes 0-99/200", "bytes 0-99/*", "bytes=0-99"]) {
          const location = yield* startUpload(uniqueName())
          const answer = yield* patch(location, random(100), range)
          assert.deepEqual([answer.status, answer.headers.get("range")], [202, "0-99"], range)
        }
      })
    )

    it.effect("refuses a Content-Range in no such form, and keeps nothing of its chunk", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        for (const range of ["0", "-99", "0-", "a-b", "0-99-100", "items 0-99", `0-${"9".repeat(40)}`]) {
          assert.deepEqual(refusal(yield* patch(location, random(100), range)), [416, "BLOB_UPLOAD_INVALID"], range)
        }
        assert.strictEqual(yield* rangeOf(location), "0-0")
      })
    )

    it.effect("refuses a Content-Range that is not the length of its chunk", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        for (const range of ["0-100", "0-98", "99-0"]) {
          assert.deepEqual(refusal(yield* patch(location, random(100), range)), [400, "SIZE_INVALID"], range)
        }
      })
    )

    it.effect("has the first chunk begin with 0", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        assert.strictEqual((yield* patch(location, random(100), "1-100")).status, 416)
        assert.strictEqual((yield* patch(location, random(100), "0-99")).status, 202)
      })
    )

    it.effect("answers 416 to a chunk out of order, with where to go on and what it has", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        yield* patch(location, random(100), "0-99")
        for (const range of ["0-99", "50-149", "101-200", "99-198"]) {
          const answer = yield* patch(location, random(100), range)
          assert.deepEqual(refusal(answer), [416, "BLOB_UPLOAD_INVALID"], range)
          assert.strictEqual(answer.headers.get("range"), "0-99")
          assert.strictEqual(answer.headers.get("location"), location)
        }
        assert.strictEqual((yield* patch(location, random(100), "100-199")).status, 202)
      })
    )

    it.effect("answers a GET of the upload, after a 416 too, with 204, where to go on and what it has", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        yield* patch(location, random(100), "0-99")
        yield* patch(location, random(100), "500-599")
        const answer = yield* send("GET", location)
        assert.deepEqual([answer.status, answer.bytes.length], [204, 0])
        assert.strictEqual(answer.headers.get("range"), "0-99")
        assert.strictEqual(answer.headers.get("location"), location)
      })
    )

    it.effect("takes the last chunk in the closing PUT", () =>
      Effect.gen(function* () {
        const bytes = random(150)
        const location = yield* startUpload(uniqueName())
        yield* patch(location, bytes.slice(0, 100), "0-99")
        const answer = yield* send("PUT", `${location}?digest=${digestOf(bytes)}`, {
          body: bytes.slice(100),
          headers: { "content-range": "100-149" }
        })
        assert.strictEqual(answer.status, 201)
        assert.deepEqual((yield* follow(answer)).bytes, bytes)
      })
    )

    it.effect("answers 416 to a last chunk out of order, and the upload goes on", () =>
      Effect.gen(function* () {
        const bytes = random(150)
        const location = yield* startUpload(uniqueName())
        yield* patch(location, bytes.slice(0, 100), "0-99")
        const close = (range: string) =>
          send("PUT", `${location}?digest=${digestOf(bytes)}`, {
            body: bytes.slice(100),
            headers: { "content-range": range }
          })
        for (const range of ["0-49", "99-148", "101-150"]) {
          const answer = yield* close(range)
          assert.strictEqual(answer.status, 416)
          assert.deepEqual([answer.headers.get("range"), answer.headers.get("location")], ["0-99", location])
        }
        assert.strictEqual((yield* close("100-149")).status, 201)
      })
    )

    it.effect("closes no upload without a digest", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        yield* patch(location, random(100))
        assert.deepEqual(refusal(yield* send("PUT", location)), [400, "DIGEST_INVALID"])
        assert.strictEqual(yield* rangeOf(location), "0-99")
      })
    )

    it.effect("has no blob before the upload is closed, and no upload afterwards", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(100)
        const digest = digestOf(bytes)
        const location = yield* startUpload(name)
        yield* patch(location, bytes, "0-99")
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/blobs/${digest}`)).status, 404)
        yield* send("PUT", `${location}?digest=${digest}`)
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/blobs/${digest}`)).status, 200)
        assert.deepEqual(refusal(yield* patch(location, bytes, "0-99")), [404, "BLOB_UPLOAD_UNKNOWN"])
      })
    )

    it.effect("names the upload in Docker-Upload-UUID, as Docker's clients expect", () =>
      Effect.gen(function* () {
        const start = yield* send("POST", `/v2/${uniqueName()}/blobs/uploads/`)
        const location = start.headers.get("location") ?? ""
        for (const answer of [start, yield* patch(location, random(10)), yield* send("GET", location)]) {
          assert.strictEqual(answer.headers.get("docker-upload-uuid"), location.split("/").at(-1))
        }
      })
    )
  })
})
