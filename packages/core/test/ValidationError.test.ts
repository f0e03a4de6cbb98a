import { assert, describe, it } from "@effect/vitest"
import { ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"

describe("ValidationError", () => {
  it("says subject and issue in one line", () => {
    const error = ValidationError.of("NoTag", "app.tar", "has no tag", { hint: "give a reference" })
    assert.strictEqual(error.message, "app.tar: has no tag")
    assert.strictEqual(error.hint, "give a reference")
    assert.strictEqual(error._tag, "ValidationError")
    assert.instanceOf(error, Error)
  })

  it("puts the path before the issue, and counts the issues it does not show", () => {
    const issues = [
      { path: "layers[2].size", message: "expected a number" },
      { path: "", message: "two" },
      { path: "", message: "three" }
    ]
    const error = new ValidationError({ reason: "InvalidManifest", subject: "app:1", issues })
    assert.strictEqual(error.message, "app:1: layers[2].size: expected a number (and 2 more)")
  })

  it("keeps the cause", () => {
    const cause = new Error("below")
    assert.strictEqual(ValidationError.of("InvalidArchive", "x", "y", { cause }).cause, cause)
  })

  it.effect("is caught by its tag", () =>
    Effect.fail(ValidationError.of("NoImage", "x", "y")).pipe(
      Effect.catchTag("ValidationError", ({ reason }) => Effect.sync(() => assert.strictEqual(reason, "NoImage")))
    )
  )
})
