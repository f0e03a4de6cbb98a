/**
 * The requirements that the distribution specification has for registries, section by section, over every kind of storage. A
 * test is one requirement; what the specification asks of clients is not here.
 */
import { assert, describe, layer, type Vitest } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { type Answer, codeOf, send } from "../support.js"

/** The version that these tests were written from. */
const document = "https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md"

type Tests = (it: Vitest.MethodsNonLive<EmbeddedRegistry.EmbeddedRegistry>) => void

/** The tests of one part of the specification. */
export const specification = (part: string, tests: Tests, options: EmbeddedRegistry.Options = {}): void => {
  layer(EmbeddedRegistry.layerTemp(options))(`${part}, in a folder`, tests)
  layer(EmbeddedRegistry.layerMemory(options))(`${part}, in memory`, tests)
}

/** The tests of the section with this heading; its link is part of their names. */
export const section = (heading: string, tests: () => void): void => {
  const anchor = heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-")
  describe(`${heading} ${document}#${anchor}`, tests)
}

/** What an answer is refused with: status and code. */
export const refusal = (answer: Answer): readonly [number, string] => [answer.status, codeOf(answer)]

/** The answer to a GET of the place that an answer names; it has to be there. */
export const follow = (answer: Answer) => {
  const location = answer.headers.get("location")
  assert.isNotNull(location)
  return Effect.tap(send("GET", location ?? ""), ({ status }) => assert.strictEqual(status, 200))
}

/** The page after this one, as its Link header names it. */
export const nextOf = (answer: Answer): string | undefined =>
  /^<([^<>\s]+)>; ?rel="next"$/.exec(answer.headers.get("link") ?? "")?.[1]
