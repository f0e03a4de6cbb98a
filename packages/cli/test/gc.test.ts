import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, output, temporaryFolder } from "./support.js"

const layerDigest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

/** A registry with an image under two tags, the second one moved on, and a blob that no manifest names. */
const registry = Effect.gen(function* () {
  const root = join(yield* temporaryFolder, "root")
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { host, url } = yield* EmbeddedRegistry.make({ root, fsync: false })
      yield* output(["push", fixture("oci-archive.tar"), `${host}/team/app:1`])
      yield* Effect.promise(async () => {
        const { headers } = await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: "POST" })
        const to = `${new URL(headers.get("location") ?? "", url)}?digest=${layerDigest}`
        expect((await fetch(to, { method: "PUT", body: "x" })).status).toBe(201)
        const manifest = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
        const type = { "content-type": "application/vnd.oci.image.index.v1+json" }
        for (const body of [manifest, manifest.replace("[]", "[ ]")]) {
          await fetch(`${url}/v2/team/app/manifests/moved`, { method: "PUT", body, headers: type })
        }
        await fetch(`${url}/v2/team/odd/manifests/1`, {
          method: "PUT",
          body: "odd",
          headers: { "content-type": "text/x" }
        })
      })
    })
  )
  return root
})

describe("gc", () => {
  it.scoped("says what it would free, and frees that", () =>
    Effect.gen(function* () {
      const root = yield* registry
      expect(yield* output(["gc", "--root", root])).toBe("freed 0 B: 0 blobs, 0 manifests, 0 unfinished uploads\n")
      const removed = `blob      team/app@${layerDigest}  1 B\n`
      const would = yield* ereg(["gc", "--root", root, "--grace", "0s", "--dry-run"])
      expect(would.stdout).toBe(`${removed}would free 1 B: 1 blob, 0 manifests, 0 unfinished uploads\n`)
      expect(would.stderr).toMatch(
        /^warning: team\/odd stays as it is: what this manifest names cannot be read, so everything stays \(sha256:[0-9a-f]{64}\)\n$/
      )
      const done = yield* ereg(["gc", "--root", root, "--grace", "0"])
      expect([done.code, done.stdout]).toEqual([0, `${removed}freed 1 B: 1 blob, 0 manifests, 0 unfinished uploads\n`])
      const untagged = yield* output(["gc", "--root", root, "--grace", "0", "--untagged"])
      expect(untagged).toMatch(
        /^manifest {2}team\/app@sha256:[0-9a-f]{64} {2}88 B\nfreed 88 B: 1 blob, 1 manifest, 0 unf/
      )
    })
  )

  it.scoped("prints the same as JSON", () =>
    Effect.gen(function* () {
      const root = yield* registry
      const words = ["gc", "--root", root, "--grace", "0", "--dry-run", "--output", "json"]
      expect(JSON.parse(yield* output(words))).toEqual({
        dryRun: true,
        online: false,
        blobs: 1,
        bytes: 1,
        manifests: 0,
        uploads: 0,
        repositories: 2,
        removed: [{ kind: "blob", repository: "team/app", digest: layerDigest, upload: null, size: 1 }],
        removedCount: 1,
        kept: [{ repository: "team/odd", digest: expect.stringMatching(/^sha256:/), why: expect.any(String) }]
      })
    })
  )

  it.scoped("fails for a folder that is no registry, and for words that make no sense", () =>
    Effect.gen(function* () {
      const root = yield* temporaryFolder
      const none = yield* ereg(["gc", "--root", root])
      expect(none.code).toBe(1)
      expect(none.stderr).toBe(
        `error: no registry in ${root}\n  why: it has no registry.json\n  try: give the folder that \`ereg serve --root\` was given\n`
      )
      const json = yield* ereg(["gc", "--root", root, "--output", "json"])
      expect(errorOf(json.stdout)).toMatchObject({ tag: "ServerError", reason: "RootUnknown" })
      for (const words of [["gc"], ["gc", "--root", root, "--grace", "soon"], ["gc", "x", "--root", root]]) {
        expect((yield* ereg(words)).code).toBe(2)
      }
      expect((yield* ereg(["gc", "--root", root, "--grace", "soon"])).stderr).toContain(
        '--grace: "soon" is no time such as 30m, 2h or 0'
      )
    })
  )
})
