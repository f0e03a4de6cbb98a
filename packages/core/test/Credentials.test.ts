import { assert, describe, it } from "@effect/vitest"
import { Credentials, RegistryConfig } from "@effect-registry/core"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

const ann = Credentials.password("ann", Redacted.make("secret"))
const bob = Credentials.password("bob", Redacted.make("secret"))
const find = (service: Credentials.Service, host: string, repository?: string) =>
  Effect.map(service.find(host, Option.fromNullable(repository)), Option.getOrUndefined)

describe("Credentials", () => {
  describe("make", () => {
    it.effect("binds them to host and port", () =>
      Effect.gen(function* () {
        const service = Credentials.make({ "r.example:5000": ann })
        assert.strictEqual(yield* find(service, "r.example:5000", "a"), ann)
        for (const other of ["r.example", "r.example:50001", "x.r.example:5000", "docker.io"]) {
          assert.isUndefined(yield* find(service, other, "a"))
        }
      })
    )
    it.effect("takes the longest part of a repository's name that fits, by whole words", () =>
      Effect.gen(function* () {
        const service = Credentials.make({ "r.example": ann, "r.example/team": bob })
        assert.strictEqual(yield* find(service, "r.example", "team/app"), bob)
        assert.strictEqual(yield* find(service, "r.example", "team"), bob)
        assert.strictEqual(yield* find(service, "r.example", "teams/app"), ann)
        assert.strictEqual(yield* find(service, "r.example"), ann)
      })
    )
    it.effect("takes a URL for its host", () =>
      Effect.gen(function* () {
        const service = Credentials.make({ "https://R.example:5000/": ann })
        assert.strictEqual(yield* find(service, "r.example:5000", "a"), ann)
      })
    )
    it("prints no secret", () => {
      assert.notInclude(JSON.stringify(ann), "secret")
      assert.notInclude(String(ann.password), "secret")
    })
  })

  describe("orElse", () => {
    it.effect("asks the second where the first has none", () =>
      Effect.gen(function* () {
        const both = Credentials.orElse(Credentials.make({ a: ann }), Credentials.make({ a: bob, b: bob }))
        assert.strictEqual(yield* find(both, "a"), ann)
        assert.strictEqual(yield* find(both, "b"), bob)
      })
    )
  })

  describe("fromEnvironment", () => {
    const variables = { EREG_USERNAME: "ann", EREG_PASSWORD: "secret" }
    const service = (url: string | undefined, environment: Readonly<Record<string, string>> = variables) =>
      Credentials.fromEnvironment(RegistryConfig.make({ url })).pipe(
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))
      )
    it.effect("are those of the configured registry, and of no other", () =>
      Effect.gen(function* () {
        const own = yield* service("http://localhost:15000")
        assert.deepInclude(yield* find(own, "localhost:15000", "a"), { username: "ann" })
        assert.isUndefined(yield* find(own, "docker.io", "a"))
      })
    )
    it.effect("are none without a configured registry, or without the variables", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* service(undefined), Credentials.none)
        assert.strictEqual(yield* service("http://localhost:15000", {}), Credentials.none)
      })
    )
    it.effect("say which of the two is missing", () =>
      Effect.gen(function* () {
        const half = yield* service("http://localhost:15000", { EREG_USERNAME: "ann" })
        const error = yield* Effect.flip(half.find("localhost:15000", Option.none()))
        assert.strictEqual(error.message, "EREG_USERNAME: is set, and EREG_PASSWORD is not")
        assert.isUndefined(yield* find(half, "docker.io"))
      })
    )
  })
})
