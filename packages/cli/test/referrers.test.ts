/** Listing what refers to an image, and deleting it along. */
import { expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { ereg, errorOf, known, output, pushed, registry } from "./support.js"

const empty = {
  mediaType: "application/vnd.oci.empty.v1+json",
  digest: `sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a`,
  size: 2
}
const created = "org.opencontainers.image.created"

/** Attaches something of this type to the image under tag 1; its digest. */
const attach = (name: string, artifactType: string, annotations: Readonly<Record<string, string>> = {}) =>
  Effect.gen(function* () {
    const { host, url } = yield* EmbeddedRegistry.EmbeddedRegistry
    const { digest, mediaType, size } = JSON.parse(yield* output(["digest", `${name}:1`, "--output", "json"]))
    const type = "application/vnd.oci.image.manifest.v1+json"
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: type,
      artifactType,
      config: empty,
      layers: [empty],
      subject: { mediaType, digest, size },
      annotations
    })
    return yield* Effect.promise(async () => {
      const base = `${url}/v2/${name.slice(host.length + 1)}`
      const started = await fetch(`${base}/blobs/uploads/?digest=${empty.digest}`, { method: "POST", body: "{}" })
      expect(started.status).toBe(201)
      const headers = { "content-type": type }
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(body)))
      const made = `sha256:${Buffer.from(hash).toString("hex")}`
      const put = await fetch(`${base}/manifests/${made}`, { method: "PUT", body, headers })
      expect(put.status).toBe(201)
      return { digest: made, size: body.length }
    })
  })

layer(registry, { excludeTestServices: true })("referrers", (it) => {
  it.scoped("prints a reference to each, its type, its size and when it was created", () =>
    Effect.gen(function* () {
      const name = yield* pushed("oci-archive.tar")
      const sbom = yield* attach(name, "application/spdx+json", { [created]: "2024-05-01T10:00:00Z" })
      const lines = (yield* output(["referrers", `${name}:1`])).split("\n")
      expect(lines).toEqual([`${name}@${sbom.digest}  application/spdx+json  ${sbom.size} B  2024-05-01T10:00:00Z`, ""])
      const [reference = ""] = (lines[0] ?? "").split(" ")
      expect(JSON.parse(yield* output(["manifest", reference]))).toMatchObject({
        artifactType: "application/spdx+json"
      })
    })
  )
  it.scoped("prints all fields as JSON, and only those of a type", () =>
    Effect.gen(function* () {
      const name = yield* pushed("oci-archive.tar")
      const sbom = yield* attach(name, "application/spdx+json", { a: "b" })
      yield* attach(name, "application/x.other")
      const reference = `${name}@${known.ociArchive}`
      const words = ["referrers", reference, "--artifact-type", "application/spdx+json", "--output", "json"]
      expect(JSON.parse(yield* output(words))).toEqual({
        subject: reference,
        digest: known.ociArchive,
        source: "api",
        referrers: [
          {
            reference: `${name}@${sbom.digest}`,
            digest: sbom.digest,
            mediaType: "application/vnd.oci.image.manifest.v1+json",
            artifactType: "application/spdx+json",
            size: sbom.size,
            annotations: { a: "b" }
          }
        ]
      })
    })
  )
  it.scoped("prints nothing where there are none, and says so; a type cannot steer the terminal", () =>
    Effect.gen(function* () {
      const name = yield* pushed("oci-archive.tar")
      const none = yield* ereg(["referrers", `${name}:1`])
      expect(none).toMatchObject({ code: 0, stdout: "", stderr: "no referrers\n" })
      yield* attach(name, "x\u001b[2J", { [created]: "y\nz" })
      const text = yield* output(["referrers", `${name}:1`])
      expect(text).toContain("x\\x1b[2J")
      expect(text).toContain("y\\nz")
      expect(text.split("\n").length).toBe(2)
    })
  )
  it.scoped("ends with 1 where there is no such tag", () =>
    Effect.gen(function* () {
      const name = yield* pushed("oci-archive.tar")
      const { code, stdout } = yield* ereg(["referrers", `${name}:nope`, "--output", "json"])
      expect(code).toBe(1)
      expect(errorOf(stdout)).toMatchObject({ reason: "NotFound" })
    })
  )
})

layer(registry, { excludeTestServices: true })("delete", (it) => {
  it.scoped("says which referrers an image leaves behind", () =>
    Effect.gen(function* () {
      const name = yield* pushed("oci-archive.tar")
      const sbom = yield* attach(name, "application/spdx+json")
      const { code, stderr, stdout } = yield* ereg(["delete", "--manifest", `${name}:1`, "--output", "json"])
      expect(code).toBe(0)
      expect(stderr).toContain(`1 referrer of ${name}@${known.ociArchive} left behind: ${sbom.digest}`)
      expect(stderr).toContain("--referrers")
      expect(JSON.parse(stdout).deleted).toEqual([
        {
          kind: "image",
          reference: `${name}@${known.ociArchive}`,
          digest: known.ociArchive,
          referrers: [],
          leftReferrers: [sbom.digest]
        }
      ])
    })
  )
  it.scoped("removes them too with --referrers", () =>
    Effect.gen(function* () {
      const name = yield* pushed("oci-archive.tar")
      const sbom = yield* attach(name, "application/spdx+json")
      const words = ["delete", "--referrers", `${name}@${known.ociArchive}`, "--output", "json"]
      const { code, stderr, stdout } = yield* ereg(words)
      expect(code, stderr).toBe(0)
      expect(JSON.parse(stdout).deleted).toMatchObject([{ referrers: [sbom.digest], leftReferrers: [] }])
      expect((yield* ereg(["manifest", `${name}@${sbom.digest}`])).code).toBe(1)
    })
  )
})
