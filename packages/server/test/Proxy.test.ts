import type { Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { type Digest, MediaType } from "@effect-registry/core"
import { Upstream } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { BlobStore } from "../src/BlobStore.js"
import { ManifestStore, type Stored } from "../src/ManifestStore.js"
import * as Proxy from "../src/Proxy.js"
import { all, type Backend } from "./suites/Backends.js"
import { bytesOf, digestOf, random } from "./support.js"

const mebibyte = 1 << 20

/** An upstream in code: what it holds, what it was asked, and a hand on what it says. */
const scripted = () => {
  const blobs = new Map<string, Stream.Stream<Uint8Array, Upstream.UpstreamError>>()
  const manifests = new Map<string, Stored>()
  const tags = new Map<string, Digest.Digest>()
  const asked: Array<string> = []
  const state: { failure: Upstream.UpstreamError | undefined; wait: Effect.Effect<void>; size: boolean } = {
    failure: undefined,
    wait: Effect.void,
    size: true
  }
  const answer = <A>(question: string, f: () => A) =>
    Effect.suspend(() => {
      asked.push(question)
      return Effect.zipRight(state.wait, state.failure ?? Effect.sync(f))
    })
  const sizes = new Map<string, number>()
  const upstream: Upstream.Upstream = {
    url: "http://upstream.test",
    resolve: (name, tag) => answer(`tag ${name}:${tag}`, () => Option.fromNullable(tags.get(`${name}:${tag}`))),
    manifest: (name, digest) =>
      answer(`manifest ${name}`, () => Option.fromNullable(manifests.get(`${name}@${digest}`))),
    blob: (name, digest) =>
      answer(`blob ${name}`, () =>
        Option.map(Option.fromNullable(blobs.get(`${name}@${digest}`)), (stream) => ({
          size: state.size ? sizes.get(digest) : undefined,
          stream: Stream.suspend(() => {
            asked.push(`bytes ${name}`)
            return stream
          })
        }))
      ),
    tags: (name) =>
      answer(`tags ${name}`, () => {
        const found = [...tags.keys()].filter((key) => key.startsWith(`${name}:`)).map((key) => key.split(":")[1] ?? "")
        return found.length === 0 ? Option.none() : Option.some(found)
      }),
    referrers: (name, subject) =>
      answer(`referrers ${name}`, () =>
        [...manifests].flatMap(([key, { bytes, digest, mediaType, size }]) => {
          const refers = key.startsWith(`${name}@`) && new TextDecoder().decode(bytes).includes(`"subject":{`)
          return refers && new TextDecoder().decode(bytes).includes(subject) ? [{ digest, mediaType, size }] : []
        })
      )
  }
  return {
    upstream,
    asked: (what: string) => asked.filter((each) => each.startsWith(what)).length,
    fails: (reason: Upstream.UpstreamErrorReason | undefined) => {
      state.failure = reason && new Upstream.UpstreamError({ reason, message: "secret-of-upstream" })
    },
    waits: (wait: Effect.Effect<void>) => {
      state.wait = wait
    },
    hidesSizes: () => {
      state.size = false
    },
    /** A blob whose bytes come in chunks; `between` is run before each one but the first. */
    blob: (
      name: string,
      bytes: Uint8Array,
      options: { between?: Effect.Effect<void, Upstream.UpstreamError>; digest?: Digest.Digest } = {}
    ) => {
      const digest = options.digest ?? digestOf(bytes)
      const count = Math.ceil(bytes.length / mebibyte)
      const chunk = (index: number) =>
        Effect.as(
          index === 0 ? Effect.void : (options.between ?? Effect.void),
          bytes.subarray(index * mebibyte, (index + 1) * mebibyte)
        )
      sizes.set(digest, bytes.length)
      blobs.set(`${name}@${digest}`, Stream.mapEffect(Stream.range(0, count - 1), chunk))
      return digest
    },
    manifest: (name: string, tag: string | undefined, extra: object = {}) => {
      const config = { mediaType: MediaType.ociConfig, digest: digestOf("{}"), size: 2 }
      const text = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [], ...extra })
      const digest = digestOf(text)
      const stored = { digest, mediaType: MediaType.ociManifest, size: text.length, bytes: bytesOf(text) }
      manifests.set(`${name}@${digest}`, stored)
      if (tag !== undefined) tags.set(`${name}:${tag}`, digest)
      return stored
    },
    replace: (name: string, digest: Digest.Digest, bytes: Uint8Array) => {
      manifests.set(`${name}@${digest}`, { digest, mediaType: MediaType.ociManifest, size: bytes.length, bytes })
    },
    untag: (name: string, tag: string) => tags.delete(`${name}:${tag}`)
  }
}

