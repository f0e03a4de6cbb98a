import { assert, describe, it } from "@effect/vitest"
import * as Scopes from "../../src/Registry/Scopes.js"

describe("Scopes", () => {
  describe("merge", () => {
    it("adds the actions that the registry asks for the same repository", () => {
      const wanted = [Scopes.repository("team/app", "pull", "push"), Scopes.repository("base", "pull")]
      assert.deepStrictEqual(Scopes.merge(wanted, ["repository:team/app:delete,pull"]), [
        "repository:team/app:delete,pull,push",
        "repository:base:pull"
      ])
    })
    it("adds nothing for a repository that is not ours to name", () => {
      const wanted = [Scopes.repository("a", "pull")]
      assert.deepStrictEqual(Scopes.merge(wanted, ["repository:victim:pull", "registry:catalog:*"]), [
        "repository:a:pull"
      ])
    })
    it("names a resource once", () => {
      const wanted = [Scopes.repository("a", "pull"), Scopes.repository("a", "push")]
      assert.deepStrictEqual(Scopes.merge(wanted, []), ["repository:a:pull,push"])
    })
    it("keeps a name with colons whole", () => {
      assert.deepStrictEqual(Scopes.merge(["repository:h:5000/a:pull"], ["repository:h:5000/a:push"]), [
        "repository:h:5000/a:pull,push"
      ])
    })
  })

  describe("only", () => {
    it("leaves what the registry asks for our repositories", () => {
      const asked = ["repository:a:pull", "repository:b:pull"]
      assert.deepStrictEqual(Scopes.only([Scopes.repository("a", "pull", "delete")], asked), ["repository:a:pull"])
    })
  })

  describe("reading", () => {
    it("asks a host that was not chosen by the user for no more than to pull", () => {
      const asked = ["repository:a:pull,push,delete", "repository:b:push", "registry:catalog:*"]
      assert.deepStrictEqual(Scopes.reading(asked), ["repository:a:pull"])
    })
  })
})
