import { assert, describe, it } from "@effect/vitest"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { digestOf, pushBlob, pushImage, random, send, startUpload, uniqueName } from "./support.js"

/** Runs `use` on a registry whose next request after `arm` has the fault. */
const withFault = <A, E>(
  use: (
    arm: (fault: Faults.Fault) => void,
    exchanges: Effect.Effect<ReadonlyArray<Faults.Exchange>>
  ) => Effect.Effect<A, E, EmbeddedRegistry.EmbeddedRegistry>
) =>
  Effect.suspend(() => {
    let next: Faults.Fault | undefined
    const recorder = Faults.recorder()
    const onRequest = () =>
      Effect.sync(() => {
        const fault = next
        next = undefined
        return fault
      })
    const arm = (fault: Faults.Fault) => {
      next = fault
    }
    const registry = EmbeddedRegistry.layerTemp({ onRequest, observe: recorder.observe })
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
      }).pipe(Effect.provide(EmbeddedRegistry.layerTemp({ observe: recorder.observe })))
    })
  )
})
