import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Sync } from "@effect-registry/core"
import * as JSONSchema from "effect/JSONSchema"

describe("docs/sync.schema.json", () => {
  it("is what `npm run docs:schema` makes of the configuration's schema", () => {
    const committed: unknown = JSON.parse(
      readFileSync(new URL("../../../../docs/sync.schema.json", import.meta.url), "utf8")
    )
    assert.deepStrictEqual(committed, JSON.parse(JSON.stringify(JSONSchema.make(Sync.Config))))
  })
})
