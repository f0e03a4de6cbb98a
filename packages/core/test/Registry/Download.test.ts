import { assert, describe, it } from "@effect/vitest"
import { type BlobSink, Digest } from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Client from "../../src/Registry/Client.js"
import * as Download from "../../src/Registry/Download.js"
import * as Exchange from "../../src/Registry/Exchange.js"
import * as Scripted from "../support/ScriptedClient.js"

const client = Client.make({ host: "r.example", origin: "http://r.example" }, { repository: Option.none(), scopes: [] })
const small = Scripted.utf8("hello blob")
const large = Uint8Array.from({ length: 1_500_000 }, (_, index) => index % 251)
const flipped = (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, index) => (index === 3 ? byte ^ 1 : byte))

const collect = (bytes: Uint8Array, size: Option.Option<number> = Option.some(bytes.length)) =>
  Effect.flatMap(client, (client) =>
    Stream.runCollect(Download.stream(client, "a", Digest.fromBytes(bytes), size))
  ).pipe(
    Effect.map((chunks) =>
      Exchange.concat(
        Chunk.toReadonlyArray(chunks),
        Chunk.reduce(chunks, 0, (n, c) => n + c.length)
      )
    )
  )

/** A sink over an array. */
const sinkOf = (file: Uint8Array, offset: number): BlobSink => ({
  fd: 3 as BlobSink["fd"],
  offset,
  write: (bytes, position) => Effect.sync(() => file.set(bytes, position)),
  writeError: () => undefined as never
})
const save = (bytes: Uint8Array, file: Uint8Array) =>
  Effect.flatMap(client, (client) =>
    Download.remote(client, "a", Digest.fromBytes(bytes), bytes.length).save(sinkOf(file, 5))
  )

