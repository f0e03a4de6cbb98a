import { assert, describe, it } from "@effect/vitest"
import { type ImageReader, type ImageWriter, MemoryStore, type ValidationError } from "@effect-registry/core"
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
type Reader = ImageReader<ValidationError>

/** The titles that fail for a memory store whose writer or reader was tampered with. */
const failures = (
  tamper: (writer: Writer) => Partial<Writer>,
  change: (reader: Reader) => Partial<Reader> = () => ({})
) =>
  Effect.gen(function* () {
    const cases: Array<readonly [string, Effect.Effect<void, unknown, Scope.Scope>]> = []
    ImageStoreSuite.register(
      { describe: (_, body) => body(), it: { scoped: (title, run) => cases.push([title, run()]) } },
      "broken",
      Layer.empty,
      Effect.sync(() => {
        const store = MemoryStore.make()
        const open = Effect.map(store.target.open, (writer) => ({ ...writer, ...tamper(writer) }))
        const source = (tag?: string) => {
          const original = store.source(tag)
          return { ...original, open: Effect.map(original.open, (reader) => ({ ...reader, ...change(reader) })) }
        }
        return { target: { ...store.target, open }, source }
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

  it.effect("finds a store whose source or target does not know its referrers and tags, or not all of them", () =>
    Effect.gen(function* () {
      const silent = yield* failures(
        () => ({ isTagged: undefined, referrers: undefined }),
        () => ({ tagged: undefined, referrers: undefined })
      )
      assert.deepStrictEqual(silent, [
        "lists what refers to an image, each once, with its type and annotations",
        "lists what refers to a referrer, and reads it",
        "lists nothing where nothing refers to an image",
        "finds what another tag names, and no tag that is not there",
        "knows the referrers that it has before more are written",
        "knows which manifest each of its tags names"
      ])
      const boastful = yield* failures(
        () => ({ isTagged: () => Effect.succeed(true) }),
        (reader) => ({
          referrers: (subject) =>
            Effect.map(reader.referrers?.(subject) ?? Effect.succeed([]), (all) =>
              all.map(({ digest, mediaType, size }) => ({ digest, mediaType, size }))
            )
        })
      )
      assert.deepStrictEqual(boastful, [
        "lists what refers to an image, each once, with its type and annotations",
        "knows which manifest each of its tags names"
      ])
    })
  )
})
