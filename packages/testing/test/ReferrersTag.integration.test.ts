/** Lists of referrers as two registries have them: one that keeps them itself, one where clients do. */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import {
  type Digest,
  deleteImage,
  deleteImageByDigest,
  getManifest,
  listTags,
  Manifest,
  Referrer,
  RegistryConfig,
  referrers
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { bundled } from "../../cli/test/support.js"
import { Fixture, Tools } from "../src/index.js"
import * as Process from "./support/process.js"
import { attach, seed } from "./support/seed.js"
import { startDocker, startEmbedded, temporaryFolder } from "./support/servers.js"

const layer = Layer.merge(FetchHttpClient.layer, RegistryConfig.layer({ retry: { delay: 10 } }))
const image = Fixture.image({ format: "oci", seed: 700 })
const tag = Referrer.fallbackTag(image.descriptor.digest)
const artifact = (content: string, subject = image.descriptor, type = "application/spdx+json") =>
  Fixture.artifact({ type, content, subject, annotations: { note: content } })
const sbom = artifact("sbom")
const signature = artifact("signature", sbom.descriptor, "application/x.signature")
const describeArtifact = (each: Fixture.ArtifactFixture) => ({
  ...each.descriptor,
  artifactType: each.type,
  annotations: JSON.parse(Buffer.from(each.manifest).toString()).annotations
})
const isThere = (repo: string, digest: Digest.Digest) =>
  Effect.match(getManifest(`${repo}@${digest}`), { onFailure: () => false, onSuccess: () => true })
const tagsOf = (repo: string) => Effect.orElseSucceed(listTags(repo), (): ReadonlyArray<string> => [])
const listOf = (repo: string) => Effect.map(referrers(`${repo}:1`), (found) => found.referrers)

const behaviours = (start: Effect.Effect<string, unknown, Scope.Scope>, source: "api" | "tag") => {
  const tags = (...names: ReadonlyArray<string>) => (source === "api" ? names : [...names, tag]).slice().sort()
  it.scopedLive("lists what was written, by type, with annotations", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/referrers/list`
      yield* seed(repo, image, "1")
      yield* attach(repo, sbom)
      yield* attach(repo, artifact("x", image.descriptor, "application/x.other"), "tagged")
      yield* attach(repo, sbom)
      const all = yield* referrers(`${repo}:1`)
      assert.strictEqual(all.source, source)
      assert.strictEqual(all.referrers.length, 2)
      const some = yield* referrers(`${repo}@${image.descriptor.digest}`, { artifactType: sbom.type })
      assert.deepStrictEqual(some.referrers, [
        { ...describeArtifact(sbom), reference: `${repo}@${sbom.descriptor.digest}` }
      ])
      assert.deepStrictEqual(yield* tagsOf(repo), tags("1", "tagged"))
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("takes a deleted referrer off the list, and the list away with its last one", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/referrers/delete`
      const other = artifact("other")
      yield* seed(repo, image, "1")
      yield* attach(repo, sbom)
      yield* attach(repo, other)
      yield* deleteImageByDigest(`${repo}@${sbom.descriptor.digest}`)
      assert.deepStrictEqual(
        (yield* listOf(repo)).map(({ digest }) => digest),
        [other.descriptor.digest]
      )
      yield* deleteImageByDigest(`${repo}@${other.descriptor.digest}`)
      assert.deepStrictEqual(yield* listOf(repo), [])
      assert.deepStrictEqual(yield* tagsOf(repo), ["1"])
      assert.isFalse(yield* isThere(repo, other.descriptor.digest))
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("deletes an image that has referrers, says so, and leaves them", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/referrers/left`
      yield* seed(repo, image, "1")
      yield* attach(repo, sbom)
      const { leftReferrers } = yield* deleteImage(`${repo}:1`)
      assert.deepStrictEqual(leftReferrers, [describeArtifact(sbom)])
      assert.isTrue(yield* isThere(repo, sbom.descriptor.digest))
      const { referrers: still } = yield* referrers(`${repo}@${image.descriptor.digest}`)
      assert.strictEqual(still.length, 1)
    }).pipe(Effect.provide(layer))
  )
  it.scopedLive("deletes an image with its referrers and theirs, and leaves no list", () =>
    Effect.gen(function* () {
      const repo = `${yield* start}/referrers/all`
      yield* seed(repo, image, "1")
      yield* seed(repo, Fixture.image({ seed: 701 }), "keep")
      yield* attach(repo, sbom)
      yield* attach(repo, signature, "signed")
      const refused = yield* Effect.flip(deleteImage(`${repo}:1`, { referrers: true }))
      assert.strictEqual(refused.reason, "StillReferenced")
      assert.include(refused.message, "tag signed")
      const { deletedReferrers } = yield* deleteImage(`${repo}:1`, { referrers: true, shared: "delete" })
      assert.deepStrictEqual(deletedReferrers, [signature.descriptor.digest, sbom.descriptor.digest])
      assert.deepStrictEqual(yield* tagsOf(repo), ["keep"])
      for (const { digest } of [image.descriptor, sbom.descriptor, signature.descriptor]) {
        assert.isFalse(yield* isThere(repo, digest))
      }
    }).pipe(Effect.provide(layer))
  )
}

/** Ten referrers that two processes write to one image at the same time. */
const together = (start: Effect.Effect<string, unknown, Scope.Scope>) =>
  it.scopedLive("loses none of ten referrers that two processes write at once", () =>
    Effect.gen(function* () {
      const [command, home, from] = yield* Effect.all([bundled, temporaryFolder, startEmbedded()])
      const repo = `${yield* start}/referrers/together`
      const all = Array.from({ length: 10 }, (_, n) => artifact(`number ${n}`))
      for (const [at, name] of ["one", "two"].entries()) {
        yield* seed(`${from}/${name}`, image, "1")
        for (const each of all.slice(at * 5, at * 5 + 5)) yield* attach(`${from}/${name}`, each)
      }
      const ended = yield* Effect.forEach(
        ["one", "two"],
        (name) =>
          Effect.flatMap(
            Process.start(command, home, ["copy", `${from}/${name}:1`, `${repo}:1`, "--referrers", "--quiet"]),
            ({ ended }) => ended
          ),
        { concurrency: 2 }
      )
      for (const { code, stderr } of ended) assert.strictEqual(code, 0, stderr)
      assert.sameMembers(
        (yield* listOf(repo)).map(({ digest }) => digest),
        all.map(({ descriptor }) => descriptor.digest)
      )
    }).pipe(Effect.provide(layer))
  )

Tools.needing(describe, "docker-registry")("Referrers on docker-registry", () => {
  behaviours(startDocker(), "tag")
  together(startDocker())
  it.scopedLive("touches no list where deleting is off", () =>
    Effect.gen(function* () {
      const repo = `${yield* startDocker({ deletes: false })}/referrers/off`
      yield* seed(repo, image, "1")
      yield* attach(repo, sbom)
      const before = yield* getManifest(`${repo}:${tag}`)
      const error = yield* Effect.flip(deleteImageByDigest(`${repo}@${sbom.descriptor.digest}`))
      assert.strictEqual(error.reason, "DeleteDisabled")
      const after = yield* getManifest(`${repo}:${tag}`)
      assert.strictEqual(after.descriptor.digest, before.descriptor.digest)
      assert.strictEqual(Manifest.children(after).length, 1)
    }).pipe(Effect.provide(layer))
  )
})

describe("Referrers on the embedded registry", () => {
  behaviours(startEmbedded(), "api")
})

describe("Referrers on the embedded registry without their API", () => {
  behaviours(startEmbedded({ referrers: false }), "tag")
  together(startEmbedded({ referrers: false }))
})
