import { describe, expect, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import * as Limits from "../src/Limits.js"
import { codeOf, send } from "./support.js"

describe("Limits", () => {
  describe("source", () => {
    it.each([
      ["192.0.2.7", "192.0.2.7"],
      ["::ffff:192.0.2.7", "192.0.2.7"],
      ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
      ["2001:0DB8:0001:0002::6", "2001:db8:1:2::/64"],
      ["2001:db8::6", "2001:db8:0:0::/64"],
      ["::1", "0:0:0:0::/64"],
      ["1::2:3:4:5:6:7", "1:0:2:3::/64"],
      ["64:ff9b::192.0.2.7", "64:ff9b:0:0::/64"],
      ["fe80::1%eth0", "fe80:0:0:0::/64"]
    ])("reads %s as %s", (remote, source) => expect(Limits.source(remote)).toBe(source))
  })

  describe("admit", () => {
    it.effect("lets twice the rate through at once, then as many a second as the rate says", () =>
      Effect.gen(function* () {
        const { admit } = Limits.make({ requestRate: 2 })
        const admitted = (count: number, remote = "192.0.2.7") =>
          Effect.map(
            Effect.all(
              Array.from({ length: count }, () => Effect.either(admit(remote))),
              { concurrency: 1 }
            ),
            (all) => all.filter(({ _tag }) => _tag === "Right").length
          )
        expect(yield* admitted(10)).toBe(4)
        expect(yield* admitted(10, "192.0.2.8")).toBe(4)
        yield* TestClock.adjust("1 seconds")
        expect(yield* admitted(10)).toBe(2)
        yield* TestClock.adjust("1 hours")
        expect(yield* admitted(10)).toBe(4)
      })
    )

    it.effect("says in whole seconds when there is room again", () =>
      Effect.gen(function* () {
        const { admit } = Limits.make({ requestRate: 0.1 })
        yield* admit("192.0.2.7")
        const { code, headers, status } = yield* Effect.flip(admit("192.0.2.7"))
        expect({ code, headers, status }).toEqual({
          code: "TOOMANYREQUESTS",
          headers: { "retry-after": "10" },
          status: 429
        })
      })
    )

    it.effect("counts all addresses of a /64 as one, and forgets the one that was silent longest of 10,000", () =>
      Effect.gen(function* () {
        const { admit } = Limits.make({ requestRate: 0.5 })
        yield* admit("2001:db8::1")
        yield* Effect.flip(admit("2001:db8::2"))
        for (let n = 0; n < 9999; n++) yield* admit(`10.0.${n >> 8}.${n & 255}`)
        yield* Effect.flip(admit("2001:db8::1"))
        yield* admit("198.51.100.1")
        yield* Effect.flip(admit("2001:db8::1"))
        yield* admit("10.0.0.0")
      })
    )

    it.effect("answers 429 with Retry-After, but always tells the health", () =>
      Effect.gen(function* () {
        expect((yield* send("GET", "/v2/")).status).toBe(200)
        expect((yield* send("GET", "/v2/")).status).toBe(200)
        const refused = yield* send("GET", "/v2/")
        expect([refused.status, refused.headers.get("retry-after"), codeOf(refused)]).toEqual([
          429,
          "1",
          "TOOMANYREQUESTS"
        ])
        for (let n = 0; n < 5; n++) expect((yield* send("GET", "/healthz")).status).toBe(200)
      }).pipe(Effect.provide(EmbeddedRegistry.layerMemory({ limits: { requestRate: 1 } })))
    )
  })
})
