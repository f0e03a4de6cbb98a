/** A registry in tests that know nothing of Effect; with Jest the imports from "vitest" are globals. */
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { afterAll, beforeAll, expect, test } from "vitest"

const faults = Faults.switchable()
const registry = ManagedRuntime.make(EmbeddedRegistry.layerMemory({ onRequest: faults.onRequest }))
let url = ""

beforeAll(async () => {
  url = (await registry.runPromise(EmbeddedRegistry.EmbeddedRegistry)).url
})
afterAll(() => registry.dispose())

test("a client of mine asks for the version", async () => {
  const response = await fetch(`${url}/v2/`)
  expect(response.headers.get("docker-distribution-api-version")).toBe("registry/2.0")
})

test("a client of mine is sent away once", async () => {
  Effect.runSync(faults.set(Faults.once({ method: "GET" }, Faults.respond(503, { headers: { "retry-after": "1" } }))))
  expect((await fetch(`${url}/v2/`)).status).toBe(503)
  expect((await fetch(`${url}/v2/`)).status).toBe(200)
})
