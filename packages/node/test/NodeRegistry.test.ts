import * as Crypto from "node:crypto"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Path from "@effect/platform/Path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { describe, expect, it } from "@effect/vitest"
import { BlobTransport, Compressor, Hasher, RegistryConfig } from "@effect-registry/core"
import * as ConfigProvider from "effect/ConfigProvider"
import type { DurationInput } from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as NodeRegistry from "../src/NodeRegistry.js"
import { fileContent, openFile, readAll, serve } from "./support.js"

const MiB = 1 << 20
const sha256 = (bytes: Uint8Array): string => `sha256:${Crypto.createHash("sha256").update(bytes).digest("hex")}`

/** Reads every upload whole and answers 503 to the first `failures` of them. */
const flaky = (failures: number) =>
  Effect.gen(function* () {
    const seen: Array<{
      readonly size: number
      readonly digest: string
      readonly headers: NodeJS.Dict<string | Array<string>>
    }> = []
    const server = yield* serve(async (req, res) => {
      const bytes = await readAll(req)
      seen.push({ size: bytes.length, digest: sha256(bytes), headers: req.headers })
      res.writeHead(seen.length <= failures ? 503 : 201).end()
    })
    return { url: server.url, seen }
  })

const content = Crypto.randomBytes(2 * MiB + 17)
/** What a push does with a layer: the services are looked up when it runs. */
const upload = (url: string) =>
  Effect.gen(function* () {
    const file = yield* openFile(Buffer.concat([Buffer.from("header"), content]))
    const transport = yield* BlobTransport.BlobTransport
    const client = yield* HttpClient.HttpClient
    const { body } = yield* transport.body(fileContent(file, 6, content.length), () => {})
    const response = yield* client.execute(HttpClientRequest.put(url, { body }))
    return response.status
  })

/** A user's own policy. */
const retried = (client: HttpClient.HttpClient): HttpClient.HttpClient =>
  HttpClient.retryTransient(client, { times: 3 })
const headersWithin =
  (duration: DurationInput) =>
  (client: HttpClient.HttpClient): HttpClient.HttpClient =>
    HttpClient.transform(client, (effect, request) =>
      Effect.timeoutFail(effect, {
        duration,
        onTimeout: () =>
          new HttpClientError.RequestError({ request, reason: "Transport", description: "no answer in time" })
      })
    )

