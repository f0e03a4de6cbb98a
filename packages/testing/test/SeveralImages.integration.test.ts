/** Several images in one archive or layout, written and read by us and by skopeo, with every digest as it was. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { copy, formatName, type PushedImage, pull, push } from "@effect-registry/core"
import { NodeRegistry } from "@effect-registry/node"
import { DockerArchive, OciLayout } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Fixture, Tools, Walk } from "../src/index.js"
import { seed } from "./support/seed.js"
import { startEmbedded, temporaryFolder } from "./support/servers.js"

const { archives, known } = Fixture

/** Where to, for those that have no name of their own. */
const fixtures = {
  "docker20-multi": [archives.docker20Multi],
  "docker26-multi": [archives.docker26Multi],
  "docker26-untagged": [archives.docker26Untagged, "given/app:1"],
  "docker26-partial": [archives.docker26Partial],
  "podman-multi": [archives.podmanMulti],
  "oci-archive": [archives.ociArchive, "given/web:2.0"],
  "oci-multiarch": [archives.ociMultiarch, "given/multi:1.0"]
} as const

const skopeo = (...args: ReadonlyArray<string>) =>
  Effect.async<string>((resume) => {
    execFile("skopeo", ["--insecure-policy", ...args], { encoding: "utf8" }, (error, stdout, stderr) =>
      resume(error === null ? Effect.succeed(stdout) : Effect.dieMessage(`skopeo ${args.join(" ")}: ${stderr}`))
    )
  })

const tagged = ({ repository, tag }: PushedImage) => `${repository}:${Option.getOrElse(tag, () => "latest")}`
const byName = (images: ReadonlyArray<PushedImage>) => new Map(images.map((image) => [tagged(image), image.digest]))
const at = (url: string) => Effect.provide(NodeRegistry.layer({ url, state: false }))

describe("archive → registry → layout → archive → registry", () => {
  for (const [name, [archive, reference]] of Object.entries(fixtures)) {
    it.scopedLive(`leaves every digest of ${name} as it was`, () =>
      Effect.gen(function* () {
        const [first, second] = [yield* startEmbedded(), yield* startEmbedded()]
        const there = yield* temporaryFolder
        const layout = join(there, "layout")
        const references = reference === undefined ? [] : [`${first}/${reference}`]
        const { images } = yield* push(DockerArchive.file(archive), references).pipe(at(`http://${first}`))
        const expected = byName(images)
        if (name === "docker26-partial") {
          assert.deepStrictEqual([...expected.values()], [known.manifests.docker26Partial])
          assert.deepStrictEqual(images[0]?.missingPlatforms, ["linux/arm64", "linux/ppc64le"])
        }
        const names = images.map((image) => `${first}/${tagged(image)}`)
        yield* pull(names, OciLayout.target(layout)).pipe(at(`http://${first}`))
        for (const [n, image] of names.entries()) {
          const out = join(there, `${n}.tar`)
          yield* copy(OciLayout.folder(layout, { image }), DockerArchive.target(out)).pipe(at(`http://${second}`))
          const again = yield* push(DockerArchive.file(out)).pipe(at(`http://${second}`))
          // An image has all its names in the layout, and the one it was asked for by in the archive.
          assert.deepStrictEqual([...byName(again.images)], [[tagged(images[n] ?? assert.fail()), images[n]?.digest]])
        }
        for (const [name, digest] of expected) {
          const [repository = "", tag = ""] = name.split(":")
          const graphs = yield* Effect.all(
            [first, second].map((host) => Walk.registry(`http://${host}`, repository, tag))
          )
          assert.deepStrictEqual(graphs[0], graphs[1])
          assert.strictEqual(graphs[1]?.root, digest)
        }
      })
    )
  }
})

