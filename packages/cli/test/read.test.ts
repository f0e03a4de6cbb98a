/** The commands that look: manifest, digest, blob, validate. */
import { createHash } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, known, output, pushed, registry, temporaryFolder } from "./support.js"

const digestOf = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

layer(registry, { excludeTestServices: true })("commands that look", (it) => {
  describe("manifest", () => {
    it.scoped("prints the exact bytes, whatever --output says", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        for (const address of [`${name}:1`, `${name}@${known.ociArchive}`, fixture("oci-archive.tar")]) {
          const text = yield* ereg(["manifest", address])
          expect([text.code, digestOf(text.stdoutBytes)]).toEqual([0, known.ociArchive])
          expect((yield* ereg(["manifest", address, "--output", "json"])).stdout).toBe(text.stdout)
        }
      })
    )
    it.scoped("prints the manifest of one platform", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-multiarch.tar")
        const options = ["--platform", "linux/arm64"]
        const { stdoutBytes } = yield* ereg(["manifest", `${name}:1`, ...options])
        expect(yield* output(["digest", `${name}:1`, ...options])).toBe(`${digestOf(stdoutBytes)}\n`)
        const none = yield* ereg(["manifest", `${name}:1`, "--platform", "windows/amd64", "--output=json"])
        expect(errorOf(none.stdout)).toMatchObject({ reason: "PlatformNotFound" })
      })
    )
    it.scoped("says that a docker save archive has none yet", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["manifest", `docker-archive:${fixture("docker26-multi.tar")}:@0`])
        expect(code).toBe(1)
        expect(stderr).toContain("has no manifest: docker save writes none")
      })
    )
  })

  describe("digest", () => {
    it.scoped("prints the digest, or JSON with type and size", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-multiarch.tar")
        expect(yield* output(["digest", `${name}:1`])).toBe(`${known.ociMultiarch}\n`)
        expect(yield* output(["digest", fixture("oci-multiarch.tar")])).toBe(`${known.ociMultiarch}\n`)
        expect(JSON.parse(yield* output(["digest", `${name}:1`, "--output", "json"]))).toEqual({
          digest: known.ociMultiarch,
          mediaType: "application/vnd.oci.image.index.v1+json",
          size: expect.any(Number)
        })
      })
    )
    it.scoped("lists the images of an archive with several", () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["digest", fixture("docker26-multi.tar")])
        expect(code).toBe(1)
        expect(stderr).toContain("holds 2 images")
      })
    )
  })

  describe("blob", () => {
    it.scoped("prints the bytes of a blob", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        const { config } = JSON.parse(yield* output(["manifest", `${name}:1`]))
        const { code, stdoutBytes } = yield* ereg(["blob", `${name}@${config.digest}`])
        expect([code, digestOf(stdoutBytes)]).toEqual([0, config.digest])
      })
    )
    it.scoped("tells a failure on standard error, also as JSON", () =>
      Effect.gen(function* () {
        const name = yield* pushed("oci-archive.tar")
        const { code, stderr, stdout } = yield* ereg(["blob", `${name}@sha256:${"0".repeat(64)}`, "--output", "json"])
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
        expect(errorOf(stderr)).toMatchObject({ reason: "NotFound" })
        expect((yield* ereg(["blob", `${name}:1`])).stderr).toContain("REPOSITORY@DIGEST")
      })
    )
  })

  describe("validate", () => {
    it.scoped("lists the images of a valid archive", () =>
      Effect.gen(function* () {
        const path = fixture("docker26-multi.tar")
        const { code, stdout } = yield* ereg(["validate", path])
        expect(code).toBe(0)
        expect(stdout).toContain(`${path}: valid, 2 images\n  `)
        expect(JSON.parse(yield* output(["validate", path, "--output", "json"]))).toMatchObject({
          path,
          valid: true,
          problems: [],
          warnings: []
        })
      })
    )
    it.scoped("ends with 1 and says what is wrong", () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const path = join(folder, "damaged.tar")
        const bytes = yield* Effect.promise(() => readFile(fixture("docker26-multi.tar")))
        const at = bytes.indexOf("welcome") >= 0 ? bytes.indexOf("welcome") : 30_000
        bytes[at] = (bytes[at] ?? 0) ^ 1
        yield* Effect.promise(() => writeFile(path, bytes))
        const json = yield* ereg(["validate", path, "--output", "json"])
        const text = yield* ereg(["validate", path])
        expect([json.code, text.code, text.stderr]).toEqual([1, 1, ""])
        const document = JSON.parse(json.stdout)
        expect(document).toMatchObject({ path, valid: false })
        expect(document.problems[0]).toEqual({
          reason: expect.any(String),
          message: expect.any(String),
          hint: expect.anything()
        })
        expect(text.stdout).toContain("problem")
      })
    )
    it.scoped("refuses standard input, and fails where there is no file", () =>
      Effect.gen(function* () {
        expect((yield* ereg(["validate", "-"])).code).toBe(2)
        const missing = yield* ereg(["validate", "./missing.tar", "--output", "json"])
        expect([missing.code, errorOf(missing.stdout).reason]).toEqual([1, "NotFound"])
      })
    )
  })
})
