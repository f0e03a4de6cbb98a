import { assert } from "@effect/vitest"
import { type Digest, MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import {
  type Answer,
  bytesOf,
  digestOf,
  pushBlob,
  pushImage,
  pushParts,
  putManifest,
  random,
  send,
  uniqueName
} from "../support.js"
import { nextOf, refusal, section, specification } from "./specification.js"

const sbom = "application/vnd.example.sbom.v1+json"

interface Entry {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

const entriesOf = (answer: Answer): ReadonlyArray<Entry> => {
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, MediaType.ociIndex])
  const { manifests, mediaType, schemaVersion } = JSON.parse(answer.text)
  assert.deepEqual([schemaVersion, mediaType], [2, MediaType.ociIndex])
  return manifests
}

const list = (name: string, digest: string, query = "") =>
  Effect.map(send("GET", `/v2/${name}/referrers/${digest}${query}`), entriesOf)

const subjectOf = (digest: Digest.Digest) => ({ mediaType: MediaType.ociManifest, digest, size: 5 })

/** An index that refers to `digest`. */
const pushIndex = (name: string, digest: Digest.Digest, extra: object = {}) =>
  Effect.gen(function* () {
    const text = JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.ociIndex,
      manifests: [],
      subject: subjectOf(digest),
      ...extra
    })
    assert.strictEqual((yield* putManifest(name, digestOf(text), text, MediaType.ociIndex)).status, 201)
    return digestOf(text)
  })

