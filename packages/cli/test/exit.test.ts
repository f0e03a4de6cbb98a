import { describe, expect, it } from "@effect/vitest"
import { RegistryError, ValidationError } from "@effect-registry/core"
import { TarReadError } from "@effect-registry/tar"
import * as Cause from "effect/Cause"
import * as FiberId from "effect/FiberId"
import * as Exit from "../src/exit.js"
import { render } from "../src/output.js"
import { StdoutFailed } from "../src/stdio.js"

const registryError = new RegistryError({
  reason: "NotFound",
  operation: "read manifest localhost:1/app:1.0",
  method: "GET",
  url: "http://localhost:1/v2/app/manifests/1.0",
  status: 404,
  codes: [{ code: "MANIFEST_UNKNOWN", message: "gone" }]
})

describe("exit", () => {
  describe("describe", () => {
    it("splits a registry's error into what, why and what to try", () => {
      expect(render(Exit.describe(registryError, "pull"))).toEqual([
        "error: read manifest localhost:1/app:1.0",
        "  why: not found (HTTP 404): MANIFEST_UNKNOWN: gone",
        "  try: `ereg list` and `ereg tags REPOSITORY` show what there is"
      ])
    })
    it("splits an archive's error at its path", () => {
      const error = new TarReadError({
        reason: "NotFound",
        path: "a: b.tar",
        detail: "no such file",
        hint: "look again"
      })
      expect(render(Exit.describe(error, "push"))).toEqual([
        "error: a: b.tar",
        "  why: no such file",
        "  try: look again"
      ])
    })
    it("takes the subject of a value that cannot be used", () => {
      const error = ValidationError.of("NoTag", "app.tar", "holds no tag", { hint: "name one" })
      const { hint, reason, tag, what, why } = Exit.describe(error, "push")
      expect({ hint, reason, tag, what, why }).toEqual({
        tag: "ValidationError",
        reason: "NoTag",
        what: "app.tar",
        why: "holds no tag",
        hint: "name one"
      })
    })
    it("always has something to try", () => {
      expect(Exit.describe(new Error("boom"), "push")).toMatchObject({
        what: "ereg push",
        why: "boom",
        hint: "add --log-level debug to see more"
      })
    })
    it("points at the registry's words only where there are some", () => {
      const rejected = { reason: "Rejected", operation: "push", method: "PUT", url: "" } as const
      const hintOf = (codes: RegistryError["codes"]) =>
        Exit.describe(new RegistryError({ ...rejected, codes }), "push").hint
      expect(hintOf([{ code: "X", message: "" }])).toBe("the registry's own words are in the line above")
      expect(hintOf([])).toBe("the registry gives no reason that helps: its own log may")
    })
    it("calls wrong usage so", () => {
      const error = new Exit.UsageError({ what: "ereg push", why: "no", hint: "yes" })
      expect(Exit.describe(error, "push")).toMatchObject({ tag: "UsageError", reason: "Usage" })
    })
    it("escapes what a registry wrote", () => {
      const hostile = new RegistryError({
        reason: "Rejected",
        operation: "push",
        method: "PUT",
        url: "",
        codes: [{ code: "X", message: "\u001b]0;title\u0007\nerror: fake" }]
      })
      expect(render(Exit.describe(hostile, "push"))[1]).toBe(
        "  why: the registry refused: X: \\x1b]0;title\\x07\\nerror: fake"
      )
    })
  })

  describe("toJson", () => {
    it("is the one object of a failure", () => {
      expect(Exit.toJson(Exit.describe(registryError, "pull"))).toEqual({
        error: {
          tag: "RegistryError",
          reason: "NotFound",
          message: "read manifest localhost:1/app:1.0: not found (HTTP 404): MANIFEST_UNKNOWN: gone",
          hint: "`ereg list` and `ereg tags REPOSITORY` show what there is",
          status: 404,
          codes: [{ code: "MANIFEST_UNKNOWN", message: "gone" }]
        }
      })
    })
  })

  describe("fromCause", () => {
    it("tells a full disk under standard output from a fault of ours", () => {
      expect(
        render(Exit.fromCause(Cause.die(new StdoutFailed("ENOSPC: no space left on device, write")), "pull"))
      ).toEqual([
        "error: standard output",
        "  why: ENOSPC: no space left on device, write",
        "  try: free some space, or write somewhere else"
      ])
    })
    it("calls a defect a fault of ours", () => {
      expect(Exit.fromCause(Cause.die(new Error("oops")), "list")).toMatchObject({
        tag: "Defect",
        what: "ereg list",
        why: "oops (this is a fault in ereg)"
      })
    })
    it("prefers the failure", () => {
      expect(
        Exit.fromCause(Cause.parallel(Cause.fail(registryError), Cause.interrupt(FiberId.none)), "pull").reason
      ).toBe("NotFound")
    })
  })

  it("counts as shells do", () => {
    expect(Exit.code).toEqual({ done: 0, failed: 1, usage: 2, interrupted: 130, terminated: 143 })
  })
})
