import { assert, describe, it } from "@effect/vitest"
import {
  type Descriptor,
  type Digest,
  deleteImage,
  deleteImageByDigest,
  deleteTag,
  Manifest,
  MediaType,
  Referrer
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Fake from "./support/FakeRepository.js"
import { image, index, serve } from "./support/Image.js"
import { type Made, make } from "./support/Referrer.js"
import * as Scripted from "./support/ScriptedClient.js"

const { manifest } = image()
const { digest } = manifest.descriptor
const other = image({ os: "windows" }).manifest
const tags = (...names: ReadonlyArray<string>) => ({
  "GET /v2/a/tags/list?n=1000": { status: 200, body: JSON.stringify({ name: "a", tags: names }) }
})
/** What refers to a digest, by the registry's own list. */
const listing = (of: Digest.Digest, ...referrers: ReadonlyArray<Descriptor.Descriptor>) => ({
  [`GET /v2/a/referrers/${of}`]: {
    status: 200,
    body: Manifest.assembleIndex(MediaType.ociIndex, referrers).bytes,
    headers: { "content-type": MediaType.ociIndex }
  }
})
const alone = listing(digest)
const gone = { ...alone, [`DELETE /v2/a/manifests/${digest}`]: { status: 202 } }

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

/** What a deletion of the tag puts in its place on the way. */
const throwaway = Manifest.assembleIndex(MediaType.ociIndex, [], {
  "io.github.effect-registry.deleted-tag": "t 0123",
  "io.github.effect-registry.deleted-tag.digest": digest
})
const left = serve("a", "t", throwaway)

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
    it.live("finishes what a killed deletion left under the tag", () => {
      const { script } = deletesByDigest(({ method, path }) =>
        path.endsWith("/t") && method !== "DELETE" ? left[`${method} ${path}`] : undefined
      )
      return Effect.gen(function* () {
        yield* deleteTag("r.example/a:t")
        assert.deepStrictEqual(script.lines(), [
          "DELETE /v2/a/manifests/t",
          "GET /v2/a/manifests/t",
          `DELETE /v2/a/manifests/${throwaway.descriptor.digest}`
        ])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("gives a tag back what it named where deleting was switched off in between", () => {
      const { made, script } = deletesByDigest(({ method, path }) => {
        if (method === "DELETE") return { status: 405 }
        return path.endsWith("/t") && method !== "PUT" ? left[`${method} ${path}`] : undefined
      })
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(deleteTag("r.example/a:t"))).reason, "DeleteDisabled")
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
        assert.deepStrictEqual(yield* deleteImage("r.example/a:t"), {
          reference: `r.example/a@${digest}`,
          digest,
          deletedReferrers: [],
          leftReferrers: []
        })
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
    it.live("says which referrers it leaves behind", () => {
      const sbom = make(manifest.descriptor, "sbom").listed
      const script = Scripted.byRequest({
        ...serve("a", "t", manifest),
        ...tags("t"),
        ...gone,
        ...listing(digest, sbom)
      })
      return Effect.gen(function* () {
        const deleted = yield* deleteImage("r.example/a:t")
        assert.deepStrictEqual(deleted.leftReferrers, [sbom])
        assert.deepStrictEqual(deleted.deletedReferrers, [])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("deletes an image though the registry does not say what refers to it", () => {
      const script = Scripted.byRequest({
        ...serve("a", "t", manifest),
        ...tags("t"),
        ...gone,
        [`GET /v2/a/referrers/${digest}`]: { status: 403 }
      })
      return Effect.gen(function* () {
        yield* deleteImage("r.example/a:t")
        assert.isTrue(script.events.some((event) => event._tag === "Warning" && /referrers/.test(event.message)))
        const error = yield* Effect.flip(deleteImage("r.example/a:t", { referrers: true }))
        assert.strictEqual(error.reason, "Denied")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("deletes referrers with it, those of referrers first, unless something else names one", () => {
      const sbom = make(manifest.descriptor, "sbom")
      const signature = make(sbom.descriptor, "signature")
      const remove = (each: Made) => ({ [`DELETE /v2/a/manifests/${each.descriptor.digest}`]: { status: 202 } })
      const routes = {
        ...serve("a", "t", manifest),
        ...serve("a", "sbom", { ...manifest, ...sbom }),
        ...serve("a", undefined, { ...manifest, ...signature }),
        ...gone,
        ...remove(sbom),
        ...remove(signature),
        ...listing(digest, sbom.listed),
        ...listing(sbom.descriptor.digest, signature.listed),
        ...listing(signature.descriptor.digest)
      }
      const free = Scripted.byRequest({ ...routes, ...tags("t") })
      const used = Scripted.byRequest({ ...routes, ...tags("t", "sbom") })
      return Effect.gen(function* () {
        const deleted = yield* Effect.provide(deleteImage("r.example/a:t", { referrers: true }), free.layer)
        assert.deepStrictEqual(deleted.deletedReferrers, [signature.descriptor.digest, sbom.descriptor.digest])
        assert.deepStrictEqual(
          free.lines().filter((line) => line.startsWith("DELETE")),
          [signature.descriptor.digest, sbom.descriptor.digest, digest].map((each) => `DELETE /v2/a/manifests/${each}`)
        )
        const error = yield* Effect.flip(Effect.provide(deleteImage("r.example/a:t", { referrers: true }), used.layer))
        assert.strictEqual(error.reason, "StillReferenced")
        assert.include(error.message, `its referrer ${sbom.descriptor.digest} is also named by tag sbom`)
        assert.isFalse(used.lines().some((line) => line.startsWith("DELETE")))
        const forced = deleteImage("r.example/a:t", { referrers: true, shared: "delete" })
        yield* Effect.provide(forced, used.layer)
      })
    })
    it.live("leaves out what is listed as a referrer and has another subject, or none, with a warning", () => {
      const repository = Fake.make({ referrers: false })
      const [a, b] = [repository.image(), repository.image()]
      const own = repository.image({ subject: a })
      const signature = repository.image({ subject: b })
      repository.tag("a", a)
      repository.tag("b", b)
      repository.tag(Referrer.fallbackTag(a), repository.index([signature, own, b]))
      return Effect.gen(function* () {
        // Forced, nothing but the subject tells that they belong to something else.
        const deleted = yield* deleteImage("r.example/a:a", { referrers: true, shared: "delete" })
        assert.deepStrictEqual(deleted.deletedReferrers, [own])
        assert.deepStrictEqual(
          [a, own, signature, b].map((each) => repository.manifests.has(each)),
          [false, false, true, true]
        )
        const warnings = repository.events.flatMap((event) => (event._tag === "Warning" ? [event.message] : []))
        assert.deepStrictEqual(
          warnings.sort(),
          [
            `${b} is listed among the referrers of ${a} and stays: it refers to nothing`,
            `${signature} is listed among the referrers of ${a} and stays: it refers to ${b}`
          ].sort()
        )
      }).pipe(Effect.provide(repository.layer))
    })
    it.live("deletes nothing where the list of tags comes round again before its end", () => {
      const repository = Fake.make({
        change: ({ path }) =>
          path.startsWith("/v2/a/tags/list")
            ? {
                status: 200,
                body: JSON.stringify({ name: "a", tags: ["one"] }),
                headers: { link: `</v2/a/tags/list?n=1000>; rel="next"` }
              }
            : undefined
      })
      const shared = repository.image()
      repository.tag("one", shared)
      repository.tag("two", shared)
      return Effect.gen(function* () {
        for (const attempt of [deleteImage("r.example/a:one"), deleteImageByDigest(`r.example/a@${shared}`)]) {
          const error = yield* Effect.flip(attempt)
          assert.strictEqual(error.reason, "Protocol")
          assert.include(error.message, "list tags of r.example/a")
          assert.include(error.hint ?? "", "--force")
        }
        assert.isTrue(repository.manifests.has(shared))
        assert.deepStrictEqual([...repository.tags.keys()], ["one", "two"])
        assert.isFalse(repository.lines().some((line) => line.startsWith("DELETE")))
      }).pipe(Effect.provide(repository.layer))
    })
    it.live("puts a referrer back on the list of its subject where it cannot be deleted", () => {
      const sbom = make(manifest.descriptor, "sbom")
      const list = Referrer.fallbackTag(digest)
      const two = Manifest.assembleIndex(MediaType.ociIndex, [make(manifest.descriptor, "x").listed, sbom.listed])
      const routes: Record<string, Scripted.Answer> = {
        ...serve("a", "s", { ...manifest, ...sbom }),
        ...serve("a", list, two),
        ...tags("s")
      }
      const script = Scripted.make(({ body, method, path }) => {
        if (path.includes("/referrers/")) return { status: 404 }
        if (method === "PUT" && path.endsWith(list)) {
          lists.push(body)
          return { status: 201 }
        }
        if (method === "DELETE") return path.endsWith(sbom.descriptor.digest) ? { status: 403 } : { status: 404 }
        const now = lists.at(-1)
        if (method === "GET" && path.endsWith(list) && now !== undefined) {
          return { status: 200, body: now, headers: { "content-type": MediaType.ociIndex } }
        }
        return routes[`${method} ${path}`] ?? { status: 404 }
      })
      const lists: Array<Uint8Array> = []
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(deleteImage("r.example/a:s"))).reason, "Denied")
        const digests = lists.map((bytes) =>
          JSON.parse(new TextDecoder().decode(bytes)).manifests.some(
            (each: { readonly digest: string }) => each.digest === sbom.descriptor.digest
          )
        )
        assert.deepStrictEqual(digests, [false, true])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("does not take for the image what a killed deletion left under its tag", () => {
      const script = Scripted.byRequest({ ...left, "DELETE /v2/a/manifests/t": { status: 202 } })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(deleteImage("r.example/a:t"))
        assert.strictEqual(error.reason, "NotFound")
        assert.include(error.message, "gone now")
        assert.strictEqual(script.lines().at(-1), "DELETE /v2/a/manifests/t")
      }).pipe(Effect.provide(script.layer))
    })
    it.live("looks at no more tags than its bound", () => {
      const many = Array.from({ length: 10_001 }, (_, number) => `t${number}`)
      const script = Scripted.byRequest({ ...serve("a", "t", manifest), ...tags(...many), ...alone })
      return Effect.gen(function* () {
        const error = yield* Effect.flip(deleteImage("r.example/a:t"))
        assert.strictEqual(error.reason, "TooLarge")
        assert.strictEqual(script.seen.length, 3)
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
        ...alone,
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
