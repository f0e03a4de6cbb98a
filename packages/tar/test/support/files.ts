/** Folders and files of a test's own. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Fixture, TarBytes } from "@effect-registry/testing"
import * as Effect from "effect/Effect"

/** Removed with the scope. */
export const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "effect-registry-tar-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

/** A file with this content. */
export const file = (content: Uint8Array | string, name = "app.tar") =>
  Effect.gen(function* () {
    const path = join(yield* folder, name)
    yield* Effect.promise(() => writeFile(path, content))
    return path
  })

/** A docker-archive of one image with plain layers, tagged `app:1`, or broken in one way. */
export const dockerArchive = (broken?: Fixture.DockerBreak, options: Fixture.ImageOptions = {}) =>
  file(
    Fixture.dockerArchive([{ image: Fixture.image({ compressed: false, ...options }), tags: ["app:1"] }], { broken })
  )

/** A docker-archive made of members and a manifest.json. */
export const archiveOf = (manifest: unknown, members: ReadonlyArray<TarBytes.TarEntry> = []) =>
  file(TarBytes.make([...members, { name: "manifest.json", content: JSON.stringify(manifest) }]))
