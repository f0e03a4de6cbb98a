import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { copy, getManifest, listTags, MemoryStore, Progress, Registry, RegistryConfig } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Fixture, Tools } from "../src/index.js"
import { inMemory, seed } from "./support/seed.js"
import { startDocker, startEmbedded } from "./support/servers.js"

const image = Fixture.image({ size: 5000 })
const quick = { retry: { delay: "1 millis", maxDelay: "2 millis" } } as const

/** A registry whose next operation has one fault, at the given request. */
const faulty = Effect.gen(function* () {
  const { clear, onRequest, set } = Faults.switchable()
  const recorder = Faults.recorder()
  const host = yield* startEmbedded({ onRequest, observe: recorder.observe })
  return {
    host,
    arm: (at: number, fault: Faults.Fault) => Effect.zipRight(recorder.clear, set(Faults.nth(at + 1, {}, fault))),
    /** How many requests there were since. */
    disarm: Effect.zipRight(
      clear,
      Effect.map(recorder.exchanges, ({ length }) => length)
    )
  }
})

/** Everything of an image, read from a repository and verified on the way. */
const read = (reference: string) =>
  Effect.gen(function* () {
    const store = MemoryStore.make()
    yield* copy(Registry.image(reference), store.target)
    return store.blobs
  })

describe("Registry with a fault at each request", () => {
  const writeFaults: Readonly<Record<string, Faults.Fault>> = {
    "a lost connection": Faults.disconnect,
    "a connection lost in the body": Faults.cutRequest(100),
    "a lost answer": Faults.loseResponse,
    "a 429": Faults.respond(429, { headers: { "retry-after": "0" } }),
    "a 500": Faults.respond(500),
    "a 503 with a web page": Faults.respond(503, { body: "<html>", headers: { "content-type": "text/html" } })
  }
  for (const [name, fault] of Object.entries(writeFaults)) {
    it.scopedLive(`pushes through ${name}`, () =>
      Effect.gen(function* () {
        const { arm, disarm, host } = yield* faulty
        const store = yield* inMemory(image)
        let requests = 1
        for (let at = 0; at < requests; at++) {
          const target = `${host}/push/at-${at}`
          yield* arm(at, fault)
          yield* copy(store.source("1"), Registry.repository(target))
          requests = Math.max(requests, Math.min(yield* disarm, 12))
          assert.strictEqual((yield* getManifest(`${target}:1`)).descriptor.digest, image.descriptor.digest)
          for (const [digest, bytes] of image.blobs)
            assert.deepStrictEqual((yield* read(`${target}:1`)).get(digest), bytes)
        }
        assert.isAtLeast(requests, 8)
      }).pipe(Effect.provide(NodeRegistry.layer(quick)))
    )
  }

  const readFaults: Readonly<Record<string, Faults.Fault>> = {
    "a lost connection": Faults.disconnect,
    "a body that breaks off": Faults.cutResponse(60),
    "a flipped byte": Faults.corruptResponse(40),
    "a 503": Faults.respond(503)
  }
  for (const [client, layer] of [
    ["Node", NodeRegistry.layer(quick)],
    ["fetch", Layer.merge(FetchHttpClient.layer, RegistryConfig.layer(quick))]
  ] as const) {
    for (const [name, fault] of Object.entries(readFaults)) {
      it.scopedLive(`pulls through ${name} with the client of ${client}`, () =>
        Effect.gen(function* () {
          const { arm, disarm, host } = yield* faulty
          yield* seed(`${host}/pull/app`, image, "1")
          yield* disarm
          for (let at = 0; at < 4; at++) {
            yield* arm(at, fault)
            const blobs = yield* read(`${host}/pull/app:1`)
            for (const [digest, bytes] of image.blobs) assert.deepStrictEqual(blobs.get(digest), bytes)
          }
        }).pipe(Effect.provide(layer))
      )
    }
  }
})

const behaviours = (start: Effect.Effect<string, unknown, Scope.Scope>) => {
  it.scopedLive("takes blobs in pieces, gives them back, and mounts them in another repository", () =>
    Effect.gen(function* () {
      const host = yield* start
      const large = Fixture.image({ size: 6 * 1024 * 1024, layers: 1, compressed: false })
      yield* seed(`${host}/pieces/app`, large, "1")
      assert.deepStrictEqual([...(yield* read(`${host}/pieces/app:1`)).keys()].sort(), [...large.blobs.keys()].sort())
      const mounted = yield* copy(Registry.image(`${host}/pieces/app:1`), Registry.repository(`${host}/pieces/twin`))
      assert.deepStrictEqual(mounted.blobs, { sent: 0, mounted: 2, existing: 0, bytesSent: 0 })
    }).pipe(Effect.provide(Layer.merge(FetchHttpClient.layer, RegistryConfig.layer({ chunkSize: 5 * 1024 * 1024 }))))
  )
  it.scopedLive("lists more tags than fit on a page, sorted", () =>
    Effect.gen(function* () {
      const repository = `${yield* start}/many/tags`
      for (const tag of ["b", "a", "c", "latest", "1.0"]) yield* seed(repository, Fixture.image(), tag)
      assert.deepStrictEqual(yield* listTags(repository, { pageSize: 2 }), ["1.0", "a", "b", "c", "latest"])
    }).pipe(Effect.provide(NodeRegistry.layer()))
  )
  it.scopedLive("sends nothing a second time", () =>
    Effect.gen(function* () {
      const host = yield* start
      yield* seed(`${host}/twice/from`, image, "1")
      const events: Array<Progress.ProgressEvent> = []
      const again = copy(Registry.image(`${host}/twice/from:1`), Registry.repository(`${host}/twice/from`))
      const { blobs } = yield* Effect.provideService(again, Progress.Progress, {
        emit: (event) => void events.push(event)
      })
      assert.deepStrictEqual(blobs, { sent: 0, mounted: 0, existing: 0, bytesSent: 0 })
      assert.isFalse(events.some(({ _tag }) => _tag === "BlobProgress"))
    }).pipe(Effect.provide(NodeRegistry.layer()))
  )
}

Tools.needing(describe, "docker-registry")("Registry on docker-registry", () => behaviours(startDocker()))
describe("Registry on the embedded registry", () => behaviours(startEmbedded()))
