/** What refers to an image, and what other tags name: of stores that can tell. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import { Descriptor, type ImageName } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Fixture from "../../Fixture.js"
import type { Capability, Store, SuiteOptions, Test, TypedError } from "./Contract.js"
import { contentOf, names, plain, writeAll } from "./Support.js"

export const cases = <E extends TypedError, R>(test: Test<E, R>, { without = [] }: SuiteOptions): void => {
  const has = (capability: Capability) => !without.includes(capability)
  if (has("source.referrers")) ofSource(test)
  if (has("source.tagged")) tagsOfSource(test)
  if (has("target.referrers")) ofTarget(test)
  if (has("target.isTagged")) tagsOfTarget(test)
}

// internal

const image = Fixture.image({ format: "oci", seed: 201 })
const other = Fixture.image({ format: "oci", seed: 202 })
const annotations = { "org.opencontainers.image.created": "2024-05-01T10:00:00Z", key: "value" }
const sbom = Fixture.artifact({
  type: "application/spdx+json",
  content: "sbom",
  subject: image.descriptor,
  annotations
})
const signature = Fixture.artifact({
  type: "application/vnd.example.signature",
  content: "s",
  subject: image.descriptor
})
const attestation = Fixture.artifact({ type: "application/vnd.in-toto+json", content: "a", subject: sbom.descriptor })

const ofSource = <E extends TypedError, R>(test: Test<E, R>): void => {
  test("lists what refers to an image, each once, with its type and annotations", (store) =>
    Effect.gen(function* () {
      yield* written(store)
      const reader = yield* store.source("1.0").open
      const found = yield* required(reader.referrers)(plain(image.descriptor))
      deepStrictEqual(digestsOf(found), digestsOf([sbom.descriptor, signature.descriptor]))
      const listed = found.find(({ digest }) => digest === sbom.descriptor.digest)
      deepStrictEqual({ ...listed }, { ...sbom.descriptor, artifactType: "application/spdx+json", annotations })
    }))

  test("lists what refers to a referrer, and reads it", (store) =>
    Effect.gen(function* () {
      yield* written(store)
      const reader = yield* store.source("1.0").open
      const [found, ...others] = yield* required(reader.referrers)(plain(sbom.descriptor))
      deepStrictEqual([found?.digest, others], [attestation.descriptor.digest, []])
      const bytes = yield* reader.manifest(plain(attestation.descriptor))
      ok(Buffer.from(attestation.manifest).equals(bytes), "other bytes of the referrer")
      for (const [digest, content] of attestation.blobs) {
        const blob = yield* reader.blob(Descriptor.make("application/octet-stream", digest, content.length))
        ok(Buffer.from(content).equals(yield* contentOf(blob)), `other bytes of ${digest}`)
      }
    }))

  test("lists nothing where nothing refers to an image", (store) =>
    Effect.gen(function* () {
      yield* written(store)
      const reader = yield* store.source("other").open
      deepStrictEqual(yield* required(reader.referrers)(plain(other.descriptor)), [])
    }))
}

const tagsOfSource = <E extends TypedError, R>(test: Test<E, R>): void => {
  test("finds what another tag names, and no tag that is not there", (store) =>
    Effect.gen(function* () {
      yield* written(store)
      const reader = yield* store.source("1.0").open
      const tagged = required(reader.tagged)
      strictEqual(Option.getOrUndefined(yield* tagged("other"))?.digest, other.descriptor.digest)
      deepStrictEqual(yield* tagged("sha256-none.sig"), Option.none())
    }))
}

const ofTarget = <E extends TypedError, R>(test: Test<E, R>): void => {
  test("knows the referrers that it has before more are written", (store) =>
    Effect.gen(function* () {
      yield* written(store)
      const writer = yield* store.target.open
      const referrers = required(writer.referrers)
      deepStrictEqual(
        digestsOf(yield* referrers(plain(image.descriptor))),
        digestsOf([sbom.descriptor, signature.descriptor])
      )
      deepStrictEqual(yield* referrers(plain(other.descriptor)), [])
    }))
}

const tagsOfTarget = <E extends TypedError, R>(test: Test<E, R>): void => {
  test("knows which manifest each of its tags names", (store) =>
    Effect.gen(function* () {
      yield* written(store)
      const writer = yield* store.target.open
      const isTagged = required(writer.isTagged)
      const [one] = names(store, ["1.0"])
      const [unknown] = names(store, ["2.0"])
      const ask = (descriptor: Descriptor.Descriptor, name: ImageName | undefined) =>
        name === undefined ? Effect.succeed(false) : isTagged(plain(descriptor), name)
      deepStrictEqual(
        [yield* ask(image.descriptor, one), yield* ask(other.descriptor, one), yield* ask(image.descriptor, unknown)],
        [true, false, false]
      )
    }))
}

/** Two images, and what refers to the first of them. */
const written = <E, R>(store: Store<E, R>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const writer = yield* store.target.open
      yield* writeAll(store, writer, other, ["other"])
      yield* writeAll(store, writer, image, ["1.0"])
      for (const each of [sbom, signature, attestation]) yield* writeAll(store, writer, each, [])
      yield* writer.commit ?? Effect.void
    })
  )

const digestsOf = (all: ReadonlyArray<Descriptor.Descriptor>) => all.map(({ digest }) => digest).sort()

const required = <A>(member: A | undefined): A => {
  ok(member !== undefined, "the store has no such member: name it in `without`")
  return member
}