const open = (backend: Backend, upstream: Upstream.Upstream, options: Proxy.Options = {}) =>
  Effect.gen(function* () {
    const local = yield* backend.open()
    const stores = Layer.mergeAll(Layer.succeed(BlobStore, local.blobs), Layer.succeed(ManifestStore, local.manifests))
    const served = yield* Layer.build(Layer.provide(Proxy.layer(upstream, options), stores))
    return { blobs: Context.get(served, BlobStore), manifests: Context.get(served, ManifestStore), local }
  })

const readAll = (readable: Readable) =>
  Effect.tryPromise(async () => {
    const chunks: Array<Uint8Array> = []
    for await (const chunk of readable as AsyncIterable<Uint8Array>) chunks.push(chunk)
    return Buffer.concat(chunks)
  })

/** Waits until so many bytes can be read, and leaves the rest. */
const readSome = (readable: Readable, count: number) =>
  Effect.async<number>((resume) => {
    let seen = 0
    readable.on("data", (chunk: Uint8Array) => {
      seen += chunk.length
      if (seen < count) return
      readable.pause()
      resume(Effect.succeed(seen))
    })
  })

const same = (actual: Uint8Array, expected: Uint8Array) => assert.isTrue(Buffer.compare(actual, expected) === 0)

const until = (condition: Effect.Effect<boolean>) =>
  Effect.repeat(Effect.delay(condition, "5 millis"), { until: (isTrue) => isTrue, times: 400 })

