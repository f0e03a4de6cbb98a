import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import {
  extractTags,
  getPrimaryTag,
  getTarManifest,
  inspectArchive,
  parseRepositoryTag,
  validateArchive
} from "@effect-registry/tar"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const { archives, known } = Fixture
const layer = NodeFileSystem.layer

describe("inspectArchive", () => {
  it.effect("tells each image's id, tags, settings and layers without reading a layer", () =>
    Effect.gen(function* () {
      const [app, web] = yield* inspectArchive(archives.docker26Multi)
      assert.deepStrictEqual([app?.id, web?.id], [known.configs.docker26App, known.configs.docker26Web])
      assert.deepStrictEqual(web?.tags, ["fixture/web:2.0", "localhost:15000/team/web:2.0"])
      assert.deepStrictEqual(
        [web?.os, web?.architecture, web?.workingDir, web?.user],
        ["linux", "amd64", "/opt/app", "0"]
      )
      assert.deepStrictEqual([web?.entrypoint, web?.exposedPorts], [["/bin/tool"], ["8080/tcp"]])
      assert.strictEqual(web?.layerCount, 3)
      assert.deepStrictEqual(
        web?.layers.map(({ diffId }) => diffId),
        [...known.webDiffIds]
      )
      assert.deepStrictEqual(
        web?.layers.map(({ size }) => size),
        [17408, 2048, 25088]
      )
      assert.strictEqual(web?.totalSize, 3662 + 17408 + 2048 + 25088)
      assert.isTrue(web?.layers.every(({ createdBy }) => createdBy !== undefined))
      assert.strictEqual(web?.digest, undefined)
    }).pipe(Effect.provide(layer))
  )

  it.effect("looks at one platform of an index", () =>
    Effect.gen(function* () {
      const [arm] = yield* inspectArchive(archives.ociMultiarch, { platform: "linux/arm64" })
      assert.deepStrictEqual([arm?.architecture, arm?.digest], ["arm64", known.manifests.ociMultiarch])
      const error = yield* Effect.flip(inspectArchive(archives.ociMultiarch, { platform: "linux/s390x" }))
      assert.strictEqual(error.reason, "PlatformNotFound")
      const [partial] = yield* inspectArchive(archives.docker26Partial)
      assert.deepStrictEqual(partial?.missingPlatforms, ["linux/arm64", "linux/ppc64le"])
    }).pipe(Effect.provide(layer))
  )
})

describe("tags of an archive", () => {
  it.effect("are extracted in its order, the first being the primary one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* extractTags(archives.podmanMulti), [
        "docker.io/fixture/app:1.0",
        "docker.io/fixture/web:2.0"
      ])
      assert.deepStrictEqual(yield* extractTags(archives.docker26Untagged), [])
      assert.deepStrictEqual(
        yield* getPrimaryTag(archives.docker20Multi),
        Option.some(parseRepositoryTag("fixture/app:1.0"))
      )
      assert.deepStrictEqual(yield* getPrimaryTag(archives.docker26Untagged), Option.none())
    }).pipe(Effect.provide(layer))
  )

  it("are split at the tag's colon, not the port's", () => {
    const split = (text: string) => {
      const { repository, tag } = parseRepositoryTag(text)
      return [Option.getOrNull(repository), Option.getOrNull(tag)]
    }
    assert.deepStrictEqual(split("app:1.0"), ["app", "1.0"])
    assert.deepStrictEqual(split("localhost:5000/app"), ["localhost:5000/app", null])
    assert.deepStrictEqual(split("localhost:5000/app:1.0"), ["localhost:5000/app", "1.0"])
    assert.deepStrictEqual(split(`app:1@sha256:${"0".repeat(64)}`), ["app", "1"])
  })

  it.effect("stand in manifest.json, unknown fields kept", () =>
    Effect.gen(function* () {
      const [app] = yield* getTarManifest(archives.docker26Multi)
      assert.deepStrictEqual(app?.RepoTags, ["fixture/app:1.0", "fixture/app:latest"])
      assert.isTrue(app !== undefined && "LayerSources" in app)
      const error = yield* Effect.flip(getTarManifest(archives.ociArchive))
      assert.strictEqual(error.reason, "MissingMember")
    }).pipe(Effect.provide(layer))
  )
})

describe("validateArchive", () => {
  it.effect("finds every fixture valid, and warns of missing platforms", () =>
    Effect.gen(function* () {
      for (const path of Object.values(archives)) {
        const { problems, valid, warnings } = yield* validateArchive(path)
        assert.isTrue(valid, `${path}: ${problems.map(({ message }) => message).join()}`)
        assert.strictEqual(warnings.length, path === archives.docker26Partial ? 2 : 0)
      }
    }).pipe(Effect.provide(layer))
  )
})
