import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { describe, expect, it } from "@effect/vitest"
import { type BlobSink, type BlobTransport, type CompressedContent, Compressor } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as NodeBlobTransport from "../src/NodeBlobTransport.js"
import * as NodeClient from "../src/NodeClient.js"
import * as NodeCompressor from "../src/NodeCompressor.js"
import * as NodeHasher from "../src/NodeHasher.js"
import { disconnected, fileContent, openCount, openFile, ReadError, readAll, serve } from "./support.js"

const MiB = 1 << 20
const sha256 = (bytes: Uint8Array): string => `sha256:${Crypto.createHash("sha256").update(bytes).digest("hex")}`
const transport = NodeBlobTransport.make()
const sleep = (ms: number) => Effect.promise(() => new Promise((resolve) => setTimeout(resolve, ms)))
const sinkOf = (fd: number, offset: number): BlobSink<ReadError> => ({
  fd: FileSystem.FileDescriptor(fd),
  offset,
  write: () => Effect.dieMessage("not needed"),
  writeError: (cause) => new ReadError(cause)
})
/** Takes an answer from a place in the blob on; what was hashed and written of it. */
const receiving = (limit: number, from = 0) => {
  const hash = NodeHasher.make.make("sha256")
  let written = from
  let seen = 0
  const options: BlobTransport.ReceiveOptions = {
    hash,
    from,
    limit,
    onBytes: (n) => {
      seen += n
    },
    onWritten: (n) => {
      written = n
    }
  }
  return { options, seen: () => seen, written: () => written, digest: () => hash.digest() }
}
const options = (limit: number) => receiving(limit).options
/** What arrives of an upload: the digest of its bytes and the headers. */
const sink = serve(async (req, res) => {
  const bytes = await readAll(req)
  res.end(JSON.stringify({ digest: sha256(bytes), size: bytes.length, length: req.headers["content-length"] ?? null }))
})