describe.each(all)("Proxy over $name", (backend) => {
  describe("blobs", () => {
    it.scopedLive("says what a blob is without fetching it", () =>
      Effect.gen(function* () {
        const other = scripted()
        const digest = other.blob("a", random(3000))
        const { blobs } = yield* open(backend, other.upstream)
        assert.strictEqual(Option.getOrThrow(yield* blobs.find("a", digest)).size, 3000)
        assert.isTrue(Option.isNone(yield* blobs.find("a", digestOf("unknown"))))
        assert.strictEqual(other.asked("bytes"), 0)
      })
    )

    it.scopedLive("fetches a blob once, for all that want it at the same time and ever after", () =>
      Effect.gen(function* () {
        const other = scripted()
        const bytes = random(5 * mebibyte + 7)
        const digest = other.blob("a", bytes, { between: Effect.sleep("10 millis") })
        other.waits(Effect.sleep("50 millis"))
        const { blobs } = yield* open(backend, other.upstream)
        const get = Effect.gen(function* () {
          const { open, size } = Option.getOrThrow(yield* blobs.find("a", digest))
          same(yield* readAll(open(0, size - 1)), bytes)
        })
        yield* Effect.all(
          Array.from({ length: 20 }, () => get),
          { concurrency: "unbounded" }
        )
        yield* get
        assert.deepEqual([other.asked("blob"), other.asked("bytes")], [1, 1])
      })
    )

    it.scopedLive("hands out bytes and ranges while they come, all but the last one", () =>
      Effect.gen(function* () {
        const other = scripted()
        const gate = yield* Deferred.make<void>()
        const bytes = random(2 * mebibyte)
        const digest = other.blob("a", bytes, { between: Deferred.await(gate) })
        const { blobs } = yield* open(backend, other.upstream)
        const blob = Option.getOrThrow(yield* blobs.find("a", digest))
        assert.strictEqual(yield* readSome(blob.open(0, 2 * mebibyte - 1), mebibyte), mebibyte)
        const range = blob.open(1000, 1999)
        assert.strictEqual(yield* readSome(range, 999), 999)
        const beyond = yield* Effect.fork(readAll(blob.open(mebibyte + 5, mebibyte + 9)))
        yield* Deferred.succeed(gate, undefined)
        same(yield* beyond, bytes.subarray(mebibyte + 5, mebibyte + 10))
        same(yield* readAll(range), bytes.subarray(1999, 2000))
        assert.strictEqual(other.asked("bytes"), 1)
      })
    )

    it.scopedLive("breaks off where bytes have another digest, whatever part was asked for, and keeps none", () =>
      Effect.gen(function* () {
        const other = scripted()
        const right = random(2 * mebibyte)
        const digest = other.blob("a", random(2 * mebibyte), { digest: digestOf(right) })
        const { blobs, local } = yield* open(backend, other.upstream)
        const blob = Option.getOrThrow(yield* blobs.find("a", digest))
        for (const end of [2 * mebibyte - 1, 10]) yield* Effect.flip(Effect.asVoid(readAll(blob.open(0, end))))
        assert.isTrue(Option.isNone(yield* local.blobs.find("a", digest)))
        assert.deepEqual(yield* local.blobs.uploads, [])
        other.blob("a", right)
        const { open: again } = Option.getOrThrow(yield* blobs.find("a", digest))
        same(yield* readAll(again(0, 2 * mebibyte - 1)), right)
      })
    )

    it.scopedLive("breaks off where the transfer does, and begins anew for the next client", () =>
      Effect.gen(function* () {
        const other = scripted()
        const bytes = random(3 * mebibyte)
        const cut = new Upstream.UpstreamError({ reason: "Unavailable", message: "cut" })
        const digest = other.blob("a", bytes, { between: cut })
        const { blobs, local } = yield* open(backend, other.upstream)
        const blob = Option.getOrThrow(yield* blobs.find("a", digest))
        yield* Effect.flip(Effect.asVoid(readAll(blob.open(0, bytes.length - 1))))
        assert.deepEqual([yield* local.blobs.find("a", digest), yield* local.blobs.uploads], [Option.none(), []])
        other.blob("a", bytes)
        const { open: again } = Option.getOrThrow(yield* blobs.find("a", digest))
        same(yield* readAll(again(0, bytes.length - 1)), bytes)
      })
    )

    it.scopedLive("lets a slow client take its time and nobody wait for it", () =>
      Effect.gen(function* () {
        const other = scripted()
        const bytes = random(12 * mebibyte)
        const digest = other.blob("a", bytes)
        const { blobs } = yield* open(backend, other.upstream)
        const blob = Option.getOrThrow(yield* blobs.find("a", digest))
        const slow = blob.open(0, bytes.length - 1)
        yield* readSome(slow, 1)
        same(yield* readAll(blob.open(0, bytes.length - 1)), bytes)
        assert.isAtMost(slow.readableLength, 3 * mebibyte)
        slow.destroy()
      })
    )

    it.scopedLive("goes on for the others when a client leaves, and ends a while after the last one", () =>
      Effect.gen(function* () {
        const other = scripted()
        const gate = yield* Deferred.make<void>()
        const bytes = random(2 * mebibyte)
        const digest = other.blob("a", bytes, { between: Deferred.await(gate) })
        const { blobs, local } = yield* open(backend, other.upstream, { linger: "50 millis" })
        const blob = Option.getOrThrow(yield* blobs.find("a", digest))
        const first = blob.open(0, bytes.length - 1)
        yield* readSome(first, 1)
        const second = yield* Effect.fork(readAll(blob.open(0, bytes.length - 1)))
        first.destroy()
        yield* Effect.sleep("100 millis")
        yield* Deferred.succeed(gate, undefined)
        same(yield* second, bytes)

        const never = other.blob("a", random(2 * mebibyte), { between: Effect.never })
        const unloved = Option.getOrThrow(yield* blobs.find("a", never)).open(0, mebibyte)
        yield* readSome(unloved, 1)
        assert.strictEqual((yield* local.blobs.uploads).length, 1)
        unloved.destroy()
        yield* until(Effect.orDie(Effect.map(local.blobs.uploads, (all) => all.length === 0)))
        assert.deepEqual(yield* local.blobs.uploads, [])
      })
    )

    it.scopedLive("shows a blob of another repository only where the upstream has it too, and fetches it no more", () =>
      Effect.gen(function* () {
        const other = scripted()
        const bytes = random(2000)
        const digest = other.blob("secret", bytes)
        const { blobs } = yield* open(backend, other.upstream)
        const { open: read } = Option.getOrThrow(yield* blobs.find("secret", digest))
        same(yield* readAll(read(0, 1999)), bytes)
        assert.isTrue(Option.isNone(yield* blobs.find("public", digest)))
        other.blob("shared", bytes)
        const shared = Option.getOrThrow(yield* blobs.find("shared", digest))
        same(yield* readAll(shared.open(0, 1999)), bytes)
        assert.deepEqual([other.asked("blob"), other.asked("bytes")], [3, 1])
      })
    )

    it.scopedLive("gives two repositories that ask at the same time one transfer", () =>
      Effect.gen(function* () {
        const other = scripted()
        const bytes = random(3 * mebibyte)
        for (const name of ["a", "b"]) other.blob(name, bytes, { between: Effect.sleep("20 millis") })
        const digest = digestOf(bytes)
        const { blobs } = yield* open(backend, other.upstream)
        const get = (name: string) =>
          Effect.flatMap(blobs.find(name, digest), (found) =>
            readAll(Option.getOrThrow(found).open(0, bytes.length - 1))
          )
        for (const read of yield* Effect.all([get("a"), get("b")], { concurrency: 2 })) same(read, bytes)
        assert.strictEqual(other.asked("bytes"), 1)
      })
    )

    it.scopedLive("has a blob of unknown size before it says that it is there", () =>
      Effect.gen(function* () {
        const other = scripted()
        other.hidesSizes()
        const bytes = random(2 * mebibyte)
        const digest = other.blob("a", bytes)
        const { blobs } = yield* open(backend, other.upstream)
        const { open: read, size } = Option.getOrThrow(yield* blobs.find("a", digest))
        assert.strictEqual(size, bytes.length)
        same(yield* readAll(read(0, size - 1)), bytes)
        assert.strictEqual(other.asked("bytes"), 1)
      })
    )
  })

  describe("manifests", () => {
    it.scopedLive("asks for a manifest by digest once, for all that ask at the same time and ever after", () =>
      Effect.gen(function* () {
        const other = scripted()
        const { bytes, digest } = other.manifest("a", undefined)
        other.waits(Effect.sleep("20 millis"))
        const { manifests } = yield* open(backend, other.upstream)
        const reads = Array.from({ length: 10 }, () => manifests.read("a", digest))
        for (const read of yield* Effect.all(reads, { concurrency: "unbounded" })) {
          same(Option.getOrThrow(read).bytes, bytes)
        }
        other.fails("Unavailable")
        assert.strictEqual(Option.getOrThrow(yield* manifests.describe("a", digest)).size, bytes.length)
        assert.strictEqual(other.asked("manifest"), 1)
      })
    )

    it.scopedLive("follows a tag that appears and moves upstream", () =>
      Effect.gen(function* () {
        const other = scripted()
        const { manifests } = yield* open(backend, other.upstream)
        assert.isTrue(Option.isNone(yield* manifests.resolve("a", "1")))
        const one = other.manifest("a", "1")
        assert.deepEqual(yield* manifests.resolve("a", "1"), Option.some(one.digest))
        const two = other.manifest("a", "1", { annotations: { version: "2" } })
        assert.deepEqual(yield* manifests.resolve("a", "1"), Option.some(two.digest))
      })
    )

    it.scopedLive("forgets a tag that is gone upstream", () =>
      Effect.gen(function* () {
        const other = scripted()
        const { local, manifests } = yield* open(backend, other.upstream)
        const { digest } = other.manifest("a", "1")
        yield* manifests.resolve("a", "1")
        assert.deepEqual(yield* local.manifests.resolve("a", "1"), Option.some(digest))
        other.untag("a", "1")
        assert.isTrue(Option.isNone(yield* manifests.resolve("a", "1")))
        other.fails("Unavailable")
        const error = yield* Effect.flip(manifests.resolve("a", "1"))
        assert.deepEqual([error.answer?.status, error.answer?.code], [502, "UNKNOWN"])
      })
    )

    for (const reason of ["Unavailable", "RateLimited", "TimedOut", "Invalid"] as const) {
      it.scopedLive(`answers from the cache where the upstream fails with ${reason}`, () =>
        Effect.gen(function* () {
          const other = scripted()
          const { manifests } = yield* open(backend, other.upstream)
          const { digest } = other.manifest("a", "1")
          yield* manifests.resolve("a", "1")
          yield* manifests.tags("a")
          other.fails(reason)
          assert.deepEqual(yield* manifests.resolve("a", "1"), Option.some(digest))
          assert.deepEqual(yield* manifests.tags("a"), Option.some(["1"]))
          const statuses = { Unavailable: 502, RateLimited: 429, TimedOut: 504, Invalid: 502 }
          const error = yield* Effect.flip(manifests.resolve("a", "2"))
          assert.strictEqual(error.answer?.status, statuses[reason])
          assert.notInclude(error.answer?.message ?? "", "secret")
          assert.include(error.message, "cannot look for the tag a:2: secret-of-upstream")
        })
      )
    }

    it.scopedLive("does not answer from the cache what the upstream refuses", () =>
      Effect.gen(function* () {
        const other = scripted()
        const { manifests } = yield* open(backend, other.upstream)
        other.manifest("a", "1")
        yield* manifests.resolve("a", "1")
        other.fails("Refused")
        for (const refused of [Effect.asVoid(manifests.resolve("a", "1")), Effect.asVoid(manifests.tags("a"))]) {
          const { answer } = yield* Effect.flip(refused)
          assert.deepEqual([answer?.status, answer?.code], [403, "DENIED"])
        }
      })
    )

    it.scopedLive("waits a few seconds at most for an upstream that is silent, and then not again for a while", () =>
      Effect.gen(function* () {
        const other = scripted()
        const options = { staleAfter: "500 millis", pause: "700 millis", timeout: "500 millis" } as const
        const { manifests } = yield* open(backend, other.upstream, options)
        const { digest } = other.manifest("a", "1")
        yield* manifests.resolve("a", "1")
        other.waits(Effect.never)
        assert.deepEqual(yield* manifests.resolve("a", "1"), Option.some(digest))
        assert.strictEqual(other.asked("tag"), 2)
        assert.deepEqual(yield* manifests.resolve("a", "1"), Option.some(digest))
        assert.strictEqual(other.asked("tag"), 2)
        assert.strictEqual((yield* Effect.flip(manifests.resolve("a", "2"))).answer?.status, 504)
        other.waits(Effect.void)
        yield* Effect.sleep("800 millis")
        const moved = other.manifest("a", "1", { annotations: { moved: "yes" } })
        assert.deepEqual(yield* manifests.resolve("a", "1"), Option.some(moved.digest))
      })
    )

    it.scopedLive("keeps no manifest whose bytes have another digest", () =>
      Effect.gen(function* () {
        const other = scripted()
        const { digest } = other.manifest("a", "1")
        other.replace("a", digest, bytesOf("{}"))
        const { local, manifests } = yield* open(backend, other.upstream)
        assert.strictEqual((yield* Effect.flip(manifests.read("a", digest))).answer?.status, 502)
        assert.strictEqual((yield* Effect.flip(manifests.resolve("a", "1"))).answer?.status, 502)
        assert.deepEqual(yield* local.manifests.list("a"), [])
      })
    )

    it.scopedLive("shows a manifest of another repository only where the upstream has it too", () =>
      Effect.gen(function* () {
        const other = scripted()
        const { digest } = other.manifest("secret", "1")
        const { manifests } = yield* open(backend, other.upstream)
        assert.isTrue(Option.isSome(yield* manifests.read("secret", digest)))
        assert.isTrue(Option.isNone(yield* manifests.read("public", digest)))
      })
    )

    it.scopedLive("keeps manifests of types that nobody knows", () =>
      Effect.gen(function* () {
        const other = scripted()
        const bytes = bytesOf(`{"schemaVersion":1,"name":"old"}`)
        const { manifests } = yield* open(backend, other.upstream)
        other.replace("a", digestOf(bytes), bytes)
        same(Option.getOrThrow(yield* manifests.read("a", digestOf(bytes))).bytes, bytes)
      })
    )

    it.scopedLive("lists the upstream's referrers, and those it has where the upstream cannot be asked", () =>
      Effect.gen(function* () {
        const other = scripted()
        const { digest, mediaType, size } = other.manifest("a", "1")
        const { manifests } = yield* open(backend, other.upstream)
        assert.deepEqual(yield* manifests.referrers("a", digest), [])
        const signature = other.manifest("a", undefined, { subject: { digest, mediaType, size } })
        const digests = Effect.map(manifests.referrers("a", digest), (all) => all.map((each) => each.digest))
        assert.deepEqual(yield* digests, [signature.digest])
        other.fails("Unavailable")
        assert.strictEqual((yield* Effect.flip(digests)).answer?.status, 502)
        other.fails(undefined)
        yield* manifests.read("a", signature.digest)
        other.fails("Unavailable")
        assert.deepEqual(yield* digests, [signature.digest])
      })
    )

    it.scopedLive("goes on with a question when the client that asked it leaves", () =>
      Effect.gen(function* () {
        const other = scripted()
        const gate = yield* Deferred.make<void>()
        other.waits(Deferred.await(gate))
        const { digest } = other.manifest("a", undefined)
        const { manifests } = yield* open(backend, other.upstream)
        yield* Effect.timeoutOption(manifests.read("a", digest), "20 millis")
        const second = yield* Effect.fork(manifests.read("a", digest))
        yield* Effect.sleep("20 millis")
        yield* Deferred.succeed(gate, undefined)
        assert.isTrue(Option.isSome(yield* second))
        assert.strictEqual(other.asked("manifest"), 1)
      })
    )
  })
})
