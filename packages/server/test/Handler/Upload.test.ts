import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Readable } from "node:stream"
import { assert, describe, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import {
  bytesOf,
  codeOf,
  digestOf,
  folderOf,
  openSocket,
  pushBlob,
  random,
  readSocket,
  send,
  startUpload,
  uniqueName
} from "../support.js"

const streamed = (bytes: Uint8Array): RequestInit & { readonly duplex: "half" } => ({
  body: Readable.toWeb(Readable.from([bytes])) as ReadableStream,
  duplex: "half"
})

const filesBelow = (folder: string): ReadonlyArray<string> =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) =>
        entry.isFile() ? [entry.name] : []
      )
    : []

const pause = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))

const waitForSize = (location: string, size: number) =>
  send("GET", location).pipe(
    Effect.repeat({ until: (answer) => answer.headers.get("range") === `0-${size - 1}` }),
    Effect.timeout("5 seconds")
  )

layer(EmbeddedRegistry.layerTemp({ limits: { idle: "300 millis" } }))("Upload", (it) => {
  describe("start", () => {
    it.effect("answers 202 with a Location, an empty Range and a UUID", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const answer = yield* send("POST", `/v2/${name}/blobs/uploads/`)
        assert.strictEqual(answer.status, 202)
        assert.match(answer.headers.get("location") ?? "", new RegExp(`^/v2/${name}/blobs/uploads/[0-9a-f-]{36}$`))
        assert.strictEqual(answer.headers.get("range"), "0-0")
        assert.strictEqual(answer.headers.get("content-length"), "0")
        assert.isNull(answer.headers.get("transfer-encoding"))
      })
    )

    it.effect("takes a whole blob in one POST", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(100_000)
        const digest = digestOf(bytes)
        const answer = yield* send("POST", `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: bytes })
        assert.strictEqual(answer.status, 201)
        assert.strictEqual(answer.headers.get("location"), `/v2/${name}/blobs/${digest}`)
        assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
        assert.deepEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).bytes, bytes)
      })
    )

    it.effect("leaves nothing of a POST whose bytes have another digest", () =>
      Effect.gen(function* () {
        const root = yield* folderOf
        const name = uniqueName()
        const digest = digestOf(random(10))
        const answer = yield* send("POST", `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: random(10) })
        assert.deepEqual([answer.status, codeOf(answer)], [400, "DIGEST_INVALID"])
        assert.deepEqual(filesBelow(join(root, "repositories", name)), [])
        assert.isFalse(existsSync(join(root, "blobs/sha256", digest.slice(7))))
      })
    )

    it.scoped("leaves nothing of a POST that breaks off, for its sender has no Location to go on with", () =>
      Effect.gen(function* () {
        const root = yield* folderOf
        const name = uniqueName()
        const files = Effect.sync(() => filesBelow(join(root, "repositories", name)).length)
        const socket = yield* openSocket
        const path = `/v2/${name}/blobs/uploads/?digest=${digestOf("x")}`
        socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc`)
        yield* Effect.repeat(Effect.zipLeft(files, pause), { until: (count) => count === 1 })
        socket.destroy()
        yield* Effect.repeat(Effect.zipLeft(files, pause), { until: (count) => count === 0 })
      })
    )

    it.effect("mounts a blob of another repository", () =>
      Effect.gen(function* () {
        const [from, to] = [uniqueName(), uniqueName("other")]
        const { digest } = yield* pushBlob(from, random(10))
        const answer = yield* send("POST", `/v2/${to}/blobs/uploads/?mount=${digest}&from=${from}`)
        assert.strictEqual(answer.status, 201)
        assert.strictEqual(answer.headers.get("location"), `/v2/${to}/blobs/${digest}`)
        assert.strictEqual((yield* send("HEAD", `/v2/${to}/blobs/${digest}`)).status, 200)
      })
    )

    it.effect("starts an upload where a mount cannot be done", () =>
      Effect.gen(function* () {
        const [from, to] = [uniqueName(), uniqueName()]
        const { digest } = yield* pushBlob(uniqueName("third"), random(10))
        yield* startUpload(to, `?mount=${digest}&from=${from}`)
        yield* startUpload(to, `?mount=${digestOf("nowhere")}`)
        assert.strictEqual((yield* send("HEAD", `/v2/${to}/blobs/${digest}`)).status, 404)
      })
    )
  })

  describe("append", () => {
    it.effect("takes chunks in order and says how far it is", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(250)
        const location = yield* startUpload(name)
        for (const [start, end] of [
          [0, 99],
          [100, 249]
        ] as const) {
          const answer = yield* send("PATCH", location, {
            body: bytes.slice(start, end + 1),
            headers: { "content-range": `${start}-${end}` }
          })
          assert.strictEqual(answer.status, 202)
          assert.strictEqual(answer.headers.get("range"), `0-${end}`)
          assert.strictEqual(answer.headers.get("location"), location)
        }
        const status = yield* send("GET", location)
        assert.deepEqual([status.status, status.headers.get("range")], [204, "0-249"])
        const digest = digestOf(bytes)
        assert.strictEqual((yield* send("PUT", `${location}?digest=${digest}`)).status, 201)
        assert.deepEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).bytes, bytes)
        assert.deepEqual(codeOf(yield* send("GET", location)), "BLOB_UPLOAD_UNKNOWN")
      })
    )

    it.effect("refuses chunks out of order by 416 with the Range it has", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        yield* send("PATCH", location, { body: random(100), headers: { "content-range": "0-99" } })
        for (const range of ["0-9", "50-59", "101-110", "x-y"]) {
          const answer = yield* send("PATCH", location, { body: random(10), headers: { "content-range": range } })
          assert.deepEqual([answer.status, answer.headers.get("range")], [416, "0-99"], range)
          assert.strictEqual(codeOf(answer), "BLOB_UPLOAD_INVALID")
        }
        assert.strictEqual((yield* send("GET", location)).headers.get("range"), "0-99")
      })
    )

    it.effect("refuses a chunk whose Content-Range is not its length", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        const answer = yield* send("PATCH", location, { body: random(10), headers: { "content-range": "0-99" } })
        assert.deepEqual([answer.status, codeOf(answer)], [400, "SIZE_INVALID"])
      })
    )

    it.effect("says what it has of a stream that is not as long as its Content-Range", () =>
      Effect.gen(function* () {
        for (const range of ["0-9", "0-199"]) {
          const location = yield* startUpload(uniqueName())
          const answer = yield* send("PATCH", location, {
            ...streamed(random(100)),
            headers: { "content-range": range }
          })
          assert.deepEqual([answer.status, answer.headers.get("range")], [416, "0-99"], range)
        }
      })
    )

    it.effect("takes a stream without length", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(5_000_000)
        const location = yield* startUpload(name)
        const answer = yield* send("PATCH", location, streamed(bytes))
        assert.deepEqual([answer.status, answer.headers.get("range")], [202, "0-4999999"])
        const digest = digestOf(bytes)
        assert.strictEqual((yield* send("PUT", `${location}?digest=${digest}`)).status, 201)
        assert.deepEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).bytes, bytes)
      })
    )

    it.scoped("keeps what was received when the connection dies, and goes on from there", () =>
      Effect.gen(function* () {
        for (const framing of ["content-length: 9000000", "transfer-encoding: chunked"]) {
          const name = uniqueName()
          const bytes = random(4_500_000)
          const cut = 3_300_007
          const location = yield* startUpload(name)
          const socket = yield* openSocket
          socket.write(`PATCH ${location} HTTP/1.1\r\nhost: x\r\n${framing}\r\n\r\n`)
          if (framing.endsWith("chunked")) socket.write(`${(9_000_000).toString(16)}\r\n`)
          socket.write(bytes.subarray(0, cut))
          yield* Effect.promise(() => new Promise<void>((resolve) => socket.end(resolve)))
          yield* waitForSize(location, cut)
          const rest = yield* send("PATCH", location, {
            body: bytes.slice(cut),
            headers: { "content-range": `${cut}-${bytes.length - 1}` }
          })
          assert.strictEqual(rest.status, 202, rest.text)
          const digest = digestOf(bytes)
          assert.strictEqual((yield* send("PUT", `${location}?digest=${digest}`)).status, 201)
          assert.deepEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).bytes, bytes)
        }
      })
    )

    it.scoped("lets go of a client that falls silent and keeps its bytes", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        const socket = yield* openSocket
        socket.write(`PATCH ${location} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n`)
        socket.write(random(10))
        yield* Effect.timeout(readSocket(socket, "never sent"), "5 seconds")
        yield* waitForSize(location, 10)
      })
    )

    it.effect("knows no upload of another repository", () =>
      Effect.gen(function* () {
        const location = yield* startUpload(uniqueName())
        const elsewhere = location.replace("/v2/team/", "/v2/other/")
        for (const method of ["GET", "PATCH", "DELETE"]) {
          const answer = yield* send(method, elsewhere, method === "PATCH" ? { body: random(10) } : {})
          assert.deepEqual([answer.status, codeOf(answer)], [404, "BLOB_UPLOAD_UNKNOWN"], method)
        }
      })
    )
  })

  describe("finish", () => {
    it.effect("takes the whole blob, or its last part", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(1000)
        const location = yield* startUpload(name)
        yield* send("PATCH", location, { body: bytes.slice(0, 400) })
        const digest = digestOf(bytes)
        const answer = yield* send("PUT", `${location}?digest=${digest}`, { body: bytes.slice(400) })
        assert.strictEqual(answer.status, 201)
        assert.strictEqual(answer.headers.get("location"), `/v2/${name}/blobs/${digest}`)
        assert.strictEqual(answer.headers.get("docker-content-digest"), digest)
        assert.strictEqual(answer.headers.get("content-length"), "0")
      })
    )

    it.effect("verifies sha512, whatever the upload was started with", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        for (const query of ["", "?digest-algorithm=sha512"]) {
          const bytes = random(100_000)
          const digest = digestOf(bytes, "sha512")
          const location = yield* startUpload(name, query)
          assert.strictEqual((yield* send("PUT", `${location}?digest=${digest}`, { body: bytes })).status, 201)
          assert.deepEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).bytes, bytes)
          const wrong = yield* startUpload(name, query)
          const answer = yield* send("PUT", `${wrong}?digest=${digest}`, { body: random(100_000) })
          assert.deepEqual([answer.status, codeOf(answer)], [400, "DIGEST_INVALID"])
        }
      })
    )

    it.effect("takes the empty blob", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, bytesOf(""))
        const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`)
        assert.deepEqual([answer.status, answer.bytes.length, answer.headers.get("content-length")], [200, 0, "0"])
      })
    )

    it.effect("leaves nothing of bytes with another digest", () =>
      Effect.gen(function* () {
        const root = yield* folderOf
        const name = uniqueName()
        const digest = digestOf(random(100))
        const bytes = random(3_000_000)
        const location = yield* startUpload(name)
        const answer = yield* send("PUT", `${location}?digest=${digest}`, { body: bytes })
        assert.deepEqual([answer.status, codeOf(answer)], [400, "DIGEST_INVALID"])
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/blobs/${digest}`)).status, 404)
        assert.strictEqual((yield* send("GET", location)).status, 404)
        assert.deepEqual(filesBelow(join(root, "repositories", name)), [])
        for (const wrong of [digest, digestOf(bytes)])
          assert.isFalse(existsSync(join(root, "blobs/sha256", wrong.slice(7))))
        assert.deepEqual(filesBelow(join(root, "tmp")), [])
      })
    )

    it.effect("stores one blob that many push at once into many repositories", () =>
      Effect.gen(function* () {
        const bytes = random(1_500_000)
        const names = [...Array(12).keys()].map((index) => uniqueName(`many-${index % 3}`))
        yield* Effect.forEach([...names, ...names], (name) => pushBlob(name, bytes), { concurrency: "unbounded" })
        for (const name of names) {
          assert.deepEqual((yield* send("GET", `/v2/${name}/blobs/${digestOf(bytes)}`)).bytes, bytes)
        }
      })
    )

    it.effect("hashes anew what it did not receive itself", () =>
      Effect.gen(function* () {
        const root = yield* folderOf
        const another = EmbeddedRegistry.layer({ root, fsync: false })
        const name = uniqueName()
        const bytes = random(50_000)
        const location = yield* startUpload(name)
        yield* send("PATCH", location, { body: bytes.slice(0, 20_000) })
        yield* Effect.provide(send("PATCH", location, { body: bytes.slice(20_000, 30_000) }), another)
        yield* send("PATCH", location, { body: bytes.slice(30_000) })
        const answer = yield* send("PUT", `${location}?digest=${digestOf(bytes)}`)
        assert.strictEqual(answer.status, 201, answer.text)
      })
    )
  })

  describe("cancel", () => {
    it.effect("forgets the upload and its bytes", () =>
      Effect.gen(function* () {
        const root = yield* folderOf
        const name = uniqueName()
        const location = yield* startUpload(name)
        yield* send("PATCH", location, { body: random(100) })
        assert.strictEqual((yield* send("DELETE", location)).status, 204)
        assert.deepEqual(filesBelow(join(root, "repositories", name)), [])
        for (const method of ["GET", "DELETE"]) assert.strictEqual((yield* send(method, location)).status, 404)
      })
    )
  })
})

layer(EmbeddedRegistry.layerTemp({ limits: { uploadSize: 1000 } }))("Upload with a limit", (it) => {
  describe("append", () => {
    it.scoped("does not ask for a body that is too large by its length", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        for (const [method, query] of [
          ["PATCH", ""],
          ["PUT", `?digest=${digestOf("x")}`],
          ["POST", `?digest=${digestOf("x")}`]
        ] as const) {
          const path = method === "POST" ? `/v2/${name}/blobs/uploads/` : yield* startUpload(name)
          const socket = yield* openSocket
          socket.write(
            `${method} ${path}${query} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n`
          )
          assert.match(yield* readSocket(socket, "never sent"), /^HTTP\/1\.1 413 /, method)
        }
      })
    )
  })
})
