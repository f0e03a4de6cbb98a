import type { FileSystem } from "@effect/platform"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { assert, describe, it } from "@effect/vitest"
import { type BlobContent, type BlobSink, BlobTransport, Digest, Hasher } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (chunks: Chunk.Chunk<Uint8Array>) =>
  Chunk.toReadonlyArray(chunks)
    .map((chunk) => new TextDecoder().decode(chunk))
    .join("")

/** The body as a client that knows streams reads it. */
const read = <E>({ body }: BlobTransport.UploadBody<E>) =>
  body._tag === "Stream"
    ? Effect.map(Stream.runCollect(body.stream), text)
    : Effect.dieMessage(`a body of kind ${body._tag}`)

const prepare = <E = never, R = never>(content: BlobContent<E, R>, onBytes: (size: number) => void = () => {}) =>
  Effect.flatMap(BlobTransport.BlobTransport, (transport) => transport.body(content, onBytes))

/** A file in memory. */
const sink = (offset = 0) => {
  const file = new Uint8Array(20)
  const value: BlobSink = {
    fd: 0 as FileSystem.File.Descriptor,
    offset,
    write: (chunk, position) => Effect.sync(() => file.set(chunk, position)),
    writeError: (cause): never => {
      throw cause
    }
  }
  return { file, value }
}

const receive = (
  body: ReadonlyArray<string>,
  limit: number,
  options: { readonly offset?: number; readonly from?: number } = {}
) =>
  Effect.gen(function* () {
    const transport = yield* BlobTransport.BlobTransport
    const stream = new ReadableStream({
      start(controller) {
        for (const chunk of body) controller.enqueue(bytes(chunk))
        controller.close()
      }
    })
    const request = transport.request(HttpClientRequest.get("http://localhost/v2/app/blobs/x"))
    const { file, value } = sink(options.offset)
    let heard = 0
    let size = 0
    const hash = Hasher.portable.make("sha256")
    yield* transport.receive(HttpClientResponse.fromWeb(request, new Response(stream)), value, {
      hash,
      from: options.from ?? 0,
      limit,
      onBytes: (bytes) => {
        heard += bytes
      },
      onWritten: (bytes) => {
        size = bytes
      }
    })
    return { size, digest: hash.digest(), file, heard }
  })

describe("BlobTransport", () => {
  it.effect("is the portable one unless another is given", () =>
    Effect.map(BlobTransport.BlobTransport, (transport) => {
      assert.strictEqual(transport, BlobTransport.portable)
      assert.isFalse(transport.streams)
    })
  )

  describe("body", () => {
    it.effect("of bytes has their length and can be read by every attempt", () =>
      Effect.gen(function* () {
        let heard = 0
        const made = yield* prepare({ _tag: "Bytes", bytes: bytes("hello") }, (size) => {
          heard += size
        })
        assert.strictEqual(made.body.contentLength, 5)
        assert.strictEqual(yield* read(made), "hello")
        assert.strictEqual(yield* read(made), "hello")
        assert.strictEqual(heard, 10)
        assert.deepStrictEqual(made.failure(), Option.none())
        assert.deepStrictEqual(made.compressed(), Option.none())
      })
    )

    it.effect("remembers the source's own error", () =>
      Effect.gen(function* () {
        const stream = Stream.concat(Stream.make(bytes("he")), Stream.fail("the disk is gone" as const))
        const made = yield* prepare({ _tag: "Stream", size: 5, stream })
        yield* Effect.flip(read(made))
        assert.deepStrictEqual(made.failure(), Option.some("the disk is gone"))
      })
    )

    it.effect("brings the services that its source needs", () =>
      Effect.gen(function* () {
        class Disk extends Context.Tag("Disk")<Disk, { readonly content: string }>() {}
        const stream = Stream.fromEffect(Effect.map(Disk, ({ content }) => bytes(content)))
        const made = yield* Effect.provideService(prepare({ _tag: "Stream", size: 5, stream }), Disk, {
          content: "hello"
        })
        assert.strictEqual(yield* read(made), "hello")
      })
    )

    it.effect("of content to compress has no length, and says afterwards what it became", () =>
      Effect.gen(function* () {
        const diffId = Digest.fromBytes(bytes("hello"))
        const plain = { _tag: "Bytes" as const, bytes: bytes("hello") }
        const made = yield* prepare({ _tag: "Compressed", algorithm: "gzip", plain, diffId })
        assert.isUndefined(made.body.contentLength)
        const { body } = made
        assert.strictEqual(body._tag, "Stream")
        const chunks = body._tag === "Stream" ? Chunk.toReadonlyArray(yield* Stream.runCollect(body.stream)) : []
        const result = Option.getOrThrow(made.compressed())
        assert.strictEqual(result.diffId, diffId)
        assert.strictEqual(result.diffSize, 5)
        assert.strictEqual(
          result.size,
          chunks.reduce((size, chunk) => size + chunk.length, 0)
        )
        assert.strictEqual(result.digest, Digest.fromBytes(Uint8Array.from(chunks.flatMap((chunk) => [...chunk]))))
      })
    )
  })

  describe("receive", () => {
    it.effect("writes each chunk at its place and tells size and digest", () =>
      Effect.gen(function* () {
        const received = yield* receive(["hel", "lo"], 5, { offset: 7 })
        assert.strictEqual(received.size, 5)
        assert.strictEqual(received.digest, Digest.fromBytes(bytes("hello")))
        assert.strictEqual(received.heard, 5)
        assert.strictEqual(new TextDecoder().decode(received.file.subarray(7, 12)), "hello")
        assert.isTrue(received.file.subarray(0, 7).every((byte) => byte === 0))
      })
    )

    it.effect("goes on behind the bytes that are there", () =>
      Effect.gen(function* () {
        const received = yield* receive(["lo"], 2, { offset: 7, from: 3 })
        assert.strictEqual(received.size, 5)
        assert.strictEqual(new TextDecoder().decode(received.file.subarray(10, 12)), "lo")
      })
    )

    it.effect("stops at the first byte too many and does not write it", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(receive(["hello", "!"], 5))
        assert.strictEqual(error._tag, "ResponseError")
        assert.match(error.message, /more than the 5 bytes/)
      })
    )

    it.effect("leaves it to the caller to judge a body that is too short", () =>
      Effect.map(receive(["hell"], 5), ({ size }) => assert.strictEqual(size, 4))
    )
  })
})
