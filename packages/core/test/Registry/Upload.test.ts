import type * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import {
  type BlobContent,
  BlobTransport,
  type BlobWrite,
  Compressor,
  Descriptor,
  Digest,
  MediaType,
  type RegistryConfig,
  UploadJournal,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Client from "../../src/Registry/Client.js"
import * as Upload from "../../src/Registry/Upload.js"
import * as Scripted from "../support/ScriptedClient.js"

const bytes = Scripted.utf8("0123456789")
const digest = Digest.fromBytes(bytes)
const descriptor = Descriptor.make(MediaType.ociLayer, digest, bytes.length)
const query = `digest=${encodeURIComponent(digest)}`
const content: BlobContent = { _tag: "Bytes", bytes }

const blobHead = `HEAD /v2/a/blobs/${digest}`
const post = "POST /v2/a/blobs/uploads/"
const began = { status: 202, headers: { location: "/v2/a/blobs/uploads/1?_state=s%2B=" } }
const session = "/v2/a/blobs/uploads/1?_state=s%2B="
const put = `PUT ${session}&${query}`

/** A registry that has nothing and begins every upload; a PUT or PATCH is unplanned. */
const plainly = ({ method }: Scripted.Seen): Scripted.Answer | undefined =>
  method === "HEAD" ? { status: 404 } : method === "POST" ? began : method === "DELETE" ? { status: 204 } : undefined

const streams = { ...BlobTransport.portable, streams: true }

interface Setup {
  readonly write?: Partial<BlobWrite<ValidationError>>
  readonly transport?: BlobTransport.Service
  readonly chunkSize?: number
  readonly resumeAbove?: number
}
const upload = ({ chunkSize, resumeAbove, transport = streams, write }: Setup = {}) =>
  Effect.gen(function* () {
    const client = yield* Client.make(
      { host: "r.example", origin: "http://r.example" },
      { repository: Option.none(), scopes: [] }
    )
    const config: RegistryConfig.Service = {
      ...client.config,
      chunkSize: chunkSize ?? client.config.chunkSize,
      resumeAbove: resumeAbove ?? client.config.resumeAbove
    }
    return yield* Upload.upload({ ...client, config }, "a", {
      descriptor: Option.some(descriptor),
      mediaType: MediaType.ociLayer,
      content: Effect.succeed(content),
      alsoIn: [],
      ...write
    })
  }).pipe(Effect.provideService(BlobTransport.BlobTransport, transport))

const compressed = (plain: Uint8Array, diffId = Digest.fromBytes(plain)) => ({
  descriptor: Option.none(),
  mediaType: MediaType.ociLayerGzip,
  content: Effect.succeed<BlobContent>({
    _tag: "Compressed",
    algorithm: "gzip",
    plain: { _tag: "Bytes", bytes: plain },
    diffId
  })
})
/** What the encoder makes of these bytes. */
const gzipped = (plain: Uint8Array) =>
  Effect.gen(function* () {
    const { compress } = yield* Compressor.Compressor
    const { result, stream } = compress<never, never>("gzip", { _tag: "Bytes", bytes: plain }, () => {})
    yield* Stream.runDrain(stream)
    return Option.getOrThrow(result())
  })

/** A registry as far as one upload goes: keeps what it gets, also of a body that breaks off, and tells how much that is. */
const keeping = (blob: Uint8Array, breaks: ReadonlyArray<number> = []) => {
  let kept: Uint8Array = new Uint8Array(0)
  let patches = 0
  const location = () => `/v2/a/blobs/uploads/1?at=${kept.length}`
  const range = () => `0-${Math.max(0, kept.length - 1)}`
  const answer = ({ body, method, path }: Scripted.Seen): Scripted.Answer | undefined => {
    if (method === "HEAD") return { status: 404 }
    if (method === "DELETE") return { status: 204 }
    if (method === "POST") {
      kept = new Uint8Array(0)
      return { status: 202, headers: { location: location() } }
    }
    if (method === "GET") return { status: 204, headers: { location: location(), range: range() } }
    if (method === "PATCH") {
      const limit = breaks[patches++]
      kept = Uint8Array.from([...kept, ...body.subarray(0, limit === undefined ? body.length : limit - kept.length)])
      return limit === undefined
        ? { status: 202, headers: { location: location(), range: range() } }
        : { code: "ECONNRESET" }
    }
    const right =
      path.includes(encodeURIComponent(Digest.fromBytes(blob))) && Digest.fromBytes(kept) === Digest.fromBytes(blob)
    return right ? { status: 201 } : { status: 400, body: '{"errors":[{"code":"DIGEST_INVALID"}]}' }
  }
  return { answer, kept: () => kept }
}

describe("Upload that goes on", () => {
  const resumes = { resumeAbove: 5 }
  const methods = (script: ReturnType<typeof Scripted.make>) => script.seen.map(({ method }) => method)
  const sent = (script: ReturnType<typeof Scripted.make>) =>
    script.seen.filter(({ method }) => method === "PATCH").map(({ body }) => body.length)

  it.live("sends the rest after a fault, as often as something arrived", () => {
    const registry = keeping(bytes, [2, 3, 4, 5, 6, 7, 8, 9])
    const script = Scripted.make(registry.answer, resumes)
    return Effect.gen(function* () {
      assert.strictEqual((yield* upload()).outcome, "Sent")
      assert.deepStrictEqual(registry.kept(), bytes)
      assert.deepStrictEqual(sent(script), [10, 8, 7, 6, 5, 4, 3, 2, 1])
      assert.strictEqual(methods(script).filter((method) => method === "POST").length, 1)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("begins anew where the registry has forgotten it", () => {
    const registry = keeping(bytes, [4])
    const script = Scripted.make(
      (request) => (request.method === "GET" ? { status: 404 } : registry.answer(request)),
      resumes
    )
    return Effect.gen(function* () {
      yield* upload()
      assert.deepStrictEqual(sent(script), [10, 10])
    }).pipe(Effect.provide(script.layer))
  })
  it.live("compresses again and leaves out what the registry has", () => {
    const plain = Scripted.utf8("plain bytes ".repeat(50))
    return Effect.gen(function* () {
      const { digest, size } = yield* gzipped(plain)
      let kept = 0
      let sizes: ReadonlyArray<number> = []
      const script = Scripted.make(({ body, method, path }) => {
        if (method === "POST") return began
        if (method === "GET") return { status: 204, headers: { range: `0-${kept - 1}` } }
        if (method === "PATCH") {
          sizes = [...sizes, body.length]
          if (kept > 0) return { status: 202, headers: { range: `0-${kept + body.length - 1}` } }
          kept = 20
          return { code: "ECONNRESET" }
        }
        return method === "PUT" && path.includes(encodeURIComponent(digest)) ? { status: 201 } : undefined
      }, resumes)
      const written = yield* Effect.provide(upload({ write: compressed(plain) }), script.layer)
      assert.deepStrictEqual([written.descriptor.digest, written.descriptor.size], [digest, size])
      assert.deepStrictEqual(sizes, [size, size - 20])
    })
  })
  it.live("goes on in pieces with a client that cannot stream", () => {
    const large = Uint8Array.from({ length: 12_000_000 }, (_, index) => index % 251)
    const piece = 5 * 1024 * 1024
    const ranges: Array<string | undefined> = []
    let kept = 0
    let broken = false
    const script = Scripted.make(({ body, headers, method }) => {
      if (method === "HEAD") return { status: 404 }
      if (method === "POST") return began
      if (method === "GET") return { status: 204, headers: { range: `0-${kept - 1}` } }
      if (method === "PUT") return { status: 201 }
      ranges.push(headers["content-range"])
      if (kept === piece && !broken) {
        broken = true
        return { code: "ECONNRESET" }
      }
      kept += body.length
      return { status: 202, headers: { range: `0-${kept - 1}` } }
    })
    const write = {
      descriptor: Option.some(Descriptor.make(MediaType.ociLayer, Digest.fromBytes(large), large.length)),
      content: Effect.succeed<BlobContent>({ _tag: "Bytes", bytes: large })
    }
    return Effect.gen(function* () {
      yield* upload({ chunkSize: piece, transport: BlobTransport.portable, write, resumeAbove: piece })
      assert.strictEqual(kept, large.length)
      assert.deepStrictEqual(ranges.slice(0, 3), [
        `0-${piece - 1}`,
        `${piece}-${2 * piece - 1}`,
        `${piece}-${2 * piece - 1}`
      ])
    }).pipe(Effect.provide(script.layer))
  })

  describe("by the journal", () => {
    const location = "http://r.example/v2/a/blobs/uploads/7?_state=x"
    const journal = (entry: Option.Option<string | undefined>) => {
      const writes: Array<string | undefined> = Option.isSome(entry) ? [entry.value] : []
      const claim: UploadJournal.Claim = {
        read: Effect.sync(() =>
          Option.map(Option.fromNullable(writes[writes.length - 1]), (location) => ({ location }))
        ),
        write: (next) => Effect.sync(() => void writes.push(next.location)),
        remove: Effect.sync(() => void writes.push(undefined))
      }
      return { writes, service: { claim: () => Effect.succeed(Option.some(claim)) } }
    }
    const journaled = (
      entry: Option.Option<string | undefined>,
      handler: Scripted.Handler,
      run: Effect.Effect<unknown, unknown, HttpClient.HttpClient | RegistryConfig.RegistryConfig> = upload()
    ) =>
      Effect.gen(function* () {
        const { service, writes } = journal(entry)
        const script = Scripted.make(handler, resumes)
        const exit = yield* Effect.exit(run).pipe(
          Effect.provideService(UploadJournal.UploadJournal, service),
          Effect.provide(script.layer)
        )
        return { exit, script, writes }
      })

    it.live("takes up what another run left, and forgets it in the end", () =>
      Effect.gen(function* () {
        const { script, writes } = yield* journaled(Option.some(location), ({ method }) => {
          if (method === "HEAD") return { status: 404 }
          if (method === "GET") return { status: 204, headers: { range: "0-5" } }
          return method === "PATCH" ? { status: 202, headers: { range: "0-9" } } : { status: 201 }
        })
        assert.deepStrictEqual(methods(script), ["HEAD", "GET", "PATCH", "PUT"])
        assert.strictEqual(script.seen[1]?.url, location)
        assert.deepStrictEqual(sent(script), [4])
        assert.deepInclude(script.events, { _tag: "BlobResumed", digest, bytes: 6 })
        assert.isUndefined(writes[writes.length - 1])
      })
    )
    it.live("prefers it to the session that a registry opens in place of a mount", () =>
      Effect.gen(function* () {
        const { script } = yield* journaled(
          Option.some(location),
          ({ method }) => {
            if (method === "HEAD") return { status: 404 }
            if (method === "POST") return began
            if (method === "DELETE") return { status: 204 }
            if (method === "GET") return { status: 204, headers: { range: "0-5" } }
            return method === "PATCH" ? { status: 202, headers: { range: "0-9" } } : { status: 201 }
          },
          upload({ write: { alsoIn: ["b"] } })
        )
        assert.deepStrictEqual(methods(script), ["HEAD", "POST", "GET", "DELETE", "PATCH", "PUT"])
        assert.include(script.seen[3]?.url ?? "", session)
        assert.deepStrictEqual(sent(script), [4])
      })
    )
    it.live("only closes what is complete", () =>
      Effect.gen(function* () {
        const { script } = yield* journaled(Option.some(location), ({ method }) => {
          if (method === "HEAD") return { status: 404 }
          return method === "GET" ? { status: 204, headers: { range: "0-9" } } : { status: 201 }
        })
        assert.deepStrictEqual(methods(script), ["HEAD", "GET", "PUT"])
      })
    )
    it.live.each([
      ["at another machine of the network", "http://10.0.0.1/v2/a/blobs/uploads/7"],
      ["that is no URL of the web", "file:///etc/passwd"]
    ])("sends nothing to a place %s", ([, place]) =>
      Effect.gen(function* () {
        const { script } = yield* journaled(Option.some(place), keeping(bytes).answer)
        assert.deepStrictEqual(methods(script), ["HEAD", "POST", "PATCH", "PUT"])
        assert.isTrue(script.seen.every(({ url }) => url.startsWith("http://r.example/")))
      })
    )
    it.live("starts clean once where what is there comes to another digest", () =>
      Effect.gen(function* () {
        const registry = keeping(bytes)
        let first = true
        const { exit, script } = yield* journaled(Option.some(location), (request) => {
          if (request.method === "GET") return { status: 204, headers: { range: "0-5" } }
          if (request.method === "PATCH" && first) return { status: 202, headers: { range: "0-9" } }
          if (request.method === "PUT" && first) {
            first = false
            return { status: 400, body: '{"errors":[{"code":"DIGEST_INVALID"}]}' }
          }
          return registry.answer(request)
        })
        assert.strictEqual(exit._tag, "Success")
        assert.deepStrictEqual(sent(script), [4, 10])
        assert.deepStrictEqual(registry.kept(), bytes)
      })
    )
    it.live("remembers every place the session moves to, and keeps it where the network stays away", () =>
      Effect.gen(function* () {
        const { exit, script, writes } = yield* journaled(Option.none(), ({ method }) =>
          method === "HEAD" ? { status: 404 } : method === "POST" ? began : { code: "ECONNRESET" }
        )
        assert.strictEqual(exit._tag, "Failure")
        assert.deepStrictEqual(writes, [`http://r.example${session}`])
        assert.notInclude(methods(script), "DELETE")
      })
    )
    it.live("ends the body early when it is interrupted, and remembers how to go on", () => {
      let read = 0
      const endless: BlobContent = {
        _tag: "Stream",
        size: 1000,
        stream: Stream.repeatEffect(
          Effect.map(Effect.sleep("5 millis"), () => {
            read += 1
            return Uint8Array.of(1)
          })
        )
      }
      const known = Descriptor.make(MediaType.ociLayer, digest, 1000)
      const run = Effect.gen(function* () {
        const fiber = yield* Effect.fork(
          upload({ write: { descriptor: Option.some(known), content: Effect.succeed(endless) } })
        )
        yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => read > 3 })
        yield* Fiber.interrupt(fiber)
      })
      return Effect.gen(function* () {
        const { script, writes } = yield* journaled(
          Option.none(),
          ({ body, method }) => {
            if (method === "HEAD") return { status: 404 }
            if (method === "POST") return began
            return { status: 202, headers: { location: "/v2/a/blobs/uploads/1?moved", range: `0-${body.length - 1}` } }
          },
          run
        )
        assert.deepStrictEqual(methods(script), ["HEAD", "POST", "PATCH"])
        assert.isBelow(sent(script)[0] ?? 1000, 100)
        assert.strictEqual(writes[writes.length - 1], "http://r.example/v2/a/blobs/uploads/1?moved")
      })
    })
  })
})

describe("Upload", () => {
  it.live("sends nothing that is there", () => {
    const script = Scripted.byRequest({ [blobHead]: { status: 200, headers: { "content-length": "10" } } })
    return Effect.gen(function* () {
      const opened = { content: Effect.dieMessage("must not be opened") }
      assert.deepStrictEqual(yield* upload({ write: opened }), { descriptor, outcome: "Exists" })
    }).pipe(Effect.provide(script.layer))
  })
  it.live("mounts from a repository that has it", () => {
    const mount = `POST /v2/a/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=b%2Fc`
    const script = Scripted.byRequest({ [blobHead]: { status: 404 }, [mount]: { status: 201 } })
    return Effect.gen(function* () {
      assert.strictEqual((yield* upload({ write: { alsoIn: ["b/c"] } })).outcome, "Mounted")
    }).pipe(Effect.provide(script.layer))
  })
  it.live("uses the session of a registry that does not mount", () => {
    const mount = `POST /v2/a/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=b`
    const script = Scripted.byRequest({ [blobHead]: { status: 404 }, [mount]: began, [put]: { status: 201 } })
    return Effect.gen(function* () {
      assert.strictEqual((yield* upload({ write: { alsoIn: ["b"] } })).outcome, "Sent")
      assert.deepStrictEqual(script.seen[2]?.body, bytes)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("uploads where mounting is refused", () => {
    const script = Scripted.make(({ method, path }) =>
      path.includes("mount=")
        ? { status: 403 }
        : method === "HEAD"
          ? { status: 404 }
          : method === "POST"
            ? began
            : { status: 201 }
    )
    return Effect.gen(function* () {
      assert.strictEqual((yield* upload({ write: { alsoIn: ["b"] } })).outcome, "Sent")
    }).pipe(Effect.provide(script.layer))
  })
  it.live("puts the whole blob in one request and gives the location's query back as it came", () => {
    const script = Scripted.byRequest({ [blobHead]: { status: 404 }, [post]: began, [put]: { status: 201 } })
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* upload(), { descriptor, outcome: "Sent" })
      assert.deepStrictEqual(script.lines(), [blobHead, post, put])
      assert.deepStrictEqual(script.seen[2]?.body, bytes)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("goes on in another host's session where the registry says so, but not in a private one", () => {
    const far = { status: 202, headers: { location: "https://up.example/s" } }
    const near = { status: 202, headers: { location: "http://10.0.0.1/s" } }
    const script = Scripted.make(({ method }, index) =>
      method === "HEAD" ? { status: 404 } : method === "POST" ? (index < 2 ? far : near) : { status: 201 }
    )
    return Effect.gen(function* () {
      yield* upload()
      assert.strictEqual(script.seen[2]?.url, `https://up.example/s?${query}`)
      const error = yield* Effect.flip(upload())
      assert.strictEqual(error.reason, "UnsafeUrl")
      assert.strictEqual(script.seen.length, 5)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("looks for the blob after a lost answer instead of sending it again", () => {
    const script = Scripted.byRequest({
      [blobHead]: [{ status: 404 }, { status: 200, headers: { "content-length": "10" } }],
      [post]: began,
      [put]: { code: "ECONNRESET" },
      [`DELETE ${session}`]: { status: 404 }
    })
    return Effect.gen(function* () {
      assert.strictEqual((yield* upload()).outcome, "Sent")
      assert.strictEqual(script.lines().filter((line) => line === put).length, 1)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("cancels a broken session and sends the whole blob in a new one", () => {
    const script = Scripted.byRequest({
      [blobHead]: { status: 404 },
      [post]: began,
      [put]: [
        { status: 503 },
        { code: "EPIPE" },
        { status: 404, body: `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}` },
        { status: 201 }
      ],
      [`DELETE ${session}`]: { status: 204 }
    })
    return Effect.gen(function* () {
      yield* upload()
      assert.deepStrictEqual(script.seen[script.seen.length - 1]?.body, bytes)
      assert.strictEqual(script.lines().filter((line) => line.startsWith("DELETE")).length, 3)
      const counted = script.events.reduce((sum, event) => (event._tag === "BlobProgress" ? sum + event.bytes : sum), 0)
      assert.strictEqual(counted, bytes.length)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("gives up on a refusal and cancels the session", () => {
    const script = Scripted.byRequest({
      [blobHead]: { status: 404 },
      [post]: began,
      [put]: { status: 403, body: `{"errors":[{"code":"DENIED","message":"quota"}]}` },
      [`DELETE ${session}`]: { status: 204 }
    })
    return Effect.gen(function* () {
      const error = yield* Effect.flip(upload())
      assert.strictEqual(error.reason, "Denied")
      assert.include(error.message, "DENIED: quota")
      assert.deepStrictEqual(script.lines(), [blobHead, post, put, `DELETE ${session}`])
    }).pipe(Effect.provide(script.layer))
  })
  it.live("cancels the session when it is interrupted", () => {
    const script = Scripted.byRequest({
      [blobHead]: { status: 404 },
      [post]: began,
      [put]: "hang",
      [`DELETE ${session}`]: { status: 204 }
    })
    return Effect.gen(function* () {
      const fiber = yield* Effect.fork(upload())
      yield* Effect.repeat(Effect.sleep("2 millis"), { until: () => script.seen.length === 3 })
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(script.lines()[3], `DELETE ${session}`)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("tells a source with wrong bytes from a registry that miscounts", () => {
    const refused = { status: 400, body: `{"errors":[{"code":"DIGEST_INVALID"}]}` }
    const make = () =>
      Scripted.byRequest({
        [blobHead]: { status: 404 },
        [post]: began,
        [put]: refused,
        [`DELETE ${session}`]: { status: 204 }
      })
    const [right, wrong] = [make(), make()]
    return Effect.gen(function* () {
      const theirs = yield* Effect.flip(Effect.provide(upload(), right.layer))
      assert.strictEqual(theirs._tag, "RegistryError")
      assert.strictEqual(theirs.reason, "DigestMismatch")
      assert.strictEqual(right.lines().filter((line) => line === put).length, 3)
      const other = { content: Effect.succeed<BlobContent>({ _tag: "Bytes", bytes: Scripted.utf8("xxxxxxxxxx") }) }
      const ours = yield* Effect.flip(Effect.provide(upload({ write: other }), wrong.layer))
      assert.strictEqual(ours._tag, "ValidationError")
      assert.strictEqual(ours.reason, "DigestMismatch")
      assert.strictEqual(wrong.lines().filter((line) => line === put).length, 1)
    })
  })
  it.live("passes the source's own error on and sends no second request for it", () => {
    const failure = ValidationError.of("InvalidArchive", "x.tar", "truncated")
    const script = Scripted.make((request) => (request.method === "PUT" ? { status: 201 } : plainly(request)))
    const broken: BlobContent<ValidationError> = { _tag: "Stream", size: 10, stream: Stream.fail(failure) }
    return Effect.gen(function* () {
      for (const transport of [streams, BlobTransport.portable]) {
        const error = yield* Effect.flip(upload({ transport, write: { content: Effect.succeed(broken) } }))
        assert.strictEqual(error, failure)
      }
      assert.strictEqual(script.lines().filter((line) => line === post).length, 2)
    }).pipe(Effect.provide(script.layer))
  })
  describe("in pieces", () => {
    const patched = (end: number, next: string) => ({ status: 202, headers: { location: next, range: `0-${end}` } })
    it.live("sends pieces of the chosen size, each to where the last answer pointed", () => {
      const script = Scripted.byRequest({
        [blobHead]: { status: 404 },
        [post]: began,
        [`PATCH ${session}`]: patched(3, "/s2?x=1"),
        "PATCH /s2?x=1": patched(7, "/s3"),
        "PATCH /s3": patched(9, "/s4"),
        [`PUT /s4?${query}`]: { status: 201 }
      })
      return Effect.gen(function* () {
        yield* upload({ transport: BlobTransport.portable, chunkSize: 4 })
        assert.deepStrictEqual(
          script.seen.slice(2).map(({ body, headers }) => [headers["content-range"], body.length]),
          [
            ["0-3", 4],
            ["4-7", 4],
            ["8-9", 2],
            [undefined, 0]
          ]
        )
      }).pipe(Effect.provide(script.layer))
    })
    it.live("puts a blob of one piece in one request", () => {
      const script = Scripted.byRequest({ [blobHead]: { status: 404 }, [post]: began, [put]: { status: 201 } })
      return Effect.gen(function* () {
        yield* upload({ transport: BlobTransport.portable, chunkSize: 10 })
        assert.deepStrictEqual(script.seen[2]?.body, bytes)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("sends no smaller pieces than the registry takes", () => {
      const least = { ...began, headers: { ...began.headers, "oci-chunk-min-length": "8" } }
      const script = Scripted.byRequest({
        [blobHead]: { status: 404 },
        [post]: least,
        [`PATCH ${session}`]: [
          { status: 202, headers: { range: "0-7" } },
          { status: 202, headers: { range: "0-9" } }
        ],
        [put]: { status: 201 }
      })
      return Effect.gen(function* () {
        yield* upload({ transport: BlobTransport.portable, chunkSize: 4 })
        assert.deepStrictEqual(
          script.seen.slice(2).map(({ body }) => body.length),
          [8, 2, 0]
        )
      }).pipe(Effect.provide(script.layer))
    })
    it.live("drops a session that did not get what was sent", () => {
      const script = Scripted.byRequest({
        [blobHead]: { status: 404 },
        [post]: began,
        [`PATCH ${session}`]: [
          { status: 202, headers: { range: "0-0" } },
          { status: 202, headers: { range: "0-5" } },
          { status: 202 },
          { status: 202 }
        ],
        [`DELETE ${session}`]: { status: 204 },
        [put]: { status: 201 }
      })
      return Effect.gen(function* () {
        yield* upload({ transport: BlobTransport.portable, chunkSize: 6 })
        assert.strictEqual(script.lines().filter((line) => line === post).length, 2)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("refuses a source that has other bytes before the blob is closed", () => {
      const script = Scripted.make((request) => (request.method === "PATCH" ? { status: 202 } : plainly(request)))
      return Effect.gen(function* () {
        for (const text of ["9876543210", "short", "far too many bytes"]) {
          const other = { content: Effect.succeed<BlobContent>({ _tag: "Bytes", bytes: Scripted.utf8(text) }) }
          const error = yield* Effect.flip(upload({ transport: BlobTransport.portable, chunkSize: 10, write: other }))
          assert.strictEqual(error.reason, "DigestMismatch", text)
        }
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("compressed on the way", () => {
    const plain = Uint8Array.from({ length: 5000 }, (_, index) => index % 7)
    it.live("sends one request of unknown length and then the digest", () =>
      Effect.gen(function* () {
        const result = yield* gzipped(plain)
        const script = Scripted.byRequest({
          [post]: began,
          [`PATCH ${session}`]: { status: 202, headers: { location: "/s2?y", range: `0-${result.size - 1}` } },
          [`PUT /s2?y&digest=${encodeURIComponent(result.digest)}`]: [{ status: 500 }, { status: 201 }],
          [`HEAD /v2/a/blobs/${result.digest}`]: { status: 404 }
        })
        const written = yield* Effect.provide(upload({ write: compressed(plain) }), script.layer)
        assert.deepStrictEqual(written.descriptor, Descriptor.make(MediaType.ociLayerGzip, result.digest, result.size))
        assert.isUndefined(script.seen[1]?.headers["content-length"])
        assert.isUndefined(script.seen[1]?.headers["content-range"])
        assert.strictEqual(script.seen[1]?.body.length, result.size)
      })
    )
    it.live("compresses again after a fault", () =>
      Effect.gen(function* () {
        const result = yield* gzipped(plain)
        const script = Scripted.byRequest({
          [post]: began,
          [`PATCH ${session}`]: [{ code: "ECONNRESET" }, { status: 202 }],
          [`DELETE ${session}`]: { status: 204 },
          [`PUT ${session}&digest=${encodeURIComponent(result.digest)}`]: { status: 201 }
        })
        assert.strictEqual((yield* Effect.provide(upload({ write: compressed(plain) }), script.layer)).outcome, "Sent")
      })
    )
    it.live("sends pieces to a registry that wants lengths", () =>
      Effect.gen(function* () {
        const result = yield* gzipped(plain)
        for (const status of [400, 411, 501]) {
          const script = Scripted.byRequest({
            [post]: began,
            [`PATCH ${session}`]: [{ status }, { status: 202 }],
            [`DELETE ${session}`]: { status: 204 },
            [`PUT ${session}&digest=${encodeURIComponent(result.digest)}`]: { status: 201 }
          })
          yield* Effect.provide(upload({ chunkSize: 40, write: compressed(plain) }), script.layer)
          const pieces = script.seen.filter(({ headers }) => headers["content-range"] !== undefined)
          assert.isAbove(pieces.length, 0, String(status))
        }
      })
    )
    it.live("stops at a layer that is not what its config says, and cancels", () =>
      Effect.gen(function* () {
        for (const transport of [streams, BlobTransport.portable]) {
          const script = Scripted.byRequest({
            [post]: began,
            [`PATCH ${session}`]: { status: 202 },
            [`DELETE ${session}`]: { status: 204 }
          })
          const error = yield* Effect.flip(
            Effect.provide(upload({ transport, write: compressed(plain, digest) }), script.layer)
          )
          assert.strictEqual(error._tag, "ValidationError")
          assert.strictEqual(error.reason, "LayerMismatch")
          assert.include(error.message, digest)
          assert.isTrue(script.lines().includes(`DELETE ${session}`))
        }
      })
    )
  })
})
