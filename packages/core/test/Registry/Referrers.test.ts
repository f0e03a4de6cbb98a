import { assert, describe, it } from "@effect/vitest"
import { type Descriptor, type Digest, Manifest, MediaType, Referrer } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Client from "../../src/Registry/Client.js"
import * as Referrers from "../../src/Registry/Referrers.js"
import { image, serve } from "../support/Image.js"
import { make } from "../support/Referrer.js"
import * as Scripted from "../support/ScriptedClient.js"

const client = Client.make({ host: "r.example", origin: "http://r.example" }, { repository: Option.none(), scopes: [] })
const subject = image().manifest.descriptor
const { digest } = subject
const tag = Referrer.fallbackTag(digest)
const sbom = make(subject, "sbom").listed
const signature = make(subject, "signature", "application/vnd.example.signature").listed
const path = `/v2/a/referrers/${digest}`

const page = (manifests: ReadonlyArray<unknown>, headers: Record<string, string> = {}) => ({
  status: 200,
  body: JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }),
  headers: { "content-type": MediaType.ociIndex, ...headers }
})
const next = (target: string) => ({ link: `<${target}>; rel="next"` })
const underTag = (...manifests: ReadonlyArray<Descriptor.Descriptor>) =>
  serve("a", tag, Manifest.assembleIndex(MediaType.ociIndex, manifests))
const list = (artifactType?: string, of: Digest.Digest = digest) =>
  Effect.flatMap(client, (client) => Referrers.list(client, "a", of, artifactType))
const digestsOf = ({ referrers }: Referrers.Listing) => referrers.map((each) => each.digest)