describe("Download", () => {
  for (const [name, blob] of [
    ["small", small],
    ["large", large]
  ] as const) {
    describe(`stream of a ${name} blob`, () => {
      it.live("goes on after a cut connection, without a byte twice", () => {
        const script = Scripted.inOrder([
          { status: 200, body: Scripted.cut(blob.subarray(0, blob.length >> 1)) },
          { status: 200, body: blob }
        ])
        return Effect.gen(function* () {
          assert.deepStrictEqual(yield* collect(blob), blob)
          assert.strictEqual(script.seen.length, 2)
        }).pipe(Effect.provide(script.layer))
      })
      it.live("goes on after a body that ended early without an error", () => {
        const short = new Response(blob.slice(0, blob.length >> 1)).body ?? ""
        const script = Scripted.inOrder([
          { status: 200, body: short },
          { status: 200, body: blob }
        ])
        return Effect.gen(function* () {
          assert.deepStrictEqual(yield* collect(blob), blob)
        }).pipe(Effect.provide(script.layer))
      })
      it.live("fails where the bytes are not those of the digest", () => {
        const script = Scripted.make(() => ({ status: 200, body: flipped(blob) }))
        return Effect.gen(function* () {
          const error = yield* Effect.flip(collect(blob))
          assert.strictEqual(error.reason, "DigestMismatch")
          assert.include(error.message, Digest.fromBytes(flipped(blob)))
        }).pipe(Effect.provide(script.layer))
      })
    })
  }
  describe("stream", () => {
    it.live("reads a small blob again whose byte was flipped", () => {
      const script = Scripted.inOrder([
        { status: 200, body: flipped(small) },
        { status: 200, body: small }
      ])
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* collect(small), small)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("works without a known size", () => {
      const script = Scripted.inOrder([{ status: 200, body: small }])
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* collect(small, Option.none()), small)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("fails where the registry announces another size", () => {
      const script = Scripted.make(() => ({ status: 200, body: large }))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(collect(large, Option.some(large.length - 1)))
        assert.strictEqual(error.reason, "SizeMismatch")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("says that there is none", () => {
      const script = Scripted.make(() => ({ status: 404, body: '{"errors":[{"code":"BLOB_UNKNOWN"}]}' }))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(collect(small))
        assert.strictEqual(error.reason, "NotFound")
        assert.strictEqual(script.seen.length, 1)
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("save", () => {
    it.live("writes at the sink's offset and starts over after cut, flip and 503", () => {
      const script = Scripted.inOrder([
        { status: 200, body: Scripted.cut(large.subarray(0, 100_000)) },
        { status: 503 },
        { status: 200, body: flipped(large) },
        { status: 200, body: large }
      ])
      return Effect.gen(function* () {
        const file = new Uint8Array(large.length + 5)
        yield* save(large, file)
        assert.deepStrictEqual(file.subarray(5), large)
        const counted = script.events.reduce(
          (sum, event) => (event._tag === "BlobProgress" ? sum + event.bytes : sum),
          0
        )
        assert.strictEqual(counted, large.length)
        assert.strictEqual(script.events.filter(({ _tag }) => _tag === "Retrying").length, 3)
      }).pipe(Effect.provide(script.layer))
    })
    /** Serves ranges of the blob; `cuts` says where the connection breaks, in its turn. */
    const ranged = (blob: Uint8Array, cuts: ReadonlyArray<number>) =>
      Scripted.make(({ headers }, index) => {
        const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "bytes=0-")?.[1])
        const end = Math.min(cuts[index] ?? blob.length, blob.length)
        const part = blob.subarray(start, end)
        const range: Record<string, string> =
          headers.range === undefined ? {} : { "content-range": `bytes ${start}-${blob.length - 1}/${blob.length}` }
        return {
          status: headers.range === undefined ? 200 : 206,
          headers: range,
          body: end === blob.length ? part : Scripted.cut(part)
        }
      })
    it.live("asks for the rest after a break, as often as something came in between", () => {
      const cuts = [1, 2, 3, 4, 5, 6, 7, 8].map((part) => part * 150_000)
      const script = ranged(large, cuts)
      return Effect.gen(function* () {
        const file = new Uint8Array(large.length + 5)
        yield* save(large, file)
        assert.deepStrictEqual(file.subarray(5), large)
        const asked = script.seen.map(({ headers }) => headers.range)
        assert.deepStrictEqual(asked, [undefined, ...cuts.map((at) => `bytes=${at}-`)])
      }).pipe(Effect.provide(script.layer))
    })
    const goOn = (script: ReturnType<typeof Scripted.make>, left: Uint8Array) =>
      Effect.gen(function* () {
        const file = new Uint8Array(large.length + 5)
        file.set(left, 5)
        const heard: Array<number> = []
        const earlier = { size: left.length, stream: Stream.make(left) }
        const onWritten = (bytes: number) => void heard.push(bytes)
        const blob = Download.remote(yield* client, "a", Digest.fromBytes(large), large.length)
        yield* blob.save({ ...sinkOf(file, 5), earlier, onWritten })
        assert.deepStrictEqual(file.subarray(5), large)
        return heard
      }).pipe(Effect.provide(script.layer))
    it.live("goes on behind what an earlier attempt left", () => {
      const script = ranged(large, [])
      return Effect.gen(function* () {
        const heard = yield* goOn(script, large.subarray(0, 1_000_000))
        assert.deepStrictEqual(
          script.seen.map(({ headers }) => headers.range),
          ["bytes=1000000-"]
        )
        assert.isTrue(heard.every((bytes) => bytes > 1_000_000))
      })
    })
    it.live("asks for nothing where all is there", () => {
      const script = ranged(large, [])
      return Effect.map(goOn(script, large), () => assert.strictEqual(script.seen.length, 0))
    })
    it.live("starts over where what was left is damaged", () => {
      const script = ranged(large, [])
      return Effect.gen(function* () {
        const heard = yield* goOn(script, flipped(large.subarray(0, 1_000_000)))
        assert.deepStrictEqual(
          script.seen.map(({ headers }) => headers.range),
          ["bytes=1000000-", undefined]
        )
        assert.include(heard, 0)
      })
    })
    it.live.each<[string, Scripted.Answer]>([
      ["begins elsewhere", { status: 206, headers: { "content-range": `bytes 5-9/${large.length}` }, body: "01234" }],
      [
        "is of another size",
        { status: 206, headers: { "content-range": "bytes 1000000-1000004/1000005" }, body: "01234" }
      ],
      ["cannot be had", { status: 416 }]
    ])("asks for the whole where a range %s", ([, answer]) => {
      const script = Scripted.inOrder([answer, { status: 200, body: large }])
      return Effect.gen(function* () {
        yield* goOn(script, large.subarray(0, 1_000_000))
        assert.deepStrictEqual(
          script.seen.map(({ headers }) => headers.range),
          ["bytes=1000000-", undefined]
        )
      })
    })
    it.live("stops at the first byte too many", () => {
      const endless = () =>
        new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(65536)) })
      const script = Scripted.make(() => ({ status: 200, body: endless() }), { retry: { attempts: 2, delay: 1 } })
      return Effect.gen(function* () {
        const file = new Uint8Array(large.length + 5)
        const error = yield* Effect.flip(save(large, file))
        assert.strictEqual(error.reason, "SizeMismatch")
      }).pipe(Effect.provide(script.layer))
    })
  })
})