describe("several images", () => {
  for (const how of ["archive", "gzipped archive", "pipe"] as const) {
    it.scopedLive(`go through one ${how} and come out under their names`, () =>
      Effect.gen(function* () {
        const [first, second] = [yield* startEmbedded(), yield* startEmbedded()]
        const { images } = yield* push(DockerArchive.file(archives.docker26Multi)).pipe(at(`http://${first}`))
        const multi = yield* push(DockerArchive.file(archives.ociMultiarch), `${first}/given/multi:1.0`).pipe(
          at(`http://${first}`)
        )
        const expected = byName([...images, ...multi.images])
        const names = [...expected.keys()].map((name) => `${first}/${name}`)
        const path = join(yield* temporaryFolder, how === "archive" ? "all.tar" : "all.tar.gz")
        const chunks: Array<Uint8Array> = []
        const target =
          how === "pipe"
            ? DockerArchive.pipe((bytes) => Effect.sync(() => void chunks.push(Uint8Array.from(bytes))))
            : DockerArchive.target(path)
        yield* pull(names, target).pipe(at(`http://${first}`))
        const source = how === "pipe" ? DockerArchive.stream(Stream.fromIterable(chunks)) : DockerArchive.file(path)
        const again = yield* push(source).pipe(at(`http://${second}`))
        assert.deepStrictEqual(new Map([...byName(again.images)].sort()), new Map([...expected].sort()))
      })
    )
  }
})

Tools.needing(describe, "skopeo")("skopeo", () => {
  it.scopedLive("finds each image of an archive by its name, and pushes it", () =>
    Effect.gen(function* () {
      const host = yield* startEmbedded()
      const { images } = yield* push(DockerArchive.file(archives.docker26Multi)).pipe(at(`http://${host}`))
      const names = images.map((image) => `${host}/${tagged(image)}`)
      const path = join(yield* temporaryFolder, "all.tar")
      yield* pull(names, DockerArchive.target(path)).pipe(at(`http://${host}`))
      for (const [n, name] of names.entries()) {
        const to = `${host}/again/n${n}:1`
        yield* skopeo("copy", "--quiet", "--dest-tls-verify=false", `docker-archive:${path}:${name}`, `docker://${to}`)
        const before = yield* Walk.registry(`http://${host}`, images[n]?.repository ?? "", images[n]?.digest ?? "")
        const after = yield* Walk.registry(`http://${host}`, `again/n${n}`, "1")
        assert.deepStrictEqual(after.configs, before.configs)
      }
    })
  )

  it.scopedLive("finds each image of a layout by its tag, and keeps its digest", () =>
    Effect.gen(function* () {
      const host = yield* startEmbedded()
      const path = join(yield* temporaryFolder, "layout")
      const images = ["a", "b", "c"].map((tag, n) => ({
        tag,
        image: Fixture.image({ format: "oci", seed: n + 1, shared: 1 })
      }))
      for (const { image, tag } of images) {
        yield* seed(`${host}/layout/app`, image, tag).pipe(at(`http://${host}`))
        yield* pull(`${host}/layout/app:${tag}`, OciLayout.target(path)).pipe(at(`http://${host}`))
      }
      // Two repositories with one tag: the second one is found by its whole name.
      yield* seed(`${host}/other/app`, Fixture.image({ format: "oci", seed: 9 }), "a").pipe(at(`http://${host}`))
      const other = yield* pull(`${host}/other/app:a`, OciLayout.target(path)).pipe(at(`http://${host}`))
      const name = other.images[0]?.names[0]
      if (name === undefined) return assert.fail("no name")
      const all = [
        ...images.map(({ image, tag }) => [tag, image.descriptor.digest] as const),
        [formatName(name), other.images[0]?.descriptor.digest] as const
      ]
      for (const [reference, digest] of all) {
        const raw = yield* skopeo("inspect", "--raw", `oci:${path}:${reference}`)
        assert.strictEqual(Fixture.digest(new TextEncoder().encode(raw)), digest)
      }
    })
  )
})
