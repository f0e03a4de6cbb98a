import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import {
  digestOf,
  openSocket,
  pushBlob,
  pushImage,
  random,
  readSocket,
  send,
  startUpload,
  uniqueName
} from "./support.js"

/** Runs `use` on a registry whose next request after `arm` has the fault. */
const withFault = <A, E, R>(
  use: (
    arm: (fault: Faults.Fault) => void,
    exchanges: Effect.Effect<ReadonlyArray<Faults.Exchange>>
  ) => Effect.Effect<A, E, R>
) =>
  Effect.suspend(() => {
    const recorder = Faults.recorder()
    const { onRequest, set } = Faults.switchable()
    const arm = (fault: Faults.Fault) => Effect.runSync(set(Faults.once({}, fault)))
    const registry = EmbeddedRegistry.layerMemory({ onRequest, observe: recorder.observe })
    return Effect.provide(use(arm, recorder.exchanges), registry)
  })

/** The request must die, not be answered. */
const dies = (method: string, path: string, init: RequestInit = {}) =>
  Effect.flatMap(EmbeddedRegistry.EmbeddedRegistry, ({ url }) =>
    Effect.flip(Effect.tryPromise(async () => (await fetch(new URL(path, url), { method, ...init })).arrayBuffer()))
  )

describe("Faults", () => {
  it.effect("answers with a status, headers and a body instead of the handlers", () =>
    withFault((arm, exchanges) =>
      Effect.gen(function* () {
        arm(Faults.respond(503, { headers: { "retry-after": "7", "content-type": "text/html" }, body: "<p>" }))
        const name = uniqueName()
        const answer = yield* send("PUT", `/v2/${name}/manifests/x`, { body: "x".repeat(100) })
        assert.deepEqual([answer.status, answer.headers.get("retry-after"), answer.text], [503, "7", "<p>"])
        assert.strictEqual(answer.headers.get("content-type"), "text/html")
        assert.strictEqual((yield* send("GET", "/v2/")).status, 200)
        const [first, second] = yield* exchanges
        assert.deepInclude(first, { index: 0, method: "PUT", path: `/v2/${name}/manifests/x`, status: 503 })
        assert.deepInclude(second, { index: 1, status: 200, fault: undefined })
      })
    )
  )

  it.effect("answers later, by the real clock", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        arm(Faults.delay("100 millis"))
        const start = performance.now()
        assert.strictEqual((yield* send("GET", "/v2/")).status, 200)
        assert.isAtLeast(performance.now() - start, 95)
      })
    )
  )

  it.effect("cuts the connection before anything is done", () =>
    withFault((arm, exchanges) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushImage(name)
        arm(Faults.disconnect)
        yield* dies("PUT", `/v2/${name}/manifests/cut`, { body: text })
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/cut`)).status, 404)
        const cut = (yield* exchanges).find((exchange) => exchange.fault !== undefined)
        assert.deepInclude(cut, { method: "PUT", status: undefined })
      })
    )
  )

  it.effect("does what was asked and loses the answer", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushImage(name)
        arm(Faults.loseResponse)
        yield* dies("PUT", `/v2/${name}/manifests/lost`, {
          body: text,
          headers: { "content-type": "application/vnd.oci.image.manifest.v1+json" }
        })
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/lost`)).status, 200)
      })
    )
  )

  it.effect("cuts the connection within the request's body, whose bytes are kept", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(3_000_000)
        const location = yield* startUpload(name)
        arm(Faults.cutRequest(1_234_567))
        yield* dies("PATCH", location, { body: bytes })
        const status = yield* send("GET", location).pipe(
          Effect.repeat({ until: (answer) => answer.headers.get("range") === "0-1234566" }),
          Effect.timeout("5 seconds")
        )
        assert.strictEqual(status.status, 204)
        const digest = digestOf(bytes)
        const put = yield* send("PUT", `${location}?digest=${digest}`, { body: bytes.slice(1_234_567) })
        assert.strictEqual(put.status, 201)
      })
    )
  )

  it.effect("cuts the connection within the response's body, at the byte asked for", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(3_000_000)
        const { digest } = yield* pushBlob(name, bytes)
        const { url } = yield* EmbeddedRegistry.EmbeddedRegistry
        for (const length of [0, 1, 1_500_000]) {
          arm(Faults.cutResponse(length))
          const received = yield* Effect.promise(async () => {
            const response = await fetch(`${url}/v2/${name}/blobs/${digest}`)
            assert.strictEqual(response.headers.get("content-length"), "3000000")
            const chunks: Array<Uint8Array> = []
            const reader = response.body?.getReader()
            try {
              for (let part = await reader?.read(); part?.done === false; part = await reader?.read())
                chunks.push(part.value)
              return undefined
            } catch {
              return Buffer.concat(chunks)
            }
          })
          assert.strictEqual(received?.length, length)
          assert.isTrue(received?.equals(bytes.subarray(0, length)))
        }
      })
    )
  )

  it.effect("flips a bit of the response's body and nothing else", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(2_500_000)
        const { digest } = yield* pushBlob(name, bytes)
        arm(Faults.corruptResponse(2_000_000))
        const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`)
        const expected = Uint8Array.from(bytes)
        expected[2_000_000] = (bytes[2_000_000] ?? 0) ^ 1
        assert.deepEqual(answer.bytes, expected)
        const image = yield* pushImage(name)
        arm(Faults.corruptResponse(3))
        assert.notStrictEqual((yield* send("GET", `/v2/${name}/manifests/1.0`)).text, image.text)
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/1.0`)).text, image.text)
      })
    )
  )

  it.effect("records what was asked, Authorization included", () =>
    Effect.gen(function* () {
      const recorder = Faults.recorder()
      yield* Effect.gen(function* () {
        yield* send("GET", "/v2/a/tags/list?n=1", { headers: { authorization: "Bearer t" } })
        const [exchange] = yield* recorder.exchanges
        assert.deepInclude(exchange, { method: "GET", path: "/v2/a/tags/list", query: "n=1", status: 404 })
        assert.strictEqual(exchange?.headers.authorization, "Bearer t")
        yield* recorder.clear
        assert.deepEqual(yield* recorder.exchanges, [])
      }).pipe(Effect.provide(EmbeddedRegistry.layerMemory({ observe: recorder.observe })))
    })
  )

  it.effect("stops in mid-body and leaves the connection open", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushBlob(name, random(3_000_000))
        const { url } = yield* EmbeddedRegistry.EmbeddedRegistry
        for (const length of [0, 1, 1_500_000]) {
          arm(Faults.stallResponse(length))
          const [received, ended] = yield* Effect.promise(async () => {
            const response = await fetch(`${url}/v2/${name}/blobs/${digest}`)
            assert.strictEqual(response.headers.get("content-length"), "3000000")
            const reader = response.body?.getReader()
            let count = 0
            for (;;) {
              const silence = new Promise<"silent">((resolve) => setTimeout(resolve, 60, "silent"))
              const part = await Promise.race([reader?.read(), silence])
              if (part === "silent") {
                await reader?.cancel()
                return [count, false] as const
              }
              if (part === undefined || part.done) return [count, true] as const
              count += part.value.length
            }
          })
          assert.deepEqual([received, ended], [length, false])
        }
        assert.strictEqual((yield* send("GET", `/v2/${name}/blobs/${digest}`)).bytes.length, 3_000_000)
      })
    )
  )

  it.effect("sends a body slowly, and whole", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const bytes = random(30_000)
        const { digest } = yield* pushBlob(name, bytes)
        arm(Faults.slowResponse(100_000))
        const start = performance.now()
        const answer = yield* send("GET", `/v2/${name}/blobs/${digest}`)
        const took = performance.now() - start
        assert.deepEqual(answer.bytes, bytes)
        assert.isAtLeast(took, 250)
        assert.isBelow(took, 2000)
      })
    )
  )

  it.effect("changes, adds and takes away headers, and nothing else", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest, text } = yield* pushImage(name)
        const wrong = digestOf("wrong")
        for (const method of ["GET", "HEAD"]) {
          arm(Faults.changeHeaders({ "Docker-Content-Digest": wrong, etag: undefined, "x-added": "1" }))
          const { headers, status, text: body } = yield* send(method, `/v2/${name}/manifests/1.0`)
          assert.deepEqual([status, body], [200, method === "GET" ? text : ""])
          assert.strictEqual(headers.get("docker-content-digest"), wrong)
          assert.deepEqual([headers.get("etag"), headers.get("x-added")], [null, "1"])
          assert.strictEqual(headers.get("content-type"), "application/vnd.oci.image.manifest.v1+json")
          assert.strictEqual(headers.get("content-length"), String(text.length))
        }
        arm(Faults.changeHeaders({ "content-length": "7" }))
        assert.strictEqual((yield* send("HEAD", `/v2/${name}/manifests/1.0`)).headers.get("content-length"), "7")
        arm(Faults.changeHeaders({ location: "/elsewhere" }))
        const posted = yield* send("POST", `/v2/${name}/blobs/uploads/`)
        assert.deepEqual([posted.status, posted.headers.get("location")], [202, "/elsewhere"])
        assert.strictEqual((yield* send("GET", `/v2/${name}/manifests/${digest}`)).text, text)
      })
    )
  )

  it.scoped("says a length that the body does not have", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { text } = yield* pushImage(name)
        for (const [length, received] of [
          [text.length + 10, text],
          [10, text.slice(0, 10)]
        ] as const) {
          arm(Faults.changeHeaders({ "content-length": String(length) }))
          const socket = yield* openSocket
          socket.write(`GET /v2/${name}/manifests/1.0 HTTP/1.1\r\nhost: x\r\n\r\n`)
          const answer = yield* readSocket(socket, received)
          assert.include(answer.toLowerCase(), `content-length: ${length}\r\n`)
        }
      })
    )
  )

  it.effect("sends the client elsewhere", () =>
    withFault((arm) =>
      Effect.gen(function* () {
        arm(Faults.redirect("http://127.0.0.1:1/there"))
        const answer = yield* send("GET", "/v2/")
        assert.deepEqual([answer.status, answer.headers.get("location")], [307, "http://127.0.0.1:1/there"])
        arm(Faults.redirect("/v2/", 302))
        assert.strictEqual((yield* send("GET", "/v2/a/tags/list")).status, 302)
      })
    )
  )
})

