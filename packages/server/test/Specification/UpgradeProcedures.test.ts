import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { codeOf, pushImage, pushParts, putManifest, send, uniqueName } from "../support.js"
import { section } from "./specification.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "embedded-registry-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** What the registry says refers to the digest. */
const referrersOf = (name: string, digest: string) =>
  Effect.map(send("GET", `/v2/${name}/referrers/${digest}`), ({ status, text }): ReadonlyArray<string> => {
    assert.strictEqual(status, 200)
    return JSON.parse(text).manifests.map((entry: { readonly digest: string }) => entry.digest)
  })

/** An image and two referrers, of which the client lists one under the fallback tag, at a registry that lists none. */
const pushBefore = (name: string) =>
  Effect.gen(function* () {
    const { digest, text } = yield* pushImage(name)
    const subject = { mediaType: MediaType.ociManifest, digest, size: text.length }
    const listed = yield* pushParts(name, { subject })
    const unlisted = yield* pushParts(name, { subject, annotations: { listed: "no" } })
    for (const each of [listed, unlisted]) {
      const answer = yield* putManifest(name, each.digest, each.text)
      assert.deepEqual([answer.status, answer.headers.get("oci-subject")], [201, null])
    }
    const answer = yield* send("GET", `/v2/${name}/referrers/${digest}`)
    assert.deepEqual([answer.status, codeOf(answer)], [404, "UNSUPPORTED"])
    const entry = { mediaType: MediaType.ociManifest, digest: listed.digest, size: listed.text.length }
    const index = JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: [entry] })
    const tag = digest.replace(":", "-")
    assert.strictEqual((yield* putManifest(name, tag, index, MediaType.ociIndex)).status, 201)
    return { digest, subject, listed: listed.digest, unlisted: unlisted.digest }
  })

describe("Upgrade procedures", () => {
  section("Enabling the Referrers API", () => {
    it.scoped("lists what was pushed before it listed anything, in an index under the fallback tag or not", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const name = uniqueName()
        const { digest, listed, unlisted } = yield* pushBefore(name).pipe(
          Effect.provide(EmbeddedRegistry.layer({ root, referrers: false, fsync: false }))
        )
        const found = yield* referrersOf(name, digest).pipe(
          Effect.provide(EmbeddedRegistry.layer({ root, fsync: false }))
        )
        assert.sameMembers([...found], [listed, unlisted])
      })
    )

    it.scoped("lists what is pushed from then on", () =>
      Effect.gen(function* () {
        const root = yield* folder
        const name = uniqueName()
        const before = yield* pushBefore(name).pipe(
          Effect.provide(EmbeddedRegistry.layer({ root, referrers: false, fsync: false }))
        )
        yield* Effect.gen(function* () {
          const { digest } = yield* pushImage(name, "new", { subject: before.subject, annotations: { new: "yes" } })
          assert.include(yield* referrersOf(name, before.digest), digest)
        }).pipe(Effect.provide(EmbeddedRegistry.layer({ root, fsync: false })))
      })
    )
  })
})
