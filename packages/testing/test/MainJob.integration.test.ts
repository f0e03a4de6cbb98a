import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import {
  deleteImage,
  deleteTag,
  getImageInfo,
  listRepositories,
  listTags,
  type PushedImage,
  pull,
  push
} from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { EmbeddedRegistry } from "@effect-registry/server"
import { DockerArchive, OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { DockerRegistry, Fixture, Tools, Walk } from "../src/index.js"

interface Expected {
  readonly archive: string
  /** Where there is no name to push to. */
  readonly reference?: string
  readonly names: ReadonlyArray<string>
  readonly configs: ReadonlyArray<string>
  readonly manifest?: string
}

const { archives, known } = Fixture
const { docker20App, docker20Web, docker26App, docker26Web } = known.configs
const platforms = "sha256:a3c02274cd2bc83e8b33152532de25a8318ab168c3a153280a2a8b1561a6db88"

/** Every fixture, and what contracts and its README say about it. */
const fixtures: Readonly<Record<string, Expected>> = {
  "docker20-multi": {
    archive: archives.docker20Multi,
    names: ["fixture/app:1.0", "fixture/app:latest", "fixture/web:2.0", "team/web:2.0"],
    configs: [docker20App, docker20App, docker20Web, docker20Web]
  },
  "docker26-multi": {
    archive: archives.docker26Multi,
    names: ["fixture/app:1.0", "fixture/app:latest", "fixture/web:2.0", "team/web:2.0"],
    configs: [docker26App, docker26App, docker26Web, docker26Web]
  },
  "docker26-untagged": {
    archive: archives.docker26Untagged,
    reference: "given/app:1",
    names: ["given/app:1"],
    configs: [docker26App]
  },
  "docker26-partial": {
    archive: archives.docker26Partial,
    names: ["fixture/multi:1.0"],
    configs: [platforms],
    manifest: known.manifests.docker26Partial
  },
  "podman-multi": {
    archive: archives.podmanMulti,
    names: ["fixture/app:1.0", "fixture/web:2.0"],
    configs: [docker26App, docker26Web]
  },
  "oci-archive": {
    archive: archives.ociArchive,
    reference: "given/web",
    names: ["given/web:2.0"],
    configs: ["sha256:568bef80a57d82bf87e04931347efd18194cc8b1da122b594f75ea7b2138ea5e"],
    manifest: known.manifests.ociArchive
  },
  "oci-multiarch": {
    archive: archives.ociMultiarch,
    reference: "given/multi",
    names: ["given/multi:1.0"],
    configs: [platforms],
    manifest: known.manifests.ociMultiarch
  }
}

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "main-job-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const skopeo = (...args: ReadonlyArray<string>) =>
  Effect.async<string>((resume) => {
    execFile("skopeo", args, { encoding: "utf8" }, (error, stdout, stderr) =>
      resume(error === null ? Effect.succeed(stdout) : Effect.dieMessage(`skopeo ${args.join(" ")}: ${stderr}`))
    )
  })

const nameOf = ({ repository, tag }: PushedImage) => `${repository}:${Option.getOrElse(tag, () => "")}`

const behaviours = (start: Effect.Effect<{ readonly url: string; readonly host: string }, unknown, Scope.Scope>) => {
  for (const [title, expected] of Object.entries(fixtures)) {
    it.scopedLive(`takes ${title}, and skopeo accepts every image`, () =>
      Effect.gen(function* () {
        const { host, url } = yield* start
        const target = yield* folder
        const layer = NodeRegistry.layer({ url })
        const references = expected.reference === undefined ? [] : [`${host}/${expected.reference}`]
        const { images } = yield* push(DockerArchive.file(expected.archive), references).pipe(Effect.provide(layer))
        assert.deepStrictEqual(images.map(nameOf), expected.names)
        if (expected.manifest !== undefined) assert.strictEqual(images[0]?.digest, expected.manifest)

        for (const [index, image] of images.entries()) {
          const graph = yield* Walk.registry(url, image.repository, image.digest)
          assert.include(graph.configs, expected.configs[index])
          const remote = `docker://${host}/${nameOf(image)}`
          const inspected = JSON.parse(yield* skopeo("inspect", "--tls-verify=false", remote))
          if (!title.includes("multiarch")) assert.strictEqual(inspected.Digest, image.digest)
          const copied = join(target, `copy-${index}`)
          yield* skopeo("copy", "--quiet", "--all", "--src-tls-verify=false", remote, `dir:${copied}`)
          const manifest = yield* Effect.promise(() => readFile(join(copied, "manifest.json")))
          assert.strictEqual<string>(Fixture.digest(manifest), image.digest)
        }
      })
    )

    it.scopedLive(`gives ${title} back through an archive and a layout with the same digests`, () =>
      Effect.gen(function* () {
        const { host, url } = yield* start
        const target = yield* folder
        const layer = NodeRegistry.layer({ url })
        yield* Effect.gen(function* () {
          const references = expected.reference === undefined ? [] : [`${host}/${expected.reference}`]
          const { images } = yield* push(DockerArchive.file(expected.archive), references)
          for (const [index, image] of images.entries()) {
            const archive = join(target, `${index}.tar`)
            const layout = join(target, `${index}-layout`)
            yield* pull(`${host}/${nameOf(image)}`, DockerArchive.target(archive))
            yield* pull(`${host}/${nameOf(image)}`, OciLayout.target(layout))
            const fromArchive = yield* push(DockerArchive.file(archive), `${host}/archive/${image.repository}:1`)
            const fromLayout = yield* push(OciLayout.folder(layout), `${host}/layout/${image.repository}:1`)
            assert.deepStrictEqual(
              [fromArchive.images[0]?.digest, fromLayout.images[0]?.digest],
              [image.digest, image.digest]
            )
            const inspected = yield* skopeo("inspect", "--raw", `oci:${layout}`)
            assert.strictEqual(Fixture.digest(new TextEncoder().encode(inspected)), image.digest)
          }
        }).pipe(Effect.provide(layer))
      })
    )
  }

  it.scopedLive("lists, inspects and deletes what was pushed", () =>
    Effect.gen(function* () {
      const { host, url } = yield* start
      yield* Effect.gen(function* () {
        const { images } = yield* push(DockerArchive.file(archives.docker26Multi))
        assert.deepStrictEqual([...(yield* listRepositories())].sort(), ["fixture/app", "fixture/web", "team/web"])
        assert.deepStrictEqual(yield* listTags("fixture/app"), ["1.0", "latest"])
        const info = yield* getImageInfo("fixture/web:2.0")
        assert.strictEqual(info.configDigest, docker26Web)
        assert.deepStrictEqual(
          info.layers.map(({ diffId }) => diffId),
          [...known.webDiffIds]
        )
        assert.deepStrictEqual(
          [info.os, info.architecture, info.user, info.workingDir, info.exposedPorts],
          ["linux", "amd64", "0", "/opt/app", ["8080/tcp"]]
        )
        yield* deleteTag("fixture/app:latest")
        assert.deepStrictEqual(yield* listTags("fixture/app"), ["1.0"])
        yield* deleteImage("fixture/app:1.0")
        const digest = Option.getOrThrow(Option.fromNullable(images[0]?.digest))
        const gone = yield* Effect.flip(getImageInfo(`${host}/fixture/app@${digest}`))
        assert.strictEqual(gone.reason, "NotFound")
        assert.deepStrictEqual(yield* listTags("team/web"), ["2.0"])
      }).pipe(Effect.provide(NodeRegistry.layer({ url })))
    })
  )
}

Tools.needing(describe, "skopeo")("the main job on the embedded registry", () =>
  behaviours(Effect.flatMap(folder, (root) => EmbeddedRegistry.make({ root, fsync: false })))
)

Tools.needing(
  describe,
  "skopeo",
  "docker-registry"
)("the main job on docker-registry", () => behaviours(DockerRegistry.make()))