specification("Content discovery: referrers", (it) => {
  section("Listing Referrers", () => {
    it.effect("lists the manifests of the repository whose subject is the digest, in an index of OCI's type", () =>
      Effect.gen(function* () {
        const [name, other] = [uniqueName(), uniqueName()]
        const { digest } = yield* pushImage(name)
        const image = yield* pushImage(name, "image", { subject: subjectOf(digest) })
        yield* pushImage(name, "of-another", { subject: subjectOf(image.digest) })
        yield* pushImage(other, "elsewhere", { subject: subjectOf(digest) })
        const index = yield* pushIndex(name, digest)
        const found = yield* list(name, digest)
        assert.sameMembers(
          found.map((entry) => entry.digest),
          [image.digest, index]
        )
        const entry = found.find((each) => each.digest === image.digest)
        assert.deepInclude(entry, { mediaType: MediaType.ociManifest, size: image.text.length })
      })
    )

    it.effect("says the artifactType of an image, or the type of its config where it has none or an empty one", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5))
        const typed = yield* pushImage(name, "1", { subject: subjectOf(digest), artifactType: sbom })
        const none = yield* pushImage(name, "2", { subject: subjectOf(digest) })
        const empty = yield* pushImage(name, "3", { subject: subjectOf(digest), artifactType: "" })
        const types = new Map((yield* list(name, digest)).map((entry) => [entry.digest, entry.artifactType]))
        assert.strictEqual(types.get(typed.digest), sbom)
        for (const each of [none, empty]) assert.strictEqual(types.get(each.digest), MediaType.ociConfig)
      })
    )

    it.effect("says the artifactType of an index, and nothing where it has none or an empty one", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5))
        const typed = yield* pushIndex(name, digest, { artifactType: sbom })
        yield* pushIndex(name, digest)
        yield* pushIndex(name, digest, { artifactType: "" })
        for (const entry of yield* list(name, digest)) {
          assert.strictEqual(
            "artifactType" in entry ? entry.artifactType : undefined,
            entry.digest === typed ? sbom : undefined
          )
          assert.strictEqual("artifactType" in entry, entry.digest === typed)
        }
      })
    )

    it.effect("copies the annotations of images and indexes", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5))
        const annotations = { "org.example.format": "json", ü: "\n" }
        yield* pushImage(name, "1", { subject: subjectOf(digest), annotations })
        yield* pushIndex(name, digest, { annotations })
        const found = yield* list(name, digest)
        assert.deepEqual(
          found.map((entry) => entry.annotations),
          [annotations, annotations]
        )
      })
    )

    it.effect("answers an empty list, never 404, where nothing refers to the digest, or nothing is there at all", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushImage(name)
        for (const path of [
          [name, digest],
          [name, digestOf("x")],
          [uniqueName(), digest],
          [name, digestOf("x", "sha512")]
        ] as const) {
          assert.deepEqual(yield* list(...path), [])
        }
      })
    )

    it.effect("answers 400 to a digest that is none", () =>
      Effect.gen(function* () {
        for (const digest of ["x", "sha256:12", `sha256:${"g".repeat(64)}`, "latest"]) {
          const answer = yield* send("GET", `/v2/${uniqueName()}/referrers/${digest}`)
          assert.deepEqual(refusal(answer), [400, "DIGEST_INVALID"], digest)
        }
      })
    )

    it.effect("lists what refers to a sha512 digest, and referrers with such digests", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5), "sha512")
        const { text } = yield* pushParts(name, { subject: subjectOf(digest) })
        const own = digestOf(text, "sha512")
        yield* putManifest(name, own, text)
        assert.deepEqual(
          (yield* list(name, digest)).map((entry) => entry.digest),
          [own]
        )
      })
    )

    it.effect("lists only what has the artifactType asked for, and says that it did", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5))
        const { digest: wanted } = yield* pushImage(name, "1", { subject: subjectOf(digest), artifactType: sbom })
        yield* pushImage(name, "2", { subject: subjectOf(digest), artifactType: "application/other" })
        yield* pushIndex(name, digest)
        for (const type of [sbom, encodeURIComponent(sbom)]) {
          const answer = yield* send("GET", `/v2/${name}/referrers/${digest}?artifactType=${type}`)
          assert.strictEqual(answer.headers.get("oci-filters-applied"), "artifactType")
          assert.deepEqual(
            entriesOf(answer).map((entry) => entry.digest),
            [wanted]
          )
        }
        const none = yield* send("GET", `/v2/${name}/referrers/${digest}?artifactType=a/b`)
        assert.deepEqual([entriesOf(none), none.headers.get("oci-filters-applied")], [[], "artifactType"])
        const all = yield* send("GET", `/v2/${name}/referrers/${digest}`)
        assert.deepEqual([entriesOf(all).length, all.headers.get("oci-filters-applied")], [3, null])
      })
    )

    it.effect("filters by the type of the config where an image has no other", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5))
        const image = yield* pushImage(name, "1", { subject: subjectOf(digest) })
        yield* pushIndex(name, digest)
        const found = yield* list(name, digest, `?artifactType=${encodeURIComponent(MediaType.ociConfig)}`)
        assert.deepEqual(
          found.map((entry) => entry.digest),
          [image.digest]
        )
      })
    )

    it.effect("links to the rest of a list that is larger than a manifest, under the same filter", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5))
        const config = { ...(yield* pushBlob(name, bytesOf("{}"))), mediaType: sbom }
        for (const index of [1, 2, 3, 4, 5]) {
          const annotations = { large: String(index).repeat(1_500_000) }
          const text = JSON.stringify({ schemaVersion: 2, config, layers: [], subject: subjectOf(digest), annotations })
          assert.strictEqual((yield* putManifest(name, `t${index}`, text)).status, 201)
        }
        const found: Array<ReadonlyArray<string>> = []
        let next: string | undefined = `/v2/${name}/referrers/${digest}?artifactType=${encodeURIComponent(sbom)}`
        while (next !== undefined && found.length < 10) {
          const answer: Answer = yield* send("GET", next)
          assert.isAtMost(answer.bytes.length, 4 << 20)
          assert.strictEqual(answer.headers.get("oci-filters-applied"), "artifactType")
          found.push(entriesOf(answer).map((entry) => entry.digest))
          next = nextOf(answer)
        }
        assert.deepEqual(
          found.map((page) => page.length),
          [2, 2, 1]
        )
        assert.strictEqual(new Set(found.flat()).size, 5)
      })
    )

    it.effect("lists a referrer once, however often and under how many tags it was pushed", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const digest = digestOf(random(5))
        const { text } = yield* pushParts(name, { subject: subjectOf(digest) })
        for (const tag of ["a", "b", "a"]) yield* putManifest(name, tag, text)
        assert.strictEqual((yield* list(name, digest)).length, 1)
        yield* send("DELETE", `/v2/${name}/manifests/a`)
        assert.strictEqual((yield* list(name, digest)).length, 1)
      })
    )

    it.effect("forgets a referrer that is deleted, and keeps those of a subject that is", () =>
      Effect.gen(function* () {
        const name = uniqueName()
        const { digest } = yield* pushImage(name)
        const referrer = yield* pushImage(name, "r", { subject: subjectOf(digest) })
        yield* send("DELETE", `/v2/${name}/manifests/${digest}`)
        assert.strictEqual((yield* list(name, digest)).length, 1)
        yield* send("DELETE", `/v2/${name}/manifests/${referrer.digest}`)
        assert.deepEqual(yield* list(name, digest), [])
      })
    )
  })
})
