/** What is attached to an image goes with it, from store to store; looked at by plain requests and plain files. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type CopyOptions, copy, Registry } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { DockerArchive, OciArchive, OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { Fixture, GraphFixture, Tools, Walk } from "../src/index.js"
import { startDocker, startEmbedded, temporaryFolder } from "./support/servers.js"
import * as Signed from "./support/signed.js"

const everything: CopyOptions = { referrers: true, digestTags: true }
const name = "team/app"
const contentsOf = (host: string) => Walk.repository(`http://${host}`, name)
const imageOf = (host: string) => Registry.image(`${host}/${name}:1.0`)
const repositoryOf = (host: string) => Registry.repository(`${host}/${name}`)
const fill = (host: string, referrersApi: boolean) =>
  GraphFixture.toRegistry({ url: `http://${host}`, name, referrersApi }, Signed.graph)

/** Everything is there, and nothing else. */
const expectAll = (contents: Walk.Contents) => {
  assert.deepStrictEqual(
    new Map([...contents.tags].sort()),
    new Map([...Signed.graph.tags].map(([tag, { descriptor }]) => [tag, descriptor.digest as string] as const).sort())
  )
  assert.sameMembers([...contents.manifests.keys()], [...Signed.graph.manifests.keys()])
  assert.sameMembers([...contents.blobs.keys()], [...Signed.graph.blobs.keys()])
  assert.deepStrictEqual(contents.loose, [])
}

/** The same of a registry, which lists referrers with their types and annotations. */
const expectListed = (contents: Walk.Contents) => {
  expectAll(contents)
  assert.deepStrictEqual(Object.fromEntries(contents.referrers), Signed.listed)
}