/** What a hook does to these requests, as statuses; 0 for nothing. */
const statuses = (hook: Faults.Hook, lines: ReadonlyArray<string>) =>
  Effect.forEach(lines, (line, index) => {
    const [method = "", target = ""] = line.split(" ")
    const [path = "", query = ""] = target.split("?")
    return Effect.map(hook({ index, method, path, query, headers: {} }), (fault) =>
      fault?._tag === "Respond" ? fault.status : 0
    )
  })

const digest = digestOf("x")
const one = Faults.respond(501)
const two = Faults.respond(502)

describe("Faults.on", () => {
  it.effect("is for every request that matches by method, path and route", () =>
    Effect.gen(function* () {
      const lines = [
        "GET /v2/a/manifests/1",
        "HEAD /v2/a/manifests/1",
        "PUT /v2/a/manifests/1",
        `GET /v2/a/blobs/${digest}`,
        "POST /v2/a/blobs/uploads/?manifests=1"
      ]
      const cases: ReadonlyArray<readonly [Faults.Match, ReadonlyArray<number>]> = [
        [{}, [1, 1, 1, 1, 1]],
        [{ method: "GET" }, [1, 0, 0, 1, 0]],
        [{ method: ["PUT", "POST"] }, [0, 0, 1, 0, 1]],
        [{ path: /manifests/g }, [1, 1, 1, 0, 0]],
        [{ method: "HEAD", path: /manifests/ }, [0, 1, 0, 0, 0]],
        [{ route: "ManifestGet" }, [1, 1, 0, 0, 0]],
        [{ route: ["BlobGet", "UploadStart"] }, [0, 0, 0, 1, 1]],
        [{ route: "BlobGet", method: "HEAD" }, [0, 0, 0, 0, 0]],
        [({ query }) => query !== "", [0, 0, 0, 0, 1]]
      ]
      for (const [match, expected] of cases) {
        const hook = Faults.on(match, one)
        for (const _ of [1, 2]) {
          const actual = yield* statuses(hook, lines)
          assert.deepEqual(
            actual.map((status) => (status === 0 ? 0 : 1)),
            expected
          )
        }
      }
    })
  )
  it.effect("takes a fault that depends on the request", () =>
    Effect.gen(function* () {
      const hook = Faults.on({ method: "GET" }, ({ path }) => (path === "/v2/" ? one : undefined))
      assert.deepEqual(yield* statuses(hook, ["GET /v2/", "GET /v2/a", "PUT /v2/"]), [501, 0, 0])
    })
  )
})

