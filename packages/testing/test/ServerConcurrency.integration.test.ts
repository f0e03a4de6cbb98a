import { assert, layer, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Fixture } from "../src/index.js"
import * as Process from "./support/fuzzProcess.js"
import * as Socket from "./support/fuzzSocket.js"
import * as Client from "./support/fuzzUploads.js"
import { sha256 } from "./support/fuzzWords.js"
import { mebibyte } from "./support/process.js"

// Slow machines are no fault of the registry.
vi.setConfig({ testTimeout: 120_000 })

layer(Process.Program.layer, { excludeTestServices: true, timeout: "1 minute" })(
  "a registry asked for several things at once",
  (it) => {
    it.scoped("leaves a tag at one of a hundred manifests that were put under it, and all of them there", () =>
      Effect.gen(function* () {
        const { port } = yield* Client.serve()
        const all = Array.from({ length: 100 }, (_, n) => Client.putTag(port, "t", n))
        for (const outcome of yield* Effect.all(all, { concurrency: 100 })) Client.expectStatus(outcome, 201)
        const now = Client.expectStatus(yield* Client.send(port, "GET", "/v2/a/manifests/t"), 200).body
        const numbers = Array.from({ length: 100 }, (_, n) => n)
        assert.isTrue(numbers.some((n) => now.equals(Client.index(n))))
        for (const n of numbers)
          Client.expectStatus(yield* Client.send(port, "GET", `/v2/a/manifests/${sha256(Client.index(n))}`), 200)
        const { tags } = JSON.parse(Client.answered(yield* Client.send(port, "GET", "/v2/a/tags/list")).body.toString())
        assert.deepStrictEqual(tags, ["t"])
      })
    )

    it.scoped("makes one blob of an upload that is finished twice", () =>
      Effect.gen(function* () {
        const { port } = yield* Client.serve()
        for (let round = 0; round < 20; round++) {
          const body = Buffer.from(`round ${round}`)
          const location = yield* Client.startUpload(port)
          Client.expectStatus(yield* Client.send(port, "PATCH", location, body), 202)
          const twice = yield* Effect.all(
            [1, 2].map(() => Client.finish(port, location, body)),
            { concurrency: 2 }
          )
          const statuses = twice.map((outcome) => Client.expectStatus(outcome, 201, 404).status)
          assert.include(statuses, 201)
          const blob = Client.answered(yield* Client.send(port, "GET", `/v2/a/blobs/${sha256(body)}`))
          assert.isTrue(blob.body.equals(body))
        }
      })
    )

    it.scoped(
      "takes the bytes of one of two clients that append at once, or of both in turn, and never mixes them",
      () =>
        Effect.gen(function* () {
          const { port } = yield* Client.serve()
          const size = 4 * mebibyte
          const bodies = ["a", "b"].map((letter) => Buffer.alloc(size, letter))
          for (let round = 0; round < 5; round++) {
            const location = yield* Client.startUpload(port)
            const ranged = round % 2 === 0
            const headers = { "content-range": `0-${size - 1}` }
            const sends = bodies.map((body) =>
              Client.request(port, "PATCH", location, ranged ? { body, headers } : { body })
            )
            const answers = (yield* Effect.all(sends, { concurrency: 2 })).map((outcome) =>
              Client.expectStatus(outcome, 202, 416)
            )
            // Each is told where the upload ended after it, so their order is known.
            const taken = [1, 2].flatMap((place) =>
              answers.flatMap((answer, n) =>
                answer.status === 202 && answer.headers.get("range") === `0-${size * place - 1}`
                  ? [bodies[n] ?? ""]
                  : []
              )
            )
            assert.strictEqual(taken.length, answers.filter(({ status }) => status === 202).length)
            assert.isAtLeast(taken.length, 1)
            if (ranged) assert.strictEqual(taken.length, 1)
            Client.expectStatus(
              yield* Client.finish(port, location, Buffer.concat(taken.map((body) => Buffer.from(body)))),
              201
            )
          }
        })
    )

    it.scoped("answers a client that appends to an upload while another cancels it", () =>
      Effect.gen(function* () {
        const { port, root } = yield* Client.serve()
        for (let round = 0; round < 10; round++) {
          const location = yield* Client.startUpload(port)
          const connection = yield* Client.open(port)
          connection.send(`${Socket.head("PATCH", location, { "content-length": "6" })}abc`)
          yield* Effect.sleep(round * 3)
          const cancelled = yield* Effect.fork(Client.send(port, "DELETE", location))
          yield* Effect.sleep("20 millis")
          connection.send("def")
          Client.expectStatus(yield* Effect.promise(() => connection.answer("PATCH")), 202, 400, 404)
          Client.expectStatus(yield* cancelled, 204)
          assert.isUndefined(yield* Client.sizeOf(port, location))
        }
        assert.deepStrictEqual(
          [...Process.walk(root).keys()].filter((path) => /_uploads\/./.test(path)),
          []
        )
      })
    )

    it.scoped("gives a reader the whole blob that is deleted meanwhile", () =>
      Effect.gen(function* () {
        const { port } = yield* Client.serve()
        const body = Buffer.from(Fixture.noise(32 * mebibyte, 5))
        const blob = yield* Client.push(port, "a", body)
        const reader = yield* Client.open(port)
        reader.socket.pause()
        reader.send(Socket.head("GET", blob))
        yield* Effect.sleep("200 millis")
        Client.expectStatus(yield* Client.send(port, "DELETE", blob), 202)
        Client.expectStatus(yield* Client.send(port, "GET", blob), 404)
        reader.socket.resume()
        assert.isTrue(Client.expectStatus(yield* Effect.promise(() => reader.answer()), 200).body.equals(body))
      })
    )
  }
)
