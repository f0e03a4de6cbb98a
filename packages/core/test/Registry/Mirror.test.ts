import { assert, describe, it } from "@effect/vitest"
import { copy, getManifest, MemoryStore, Registry, type RegistryConfig } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { image } from "../support/Image.js"
import * as Scripted from "../support/ScriptedClient.js"

const { config, configDescriptor, layer, manifest } = image()
const files: Readonly<Record<string, Uint8Array>> = {
  "manifests/1": manifest.bytes,
  [`manifests/${manifest.descriptor.digest}`]: manifest.bytes,
  [`blobs/${configDescriptor.digest}`]: config,
  [`blobs/${layer.digest}`]: new TextEncoder().encode('"gzip"')
}
const options = (...mirrors: ReadonlyArray<string>): RegistryConfig.Options => ({
  hosts: { "r.example": { mirrors } },
  retry: { attempts: 2, delay: 1 }
})
/** Serves the image below these URLs; everything else by `other`. */
const serving = (
  bases: ReadonlyArray<string>,
  mirrors: ReadonlyArray<string>,
  other: Scripted.Answer = { status: 404 }
) =>
  Scripted.make(
    ({ url }) => {
      const base = bases.find((each) => url.startsWith(each))
      const body = base === undefined ? undefined : files[url.slice(base.length)]
      if (body === undefined) return other
      return { status: 200, body, headers: { "content-type": manifest.descriptor.mediaType } }
    },
    options(...mirrors)
  )
const own = "https://r.example/v2/team/app/"
const hosts = ({ seen }: ReturnType<typeof Scripted.make>) => [...new Set(seen.map(({ url }) => new URL(url).host))]

describe("Mirror", () => {
  it.live("reads an image from the first mirror alone", () => {
    const script = serving(
      ["https://m.example/v2/cache/team/app/", own],
      ["https://m.example/cache", "https://n.example"]
    )
    return Effect.gen(function* () {
      yield* getManifest("r.example/team/app:1")
      assert.deepStrictEqual(hosts(script), ["m.example"])
    }).pipe(Effect.provide(script.layer))
  })
  it.live("reads it from the registry where no mirror has it", () => {
    const script = serving([own], ["https://m.example", "https://n.example"])
    return Effect.gen(function* () {
      yield* getManifest("r.example/team/app:1")
      assert.deepStrictEqual(hosts(script), ["m.example", "n.example", "r.example"])
      assert.isFalse(script.events.some(({ _tag }) => _tag === "Warning"))
    }).pipe(Effect.provide(script.layer))
  })
  it.live("leaves out a mirror that does not work, with a warning, once", () => {
    const script = serving([own], ["https://m.example"], { code: "ECONNREFUSED" })
    return Effect.gen(function* () {
      yield* Effect.exit(copy(Registry.image("r.example/team/app:1"), MemoryStore.make().target))
      assert.strictEqual(script.seen.filter(({ url }) => url.includes("m.example")).length, 2)
      const warnings = script.events.filter(({ _tag }) => _tag === "Warning")
      assert.strictEqual(warnings.length, 1)
    }).pipe(Effect.provide(script.layer))
  })
  it.live("leaves out a mirror whose manifest is none", () => {
    const script = serving([own], ["https://m.example"], { status: 200, body: "{}" })
    return Effect.gen(function* () {
      yield* getManifest("r.example/team/app:1")
      assert.deepStrictEqual(hosts(script), ["m.example", "r.example"])
      assert.isTrue(script.events.some(({ _tag }) => _tag === "Warning"))
    }).pipe(Effect.provide(script.layer))
  })
  it.live("refuses a mirror with a password in its name, and does not repeat it", () => {
    const script = serving([own], ["ann:hunter2@m.example"])
    return Effect.gen(function* () {
      const error = yield* Effect.flip(getManifest("r.example/team/app:1"))
      assert.strictEqual(error.reason, "InvalidReference")
      assert.notInclude(error.message, "hunter2")
    }).pipe(Effect.provide(script.layer))
  })
  it.live("fails with the registry's own error", () => {
    const script = serving([], ["https://m.example"])
    return Effect.gen(function* () {
      const error = yield* Effect.flip(getManifest("r.example/team/app:1"))
      assert.include(error.message, "r.example/team/app:1")
      assert.strictEqual(error.reason, "NotFound")
    }).pipe(Effect.provide(script.layer))
  })
  it.live("refuses a mirror that is no URL", () => {
    const script = serving([], ["https://"])
    return Effect.gen(function* () {
      const error = yield* Effect.flip(getManifest("r.example/team/app:1"))
      assert.strictEqual(error.reason, "InvalidReference")
    }).pipe(Effect.provide(script.layer))
  })
})
