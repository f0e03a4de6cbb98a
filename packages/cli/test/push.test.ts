import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, known, output, registry, repositoryName, temporaryFolder } from "./support.js"

layer(registry, { excludeTestServices: true })("ereg push", (it) => {
  describe("with a reference", () => {
    it.scoped("prints the reference with its digest", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const reference = `${host}/${repositoryName()}:1.0`
        const { code, stderr, stdout } = yield* ereg(["push", fixture("oci-archive.tar"), reference])
        expect({ code, stdout }).toEqual({ code: 0, stdout: `${reference}@${known.ociArchive}\n` })
        expect(stderr).toContain("pushed 4 blobs")
      })
    )
    it.scoped("pushes one image of several under several references, blobs once", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const name = `${host}/${repositoryName()}`
        const archive = `docker-archive:${fixture("docker26-multi.tar")}:fixture/app:1.0`
        const { code, stderr, stdout } = yield* ereg(["push", archive, `${name}:a`, `docker://${name}:b`])
        expect(code).toBe(0)
        const [first = "", second = "", ...rest] = stdout.split("\n")
        expect(rest).toEqual([""])
        expect(first.startsWith(`${name}:a@sha256:`)).toBe(true)
        expect(second).toBe(first.replace(":a@", ":b@"))
        expect(stderr).toContain("pushed 3 blobs")
        expect(yield* output(["manifest", first])).toContain(known.app)
      })
    )
    it.scoped("reads standard input", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const input = yield* Effect.promise(() => readFile(fixture("oci-archive.tar")))
        const reference = `${host}/${repositoryName()}:1.0`
        expect(yield* output(["push", "-", reference], { input })).toBe(`${reference}@${known.ociArchive}\n`)
      })
    )
    it.scoped("does not wait for a terminal to type an archive", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["push", "-", "localhost:1/x:1"], { terminal: true })
        expect(code).toBe(2)
        expect(stderr).toContain("why: is a terminal, not an archive")
      })
    )
    it.scoped("warns about the platforms that an archive lacks, and refuses with --strict", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const reference = `${host}/${repositoryName()}:1`
        const lax = yield* ereg(["push", fixture("docker26-partial.tar"), reference, "--output", "json", "--quiet"])
        expect(lax.code).toBe(0)
        expect(lax.stderr).toMatch(/^warning: .*docker26-partial\.tar lacks linux\/arm64, linux\/ppc64le.*\n$/)
        expect(JSON.parse(lax.stdout)).toEqual({
          images: [
            {
              reference: `${reference}@${known.partial}`,
              host,
              repository: reference.slice(host.length + 1, -2),
              tag: "1",
              digest: known.partial,
              mediaType: expect.stringContaining("manifest"),
              missingPlatforms: ["linux/arm64", "linux/ppc64le"]
            }
          ],
          blobs: { sent: 2, mounted: 0, existing: 0, bytesSent: 516 },
          referrers: 0,
          changed: []
        })
        const strict = yield* ereg(["push", fixture("docker26-partial.tar"), reference, "--strict", "--output=json"])
        expect(strict.code).toBe(1)
        expect(errorOf(strict.stdout)).toMatchObject({ tag: "ValidationError", reason: "MissingContent", status: null })
      })
    )
    it.scoped("sends layers as they are with --compress none, in the format asked for", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const archive = `docker-archive:${fixture("docker26-multi.tar")}:@0`
        const reference = `${host}/${repositoryName()}:1`
        yield* output(["push", archive, reference, "--compress", "none", "--format", "oci"])
        const manifest = yield* output(["manifest", reference])
        expect(manifest).toContain("application/vnd.oci.image.layer.v1.tar")
        expect(manifest).not.toContain("gzip")
      })
    )
    it.scoped("lists the images to choose from", () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* ereg(["push", fixture("docker26-multi.tar"), "localhost:1/x:1"])
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
        expect(stderr.split("\n")).toEqual([
          `error: ${fixture("docker26-multi.tar")}`,
          expect.stringMatching(/^ {2}why: holds 2 images: .*fixture\/app:1\.0.*fixture\/web:2\.0/),
          expect.stringMatching(/^ {2}try: .*docker-archive:PATH:REFERENCE/),
          ""
        ])
      })
    )
  })

  describe("without a reference", () => {
    it.scoped("pushes every tag to the registry given", () =>
      Effect.gen(function* () {
        const { host, url } = yield* EmbeddedRegistry.EmbeddedRegistry
        for (const words of [["--registry", url], []]) {
          const stdout = yield* output(["push", fixture("docker26-multi.tar"), ...words], {
            environment: { EREG_REGISTRY: url }
          })
          expect(
            stdout
              .trim()
              .split("\n")
              .map((line) => line.replace(/@.*/, ""))
          ).toEqual([
            `${host}/fixture/app:1.0`,
            `${host}/fixture/app:latest`,
            `${host}/fixture/web:2.0`,
            `${host}/team/web:2.0`
          ])
        }
      })
    )
    it.scoped("replaces the tag with --tag and stops at the first with --primary", () =>
      Effect.gen(function* () {
        const { host, url } = yield* EmbeddedRegistry.EmbeddedRegistry
        const words = ["push", fixture("docker26-multi.tar"), "--primary", "--tag", "t", "--registry", url]
        expect(yield* output(words)).toMatch(new RegExp(`^${host}/fixture/app:t@sha256:[0-9a-f]{64}\n$`))
      })
    )
    it.scoped("says the command to type where no registry is configured", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["push", fixture("docker26-multi.tar")])
        expect(code).toBe(1)
        expect(stderr).toContain("no registry is configured for its tags fixture/app:1.0")
        expect(stderr).toContain(`try: ereg push ${fixture("docker26-multi.tar")} --registry http://localhost:15000\n`)
      })
    )
  })

  describe("with bad input", () => {
    it.scoped("tells each kind apart in three lines and leaves nothing on the registry", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const folder = yield* temporaryFolder
        const path = (name: string) => join(folder, name)
        const repository = repositoryName()
        const whole = yield* Effect.promise(() => readFile(fixture("oci-archive.tar")))
        yield* Effect.promise(() => writeFile(path("empty.tar"), ""))
        yield* Effect.promise(() => writeFile(path("text.tar"), "this is no tar\n".repeat(100)))
        yield* Effect.promise(() => writeFile(path("cut.tar"), whole.subarray(0, 20_000)))
        const cases = [
          [path("missing.tar"), "NotFound"],
          [folder, "IsDirectory"],
          [path("empty.tar"), "Empty"],
          [path("text.tar"), "NotATar"],
          [path("cut.tar"), "Truncated"]
        ] as const
        for (const [archive, reason] of cases) {
          const text = yield* ereg(["push", archive, `${host}/${repository}:1`])
          expect([reason, text.code, text.stdout, text.stderr.trimEnd().split("\n").length]).toEqual([reason, 1, "", 3])
          const json = yield* ereg(["push", archive, `${host}/${repository}:1`, "--output", "json"])
          expect(errorOf(json.stdout)).toMatchObject({ tag: "TarReadError", reason })
          expect(json.stderr).toBe("")
        }
        expect((yield* ereg(["tags", `${host}/${repository}`])).code).toBe(1)
      })
    )
    it.scoped("says how to name a file that looks like a reference", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["push", "app", "localhost:1/x:1"])
        expect(code).toBe(2)
        expect(stderr).toContain('why: "app" is a reference, and an archive is wanted')
      })
    )
    it.scoped("points at the wrong character of a reference", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["push", fixture("oci-archive.tar"), "localhost:1/Team/app:1"])
        expect(code).toBe(1)
        expect(stderr).toContain("character 13: repository names are lower case")
      })
    )
  })
})
