import { access, readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, known, output, pushed, registry, repositoryName, temporaryFolder } from "./support.js"

layer(registry, { excludeTestServices: true })("ereg pull and copy", (it) => {
  describe("pull", () => {
    it.effect("writes no archive to a terminal", () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* ereg(["pull", "127.0.0.1:1/app:1", "-"], { outputTerminal: true })
        expect([code, stdout]).toEqual([2, ""])
        expect(stderr).toContain("is a terminal")
      })
    )
    it.scoped("writes an archive that pushes back under the same digest", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        const archive = join(yield* temporaryFolder, "app.tar")
        const { code, stderr, stdout } = yield* ereg(["pull", `${name}:1`, archive])
        expect({ code, stdout }).toEqual({ code: 0, stdout: `${name}:1@${known.ociArchive}\n` })
        expect(stderr).toContain(`wrote ${archive}`)
        expect(yield* output(["push", archive, `${name}:back`])).toBe(`${name}:back@${known.ociArchive}\n`)
      })
    )
    it.scoped("pulls several images into one archive, described in JSON", () =>
      Effect.gen(function* () {
        const one = yield* pushed("oci-archive.tar")
        const two = yield* pushed("oci-multiarch.tar")
        const archive = join(yield* temporaryFolder, "both.tar")
        const stdout = yield* output(["pull", `${one}:1`, `docker://${two}:1`, archive, "--output", "json", "--quiet"])
        expect(JSON.parse(stdout)).toEqual({
          archive,
          images: [
            { reference: `${one}:1@${known.ociArchive}`, digest: known.ociArchive, mediaType: expect.any(String) },
            { reference: `${two}:1@${known.ociMultiarch}`, digest: known.ociMultiarch, mediaType: expect.any(String) }
          ],
          blobs: { sent: 10, mounted: 0, existing: 0, bytesSent: expect.any(Number) },
          referrers: 0,
          changed: []
        })
      })
    )
    it.scoped("takes one platform of an index", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-multiarch.tar")
        const archive = join(yield* temporaryFolder, "arm.tar")
        const digest = (yield* output(["digest", `${name}:1`, "--platform", "linux/arm64"])).trim()
        expect(digest).not.toBe(known.ociMultiarch)
        expect(yield* output(["pull", `${name}:1`, archive, "--platform=linux/arm64"])).toBe(`${name}:1@${digest}\n`)
        const missing = yield* ereg(["pull", `${name}:1`, `${archive}2.tar`, "--platform", "linux/s390x"])
        expect(missing.code).toBe(1)
        expect(missing.stderr).toContain("linux/ppc64le")
      })
    )
    it.scoped("refuses a file that exists, until --force", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        const archive = join(yield* temporaryFolder, "app.tar")
        yield* output(["pull", `${name}:1`, archive])
        const again = yield* ereg(["pull", `${name}:1`, archive, "--output", "json"])
        expect(again.code).toBe(1)
        expect(errorOf(again.stdout)).toMatchObject({
          reason: "TargetExists",
          hint: expect.stringContaining("--force")
        })
        yield* output(["pull", `${name}:1`, archive, "--force"])
      })
    )
    it.scoped("leaves nothing under the final name where it fails", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const folder = yield* temporaryFolder
        const { code, stderr } = yield* ereg(["pull", `${host}/none/there:1`, join(folder, "app.tar")])
        expect(code).toBe(1)
        expect(stderr).toMatch(/^error: .*none\/there.*\n {2}why: not found/)
        expect(yield* Effect.promise(() => readdir(folder))).toEqual([])
      })
    )
    it.scoped("gives standard output the archive and nothing else", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        const { code, stderr, stdoutBytes } = yield* ereg(["pull", `${name}:1`, "-"])
        expect(code).toBe(0)
        expect(stdoutBytes.length % 512).toBe(0)
        expect(stderr).toContain(`${name}:1@${known.ociArchive}`)
        expect(yield* output(["push", "-", `${name}:2`], { input: stdoutBytes })).toBe(
          `${name}:2@${known.ociArchive}\n`
        )
        const failed = yield* ereg(["pull", `${name}:nope`, "-", "--output", "json"])
        expect({ code: failed.code, stdout: failed.stdout }).toEqual({ code: 1, stdout: "" })
        expect(errorOf(failed.stderr)).toMatchObject({ reason: "NotFound", status: 404 })
      })
    )
    it.scoped("writes a layout folder", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        const folder = join(yield* temporaryFolder, "layout")
        yield* output(["pull", `${name}:1`, `oci:${folder}`])
        yield* Effect.promise(() => access(join(folder, "index.json")))
        expect(yield* output(["digest", `oci:${folder}`])).toBe(`${known.ociArchive}\n`)
      })
    )
    it.scoped("wants an archive as its last word", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["pull", "localhost:1/a:1", "localhost:1/b:1"])
        expect(code).toBe(2)
        expect(stderr).toContain("is a reference, and an archive is wanted")
      })
    )
  })

  describe("copy", () => {
    it.scoped("copies from repository to repository, an index whole, by mounting", () =>
      Effect.gen(function* () {
        const from = yield* pushed("oci-multiarch.tar")
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const to = `${host}/${repositoryName()}:x`
        const { code, stderr, stdout } = yield* ereg(["copy", `${from}:1`, to])
        expect({ code, stdout }).toEqual({ code: 0, stdout: `${to}@${known.ociMultiarch}\n` })
        expect(stderr).toContain("mounted 6")
      })
    )
    it.scoped("copies between archives and registries in every direction", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const folder = yield* temporaryFolder
        const name = `${host}/${repositoryName()}`
        const archive = join(folder, "a.tar")
        yield* output(["copy", fixture("oci-archive.tar"), `${name}:1`])
        expect(yield* output(["copy", `${name}:1`, archive])).toBe(`${name}:1@${known.ociArchive}\n`)
        yield* output(["copy", archive, `oci:${folder}/layout`])
        expect(yield* output(["copy", `oci:${folder}/layout`, `${name}:2`])).toBe(`${name}:2@${known.ociArchive}\n`)
        const json = JSON.parse(yield* output(["copy", `${name}:2`, `${name}:3`, "--output", "json"]))
        expect(json.images).toEqual([
          {
            reference: `${name}:3@${known.ociArchive}`,
            digest: known.ociArchive,
            mediaType: expect.any(String),
            missingPlatforms: []
          }
        ])
        const { stdoutBytes } = yield* ereg(["copy", `${name}:1`, "-"])
        expect(stdoutBytes.length).toBeGreaterThan(10_000)
        expect((yield* Effect.promise(() => readFile(archive))).length).toBe(stdoutBytes.length)
      })
    )
    it.scoped("gives the image the tag that the target's address names, and refuses another name", () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const layout = `oci:${folder}/layout`
        yield* output(["copy", fixture("oci-archive.tar"), `${layout}:other`])
        expect(yield* output(["digest", `${layout}:other`])).toBe(`${known.ociArchive}\n`)
        const { code, stderr } = yield* ereg(["copy", fixture("oci-archive.tar"), `${layout}:team/app:1`])
        expect(code).toBe(2)
        expect(stderr).toContain("keeps its repository; only a tag can be given here")
      })
    )
    it.scoped("asks which registry --plain-http means", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["copy", "a.example/x:1", "b.example/x:1", "--plain-http"])
        expect(code).toBe(2)
        expect(stderr).toContain("try: --plain-http=HOST[:PORT]")
      })
    )
  })
})
