import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import {
  Digest,
  deleteImage,
  deleteImageByDigest,
  deleteTag,
  getManifest,
  listTags,
  RegistryConfig,
  tag
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Fixture, Tools } from "../src/index.js"
import { seed } from "./support/seed.js"
import { startDocker, startEmbedded } from "./support/servers.js"

const layer = Layer.merge(FetchHttpClient.layer, RegistryConfig.layer({ retry: { delay: 10 } }))

const behaviours = (start: Effect.Effect<string, unknown, Scope.Scope>) => {
  it.scopedLive("takes one tag away; the digest keeps its others", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/delete/one`
      const { descriptor } = yield* seed(repo, Fixture.image(), "a")
      yield* tag(`${repo}:a`, ["b", "c"])
      yield* deleteTag(`${repo}:a`)
      assert.deepStrictEqual(yield* listTags(repo), ["b", "c"])
      for (const name of ["b", "c"]) {
        assert.strictEqual((yield* getManifest(`${repo}:${name}`)).descriptor.digest, descriptor.digest)
      }
      assert.strictEqual((yield* Effect.flip(getManifest(`${repo}:a`))).reason, "NotFound")
      assert.strictEqual((yield* Effect.flip(deleteTag(`${repo}:a`))).reason, "NotFound")
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("takes the last tag away and keeps the digest", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/delete/last`
      const { descriptor } = yield* seed(repo, Fixture.image(), "a")
      yield* deleteTag(`${repo}:a`)
      assert.strictEqual((yield* getManifest(`${repo}@${descriptor.digest}`)).descriptor.digest, descriptor.digest)
      assert.deepStrictEqual(yield* Effect.orElseSucceed(listTags(repo), () => []), [])
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("takes the tag of an index away", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/delete/index`
      const child = Fixture.image({ format: "oci" })
      yield* seed(repo, Fixture.index([child]), "multi")
      yield* tag(`${repo}:multi`, "other")
      yield* deleteTag(`${repo}:multi`)
      assert.deepStrictEqual(yield* listTags(repo), ["other"])
      const shared = yield* Effect.flip(deleteImageByDigest(`${repo}@${child.descriptor.digest}`))
      assert.strictEqual(shared.reason, "StillReferenced")
      assert.include(shared.message, "index other")
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("deletes an image, and a shared one only when told to", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/delete/image`
      const { descriptor } = yield* seed(repo, Fixture.image(), "a")
      yield* seed(repo, Fixture.image({ seed: 2 }), "z")
      yield* tag(`${repo}:a`, ["b"])
      for (const reference of [`${repo}:a`, `${repo}@${descriptor.digest}`]) {
        const error = yield* Effect.flip(deleteImage(reference))
        assert.strictEqual(error.reason, "StillReferenced")
        assert.include(error.message, "tag b")
      }
      const deleted = yield* deleteImage(`${repo}:a`, { shared: "delete" })
      assert.strictEqual(deleted.digest, descriptor.digest)
      assert.deepStrictEqual(yield* listTags(repo), ["z"])
      assert.strictEqual((yield* Effect.flip(deleteImageByDigest(`${repo}@${descriptor.digest}`))).reason, "NotFound")
      const digest = Digest.fromBytes(Fixture.image({ seed: 2 }).manifest)
      assert.strictEqual((yield* deleteImageByDigest(`${repo}@${digest}`)).digest, digest)
    }).pipe(Effect.provide(layer))
  )
}

Tools.needing(describe, "docker-registry")("Delete on docker-registry", () => {
  behaviours(startDocker())
  it.scopedLive("leaves the tag untouched where deleting is off", () =>
    Effect.gen(function* () {
      const repo = `${yield* startDocker({ deletes: false })}/delete/off`
      const { descriptor } = yield* seed(repo, Fixture.image(), "a")
      const error = yield* Effect.flip(deleteTag(`${repo}:a`))
      assert.strictEqual(error.reason, "DeleteDisabled")
      assert.strictEqual((yield* getManifest(`${repo}:a`)).descriptor.digest, descriptor.digest)
      assert.strictEqual((yield* Effect.flip(deleteImage(`${repo}:a`))).reason, "DeleteDisabled")
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("finishes what a killed deletion left", () =>
    Effect.gen(function* () {
      const repo = `${yield* startDocker()}/delete/killed`
      const { descriptor } = yield* seed(repo, Fixture.image(), "a")
      yield* tag(`${repo}:a`, "b")
      // The process dies after the tag was moved to the throwaway: every request from the last DELETE on is lost.
      let deletes = 0
      const dying = HttpClient.transform(yield* HttpClient.HttpClient, (effect, request) =>
        Effect.suspend(() => {
          if (request.method === "DELETE") deletes++
          return deletes >= 4 ? Effect.die("killed") : effect
        })
      )
      const exit = yield* Effect.exit(Effect.provideService(deleteTag(`${repo}:a`), HttpClient.HttpClient, dying))
      assert.strictEqual(exit._tag, "Failure")
      assert.notStrictEqual((yield* getManifest(`${repo}:a`)).descriptor.digest, descriptor.digest)
      yield* deleteTag(`${repo}:a`)
      assert.deepStrictEqual(yield* listTags(repo), ["b"])
      assert.strictEqual((yield* getManifest(`${repo}:b`)).descriptor.digest, descriptor.digest)
    }).pipe(Effect.provide(layer))
  )
})

describe("Delete on the embedded registry", () => {
  behaviours(startEmbedded())
})
