import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { BlobStore } from "../../src/BlobStore.js"
import * as Blob from "../../src/Handler/Blob.js"
import { ManifestStore } from "../../src/ManifestStore.js"
import { all } from "../suites/Backends.js"
import { push } from "../suites/BlobStoreSuite.js"
import {
  bytesOf,
  codeOf,
  digestOf,
  folderOf,
  openSocket,
  pushBlob,
  pushImage,
  random,
  readSocket,
  send,
  uniqueName
} from "../support.js"

describe("parseRange", () => {
  it("reads single ranges, both ends included", () => {
    assert.deepEqual(Blob.parseRange("bytes=0-0", 10), { start: 0, end: 0 })
    assert.deepEqual(Blob.parseRange("bytes=2-", 10), { start: 2, end: 9 })
    assert.deepEqual(Blob.parseRange("bytes=2-99", 10), { start: 2, end: 9 })
    assert.deepEqual(Blob.parseRange("bytes=-3", 10), { start: 7, end: 9 })
    assert.deepEqual(Blob.parseRange("bytes=-30", 10), { start: 0, end: 9 })
  })

  it("tells ranges that lie outside from those it does not serve", () => {
    for (const header of ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=5-2"])
      assert.strictEqual(Blob.parseRange(header, 10), "unsatisfiable")
    assert.strictEqual(Blob.parseRange("bytes=0-", 0), "unsatisfiable")
    for (const header of [undefined, "bytes=0-1,3-4", "items=0-1", "bytes=-", "x"]) {
      assert.isUndefined(Blob.parseRange(header, 10), header)
    }
  })
})

describe("remove while a manifest is put", () => {
  for (const backend of all) {
    it.scopedLive(`waits for it, so that it has the blobs it was checked for, in ${backend.name}`, () =>
      Effect.gen(function* () {
        const { blobs, manifests } = yield* backend.open()
        const bytes = bytesOf("{}")
        const digest = yield* push(blobs, "a", bytes)
        const removing = yield* manifests.change("a", (edit) =>
          Effect.gen(function* () {
            const removing = yield* Blob.remove("a", digest).pipe(
              Effect.provideService(BlobStore, blobs),
              Effect.provideService(ManifestStore, manifests),
              Effect.flip,
              Effect.fork
            )
            yield* Effect.sleep("20 millis")
            assert.isTrue(Option.isSome(yield* blobs.find("a", digest)))
            const mediaType = MediaType.ociManifest
            yield* edit.put({ digest, mediaType, bytes, tags: ["t"], children: [], refersTo: undefined })
            return removing
          })
        )
        const refused = yield* Fiber.join(removing)
        assert.include(refused.message, "the blob is unknown")
        assert.isTrue(Option.isSome(yield* manifests.read("a", digest)))
      })
    )
  }
})

layer(EmbeddedRegistry.layerTemp())("Blob", (it) => {
  describe("get", () => {
    it.effect("answers the bytes with length, type and digest; HEAD the same without the bytes", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(3_000_000)
        const { digest } = yield* pushBlob(name, bytes)
        const get = yield* send("GET", `/v2/${name}/blobs/${digest}`)
        const head = yield* send("HEAD", `/v2/${name}/blobs/${digest}`)
        for (const answer of [get, head]) {
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(answer.headers.get("content-length"), "3000000")
          assert.strictEqual(answer.headers.get("content-type"), "application/octet-stream")
          assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
          assert.strictEqual(answer.headers.get("docker-distribution-api-version"), "registry/2.0")
        }
        assert.deepEqual(get.bytes, bytes)
        assert.strictEqual(head.bytes.length, 0)
      })
    )

    it.effect("serves a range, and 416 with the size for one outside", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(1000)
        const { digest } = yield* pushBlob(name, bytes)
        const path = `/v2/${name}/blobs/${digest}`
        const part = yield* send("GET", path, { headers: { range: "bytes=100-199" } })
        assert.deepEqual([part.status, part.headers.get("content-range")], [206, "bytes 100-199/1000"])
        assert.strictEqual(part.headers.get("content-length"), "100")
        assert.deepEqual(part.bytes, bytes.slice(100, 200))
        const head = yield* send("HEAD", path, { headers: { range: "bytes=100-199" } })
        assert.deepEqual([head.status, head.headers.get("content-length")], [200, "1000"])
        const outside = yield* send("GET", path, { headers: { range: "bytes=1000-" } })
        assert.deepEqual([outside.status, outside.headers.get("content-range")], [416, "bytes */1000"])
      })
    )

    it.scoped("serves range after range on one connection", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(5000))
        const socket = yield* openSocket
        const request = (range: string, more = "") =>
          `GET /v2/${name}/blobs/${digest} HTTP/1.1\r\nhost: x\r\nrange: bytes=${range}\r\n${more}\r\n`
        socket.write(request("0-999") + request("1000-1999") + request("2000-2000", "connection: close\r\n"))
        const text = yield* readSocket(socket, "never sent")
        assert.strictEqual(text.match(/HTTP\/1.1 206/g)?.length, 3)
        assert.strictEqual(text.split("\r\n\r\n").at(-1)?.length, 1)
      })
    )

    it.effect("answers 304 to who has it", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(10))
        const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`, {
          headers: { "if-none-match": `"${digest}"` }
        })
        assert.deepEqual([answer.status, answer.bytes.length], [304, 0])
      })
    )

    it.effect("hides blobs of other repositories", () =>
      Effect.gen(function* () {
        const { digest } = yield* pushBlob(uniqueName(), random(10))
        const name = uniqueName()
        yield* pushImage(name)
        const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`)
        assert.deepEqual([answer.status, codeOf(answer)], [404, "BLOB_UNKNOWN"])
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/blobs/${digest}`)).status, 404)
      })
    )
  })

  describe("remove", () => {
    it.effect("takes the blob out of one repository only", () =>
      Effect.gen(function* () {
        const [a, b] = [uniqueName(), uniqueName()]
        const bytes = random(10)
        const { digest } = yield* pushBlob(a, bytes)
        yield* pushBlob(b, bytes)
        assert.strictEqual((yield* send("DELETE", `/v2/${a}/blobs/${digest}`)).status, 202)
        assert.strictEqual((yield* send("HEAD", `/v2/${a}/blobs/${digest}`)).status, 404)
        assert.deepEqual((yield* send("GET", `/v2/${b}/blobs/${digest}`)).bytes, bytes)
        assert.strictEqual(codeOf(yield* send("DELETE", `/v2/${a}/blobs/${digest}`)), "BLOB_UNKNOWN")
      })
    )

    it.effect("does not delete a manifest as a blob", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushImage(name)
        assert.strictEqual((yield* send("DELETE", `/v2/${name}/blobs/${digest}`)).status, 404)
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/${digest}`)).status, 200)
      })
    )
  })

  describe("paths", () => {
    it.scoped("never leave the root", () =>
      Effect.gen(function* () {
        const root = yield* folderOf
        const digest = digestOf("secret")
        const outside = join(root, "..", `outside-${digest.slice(7, 20)}`)
        yield* Effect.acquireRelease(
          Effect.sync(() => writeFileSync(outside, "secret")),
          () => Effect.promise(() => import("node:fs/promises").then((fs) => fs.rm(outside)))
        )
        const target = outside.split("/").at(-1) ?? ""
        const hostile = [
          `/v2/../../${target}`,
          `/v2/a/blobs/../../../../../${target}`,
          `/v2/a/manifests/..%2f..%2f..%2f..%2f..%2f${target}`,
          `/v2/..%2f..%2f${target}/tags/list`,
          `/v2/%2e%2e/%2e%2e/manifests/x`,
          `/v2/a/blobs/uploads/..%2f..%2f..%2f..%2f${target}`,
          `/v2/a/blobs/sha256:..%2f..%2f..%2f..%2f..%2f..%2f${target}`,
          `/v2/a%00/manifests/x`,
          `/v2/${"a/".repeat(5000)}manifests/x`
        ]
        for (const method of ["GET", "PUT", "POST", "DELETE", "PATCH"]) {
          for (const path of hostile) {
            const socket = yield* openSocket
            socket.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`)
            const text = yield* readSocket(socket, "never sent")
            assert.match(text, /^HTTP\/1.1 4[0-9][0-9] /, `${method} ${path}`)
            assert.notInclude(text, "\r\n\r\nsecret")
          }
        }
        assert.isTrue(existsSync(outside))
        assert.isFalse(existsSync(join(root, "repositories", "a")))
      })
    )
  })
})