describe("NodeBlobTransport", () => {
  describe("body", () => {
    it.scoped("sends a segment of a file, afresh in every attempt", () =>
      Effect.gen(function* () {
        const bytes = Crypto.randomBytes(3 * MiB)
        const file = yield* openFile(bytes)
        const server = yield* sink
        const client = yield* NodeClient.make()
        let read = 0
        const segment = bytes.subarray(1_000, 2 * MiB + 1_234)
        const { body } = yield* transport.body(fileContent(file, 1_000, segment.length), (n) => {
          read += n
        })
        for (let attempt = 1; attempt <= 2; attempt++) {
          const response = yield* client.execute(HttpClientRequest.put(server.url, { body }))
          const size = segment.length
          expect(yield* response.json).toEqual({ digest: sha256(segment), size, length: String(size) })
          expect(read).toBe(attempt * size)
        }
        expect(openCount(file.path)).toBe(1)
      })
    )

    it.scoped.each(["gzip", "zstd"] as const)("compresses with %s on the way and tells both sums", (algorithm) =>
      Effect.gen(function* () {
        const bytes = Buffer.alloc(2 * MiB + 5, "layer ")
        const file = yield* openFile(bytes)
        const server = yield* sink
        const client = yield* NodeClient.make()
        const plain = fileContent(file, 0, bytes.length)
        const content: CompressedContent<ReadError> = {
          _tag: "Compressed",
          algorithm,
          plain,
          diffId: sha256(bytes) as CompressedContent["diffId"]
        }
        const { body, compressed } = yield* transport.body(content, () => {})
        expect(compressed()).toEqual(Option.none())
        const response = yield* client.execute(HttpClientRequest.put(server.url, { body }))
        const { diffId, digest, size } = Option.getOrThrow(compressed())
        expect(yield* response.json).toEqual({ digest, size, length: null })
        expect(diffId).toBe(sha256(bytes))
      }).pipe(Effect.provideServiceEffect(Compressor.Compressor, NodeCompressor.make({ threads: 2 })))
    )

    it.scoped("fails at once for a file that became shorter, with the source's own error", () =>
      Effect.gen(function* () {
        const file = yield* openFile(Buffer.alloc(2 * MiB))
        const server = yield* sink
        const client = yield* NodeClient.make()
        const upload = yield* transport.body(fileContent(file, 0, 3 * MiB), () => {})
        const error = yield* Effect.flip(client.execute(HttpClientRequest.put(server.url, { body: upload.body })))
        expect(error._tag).toBe("RequestError")
        expect(Option.getOrThrow(upload.failure())).toMatchObject({
          _tag: "ReadError",
          cause: { message: "the file ends 1048576 bytes too early" }
        })
      })
    )

    it.scoped("leaves the descriptor open when an upload is interrupted", () =>
      Effect.gen(function* () {
        const file = yield* openFile(Buffer.alloc(64 * MiB))
        const server = yield* serve(() => {})
        const client = yield* NodeClient.make()
        const { body } = yield* transport.body(fileContent(file, 0, 64 * MiB), () => {})
        const fiber = yield* Effect.fork(client.execute(HttpClientRequest.put(server.url, { body })))
        yield* sleep(100)
        const start = Date.now()
        yield* Fiber.interrupt(fiber)
        expect(Date.now() - start).toBeLessThan(500)
        expect(Fs.fstatSync(file.fd).size).toBe(64 * MiB)
      })
    )
  })

  describe("receive", () => {
    const get = (url: string) =>
      Effect.flatMap(NodeClient.make(), (client) => HttpClient.withScope(client).execute(HttpClientRequest.get(url)))

    it.scoped.each([["length"], ["chunked"]] as const)(
      "writes a body with %s at the offset of the file, hashed",
      ([kind]) =>
        Effect.gen(function* () {
          const bytes = Crypto.randomBytes(5 * MiB + 77)
          const server = yield* serve((_, res) => {
            if (kind === "length") res.setHeader("content-length", bytes.length)
            else res.write(bytes.subarray(0, 10))
            res.end(kind === "length" ? bytes : bytes.subarray(10))
          })
          const file = yield* openFile(Buffer.from("head"))
          const response = yield* get(server.url)
          const received = receiving(bytes.length)
          yield* transport.receive(response, sinkOf(file.fd, 4), received.options)
          expect(received.digest()).toEqual(sha256(bytes))
          expect(received.seen()).toBe(bytes.length)
          expect(received.written()).toBe(bytes.length)
          expect(Buffer.compare(Fs.readFileSync(file.path), Buffer.concat([Buffer.from("head"), bytes]))).toBe(0)
        })
    )

    it.scoped("takes an empty body", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.writeHead(200, { "content-length": "0" }).end())
        const file = yield* openFile(Buffer.alloc(0))
        const received = receiving(0)
        yield* transport.receive(yield* get(server.url), sinkOf(file.fd, 0), received.options)
        expect(received.digest()).toEqual(sha256(Buffer.alloc(0)))
      })
    )

    it.scoped("takes the answer of any other client", () =>
      Effect.gen(function* () {
        const bytes = Crypto.randomBytes(MiB)
        const server = yield* serve((_, res) => res.end(bytes))
        const file = yield* openFile(Buffer.alloc(0))
        // unscoped, so wrapped: no NodeResponse
        const response = yield* Effect.flatMap(NodeClient.make(), (client) => client.get(server.url))
        const received = receiving(MiB)
        yield* transport.receive(response, sinkOf(file.fd, 0), received.options)
        expect(received.digest()).toBe(sha256(bytes))
        expect(Buffer.compare(Fs.readFileSync(file.path), bytes)).toBe(0)
      })
    )

    it.scoped("stops at the first byte over the limit", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => res.end(Buffer.alloc(MiB)))
        const file = yield* openFile(Buffer.alloc(0))
        const error = yield* Effect.flip(transport.receive(yield* get(server.url), sinkOf(file.fd, 0), options(1_000)))
        expect(error).toMatchObject({
          _tag: "ResponseError",
          description: "more than the 1000 bytes that were announced"
        })
        expect(Fs.readFileSync(file.path).length).toBeLessThanOrEqual(1_000)
      })
    )

    it.scoped("fails when the body breaks off, and what came before is written and hashed", () =>
      Effect.gen(function* () {
        const bytes = Crypto.randomBytes(2 * MiB + 5)
        const server = yield* serve((req, res) => {
          res.writeHead(200, { "content-length": 3 * MiB })
          res.write(bytes, () => setTimeout(() => req.socket.end(), 50))
        })
        const file = yield* openFile(Buffer.alloc(0))
        const received = receiving(3 * MiB, 7)
        const error = yield* Effect.flip(
          transport.receive(yield* get(server.url), sinkOf(file.fd, 3), received.options)
        )
        expect(error).toMatchObject({ _tag: "ResponseError", reason: "Decode" })
        const there = Fs.readFileSync(file.path).subarray(10)
        expect(received.written()).toBe(7 + bytes.length)
        expect(Buffer.compare(there, bytes)).toBe(0)
        expect(received.digest()).toBe(sha256(bytes))
      })
    )

    it.scoped("fails where the connection broke before anybody read the body", () =>
      Effect.gen(function* () {
        const server = yield* serve((req, res) => {
          res.writeHead(200, { "content-length": 3 * MiB })
          res.write(Buffer.alloc(10), () => setTimeout(() => req.socket.destroy(), 20))
        })
        const file = yield* openFile(Buffer.alloc(0))
        const response = yield* get(server.url)
        yield* sleep(100)
        const error = yield* Effect.flip(transport.receive(response, sinkOf(file.fd, 0), options(3 * MiB)))
        expect(error).toMatchObject({ _tag: "ResponseError", reason: "Decode" })
      })
    )

    it.scoped("fails with the target's error when the file cannot be written", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => {
          res.writeHead(200, { "content-length": 9 * MiB })
          res.write(Buffer.alloc(3 * MiB))
        })
        const file = yield* openFile(Buffer.alloc(0))
        const fd = yield* Effect.acquireRelease(
          Effect.sync(() => Fs.openSync(file.path, "r")),
          (fd) => Effect.sync(() => Fs.closeSync(fd))
        )
        const error = yield* Effect.flip(transport.receive(yield* get(server.url), sinkOf(fd, 0), options(9 * MiB)))
        expect(error).toMatchObject({ _tag: "ReadError", cause: { code: "EBADF" } })
        yield* disconnected(server)
      })
    )

    it.scoped("is interrupted without a write left behind", () =>
      Effect.gen(function* () {
        const server = yield* serve((_, res) => {
          res.writeHead(200, { "content-length": 1024 * MiB })
          const more = (): void => {
            while (res.write(Buffer.alloc(MiB))) {}
          }
          res.on("drain", more)
          more()
        })
        const file = yield* openFile(Buffer.alloc(0))
        const response = yield* get(server.url)
        const fiber = yield* Effect.fork(transport.receive(response, sinkOf(file.fd, 0), options(1024 * MiB)))
        yield* sleep(150)
        const start = Date.now()
        yield* Fiber.interrupt(fiber)
        expect(Date.now() - start).toBeLessThan(500)
        const { size } = Fs.fstatSync(file.fd)
        expect(size).toBeGreaterThan(0)
        yield* disconnected(server)
        expect(Fs.fstatSync(file.fd).size).toBe(size)
      })
    )
  })
})
