/** An image with what refers to it, written into any store the way the engine writes. */
import { copy, type ImageTarget, MemoryStore } from "@effect-registry/core"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

export const image = Fixture.image({ format: "oci", seed: 7, shared: 1 })
export const other = Fixture.image({ format: "oci", seed: 8, shared: 1 })
export const sbom = Fixture.artifact({
  type: "application/spdx+json",
  content: "packages",
  subject: image.descriptor,
  annotations: { "org.example.tool": "test" }
})
/** Of the SBOM. */
export const signature = Fixture.artifact({
  type: "application/vnd.example.signature",
  content: "signed",
  subject: sbom.descriptor
})

export type Part = Fixture.ImageFixture | Fixture.IndexFixture | Fixture.ArtifactFixture

/** Everything that the parts name, then the parts, each under its tags of `team/app`. */
export const write = <E, R>(
  target: ImageTarget<E, R>,
  parts: ReadonlyArray<{ readonly part: Part; readonly tags?: ReadonlyArray<string> }>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* target.open
      for (const { part, tags = [] } of parts) {
        for (const [digest, bytes] of part.blobs) {
          const descriptor = { mediaType: "application/octet-stream", digest, size: bytes.length }
          yield* writer.writeBlob({
            descriptor: Option.some(descriptor),
            mediaType: descriptor.mediaType,
            content: Effect.succeed({ _tag: "Bytes", bytes }),
            alsoIn: []
          })
        }
        for (const each of "children" in part ? [...part.children, part] : [part]) {
          const { digest, mediaType, size } = each.descriptor
          const names = each === part ? tags : []
          yield* writer.writeManifest(
            { mediaType, digest, size },
            each.manifest,
            names.map((tag) => ({ repository: Option.some("team/app"), tag: Option.some(tag) }))
          )
        }
      }
      yield* writer.commit ?? Effect.void
    })
  )

/** The image as `team/app:1` in memory, the SBOM and its signature with it. */
export const store = Effect.gen(function* () {
  const memory = MemoryStore.make()
  yield* write(memory.target, [{ part: signature }, { part: sbom }, { part: image, tags: ["1"] }])
  return memory
})

/** Copies it with its referrers. */
export const copyTo = <E, R>(target: ImageTarget<E, R>) =>
  Effect.flatMap(store, (memory) => copy(memory.source("1"), target, { referrers: true }))
