import { assert, describe, it } from "@effect/vitest"
import { RegistryConfig } from "@effect-registry/core"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const endpoint = (options: RegistryConfig.Options, host?: string) =>
  RegistryConfig.endpoint(RegistryConfig.make(options), Option.fromNullable(host))

describe("RegistryConfig", () => {
  describe("make", () => {
    it("has the defaults its options tell", () => {
      const config = RegistryConfig.make()
      assert.deepStrictEqual(config.url, Option.none())
      assert.strictEqual(config.concurrency, 5)
      assert.strictEqual(config.retry.attempts, 5)
      assert.strictEqual(Duration.toMillis(config.retry.delay), 500)
      assert.strictEqual(Duration.toMillis(config.retry.maxDelay), 8000)
      assert.strictEqual(Duration.toMillis(config.retry.budget), 30_000)
      assert.strictEqual(config.chunkSize, 16 * 1024 * 1024)
      assert.isTrue(config.allowUrl(new URL("http://localhost")))
      assert.isFalse(RegistryConfig.hasRegistry(config))
    })

    it("keeps numbers in the range that works", () => {
      const config = RegistryConfig.make({ concurrency: 0, retry: { attempts: 0 }, chunkSize: 1 })
      assert.strictEqual(config.concurrency, 1)
      assert.strictEqual(config.retry.attempts, 1)
      assert.strictEqual(config.chunkSize, 5 * 1024 * 1024)
    })
  })

  describe("endpoint", () => {
    it.effect.each<[RegistryConfig.Options, string | undefined, string, string]>([
      [{}, undefined, "docker.io", "https://registry-1.docker.io"],
      [{}, "docker.io", "docker.io", "https://registry-1.docker.io"],
      [{}, "registry.example", "registry.example", "https://registry.example"],
      [{}, "localhost:5000", "localhost:5000", "http://localhost:5000"],
      [{}, "127.9.9.9:1", "127.9.9.9:1", "http://127.9.9.9:1"],
      [{}, "[::1]:5000", "[::1]:5000", "http://[::1]:5000"],
      [{}, "a.localhost", "a.localhost", "http://a.localhost"],
      [{}, "127.0.0.1.example", "127.0.0.1.example", "https://127.0.0.1.example"],
      [{}, "notlocalhost", "notlocalhost", "https://notlocalhost"],
      [{ url: "http://localhost:15000" }, undefined, "localhost:15000", "http://localhost:15000"],
      [{ url: "localhost:15000" }, undefined, "localhost:15000", "http://localhost:15000"],
      [{ url: "LOCALHOST:15000" }, undefined, "localhost:15000", "http://localhost:15000"],
      [{ url: "registry.example" }, undefined, "registry.example", "https://registry.example"],
      [{ url: "http://registry.example/v2/" }, undefined, "registry.example", "http://registry.example"],
      [{ url: "http://registry.example" }, "registry.example", "registry.example", "http://registry.example"],
      [
        { url: "http://registry.example:80" },
        "registry.example:80",
        "registry.example:80",
        "http://registry.example:80"
      ],
      [
        { url: "http://registry.example" },
        "registry.example:5000",
        "registry.example:5000",
        "https://registry.example:5000"
      ],
      [{ url: "http://registry.example" }, "other.example", "other.example", "https://other.example"],
      [{ url: "https://localhost:5000" }, "localhost:5000", "localhost:5000", "https://localhost:5000"],
      [{ url: "index.docker.io" }, undefined, "docker.io", "https://registry-1.docker.io"],
      [{ usesTls: () => true }, "localhost:5000", "localhost:5000", "https://localhost:5000"],
      [{ usesTls: () => true, url: "localhost:5000" }, undefined, "localhost:5000", "https://localhost:5000"],
      [{ usesTls: () => true, url: "http://localhost:5000" }, undefined, "localhost:5000", "http://localhost:5000"],
      [{ hosts: { "r.example": { plainHttp: true } } }, "r.example", "r.example", "http://r.example"],
      [{ hosts: { "localhost:1": { plainHttp: false } } }, "localhost:1", "localhost:1", "https://localhost:1"],
      [
        { url: "http://r.example", hosts: { "r.example": { plainHttp: false } } },
        undefined,
        "r.example",
        "https://r.example"
      ]
    ])("with %j, host %s", ([options, host, name, origin]) =>
      Effect.map(endpoint(options, host), (found) => assert.deepStrictEqual(found, { host: name, origin }))
    )

    it.effect.each<[string, RegExp]>([
      ["", /no registry URL/],
      ["http://", /no registry URL/],
      ["http://a b", /no registry URL/],
      ["ftp://registry.example", /http or https/],
      ["http://user:secret@registry.example", /credentials/],
      ["http://registry.example/path", /no path/],
      ["http://registry.example/?x=1", /no path/],
      ["http://registry.example/#x", /no path/]
    ])("refuses the url %j", ([url, message]) =>
      Effect.map(Effect.flip(endpoint({ url })), (error) => {
        assert.strictEqual(error.reason, "InvalidReference")
        assert.match(error.message, message)
        assert.notInclude(error.message, "secret")
        assert.include(error.hint ?? "", "HOST[:PORT]")
      })
    )
  })

  describe("layerConfig", () => {
    const url = (environment: Record<string, string>, options: RegistryConfig.Options = {}) =>
      Effect.map(RegistryConfig.RegistryConfig, (config) => Option.getOrUndefined(config.url)).pipe(
        Effect.provide(RegistryConfig.layerConfig(options)),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))
      )

    it.effect("reads EREG_REGISTRY before REGISTRY_URL, and neither where the options name a registry", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* url({ EREG_REGISTRY: "a:1", REGISTRY_URL: "b:1" }), "a:1")
        assert.strictEqual(yield* url({ REGISTRY_URL: "b:1" }), "b:1")
        assert.strictEqual(yield* url({ EREG_REGISTRY: "a:1" }, { url: "c:1" }), "c:1")
        assert.isUndefined(yield* url({}))
      })
    )
  })
})