describe("copy with referrers", () => {
  Tools.needing(it.scopedLive, "docker-registry")(
    "brings signatures, bills of materials and their attestations from registry to registry, layout, archive and back",
    () =>
      Effect.gen(function* () {
        const [first, last, without, folder] = yield* Effect.all([
          startEmbedded(),
          startEmbedded(),
          startDocker(),
          temporaryFolder
        ])
        const [layout, archive] = [join(folder, "layout"), join(folder, "app.tar")]
        yield* fill(first, true)
        expectListed(yield* contentsOf(first))

        yield* copy(imageOf(first), repositoryOf(without), everything)
        expectListed(yield* contentsOf(without))

        yield* copy(imageOf(without), OciLayout.target(layout), everything)
        expectAll(yield* Walk.folder(layout))

        yield* copy(OciLayout.folder(layout, { image: "1.0" }), DockerArchive.target(archive), everything)
        expectAll(yield* Walk.archive(archive))

        const { referrers } = yield* copy(OciArchive.file(archive, { image: "1.0" }), repositoryOf(last), everything)
        assert.strictEqual(referrers, 4)
        expectListed(yield* contentsOf(last))
      }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )

  it.scopedLive("moves none that nobody asked for", () =>
    Effect.gen(function* () {
      const [from, to, folder] = yield* Effect.all([startEmbedded(), startEmbedded(), temporaryFolder])
      yield* fill(from, true)
      const layout = join(folder, "layout")
      yield* copy(imageOf(from), repositoryOf(to))
      yield* copy(imageOf(from), OciLayout.target(layout))
      for (const contents of [yield* contentsOf(to), yield* Walk.folder(layout)]) {
        assert.deepStrictEqual([...contents.tags.keys()], ["1.0"])
        assert.sameMembers([...contents.manifests.keys()], [...Signed.root.manifests.keys()])
        assert.deepStrictEqual([...contents.referrers, ...contents.loose], [])
      }
      // Nothing leads to it, and it is not there either.
      const signature = yield* Effect.promise(() =>
        fetch(`http://${to}/v2/${name}/manifests/${Signed.signature.descriptor.digest}`)
      )
      assert.strictEqual(signature.status, 404)
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )

  it.scopedLive("takes the tags of cosign without referrers, and referrers without those tags", () =>
    Effect.gen(function* () {
      const [from, one, other] = yield* Effect.all([startEmbedded(), startEmbedded(), startEmbedded()])
      yield* fill(from, true)
      yield* copy(imageOf(from), repositoryOf(one), { digestTags: true })
      const tagged = yield* contentsOf(one)
      assert.sameMembers([...tagged.tags.keys()], ["1.0", Signed.cosignTag])
      assert.deepStrictEqual([...tagged.referrers], [])
      yield* copy(imageOf(from), repositoryOf(other), { referrers: true })
      const referring = yield* contentsOf(other)
      assert.deepStrictEqual([...referring.tags.keys()], ["1.0"])
      assert.deepStrictEqual(Object.fromEntries(referring.referrers), Signed.listed)
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )

  it.scopedLive("adds to the referrers that the target has already", () =>
    Effect.gen(function* () {
      const [from, to] = yield* Effect.all([startEmbedded(), startEmbedded()])
      const later = Fixture.artifact({ type: "application/x.later", content: "later", subject: Signed.root.descriptor })
      yield* fill(from, true)
      yield* copy(imageOf(from), repositoryOf(to), { referrers: true })
      yield* put(from, later)
      yield* copy(imageOf(from), repositoryOf(to), { referrers: true })
      const { referrers } = yield* contentsOf(to)
      assert.sameMembers(
        (referrers.get(Signed.root.descriptor.digest) ?? []).map(({ digest }) => digest),
        [Signed.signature.descriptor.digest, later.descriptor.digest]
      )
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )
})

Tools.needing(describe, "docker-registry")("copy with referrers to a registry that does not list them", () => {
  it.scopedLive("adds to the lists that are kept under fallback tags, and keeps what others wrote there", () =>
    Effect.gen(function* () {
      const [from, to] = yield* Effect.all([startEmbedded(), startDocker()])
      yield* fill(from, true)
      const foreign = Fixture.artifact({ type: "application/x.foreign", content: "f", subject: Signed.root.descriptor })
      yield* copy(imageOf(from), repositoryOf(to))
      yield* put(to, foreign)
      const entry = { ...foreign.descriptor, artifactType: foreign.type, annotations: { kept: "as it is" } }
      yield* putList(to, Signed.root.descriptor.digest, [entry])
      yield* copy(imageOf(from), repositoryOf(to), { referrers: true })
      const { referrers } = yield* contentsOf(to)
      assert.deepStrictEqual(
        new Set(referrers.get(Signed.root.descriptor.digest)),
        new Set([entry, ...(Signed.listed[Signed.root.descriptor.digest] ?? [])])
      )
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )
})

Tools.needing(describe, "docker-registry")("copy with referrers to a registry that wants children first", () => {
  it.scopedLive("brings an index that refers to the image that it names", () =>
    Effect.gen(function* () {
      const [from, to] = yield* Effect.all([startEmbedded(), startDocker()])
      const image = Fixture.image({ format: "oci", seed: 310 })
      const { digest, mediaType, size } = image.descriptor
      const list = Fixture.index([image], { subject: { digest, mediaType, size } })
      const graph = Signed.graphOf([image, list], { "1.0": image })
      yield* GraphFixture.toRegistry({ url: `http://${from}`, name, referrersApi: true }, graph)
      yield* copy(imageOf(from), repositoryOf(to), { referrers: true })
      const { manifests } = yield* contentsOf(to)
      assert.sameMembers([...manifests.keys()], [digest, list.descriptor.digest])
    }).pipe(Effect.provide(NodeRegistry.layer({ state: false })))
  )
})

// internal

/** Puts an artifact beside the image. */
const put = (host: string, artifact: Fixture.ArtifactFixture) =>
  GraphFixture.toRegistry({ url: `http://${host}`, name, referrersApi: true }, Signed.graphOf([artifact], {}))

/** Keeps a list under the fallback tag. */
const putList = (host: string, subject: string, manifests: ReadonlyArray<unknown>) =>
  Effect.promise(async () => {
    const mediaType = "application/vnd.oci.image.index.v1+json"
    const answer = await fetch(`http://${host}/v2/${name}/manifests/${subject.replace(":", "-")}`, {
      method: "PUT",
      headers: { "content-type": mediaType },
      body: JSON.stringify({ schemaVersion: 2, mediaType, manifests })
    })
    assert.strictEqual(answer.status, 201, await answer.text())
  })