describe("Referrers", () => {
  describe("list", () => {
    it.live("returns what the registry lists, each once, with type and annotations", () => {
      const script = Scripted.byRequest({ [`GET ${path}`]: page([sbom, signature, sbom]) })
      return Effect.gen(function* () {
        assert.deepStrictEqual(yield* list(), { source: "api", referrers: [sbom, signature] })
        assert.include(script.seen[0]?.headers.accept ?? "", MediaType.ociIndex)
      }).pipe(Effect.provide(script.layer))
    })
    it.live("filters itself, whatever the registry says it has done", () => {
      const query = `?artifactType=${encodeURIComponent("application/vnd.example.sbom")}`
      const script = Scripted.byRequest({
        [`GET ${path}${query}`]: page([sbom, signature], { "oci-filters-applied": "artifactType" })
      })
      return Effect.gen(function* () {
        assert.deepStrictEqual((yield* list("application/vnd.example.sbom")).referrers, [sbom])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("follows pages, and leaves out content and addresses that come with a descriptor", () => {
      const loud = { ...signature, data: "e30=", urls: ["http://10.0.0.1/x"] }
      const script = Scripted.byRequest({
        [`GET ${path}`]: page([sbom], next(`${path}?page=2`)),
        [`GET ${path}?page=2`]: page([loud])
      })
      return Effect.gen(function* () {
        assert.deepStrictEqual((yield* list()).referrers, [sbom, signature])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("ends with a page that was there before, and says so", () => {
      const script = Scripted.byRequest({
        [`GET ${path}`]: page([sbom], next(`${path}?page=2`)),
        [`GET ${path}?page=2`]: page([signature], next(path))
      })
      return Effect.gen(function* () {
        assert.strictEqual((yield* list()).referrers.length, 2)
        assert.isTrue(script.events.some((event) => event._tag === "Warning" && /twice/.test(event.message)))
      }).pipe(Effect.provide(script.layer))
    })
    it.live("does not follow a page to another host", () => {
      const script = Scripted.byRequest({ [`GET ${path}`]: page([sbom], next("http://other.example/x")) })
      return Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(list())).reason, "UnsafeUrl")
      }).pipe(Effect.provide(script.layer))
    })
    it.live(
      "holds no more than its bounds: referrers, bytes of all pages, pages",
      () => {
        const many = Array.from({ length: Referrers.maxReferrers + 1 }, () => ({ ...subject }))
        const filler = "x".repeat(5 * 1024 * 1024)
        const fat = Array.from({ length: 1 }, () => ({ ...sbom, annotations: { filler } }))
        let count = 0
        const endless = (manifests: ReadonlyArray<unknown>) =>
          Scripted.make(() => page(manifests, next(`${path}?page=${count++}`)))
        return Effect.gen(function* () {
          const counted = Scripted.byRequest({ [`GET ${path}`]: page(many) })
          assert.strictEqual((yield* Effect.flip(Effect.provide(list(), counted.layer))).reason, "TooLarge")
          const heavy = endless(fat)
          assert.strictEqual((yield* Effect.flip(Effect.provide(list(), heavy.layer))).reason, "TooLarge")
          assert.strictEqual(heavy.seen.length, 7)
          const empty = endless([])
          assert.strictEqual((yield* Effect.flip(Effect.provide(list(), empty.layer))).reason, "TooLarge")
          assert.strictEqual(empty.seen.length, Referrers.maxPages + 1)
        })
      },
      30_000
    )
    it.live("reads the tag where the registry has no list, and asks it no more", () =>
      Effect.forEach(
        [
          { status: 404, body: "404 page not found" },
          { status: 400 },
          { status: 405 },
          { status: 501 },
          { status: 200, body: "<html>", headers: { "content-type": "text/html" } },
          { status: 200, body: "{}", headers: { "content-type": "application/json" } }
        ],
        (answer) => {
          const script = Scripted.byRequest({ [`GET ${path}`]: answer, ...underTag(sbom, signature) })
          return Effect.gen(function* () {
            const one = yield* client
            const listing = yield* Referrers.list(one, "a", digest)
            assert.deepStrictEqual(listing, { source: "tag", referrers: [sbom, signature] })
            assert.deepStrictEqual(digestsOf(yield* Referrers.list(one, "a", digest, signature.artifactType)), [
              signature.digest
            ])
            assert.deepStrictEqual(script.lines(), [
              `GET ${path}`,
              `GET /v2/a/manifests/${tag}`,
              `GET /v2/a/manifests/${tag}`
            ])
          }).pipe(Effect.provide(script.layer))
        }
      )
    )
    it.live("asks again where only the repository was unknown", () => {
      const unknown = { status: 404, body: `{"errors":[{"code":"NAME_UNKNOWN"}]}` }
      const script = Scripted.byRequest({
        [`GET ${path}`]: [unknown, page([sbom])],
        [`GET /v2/a/manifests/${tag}`]: { status: 404 }
      })
      return Effect.gen(function* () {
        const one = yield* client
        assert.deepStrictEqual(yield* Referrers.list(one, "a", digest), { source: "tag", referrers: [] })
        assert.deepStrictEqual(yield* Referrers.list(one, "a", digest), { source: "api", referrers: [sbom] })
      }).pipe(Effect.provide(script.layer))
    })
    it.live("lists nothing, with a warning, where the tag has an image or what cannot be read", () =>
      Effect.forEach(
        [
          serve("a", tag, image().manifest),
          {
            [`GET /v2/a/manifests/${tag}`]: { status: 200, body: "{", headers: { "content-type": MediaType.ociIndex } }
          }
        ],
        (routes) => {
          const script = Scripted.byRequest({ [`GET ${path}`]: { status: 404 }, ...routes })
          return Effect.gen(function* () {
            assert.deepStrictEqual((yield* list()).referrers, [])
            assert.isTrue(script.events.some((event) => event._tag === "Warning" && event.message.includes(tag)))
          }).pipe(Effect.provide(script.layer))
        }
      )
    )
    it.live("asks again for a list that came damaged", () => {
      const script = Scripted.byRequest({ [`GET ${path}`]: [{ ...page([]), body: "{" }, page([sbom])] })
      return Effect.gen(function* () {
        assert.deepStrictEqual((yield* list()).referrers, [sbom])
      }).pipe(Effect.provide(script.layer))
    })
    it.live("fails where a list stays damaged, or names what is no descriptor", () =>
      Effect.forEach(
        [
          { ...page([]), body: "{" },
          page([{ ...sbom, digest: "sha256:x" }]),
          page([{ ...sbom, size: -1 }]),
          page([{ ...sbom, annotations: { a: 1 } }])
        ],
        (answer) => {
          const script = Scripted.make(() => answer)
          return Effect.gen(function* () {
            const error = yield* Effect.flip(list())
            assert.strictEqual(error.reason, "Protocol")
            assert.include(error.message, "no index of referrers")
            assert.strictEqual(script.seen.length, 3)
          }).pipe(Effect.provide(script.layer))
        }
      )
    )
    it.live("does not take a failing registry for one without referrers", () => {
      const script = Scripted.byRequest({ [`GET ${path}`]: [{ status: 503 }, page([sbom])] })
      return Effect.gen(function* () {
        assert.deepStrictEqual((yield* list()).referrers, [sbom])
        const denied = Scripted.byRequest({ [`GET ${path}`]: { status: 403 } })
        assert.strictEqual((yield* Effect.flip(Effect.provide(list(), denied.layer))).reason, "Denied")
      }).pipe(Effect.provide(script.layer))
    })
  })
})
