import { assert, describe, it } from "@effect/vitest"
import { type ImageName, Manifest, MediaType, Referrer, Registry } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { image, serve } from "./support/Image.js"
import { make } from "./support/Referrer.js"
import * as Scripted from "./support/ScriptedClient.js"

const { manifest } = image()
const { descriptor } = manifest
const other = image({ os: "windows" }).manifest
const sbom = make(descriptor, "sbom").listed
const names: ReadonlyArray<ImageName> = [{ repository: Option.none(), tag: Option.some("t") }]
const [name] = names as readonly [ImageName]
const index = Manifest.assembleIndex(MediaType.ociIndex, [sbom])
const api = (repository: string, body: Uint8Array): Record<string, Scripted.Answer> => ({
  [`GET /v2/${repository}/referrers/${descriptor.digest}`]: {
    status: 200,
    body,
    headers: { "content-type": MediaType.ociIndex }
  }
})
const none = Manifest.assembleIndex(MediaType.ociIndex, []).bytes

describe("Registry", () => {
  describe("repository", () => {
    const writer = Registry.repository("r.example/a").open
    it.scopedLive("says whether a tag names the image with one HEAD, and puts nothing then", () => {
      const script = Scripted.byRequest(serve("a", "t", manifest))
      return Effect.gen(function* () {
        const { isTagged, writeManifest } = yield* writer
        assert.isTrue(yield* isTagged?.(descriptor, name) ?? Effect.succeed(false))
        yield* writeManifest(descriptor, manifest.bytes, names)
        assert.deepStrictEqual(script.lines(), ["HEAD /v2/a/manifests/t"])
      }).pipe(Effect.provide(script.layer))
    })
    it.scopedLive("does not ask again before it moves a tag, nor after it has", () => {
      const script = Scripted.byRequest({ ...serve("a", "t", other), "PUT /v2/a/manifests/t": { status: 201 } })
      return Effect.gen(function* () {
        const { isTagged, writeManifest } = yield* writer
        assert.isFalse(yield* isTagged?.(descriptor, name) ?? Effect.succeed(true))
        yield* writeManifest(descriptor, manifest.bytes, names)
        yield* writeManifest(descriptor, manifest.bytes, names)
        assert.deepStrictEqual(script.lines(), ["HEAD /v2/a/manifests/t", "PUT /v2/a/manifests/t"])
      }).pipe(Effect.provide(script.layer))
    })
    it.scopedLive("asks for the digest where a name has no tag", () => {
      const script = Scripted.byRequest({ [`HEAD /v2/a/manifests/${descriptor.digest}`]: { status: 404 } })
      return Effect.gen(function* () {
        const { isTagged } = yield* writer
        const untagged = { repository: Option.none(), tag: Option.none() }
        assert.isFalse(yield* isTagged?.(descriptor, untagged) ?? Effect.succeed(true))
      }).pipe(Effect.provide(script.layer))
    })
    it.scopedLive("lists what the target has of referrers", () => {
      const script = Scripted.byRequest(api("a", index.bytes))
      return Effect.gen(function* () {
        const { referrers } = yield* writer
        assert.deepStrictEqual(yield* referrers?.(descriptor) ?? Effect.succeed([]), [sbom])
      }).pipe(Effect.provide(script.layer))
    })
  })
  describe("image", () => {
    const options = { hosts: { "r.example": { mirrors: ["https://m.example"] } } }
    const both = (mirror: Record<string, Scripted.Answer>, own: Record<string, Scripted.Answer>) =>
      Scripted.make(
        ({ method, path, url }) => (url.startsWith("https://m.example") ? mirror : own)[`${method} ${path}`],
        options
      )
    const hosts = (script: ReturnType<typeof Scripted.make>) => script.seen.map(({ url }) => new URL(url).host)
    it.scopedLive("takes a mirror's referrers", () => {
      const script = both(api("a", index.bytes), {})
      return Effect.gen(function* () {
        const { referrers } = yield* Registry.image("r.example/a:t").open
        assert.deepStrictEqual(yield* referrers?.(descriptor) ?? Effect.succeed([]), [sbom])
        assert.deepStrictEqual(hosts(script), ["m.example"])
      }).pipe(Effect.provide(script.layer))
    })
    it.scopedLive("asks the registry itself where a mirror has none", () => {
      const script = both(api("a", none), api("a", index.bytes))
      return Effect.gen(function* () {
        const { referrers } = yield* Registry.image("r.example/a:t").open
        assert.deepStrictEqual(yield* referrers?.(descriptor) ?? Effect.succeed([]), [sbom])
        assert.deepStrictEqual(hosts(script), ["m.example", "r.example"])
      }).pipe(Effect.provide(script.layer))
    })
    it.scopedLive("is without referrers where nobody has one", () => {
      const tag = Referrer.fallbackTag(descriptor.digest)
      const script = both(
        {
          [`GET /v2/a/referrers/${descriptor.digest}`]: { status: 404 },
          [`GET /v2/a/manifests/${tag}`]: { status: 404 }
        },
        api("a", none)
      )
      return Effect.gen(function* () {
        const { referrers } = yield* Registry.image("r.example/a:t").open
        assert.deepStrictEqual(yield* referrers?.(descriptor) ?? Effect.succeed([sbom]), [])
      }).pipe(Effect.provide(script.layer))
    })
    it.scopedLive("names the list that describes a referrer wrongly", () => {
      const made = make(descriptor, "sbom")
      const tag = Referrer.fallbackTag(descriptor.digest)
      const wrong = Manifest.assembleIndex(MediaType.ociIndex, [{ ...sbom, size: sbom.size + 1 }])
      const script = Scripted.byRequest({
        ...serve("a", undefined, { ...manifest, ...made }),
        ...serve("a", tag, wrong),
        [`GET /v2/a/referrers/${descriptor.digest}`]: { status: 404 },
        ...api("b", wrong.bytes),
        ...serve("b", undefined, { ...manifest, ...made })
      })
      const read = (repository: string) =>
        Effect.gen(function* () {
          const { manifest, referrers } = yield* Registry.image(`r.example/${repository}:t`).open
          const [found = sbom] = yield* referrers?.(descriptor) ?? Effect.succeed([])
          return yield* Effect.flip(manifest(found))
        })
      return Effect.gen(function* () {
        const error = yield* read("a")
        assert.strictEqual(error.reason, "SizeMismatch")
        assert.include(error.hint ?? "", `described so by r.example/a:${tag}`)
        assert.include(error.hint ?? "", "without --referrers")
        assert.include((yield* read("b")).hint ?? "", `what refers to r.example/b@${descriptor.digest}`)
      }).pipe(Effect.provide(script.layer))
    })
    it.scopedLive("says what a tag of the repository names, if it does", () => {
      const missing = { "HEAD /v2/a/manifests/x.sig": { status: 404 }, "HEAD /v2/a/manifests/y.sig": { status: 404 } }
      const script = both(missing, { ...missing, ...serve("a", "x.sig", other) })
      return Effect.gen(function* () {
        const { tagged } = yield* Registry.image("r.example/a:t").open
        assert.deepStrictEqual(yield* tagged?.("x.sig") ?? Effect.succeedNone, Option.some(other.descriptor))
        assert.deepStrictEqual(yield* tagged?.("y.sig") ?? Effect.succeedNone, Option.none())
      }).pipe(Effect.provide(script.layer))
    })
  })
})
