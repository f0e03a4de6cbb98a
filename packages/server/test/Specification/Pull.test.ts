import { assert } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { digestOf, pushBlob, pushImage, pushParts, putManifest, random, send, uniqueName } from "../support.js"
import { refusal, section, specification } from "./specification.js"

const custom = "application/vnd.example.thing.v1+json"

specification("Pull", (it) => {
  section("Pulling manifests", () => {
    it.effect("answers a GET of a manifest, by tag and by digest, with 200 and the manifest", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name, "v1")
        for (const reference of ["v1", digest]) {
          const answer = yield* send("GET", `/v2/${name}/manifests/${reference}`)
          assert.deepEqual([answer.status, answer.text], [200, text])
        }
      })
    )

    it.effect("names the digest of the manifest in Docker-Content-Digest", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushImage(name, "v1")
        for (const reference of ["v1", digest]) {
          const answer = yield* send("GET", `/v2/${name}/manifests/${reference}`)
          assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
        }
      })
    )

    it.effect("answers 404 for a manifest that is not in the repository", () =>
      Effect.gen(function* () {
        const [name, other] = [uniqueName(), uniqueName()]
        yield* pushImage(name, "here")
        const { digest } = yield* pushImage(other, "there", { annotations: { of: "another" } })
        for (const reference of ["there", digest]) {
          assert.deepEqual(refusal(yield* send("GET", `/v2/${name}/manifests/${reference}`)), [404, "MANIFEST_UNKNOWN"])
        }
      })
    )

    it.effect("takes names as the grammar has them, up to 255 characters", () =>
      Effect.gen(function* () {
        const tail = uniqueName("").slice(1)
        const names = [`a.b/${tail}`, `a_b/${tail}`, `a__b/${tail}`, `a---b/${tail}`, `0/9/${tail}`]
        for (const name of [...names, `${"a".repeat(254 - tail.length)}/${tail}`]) {
          const { text } = yield* pushImage(name)
          assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/1.0`)).text, text, name)
        }
      })
    )

    it.effect("refuses names outside the grammar", () =>
      Effect.gen(function* () {
        for (const name of ["A", "a_", "a___b", "-a", "a..b", "a//b", ".a", "a/", "a%20b", "%C3%A4", "a".repeat(256)]) {
          assert.deepEqual(refusal(yield* send("GET", `/v2/${name}/manifests/v1`)), [400, "NAME_INVALID"], name)
        }
      })
    )

    it.effect("takes tags as the grammar has them, up to 128 characters", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        for (const tag of ["_", "A-1.x_Y", "0", `_${"-".repeat(126)}.`]) {
          assert.strictEqual((yield* putManifest(name, tag, text)).status, 201, tag)
          assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/${tag}`)).status, 200, tag)
        }
      })
    )

    it.effect("knows references as tags and digests only", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushImage(name)
        for (const reference of [".x", "-x", "a+b", "a%20b", "x".repeat(129)]) {
          assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/${reference}`)).status, 404, reference)
          assert.deepEqual(refusal(yield* putManifest(name, reference, text)), [400, "TAG_INVALID"], reference)
        }
        for (const reference of ["sha256:1234", "md5:d41d8cd98f00b204e9800998ecf8427e", "a:b"]) {
          const answer = yield* send("GET", `/v2/${name}/manifests/${reference}`)
          assert.deepEqual(refusal(answer), [400, "DIGEST_INVALID"], reference)
        }
      })
    )

    it.effect("answers under the Content-Type that the manifest was pushed with", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        for (const type of [custom, "application/vnd.Example.Thing", "text/plain"]) {
          yield* putManifest(name, "t", "{}", type)
          assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/t`)).headers.get("content-type"), type)
        }
      })
    )

    it.effect("adds no parameters to the Content-Type", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushParts(name)
        yield* putManifest(name, "t", text, `${MediaType.ociManifest}; charset=utf-8`)
        for (const method of ["GET", "HEAD"]) {
          const answer = yield* send(method, `/v2/${name}/manifests/t`)
          assert.strictEqual(answer.headers.get("content-type"), MediaType.ociManifest)
        }
      })
    )

    it.effect("answers what is there, whatever types the Accept header lists", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushImage(name)
        for (const accept of [MediaType.dockerManifest, "application/json", "*/*"]) {
          const answer = yield* send("GET", `/v2/${name}/manifests/1.0`, { headers: { accept } })
          assert.deepEqual([answer.status, answer.text], [200, text])
        }
      })
    )
  })

  section("Pulling blobs", () => {
    it.effect("answers a GET of a blob with 200 and its bytes", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(100_000)
        const { digest } = yield* pushBlob(name, bytes)
        const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`)
        assert.deepEqual([answer.status, answer.bytes], [200, bytes])
      })
    )

    it.effect("names in Docker-Content-Digest the digest of the bytes it sends", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(1000))
        const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`)
        assert.strictEqual(answer.headers.get("docker-content-digest"), digestOf(answer.bytes))
      })
    )

    it.effect("answers 404 for a blob that is not in the repository", () =>
      Effect.gen(function* () {
        const [name, other] = [uniqueName(), uniqueName()]
        yield* pushBlob(name, random(10))
        const { digest } = yield* pushBlob(other, random(10))
        assert.deepEqual(refusal(yield* send("GET", `/v2/${name}/blobs/${digest}`)), [404, "BLOB_UNKNOWN"])
      })
    )

    it.effect("serves ranges: from one byte to another, from one on, and the last ones", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(1000)
        const { digest } = yield* pushBlob(name, bytes)
        for (const [range, start, end] of [
          ["bytes=10-19", 10, 19],
          ["bytes=0-0", 0, 0],
          ["bytes=990-", 990, 999],
          ["bytes=-5", 995, 999],
          ["bytes=500-5000", 500, 999],
          ["bytes=-5000", 0, 999]
        ] as const) {
          const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`, { headers: { range } })
          assert.strictEqual(answer.status, 206, range)
          assert.strictEqual(answer.headers.get("content-range"), `bytes ${start}-${end}/1000`)
          assert.deepEqual(answer.bytes, bytes.slice(start, end + 1))
        }
      })
    )

    it.effect("answers 416 with the size for a range that is not there or runs backwards", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(1000))
        for (const range of ["bytes=1000-1001", "bytes=5000-", "bytes=-0", "bytes=20-10"]) {
          const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`, { headers: { range } })
          assert.deepEqual([answer.status, answer.headers.get("content-range")], [416, "bytes */1000"], range)
        }
      })
    )

    it.effect("says that it takes ranges, and sends all of the blob for those it does not serve", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(1000))
        for (const range of ["bytes=0-1,5-6", "lines=1-2", "bytes=a-b"]) {
          const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`, { headers: { range } })
          assert.deepEqual([answer.status, answer.bytes.length], [200, 1000], range)
          assert.strictEqual(answer.headers.get("accept-ranges"), "bytes")
        }
      })
    )

    it.effect("serves a range under If-Range only to who has a part of this very blob", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(1000))
        const get = (ifRange: string) =>
          send("GET", `/v2/${name}/blobs/${digest}`, { headers: { range: "bytes=0-9", "if-range": ifRange } })
        const { headers } = yield* send("HEAD", `/v2/${name}/blobs/${digest}`)
        assert.strictEqual((yield* get(headers.get("etag") ?? "")).status, 206)
        for (const other of [`"${digestOf("x")}"`, `W/"${digest}"`, "Wed, 21 Oct 2015 07:28:00 GMT"]) {
          assert.strictEqual((yield* get(other)).status, 200, other)
        }
      })
    )
  })

  section("Checking if content exists in the registry", () => {
    it.effect("answers a HEAD of a blob or manifest with 200, its digest and its size, and no body", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, layer, text } = yield* pushImage(name)
        for (const [path, expected, size] of [
          [`blobs/${layer.digest}`, layer.digest, layer.size],
          [`manifests/${digest}`, digest, text.length],
          ["manifests/1.0", digest, text.length]
        ] as const) {
          const answer = yield* send("HEAD", `/v2/${name}/${path}`)
          assert.strictEqual(answer.status, 200, path)
          assert.strictEqual(answer.headers.get("docker-content-digest"), expected)
          assert.strictEqual(answer.headers.get("content-length"), String(size))
          assert.strictEqual(answer.bytes.length, 0)
        }
      })
    )

    it.effect("answers 404 to a HEAD of what is not in the repository", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        yield* pushImage(name)
        for (const path of [`blobs/${digestOf("x")}`, `manifests/${digestOf("x")}`, "manifests/x"]) {
          assert.strictEqual((yield* send("HEAD", `/v2/${name}/${path}`)).status, 404, path)
        }
      })
    )
  })

  section("Registry Proxying", () => {
    it.effect("ignores the ns parameter, and does not claim to have used it", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { layer, text } = yield* pushImage(name)
        for (const [path, size] of [
          ["manifests/1.0", text.length],
          [`blobs/${layer.digest}`, layer.size]
        ] as const) {
          const answer = yield* send("GET", `/v2/${name}/${path}?ns=docker.io`)
          assert.deepEqual([answer.status, answer.bytes.length], [200, size])
          assert.isNull(answer.headers.get("oci-namespace"))
        }
      })
    )
  })
})
