import { assert, describe, it } from "@effect/vitest"
import { RegistryError, safeUrl } from "@effect-registry/core"

const base = {
  operation: "push app:1",
  method: "PUT",
  url: "http://localhost:5000/v2/app/manifests/1",
  codes: []
} as const

describe("RegistryError", () => {
  it("names the operation, the reason in words and the status", () => {
    const error = new RegistryError({ ...base, reason: "Denied", status: 403 })
    assert.strictEqual(error.message, "push app:1: the registry denies access (HTTP 403)")
  })

  it("repeats what the registry said", () => {
    const codes = [
      { code: "MANIFEST_INVALID", message: "manifest invalid" },
      { code: "UNKNOWN", message: "" }
    ]
    assert.strictEqual(
      new RegistryError({ ...base, reason: "Rejected", status: 400, codes }).message,
      "push app:1: the registry refused (HTTP 400): MANIFEST_INVALID: manifest invalid; UNKNOWN"
    )
  })

  it("prefers its own detail to the registry's codes", () => {
    const codes = [{ code: "DENIED", message: "no" }]
    assert.strictEqual(
      new RegistryError({ ...base, reason: "Unreachable", codes, detail: "connection refused" }).message,
      "push app:1: cannot reach the registry: connection refused"
    )
  })
})

describe("safeUrl", () => {
  it.each([
    ["http://user:secret@localhost:5000/v2/?token=x#y", "http://localhost:5000/v2/"],
    [
      "https://registry.example/v2/app/blobs/uploads/1?_state=secret",
      "https://registry.example/v2/app/blobs/uploads/1"
    ],
    ["/v2/app/blobs/uploads/1?_state=secret", "/v2/app/blobs/uploads/1"],
    ["//user:secret@host/path", "//host/path"],
    ["http://user:se cret@[/x", "http://[/x"]
  ])("takes the secrets out of %s", (url, expected) => {
    assert.strictEqual(safeUrl(url), expected)
  })
})
