import { mkdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { type Digest, type ImageSource, MediaType, Referrer } from "@effect-registry/core"
import { DockerArchive, OciArchive, OciLayout } from "@effect-registry/tar"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { folder } from "./support/files.js"
import { copyTo, image, sbom, signature, write } from "./support/referring.js"

const layer = NodeFileSystem.layer
const blobFile = (path: string, digest: Digest.Digest) => join(path, "blobs", digest.replace(":", "/"))

const described = (artifact: Fixture.ArtifactFixture, annotations?: Record<string, string>) => ({
  ...artifact.descriptor,
  artifactType: artifact.type,
  ...(annotations === undefined ? {} : { annotations })
})
const digests = <E, R>(source: ImageSource<E, R>) =>
  Effect.scoped(
    Effect.flatMap(source.open, (reader) =>
      Effect.map(reader.images, (all) => all.map(({ root }) => (root._tag === "Draft" ? "" : root.descriptor.digest)))
    )
  )
const referrers = <E, R>(source: ImageSource<E, R>, of: Fixture.ImageFixture | Fixture.ArtifactFixture) =>
  Effect.scoped(
    Effect.flatMap(source.open, (reader) => reader.referrers?.(of.descriptor) ?? Effect.dieMessage("no referrers"))
  )

/** A layout folder with this index.json beside what is in it. */
const indexed = (path: string, manifests: ReadonlyArray<unknown>) =>
  Effect.promise(() =>
    writeFile(join(path, "index.json"), JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }))
  )

describe("LayoutReferrers", () => {
  const stores = [
    ["a layout folder", "layout", OciLayout.target, OciLayout.folder],
    ["an archive that docker loads", "app.tar", DockerArchive.target, DockerArchive.file],
    ["an archive read as OCI's", "app.tar", DockerArchive.target, OciArchive.file]
  ] as const
  for (const [what, name, target, source] of stores) {
    it.scopedLive(`finds in ${what} what refers to an image, and to that`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, name)
        yield* copyTo(target(path))
        const reader = yield* source(path).open
        const all = reader.referrers ?? (() => Effect.dieMessage("no referrers"))
        assert.deepStrictEqual(yield* all(image.descriptor), [described(sbom, { "org.example.tool": "test" })])
        assert.deepStrictEqual(yield* all(sbom.descriptor), [described(signature)])
        assert.deepStrictEqual(yield* all(signature.descriptor), [])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive(`takes what refers to an image for no image of ${what}, unless it is asked for`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, name)
        yield* copyTo(target(path))
        assert.deepStrictEqual(yield* digests(source(path)), [image.descriptor.digest])
        if (source !== DockerArchive.file) {
          const asked = yield* digests(source(path, { image: `@${sbom.descriptor.digest}` }))
          assert.deepStrictEqual(asked, [sbom.descriptor.digest])
        }
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("takes a referrer whose subject is not there for an image of its own", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* write(OciLayout.target(path), [{ part: sbom }])
      assert.deepStrictEqual(yield* digests(OciLayout.folder(path)), [sbom.descriptor.digest])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("takes for images what is there where all of it refers to something", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      yield* indexed(path, [sbom.descriptor])
      assert.deepStrictEqual(yield* digests(OciLayout.folder(path)), [sbom.descriptor.digest])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("finds referrers in the index under the referrers tag, which is no image", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const listing = Fixture.index([], { format: "oci" })
      const list = JSON.stringify({
        ...JSON.parse(new TextDecoder().decode(listing.manifest)),
        manifests: [described(sbom)]
      })
      const index = Fixture.describeBytes(MediaType.ociIndex, new TextEncoder().encode(list))
      yield* Effect.promise(() => writeFile(blobFile(path, index.digest), list))
      yield* indexed(path, [
        { ...image.descriptor, annotations: { "org.opencontainers.image.ref.name": "1" } },
        {
          ...index,
          annotations: { "org.opencontainers.image.ref.name": Referrer.fallbackTag(image.descriptor.digest) }
        }
      ])
      assert.deepStrictEqual(yield* digests(OciLayout.folder(path)), [image.descriptor.digest])
      const found = yield* referrers(OciLayout.folder(path), image)
      assert.deepStrictEqual(
        found.map(({ digest }) => digest),
        [sbom.descriptor.digest]
      )
      const tag = Referrer.fallbackTag(image.descriptor.digest)
      assert.deepStrictEqual(yield* digests(OciLayout.folder(path, { image: tag })), [index.digest])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("says what is missing of a referrer", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const [, content] = [...sbom.blobs.keys()]
      if (content === undefined) return assert.fail("no content")
      yield* Effect.promise(() => rm(blobFile(path, content)))
      const error = yield* Effect.flip(referrers(OciLayout.folder(path), image))
      assert.strictEqual(error.reason, "MissingContent")
      assert.include(error.message, content)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("refuses a referrer's blob that is a folder, before a byte is moved", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const [, content] = [...sbom.blobs.keys()]
      if (content === undefined) return assert.fail("no content")
      yield* Effect.promise(async () => {
        await rm(blobFile(path, content))
        await mkdir(blobFile(path, content))
      })
      const error = yield* Effect.flip(referrers(OciLayout.folder(path), image))
      assert.strictEqual(error.reason, "UnsafePath")
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("looks at nothing but the image that was asked for", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      yield* write(OciLayout.target(path), [{ part: Fixture.image({ format: "oci", seed: 99 }), tags: ["2"] }])
      yield* Effect.promise(() => writeFile(blobFile(path, image.descriptor.digest), "damaged"))
      assert.strictEqual((yield* digests(OciLayout.folder(path, { image: "team/app:2" }))).length, 1)
      assert.strictEqual(
        (yield* Effect.flip(digests(OciLayout.folder(path, { image: "team/app:1" })))).reason,
        "InvalidDescriptor"
      )
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("knows what a tag names", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const reader = yield* OciLayout.folder(path).open
      const tagged = reader.tagged ?? (() => Effect.dieMessage("no tags"))
      assert.deepStrictEqual(
        Option.map(yield* tagged("1"), ({ digest }) => digest),
        Option.some(image.descriptor.digest)
      )
      assert.deepStrictEqual(yield* tagged("2"), Option.none())
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("is an entry of index.json without a name that says what it is", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "layout")
      yield* copyTo(OciLayout.target(path))
      const { manifests } = JSON.parse(yield* Effect.promise(() => readFile(join(path, "index.json"), "utf8")))
      assert.deepInclude(manifests, described(sbom))
      assert.deepInclude(manifests, described(signature))
      assert.strictEqual(manifests.length, 3)
    }).pipe(Effect.provide(layer))
  )
})
