import { assert, describe, it } from "@effect/vitest"
import { copy, MemoryStore, pull, push, Registry } from "@effect-registry/core"
import { DockerArchive, OciArchive } from "@effect-registry/tar"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { embedded } from "./support/embedded.js"

describe("Pull", () => {
  describe("pull", () => {
    it.scopedLive("brings back what was pushed, several images at once, the digests unchanged", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const pushed = yield* push(DockerArchive.file(Fixture.archives.docker20Multi)).pipe(Effect.provide(layer))
        const store = MemoryStore.make()
        const references = pushed.images.map(
          ({ host, repository, tag }) => `${host}/${repository}:${Option.getOrThrow(tag)}`
        )
        const result = yield* pull(references, store.target).pipe(Effect.provide(layer))
        assert.deepStrictEqual(
          result.images.map(({ descriptor }) => descriptor.digest),
          pushed.images.map(({ digest }) => digest)
        )
        assert.deepStrictEqual([...store.names.keys()], references)
        assert.strictEqual(references[0], `${host}/fixture/app:1.0`)
      })
    )

    it.scopedLive("carries no name after a pull by digest", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        const pushed = yield* push(OciArchive.file(Fixture.archives.ociArchive), `${host}/app:1`).pipe(
          Effect.provide(layer)
        )
        const digest = pushed.images[0]?.digest
        const store = MemoryStore.make()
        const result = yield* pull(`${host}/app@${digest}`, store.target).pipe(Effect.provide(layer))
        assert.deepStrictEqual(result.images[0]?.names, [])
        assert.strictEqual(store.names.size, 0)
      })
    )

    it.scopedLive("touches no target when one of the images is not there", () =>
      Effect.gen(function* () {
        const { host, layer } = yield* embedded
        yield* push(OciArchive.file(Fixture.archives.ociArchive), `${host}/app:1`).pipe(Effect.provide(layer))
        const store = MemoryStore.make()
        const error = yield* Effect.flip(
          pull([`${host}/app:1`, `${host}/app:2`], store.target).pipe(Effect.provide(layer))
        )
        assert.strictEqual(error.reason, "NotFound")
        assert.strictEqual(store.blobs.size, 0)
      })
    )
  })

  it.scopedLive("copies between repositories of one registry by mount", () =>
    Effect.gen(function* () {
      const { host, layer, recorder } = yield* embedded
      yield* push(OciArchive.file(Fixture.archives.ociMultiarch), `${host}/a:1`).pipe(Effect.provide(layer))
      yield* recorder.clear
      const result = yield* copy(Registry.image(`${host}/a:1`), Registry.repository(`${host}/b`)).pipe(
        Effect.provide(layer)
      )
      assert.deepStrictEqual(result.blobs, { sent: 0, mounted: 6, existing: 0, bytesSent: 0 })
    })
  )
})
