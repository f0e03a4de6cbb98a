import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, known, output, registry, repositoryName } from "./support.js"

layer(registry, { excludeTestServices: true })("ereg inspect", (it) => {
  describe("of a reference", () => {
    it.scoped("shows the image's fields and a line for each layer", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const name = `${host}/${repositoryName()}`
        yield* output(["push", `docker-archive:${fixture("docker26-multi.tar")}:fixture/web:2.0`, `${name}:1`])
        const text = yield* output(["inspect", `${name}:1`])
        expect(text).toMatch(new RegExp(`^reference: +${name}:1@sha256:[0-9a-f]{64}\n`))
        expect(text).toMatch(new RegExp(`^image ID: +${known.web}$`, "m"))
        expect(text).toMatch(/^platform: +linux\/amd64$/m)
        expect(text).toMatch(/^size: +25\.5 kB in 3 layers$/m)
        expect(text.slice(text.indexOf("layers:")).trimEnd().split("\n")).toHaveLength(4)
        expect(JSON.parse(yield* output(["inspect", `${name}:1`, "--output", "json"]))).toMatchObject({
          configDigest: known.web,
          architecture: "amd64",
          layerCount: 3,
          entrypoint: ["/bin/tool"],
          exposedPorts: ["8080/tcp"]
        })
      })
    )
    it.scoped("shows the platform asked for, and lists what there is otherwise", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const name = `${host}/${repositoryName()}:1`
        yield* output(["push", fixture("oci-multiarch.tar"), name])
        expect(yield* output(["inspect", name, "--platform", "linux/arm64"])).toMatch(/^platform: +linux\/arm64/m)
        const none = yield* ereg(["inspect", name, "--platform", "windows/amd64", "--output", "json"])
        expect(none.code).toBe(1)
        expect(errorOf(none.stdout)).toMatchObject({
          reason: "PlatformNotFound",
          message: expect.stringContaining("linux/ppc64le")
        })
      })
    )
  })

  describe("of an archive", () => {
    it.scoped("shows every image, or the one chosen", () =>
      Effect.gen(function* () {
        const archive = fixture("docker26-multi.tar")
        const all = yield* output(["inspect", archive])
        expect(all.match(/^tags: +.*$/gm)).toEqual([
          expect.stringContaining("fixture/app:1.0, fixture/app:latest"),
          expect.stringContaining("fixture/web:2.0, localhost:15000/team/web:2.0")
        ])
        const address = `docker-archive:${archive}:@1`
        const one = JSON.parse(yield* output(["inspect", address, "--output", "json"]))
        expect(one).toMatchObject({ address, images: [{ id: known.web, layerCount: 3 }] })
      })
    )
    it.scoped("says which platforms it lacks", () =>
      Effect.gen(function* () {
        expect(yield* output(["inspect", fixture("docker26-partial.tar")])).toMatch(
          /^missing: +linux\/arm64, linux\/ppc64le$/m
        )
      })
    )
  })
})