describe("Faults.once, nth and sequence", () => {
  const lines = ["GET /a", "PUT /a", "GET /a", "PUT /a", "GET /a"]
  it.effect("count the requests that match", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* statuses(Faults.once({ method: "PUT" }, one), lines), [0, 501, 0, 0, 0])
      assert.deepEqual(yield* statuses(Faults.nth(2, { method: "GET" }, one), lines), [0, 0, 501, 0, 0])
      const hook = Faults.sequence({ method: "GET" }, [one, undefined, () => two])
      assert.deepEqual(yield* statuses(hook, lines), [501, 0, 0, 0, 502])
      assert.deepEqual(yield* statuses(hook, lines), [0, 0, 0, 0, 0])
    })
  )
})

describe("Faults.first", () => {
  it.effect("takes the first fault, and does not ask those behind it", () =>
    Effect.gen(function* () {
      const hook = Faults.first(Faults.once({}, one), Faults.nth(2, {}, two))
      assert.deepEqual(yield* statuses(hook, ["GET /", "GET /", "GET /", "GET /"]), [501, 0, 502, 0])
      assert.deepEqual(yield* statuses(Faults.first(), ["GET /"]), [0])
    })
  )
})

describe("Faults.switchable", () => {
  it.effect("does what was set last", () =>
    Effect.gen(function* () {
      const { clear, onRequest, set } = Faults.switchable()
      assert.deepEqual(yield* statuses(onRequest, ["GET /"]), [0])
      yield* set(Faults.on({}, one))
      assert.deepEqual(yield* statuses(onRequest, ["GET /", "GET /"]), [501, 501])
      yield* set(Faults.on({}, two))
      assert.deepEqual(yield* statuses(onRequest, ["GET /"]), [502])
      yield* clear
      assert.deepEqual(yield* statuses(onRequest, ["GET /"]), [0])
    })
  )
})

describe("Faults.recorder", () => {
  it.effect("finds exchanges again", () => {
    const recorder = Faults.recorder()
    return Effect.gen(function* () {
      const name = uniqueName()
      yield* pushImage(name)
      yield* send("GET", `/v2/${name}/manifests/nothing`)
      const found = yield* recorder.matching({ route: ["ManifestGet", "ManifestPut"] })
      assert.deepEqual(
        found.map(({ method, status }) => [method, status]),
        [
          ["PUT", 201],
          ["GET", 404]
        ]
      )
    }).pipe(Effect.provide(EmbeddedRegistry.layerMemory({ observe: recorder.observe })))
  })
})