describe("NodeRegistry", () => {
  describe("layer", () => {
    it.effect("provides all that push and pull need", () =>
      Effect.gen(function* () {
        expect((yield* RegistryConfig.RegistryConfig).url).toEqual(Option.some("http://localhost:15000"))
        expect(yield* (yield* FileSystem.FileSystem).exists("/")).toBe(true)
        expect((yield* Path.Path).basename("/a/b")).toBe("b")
        expect((yield* BlobTransport.BlobTransport).streams).toBe(true)
        expect((yield* Compressor.Compressor) === Compressor.portable).toBe(false)
        for (const algorithm of ["sha256", "sha512"] as const) {
          const native = (yield* Hasher.Hasher).make(algorithm)
          const portable = Hasher.portable.make(algorithm)
          for (const hash of [native, portable]) {
            hash.update(Buffer.from("a"))
            hash.update(Buffer.from("bc"))
          }
          expect(native.digest()).toBe(portable.digest())
        }
      }).pipe(Effect.provide(NodeRegistry.layer({ url: "http://localhost:15000" })))
    )

    const clients = {
      "its own client": Layer.empty,
      fetch: FetchHttpClient.layer,
      "node:http": NodeHttpClient.layer,
      undici: NodeHttpClient.layerUndici
    } satisfies Record<string, Layer.Layer<never> | Layer.Layer<HttpClient.HttpClient>>
    for (const [name, client] of Object.entries(clients)) {
      it.scopedLive(`sends all bytes through ${name}, and the whole body in every retry`, () =>
        Effect.gen(function* () {
          const { seen, url } = yield* flaky(2)
          const status = yield* upload(url).pipe(
            Effect.updateService(HttpClient.HttpClient, retried),
            Effect.provide(client),
            Effect.provide(NodeRegistry.layer())
          )
          expect(status).toBe(201)
          expect(seen.map(({ size }) => size)).toEqual([content.length, content.length, content.length])
          expect(new Set(seen.map(({ digest }) => digest))).toEqual(new Set([sha256(content)]))
        })
      )
    }

    it.scopedLive("can be transformed, decorated by a layer and replaced", () =>
      Effect.gen(function* () {
        const transformed = yield* flaky(1)
        const transform = NodeRegistry.layer({ transformClient: retried })
        expect(yield* Effect.provide(upload(transformed.url), transform)).toBe(201)
        expect(transformed.seen.map(({ size }) => size)).toEqual([content.length, content.length])

        const decorated = yield* flaky(2)
        const Polite = Layer.effect(
          HttpClient.HttpClient,
          Effect.map(HttpClient.HttpClient, (client) =>
            client.pipe(
              headersWithin("20 seconds"),
              retried,
              HttpClient.mapRequest(HttpClientRequest.setHeader("x-mine", "1"))
            )
          )
        )
        const layer = Polite.pipe(Layer.provideMerge(NodeRegistry.layer()))
        expect(yield* Effect.provide(upload(decorated.url), layer)).toBe(201)
        expect(decorated.seen.map(({ headers, size }) => [headers["x-mine"], size])).toEqual(
          Array.from({ length: 3 }, () => ["1", content.length])
        )

        const never = HttpClient.make((request) =>
          Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", description: "mine" }))
        )
        const replaced = upload("http://127.0.0.1:1/").pipe(
          Effect.provideService(HttpClient.HttpClient, never),
          Effect.provide(NodeRegistry.layer()),
          Effect.flip
        )
        expect(yield* replaced).toMatchObject({ description: "mine" })
      })
    )

    it.scopedLive("lets a user's timeout end an upload", () =>
      Effect.gen(function* () {
        const server = yield* serve(() => {})
        const error = yield* upload(server.url).pipe(
          Effect.provide(NodeRegistry.layer({ transformClient: headersWithin("100 millis") })),
          Effect.flip
        )
        expect(error).toMatchObject({ description: "no answer in time" })
      })
    )

    it.scoped("sends a length, and no trace of ours to a registry", () =>
      Effect.gen(function* () {
        const { seen, url } = yield* flaky(0)
        yield* upload(url).pipe(Effect.withSpan("push"), Effect.provide(NodeRegistry.layer()))
        const headers = seen[0]?.headers ?? {}
        expect(headers["content-length"]).toBe(String(content.length))
        expect(headers["content-type"]).toBe("application/octet-stream")
        expect(Object.keys(headers).filter((name) => /trace|b3/.test(name))).toEqual([])
      })
    )

    it.scoped("works with the portable transport too", () =>
      Effect.gen(function* () {
        const { seen, url } = yield* flaky(0)
        const portable = Layer.succeed(BlobTransport.BlobTransport, BlobTransport.portable)
        yield* upload(url).pipe(Effect.provide(portable), Effect.provide(NodeRegistry.layer()))
        expect(seen[0]).toMatchObject({ size: content.length, digest: sha256(content) })
      })
    )
  })

  describe("layerConfig", () => {
    it.effect.each([
      [{ EREG_REGISTRY: "http://a:1", REGISTRY_URL: "http://b:2" }, {}, "http://a:1"],
      [{ REGISTRY_URL: "http://b:2" }, {}, "http://b:2"],
      [{ EREG_REGISTRY: "http://a:1" }, { url: "http://c:3" }, "http://c:3"]
    ] as const)("takes the registry from the environment %o with options %o", ([env, options, url]) =>
      Effect.map(RegistryConfig.RegistryConfig, (config) => expect(config.url).toEqual(Option.some(url))).pipe(
        Effect.provide(NodeRegistry.layerConfig(options)),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env))))
      )
    )
  })
})
