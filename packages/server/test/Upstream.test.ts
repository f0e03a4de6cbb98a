import { assert, describe, it } from "@effect/vitest"
import { RegistryConfig } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults, Upstream } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { digestOf, pushImage } from "./support.js"

/** A registry that answers what the test says, where it says something. */
const setup = (fault?: () => Faults.Fault | undefined) =>
  Effect.gen(function* () {
    const recorder = Faults.recorder()
    const onRequest = ({ method }: Faults.Request) =>
      Effect.sync(() => (method === "GET" || method === "HEAD" ? fault?.() : undefined))
    const layer = EmbeddedRegistry.layerMemory({ onRequest, observe: recorder.observe })
    const registry = yield* Layer.build(layer)
    const image = yield* Effect.provide(pushImage("team/app"), registry)
    const { url } = yield* Effect.provide(EmbeddedRegistry.EmbeddedRegistry, registry)
    const client = NodeRegistry.layer({ state: false, retry: { attempts: 1 }, responseTimeout: "1 second" })
    const upstream = yield* Effect.provide(Upstream.fromRegistry(url), yield* Layer.build(client))
    return { image, upstream, recorder, url }
  })

describe("Upstream", () => {
  describe("fromRegistry", () => {
    it.scopedLive("reads a registry without needing anything any more", () =>
      Effect.gen(function* () {
        const { image, upstream, url } = yield* setup()
        assert.strictEqual(upstream.url, url)
        const digest = Option.getOrThrow(yield* upstream.resolve("team/app", "1.0"))
        assert.strictEqual(digest, image.digest)
        const manifest = Option.getOrThrow(yield* upstream.manifest("team/app", digest))
        assert.strictEqual(new TextDecoder().decode(manifest.bytes), image.text)
        assert.deepEqual(
          [manifest.size, manifest.mediaType],
          [image.text.length, "application/vnd.oci.image.manifest.v1+json"]
        )
        const blob = Option.getOrThrow(yield* upstream.blob("team/app", image.layer.digest))
        assert.strictEqual(blob.size, 2000)
        const bytes = yield* Stream.runFold(blob.stream, 0, (sum, chunk) => sum + chunk.length)
        assert.strictEqual(bytes, 2000)
        assert.deepEqual(yield* upstream.tags("team/app"), Option.some(["1.0"]))
        assert.deepEqual(yield* upstream.referrers("team/app", digest), [])
      })
    )

    it.scopedLive("says nothing of what is not there", () =>
      Effect.gen(function* () {
        const { upstream } = yield* setup()
        assert.isTrue(Option.isNone(yield* upstream.resolve("team/app", "2.0")))
        assert.isTrue(Option.isNone(yield* upstream.manifest("team/app", digestOf("none"))))
        assert.isTrue(Option.isNone(yield* upstream.blob("team/app", digestOf("none"))))
        assert.isTrue(Option.isNone(yield* upstream.tags("team/none")))
      })
    )

    for (const [reason, fault] of [
      ["Refused", Faults.respond(401)],
      ["Refused", Faults.respond(403)],
      ["RateLimited", Faults.respond(429)],
      ["Unavailable", Faults.respond(503)],
      ["Unavailable", Faults.disconnect],
      ["TimedOut", Faults.delay("10 seconds")],
      ["Invalid", Faults.respond(200, { body: "<html>", headers: { "content-type": "text/html" } })]
    ] as const) {
      const title = fault._tag === "Respond" ? `status ${fault.status}` : fault._tag
      it.scopedLive(`fails with ${reason} after ${title}`, () =>
        Effect.gen(function* () {
          const { image, upstream } = yield* setup(() => fault)
          const error = yield* Effect.flip(upstream.manifest("team/app", image.digest))
          assert.strictEqual(error.reason, reason)
          assert.include(error.message, "get manifest 127.0.0.1")
        })
      )
    }

    it.scopedLive("lets no control character of the other registry into its messages", () =>
      Effect.gen(function* () {
        const body = JSON.stringify({ errors: [{ code: "DENIED", message: "red \u001b[31m\nline \u202e" }] })
        const { upstream } = yield* setup(() => Faults.respond(403, { body }))
        const { message } = yield* Effect.flip(upstream.tags("team/app"))
        assert.include(message, "red \\u{1b}[31m\\u{a}line \\u{202e}")
      })
    )

    it.scopedLive("takes a host, or a URL whose scheme counts, and no password in it", () =>
      Effect.gen(function* () {
        const urlOf = (address: string) => Effect.map(Upstream.fromRegistry(address), ({ url }) => url)
        assert.strictEqual(yield* urlOf("docker.io"), "https://registry-1.docker.io")
        assert.strictEqual(yield* urlOf("https://registry-1.docker.io"), "https://registry-1.docker.io")
        assert.strictEqual(yield* urlOf("registry.example:5000"), "https://registry.example:5000")
        assert.strictEqual(yield* urlOf("http://registry.example:5000"), "http://registry.example:5000")
        const error = yield* Effect.flip(urlOf("https://ann:secret@registry.example"))
        assert.strictEqual(error.reason, "InvalidReference")
        assert.notInclude(error.message, "secret")
      }).pipe(Effect.provide(Layer.merge(NodeRegistry.layer({ state: false }), RegistryConfig.layer())))
    )
  })
})
