import { writeFile } from "node:fs/promises"
import { assert, describe, it } from "@effect/vitest"
import { push, pushEach } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry, Faults } from "@effect-registry/server"
import { DockerArchive, OciArchive } from "@effect-registry/tar"
import { Fixture, Walk } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { embedded, temporary } from "./support/embedded.js"

const noRegistry = NodeRegistry.layer()
const names = (images: ReadonlyArray<{ readonly reference: string }>) =>
  images.map(({ reference }) => reference.replace(/^[^/]*\//, "").replace(/@.*/, ""))

describe("Push", () => {
  describe("push", () => {
    it.scopedLive("pushes every tag of an archive to the configured registry, the hosts in the tags dropped", () =>
      Effect.gen(function* () {
        const { layer, url } = yield* embedded
        const result = yield* push(DockerArchive.file(Fixture.archives.docker26Multi)).pipe(Effect.provide(layer))
        assert.deepStrictEqual(names(result.images), [
          "fixture/app:1.0",
          "fixture/app:latest",
          "fixture/web:2.0",
          "team/web:2.0"
        ])
        for (const image of result.images) {
          const graph = yield* Walk.registry(url, image.repository, Option.getOrThrow(image.tag))
          assert.strictEqual(graph.root, image.digest)
        }
      })
    )

    it.scopedLive("sends the blobs of a second repository by mount, and compresses no layer twice", () =>
      Effect.gen(function* () {
        const { layer, recorder } = yield* embedded
        const result = yield* push(DockerArchive.file(Fixture.archives.docker26Multi)).pipe(Effect.provide(layer))
        // Two images share two layers; the second goes to two repositories.
        assert.deepStrictEqual({ ...result.blobs, bytesSent: 0 }, { sent: 5, mounted: 6, existing: 0, bytesSent: 0 })
        const exchanges = yield* recorder.exchanges
        assert.strictEqual(exchanges.filter(({ method }) => method === "PATCH").length, 3)
      })
    )

    it.scopedLive("gives the same digest each time, and puts no tag that is there already", () =>
      Effect.gen(function* () {
        const { host, layer, recorder } = yield* embedded
        const source = DockerArchive.file(Fixture.archives.docker26Multi, { image: "fixture/web:2.0" })
        const first = yield* push(source, `${host}/a/web:1`).pipe(Effect.provide(layer))
        yield* recorder.clear
        const second = yield* push(source, `${host}/a/web:1`).pipe(Effect.provide(layer))
        assert.strictEqual(second.images[0]?.digest, first.images[0]?.digest)
        const puts = yield* recorder.matching({ route: "ManifestPut" })
        assert.deepStrictEqual(puts, [])
      })
    )

    it.scopedLive("pushes one image under several references, each blob once", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const source = DockerArchive.file(Fixture.archives.docker26Untagged)
        const result = yield* push(source, [`${host}/a/app:1`, `${host}/a/app:2`, `${host}/b/app:1`]).pipe(
          Effect.provide(layer)
        )
        assert.deepStrictEqual(names(result.images), ["a/app:1", "a/app:2", "b/app:1"])
        assert.strictEqual(new Set(result.images.map(({ digest }) => digest)).size, 1)
        assert.strictEqual(result.blobs.sent, 3)
        assert.strictEqual(result.blobs.mounted, 3)
      })
    )

    it.scopedLive("believes no registry to have what another one got", () =>
      Effect.gen(function* () {
        const [one, two] = [yield* embedded, yield* embedded]
        const source = DockerArchive.file(Fixture.archives.docker26Multi, { image: "fixture/app:1.0" })
        const result = yield* push(source, [`${one.host}/app:1`, `${two.host}/app:1`]).pipe(Effect.provide(one.layer))
        assert.strictEqual(result.images.length, 2)
        assert.deepStrictEqual({ ...result.blobs, bytesSent: 0 }, { sent: 6, mounted: 0, existing: 0, bytesSent: 0 })
        const asked = (yield* two.recorder.exchanges).filter(
          ({ method, path }) => method === "HEAD" && path.includes("/blobs/")
        )
        assert.strictEqual(asked.length, 3)
      })
    )

    it.scopedLive("takes a reference that is given twice once", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const source = DockerArchive.file(Fixture.archives.docker26Multi, { image: "fixture/app:1.0" })
        const result = yield* push(source, [`${host}/app:1`, `${host}/app:1`]).pipe(Effect.provide(layer))
        assert.deepStrictEqual(names(result.images), ["app:1"])
      })
    )

    it.scopedLive("can be piped", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const result = yield* push(DockerArchive.file(Fixture.archives.docker26Untagged), `${host}/a/app:1`).pipe(
          Effect.provide(layer)
        )
        const piped = yield* push(`${host}/a/app:2`)(DockerArchive.file(Fixture.archives.docker26Untagged)).pipe(
          Effect.provide(layer)
        )
        assert.strictEqual(piped.images[0]?.digest, result.images[0]?.digest)
      })
    )

    it.scopedLive("gives a reference without tag the archive's own, or latest", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const one = yield* push(OciArchive.file(Fixture.archives.ociArchive), `${host}/one`).pipe(Effect.provide(layer))
        assert.deepStrictEqual(names(one.images), ["one:2.0"])
        const two = DockerArchive.file(Fixture.archives.docker26Multi, { image: 0 })
        assert.deepStrictEqual(names((yield* push(two, `${host}/two`).pipe(Effect.provide(layer))).images), [
          "two:latest"
        ])
      })
    )

    it.scopedLive("pushes what has a manifest byte for byte", () =>
      Effect.gen(function* () {
        const { host, layer, url } = yield* embedded
        const result = yield* push(OciArchive.file(Fixture.archives.ociMultiarch), `${host}/multi:1.0`).pipe(
          Effect.provide(layer)
        )
        assert.strictEqual(result.images[0]?.digest, Fixture.known.manifests.ociMultiarch)
        const graph = yield* Walk.registry(url, "multi", "1.0")
        assert.strictEqual(graph.root, Fixture.known.manifests.ociMultiarch)
      })
    )

    it.scopedLive("sends the blobs again that the registry says it has and does not", () =>
      Effect.gen(function* () {
        const recorder = Faults.recorder()
        const { host, url } = yield* EmbeddedRegistry.makeMemory({
          observe: recorder.observe,
          onRequest: Faults.on(
            { method: "HEAD", path: new RegExp(`${Fixture.known.configs.docker26Web}$`) },
            Faults.respond(200, { headers: { "content-length": "3662" } })
          )
        })
        const source = DockerArchive.file(Fixture.archives.docker26Multi, { image: 1 })
        const { images } = yield* push(source, `${host}/web:1`).pipe(Effect.provide(NodeRegistry.layer({ url })))
        const graph = yield* Walk.registry(url, "web", "1")
        assert.strictEqual(graph.root, images[0]?.digest)
        const puts = yield* recorder.matching({ route: "ManifestPut" })
        assert.deepStrictEqual(
          puts.map(({ status }) => status),
          [404, 201]
        )
      })
    )

    it.scopedLive("refuses a digest that the image does not have, and leaves nothing", () =>
      Effect.gen(function* () {
        const { host, layer, recorder } = yield* embedded
        const reference = `${host}/a/app:1@sha256:${"0".repeat(64)}`
        const error = yield* Effect.flip(
          push(DockerArchive.file(Fixture.archives.docker26Untagged), reference).pipe(Effect.provide(layer))
        )
        assert.strictEqual(error.reason, "DigestMismatch")
        assert.deepEqual(yield* recorder.matching({ route: "ManifestPut" }), [])
      })
    )

    it.scopedLive(
      "keeps the repository and replaces the tag with `tag`, and takes the first tag alone with `primary`",
      () =>
        Effect.gen(function* () {
          const { layer } = yield* embedded
          const source = DockerArchive.file(Fixture.archives.podmanMulti)
          assert.deepStrictEqual(names((yield* push(source, [], { tag: "ci" }).pipe(Effect.provide(layer))).images), [
            "fixture/app:ci",
            "fixture/web:ci"
          ])
          assert.deepStrictEqual(
            names((yield* push(source, [], { primary: true }).pipe(Effect.provide(layer))).images),
            ["fixture/app:1.0"]
          )
        })
    )

    it.scopedLive("refuses two images that would get one name, before anything is sent", () =>
      Effect.gen(function* () {
        const { layer, recorder } = yield* embedded
        const tagged = [
          { image: Fixture.image({ seed: 1, compressed: false }), tags: ["localhost:5000/app:1"] },
          { image: Fixture.image({ seed: 2, compressed: false }), tags: ["docker.io/library/app:1"] }
        ]
        const path = yield* temporary
        yield* Effect.promise(() => writeFile(path, Fixture.dockerArchive(tagged)))
        const error = yield* Effect.flip(push(DockerArchive.file(path)).pipe(Effect.provide(layer)))
        assert.strictEqual(error.reason, "NameConflict")
        assert.include(error.message, "localhost:5000/app:1 and docker.io/library/app:1")
        assert.deepStrictEqual(yield* recorder.exchanges, [])
      })
    )

    it.scopedLive("says which tags there are and what to type when no registry is configured", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          push(DockerArchive.file(Fixture.archives.podmanMulti)).pipe(Effect.provide(noRegistry))
        )
        assert.strictEqual(error.reason, "NoRegistry")
        assert.include(error.message, "docker.io/fixture/app:1.0, docker.io/fixture/web:2.0")
        assert.include(error.hint ?? "", "--registry http://localhost:15000")
      })
    )

    it.scopedLive("asks for a reference when the archive has no tag, or several images are given one name", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const untagged = yield* Effect.flip(
          push(DockerArchive.file(Fixture.archives.docker26Untagged)).pipe(Effect.provide(layer))
        )
        assert.strictEqual(untagged.reason, "NoTag")
        const several = yield* Effect.flip(
          push(DockerArchive.file(Fixture.archives.docker26Multi), `${host}/x:1`).pipe(Effect.provide(layer))
        )
        assert.strictEqual(several.reason, "SeveralImages")
        assert.include(
          several.message,
          "fixture/app:1.0, fixture/app:latest; fixture/web:2.0, localhost:15000/team/web:2.0"
        )
      })
    )

    it.scopedLive("pushes the complete platform of an incomplete index and says what is missing", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const source = DockerArchive.file(Fixture.archives.docker26Partial)
        const result = yield* push(source, `${host}/partial:1`).pipe(Effect.provide(layer))
        assert.strictEqual(result.images[0]?.digest, Fixture.known.manifests.docker26Partial)
        assert.deepStrictEqual(result.images[0]?.missingPlatforms, ["linux/arm64", "linux/ppc64le"])
        const strict = yield* Effect.flip(
          push(source, `${host}/partial:2`, { strict: true }).pipe(Effect.provide(layer))
        )
        assert.strictEqual(strict.reason, "MissingContent")
        assert.include(strict.message, "linux/arm64, linux/ppc64le")
      })
    )

    it.scopedLive("sends layers as they are with `compress: none`, in either format", () =>
      Effect.gen(function* () {
        const { host, layer, url } = yield* embedded
        const source = DockerArchive.file(Fixture.archives.docker26Untagged)
        yield* push(source, `${host}/plain:docker`, { compress: "none" }).pipe(Effect.provide(layer))
        yield* push(source, `${host}/plain:oci`, { compress: "none", format: "oci" }).pipe(Effect.provide(layer))
        const types = (reference: string) =>
          Effect.map(Walk.registry(url, "plain", reference), ({ manifests }) =>
            [...manifests.values()].map(({ bytes }) => new TextDecoder().decode(bytes)).join()
          )
        assert.isTrue((yield* types("docker")).includes(`"application/vnd.docker.image.rootfs.diff.tar"`))
        assert.isTrue((yield* types("oci")).includes(`"application/vnd.oci.image.layer.v1.tar"`))
      })
    )

    it.scopedLive("leaves no tag and no open upload when a layer is not what its config says", () =>
      Effect.gen(function* () {
        const { host, layer, recorder } = yield* embedded
        const path = yield* temporary
        const archive = Fixture.dockerArchive([{ image: Fixture.image({ compressed: false }), tags: ["app:1"] }], {
          broken: "LayerMismatch"
        })
        yield* Effect.promise(() => writeFile(path, archive))
        for (const compress of ["gzip", "none"] as const) {
          yield* recorder.clear
          const error = yield* Effect.flip(
            push(DockerArchive.file(path), `${host}/bad:1`, { compress }).pipe(Effect.provide(layer))
          )
          assert.include(["LayerMismatch", "DigestMismatch"], error.reason)
          const exchanges = yield* recorder.exchanges
          assert.isFalse(exchanges.some(({ method, path }) => method === "PUT" && path.includes("/manifests/")))
        }
      })
    )
  })

  describe("pushEach", () => {
    it.scopedLive("goes on after a registry that refuses, and says what was not pushed", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const source = DockerArchive.file(Fixture.archives.docker26Multi, { image: "fixture/app:1.0" })
        const references = ["127.0.0.1:1/app:1", `${host}/app:1`]
        const result = yield* pushEach(source, references).pipe(Effect.provide(layer))
        assert.deepStrictEqual(names(result.images), ["app:1"])
        assert.deepStrictEqual(
          result.failed.map(({ error, references }) => [references, error._tag]),
          [[["127.0.0.1:1/app:1"], "RegistryError"]]
        )
        assert.strictEqual(
          (yield* Effect.flip(push(source, references).pipe(Effect.provide(layer))))._tag,
          "RegistryError"
        )
      })
    )
  })
})
