import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, it } from "@effect/vitest"
import { DockerArchive, OciArchive, OciLayout } from "@effect-registry/tar"
import { ImageStoreSuite } from "@effect-registry/testing"
import * as Effect from "effect/Effect"

/** A path in a folder that goes with the test. */
const path = (name: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "image-store-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    ),
    (folder) => join(folder, name)
  )

/** A new archive has nothing yet. */
const without = { without: ["target.referrers", "target.isTagged"] } as const

const image = (tag: string | undefined) => ({ image: tag === undefined ? undefined : `team/app:${tag}` })

ImageStoreSuite.register(
  { describe, it },
  "OciLayout",
  NodeFileSystem.layer,
  Effect.map(path("layout"), (name) => ({
    target: OciLayout.target(name),
    source: (tag?: string) => OciLayout.folder(name, image(tag))
  }))
)

for (const [what, file] of [
  ["DockerArchive, read as such", "app.tar"],
  ["DockerArchive, gzipped", "app.tar.gz"]
] as const) {
  ImageStoreSuite.register(
    { describe, it },
    what,
    NodeFileSystem.layer,
    Effect.map(path(file), (name) => ({
      target: DockerArchive.target(name),
      source: (tag?: string) => DockerArchive.file(name, image(tag))
    })),
    without
  )
}

ImageStoreSuite.register(
  { describe, it },
  "DockerArchive, read as an OCI archive",
  NodeFileSystem.layer,
  Effect.map(path("app.tar"), (name) => ({
    target: DockerArchive.target(name),
    source: (tag?: string) => OciArchive.file(name, image(tag))
  })),
  without
)
