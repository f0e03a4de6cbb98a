import { assert, describe, it } from "@effect/vitest"
import { type ImageWriter, MemoryStore, type ValidationError } from "@effect-registry/core"
import { ImageStoreSuite } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

ImageStoreSuite.register(
  { describe, it },
  "MemoryStore",
  Layer.empty,
  Effect.sync(() => MemoryStore.make())
)

type Writer = ImageWriter<ValidationError>

/** The titles that fail for a memory store whose writer was tampered with. */
const failures = (tamper: (writer: Writer) => Partial<Writer>) =>
  Effect.gen(function* () {
    const cases: Array<readonly [string, Effect.Effect<void, unknown, Scope.Scope>]> = []
    ImageStoreSuite.register(
      { describe: (_, body) => body(), it: { scoped: (title, run) => cases.push([title, run()]) } },
      "broken",
      Layer.empty,
      Effect.sync(() => {
        const store = MemoryStore.make()
        const open = Effect.map(store.target.open, (writer) => ({ ...writer, ...tamper(writer) }))
        return { ...store, target: { ...store.target, open } }
      })
    )
    const exits = yield* Effect.forEach(cases, ([title, run]) =>
      Effect.map(Effect.exit(Effect.scoped(run)), (exit) => (Exit.isFailure(exit) ? [title] : []))
    )
    return exits.flat()
  })

describe("ImageStoreSuite", () => {
  it.effect("finds nothing wrong with a store that is right", () =>
    Effect.map(
      failures(() => ({})),
      (titles) => assert.deepStrictEqual(titles, [])
    )
  )

  it.effect("finds a store that believes what it is told", () =>
    Effect.map(
      failures((writer) => ({
        writeBlob: (write) =>
          Effect.catchTag(writer.writeBlob(write), "ValidationError", () =>
            Effect.succeed({ descriptor: Option.getOrThrow(write.descriptor), outcome: "Sent" as const })
          )
      })),
      (titles) => {
        assert.include(titles, "refuses a blob with a flipped byte, and does not keep it")
        assert.include(titles, "refuses a blob whose descriptor tells another size")
      }
    )
  )

  it.effect("finds a store that shows its manifests too early", () =>
    Effect.map(
      failures((writer) => ({
        writeManifest: (...all) => Effect.zipRight(writer.writeManifest(...all), writer.commit ?? Effect.void)
      })),
      (titles) => assert.deepStrictEqual(titles, ["shows nothing before its commit"])
    )
  )

  it.effect("finds a store that reads blobs it has", () =>
    Effect.map(
      failures((writer) => ({
        writeBlob: (write) => Effect.tap(writer.writeBlob(write), () => write.content)
      })),
      (titles) => assert.include(titles, "writes a blob that is there already no second time, and does not read it")
    )
  )

  it.effect("finds a store that drops names, and one that claims to have everything", () =>
    Effect.gen(function* () {
      const nameless = yield* failures((writer) => ({
        writeManifest: (descriptor, bytes, names) => writer.writeManifest(descriptor, bytes, names.slice(0, 1))
      }))
      assert.deepStrictEqual(nameless, ["knows an image by every tag it was given"])
      const boastful = yield* failures(() => ({ hasManifest: () => Effect.succeed(true) }))
      assert.deepStrictEqual(boastful, ["says of a manifest that was not written that it is not there"])
    })
  )
})
