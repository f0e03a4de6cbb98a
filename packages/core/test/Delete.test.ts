import { assert, describe, it } from "@effect/vitest"
import { deleteImage, deleteImageByDigest, deleteTag } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { image, index, serve } from "./support/Image.js"
import * as Scripted from "./support/ScriptedClient.js"

const { manifest } = image()
const { digest } = manifest.descriptor
const other = image({ os: "windows" }).manifest
const tags = (...names: ReadonlyArray<string>) => ({
  "GET /v2/a/tags/list?n=1000": { status: 200, body: JSON.stringify({ name: "a", tags: names }) }
})
const gone = { [`DELETE /v2/a/manifests/${digest}`]: { status: 202 } }

/** docker-registry 2.8: it deletes by digest, and a digest takes its tags along. */
const deletesByDigest = (change: (request: Scripted.Seen) => Scripted.Answer | undefined = () => undefined) => {
  const served = serve("a", "t", manifest)
  const made = new Map<string, Uint8Array>()
  const script = Scripted.make((request) => {
    const { body, method, path } = request
    const changed = change(request)
    if (changed !== undefined) return changed
    if (method === "PUT") {
      made.set(path, body)
      return { status: 201 }
    }
    if (method !== "DELETE") return served[`${method} ${path}`]
    return path.endsWith("/t") ? { status: 400, body: `{"errors":[{"code":"DIGEST_INVALID"}]}` } : { status: 202 }
  })
  return { script, made }
}

describe("Delete", () => {
  describe("deleteTag", () => {
    it.live("asks once where the registry can do it", () => {
      const script = Scripted.byRequest({ "DELETE /v2/a/manifests/t": { status: 202 } })
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* deleteTag("r.example/a:t"), { reference: "r.example/a:t" })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("moves the tag to an empty manifest, after deleting was seen to work", () => {
      const { made, script } = deletesByDigest()
      return Effect.gen(function* () {
        yield* deleteTag("r.example/a:t")
        const shape = script.lines().map((line) => line.replace(/sha256:\w+/, "DIGEST").replace("/v2/a/manifests/", ""))
        assert.deepStrictEqual(shape, [
          "DELETE t",
          "GET t",
          "DELETE DIGEST",
          "PUT DIGEST",
          "DELETE DIGEST",
          "HEAD t",
          "PUT t",
          "DELETE DIGEST"
        ])
        const bodies = [...made.values()].map((bytes) => new TextDecoder().decode(bytes))
        assert.strictEqual(new Set(bodies).size, 2)
        assert.isFalse(script.lines().includes(`DELETE /v2/a/manifests/${digest}`))
      }).pipe(Effect.provide(script.layer))
    })
    it.live("leaves the tag and the registry as they are where deleting is off", () => {
      const { made, script } = deletesByDigest(({ method }) => (method === "DELETE" ? { status: 405 } : undefined))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(deleteTag("r.example/a:t"))
        assert.strictEqual(error.reason, "DeleteDisabled")
        assert.isDefined(error.hint)
        assert.strictEqual(made.size, 0)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("does not touch a tag that somebody moved meanwhile", () => {
      const moved = serve("a", "t", other)["HEAD /v2/a/manifests/t"]
      const { made, script } = deletesByDigest(({ method }) => (method === "HEAD" ? moved : undefined))
      return Effect.gen(function* () {
        const error = yield* Effect.flip(deleteTag("r.example/a:t"))
        assert.match(error.message, /moved by somebody else/)
        assert.isFalse(made.has("/v2/a/manifests/t"))
      }).pipe(Effect.provide(script.layer))
    })
    it.live("puts the tag back where the last step fails", () => {
      let deletes = 0
      const { made, script } = deletesByDigest(({ method }) =>
        method === "DELETE" && ++deletes === 4 ? { status: 403 } : undefined
      )
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(deleteTag("r.example/a:t"))).reason, "Denied")
        assert.deepStrictEqual(made.get("/v2/a/manifests/t"), manifest.bytes)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("wants a tag and nothing else", () => {
      const script = Scripted.inOrder([])
      return Effect.gen(function* () {
        for (const reference of ["r.example/a", `r.example/a:t@${digest}`]) {
          assert.strictEqual((yield* Effect.flip(deleteTag(reference))).reason, "NoTag")
        }
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("deleteImage", () => {
    it.live("deletes the digest of a tag that no other tag shares", () => {
      const script = Scripted.byRequest({
        ...serve("a", "t", manifest),
        ...serve("a", "u", other),
        ...tags("t", "u"),
        ...gone
      })
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* deleteImage("r.example/a:t"), { reference: `r.example/a@${digest}`, digest })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("lists the tags and indexes that would break", () => {
      const whole = index([[manifest, { os: "linux", architecture: "amd64" }]])
      const script = Scripted.byRequest({
        ...serve("a", "t", manifest),
        ...serve("a", "u", manifest),
        ...serve("a", "multi", whole),
        ...tags("t", "u", "multi"),
        ...gone
      })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(deleteImage("r.example/a:t"))
        assert.strictEqual(error.reason, "StillReferenced")
        assert.include(error.message, "tag u, index multi")
        assert.include(error.hint ?? "", "--force")
        yield* deleteImage("r.example/a:t", { shared: "delete" })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("says that there is no such image", () => {
      const script = Scripted.byRequest({ "HEAD /v2/a/manifests/t": { status: 404 } })
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(deleteImage("r.example/a:t"))).reason, "NotFound")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("looks at no more tags than its bound", () => {
      const many = Array.from({ length: 10_001 }, (_, number) => `t${number}`)
      const script = Scripted.byRequest({ ...serve("a", "t", manifest), ...tags(...many) })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(deleteImage("r.example/a:t"))
        assert.strictEqual(error.reason, "TooLarge")
        assert.strictEqual(script.seen.length, 2)
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("deleteImageByDigest", () => {
    it.live("deletes an image with a single tag", () => {
      const script = Scripted.byRequest({ ...serve("a", "t", manifest), ...tags("t"), ...gone })
      return Effect.provide(deleteImageByDigest(`r.example/a@${digest}`), script.layer)
    })
    it.live("says that deleting is off", () => {
      const script = Scripted.byRequest({
        ...serve("a", "t", manifest),
        ...tags("t"),
        [`DELETE /v2/a/manifests/${digest}`]: { status: 405 }
      })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(deleteImageByDigest(`r.example/a@${digest}`))
        assert.strictEqual(error.reason, "DeleteDisabled")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("wants a digest", () => {
      const script = Scripted.inOrder([])
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(deleteImageByDigest("r.example/a:t"))).reason, "InvalidReference")
      }).pipe(Effect.provide(script.layer))
    })
  })
})
