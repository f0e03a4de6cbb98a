import { assert, describe, it } from "@effect/vitest"
import { Digest, ImageConfig, Json } from "@effect-registry/core"
import * as Either from "effect/Either"

const diffId = Digest.fromBytes(new Uint8Array())
const decode = (value: unknown) => ImageConfig.decode(Json.encode(value), "the config")
const config = (value: unknown) => Either.getOrThrow(decode(value))

describe("ImageConfig", () => {
  describe("decode", () => {
    it("keeps fields it does not know", () => {
      const value = {
        architecture: "amd64",
        os: "linux",
        docker_version: "20.10.7",
        container_config: { Cmd: ["x"] },
        config: { Cmd: ["/bin/tool"], Healthcheck: { Test: ["NONE"] }, OnBuild: null },
        rootfs: { type: "layers", diff_ids: [diffId] },
        history: [{ created: "2024-01-01T00:00:00Z", moby: 1 }]
      }
      assert.deepStrictEqual<unknown>(config(value), value)
    })

    it("takes null wherever Docker 20 writes it", () => {
      const fields = [
        "Env",
        "Cmd",
        "Entrypoint",
        "User",
        "WorkingDir",
        "ExposedPorts",
        "Volumes",
        "Labels",
        "StopSignal"
      ]
      const nothing = Object.fromEntries(fields.map((field) => [field, null]))
      const value = config({ config: nothing, rootfs: { diff_ids: null }, history: null, created: null, author: null })
      assert.deepStrictEqual(ImageConfig.diffIds(value), [])
      assert.deepStrictEqual(ImageConfig.layerHistory(value), [])
      assert.deepStrictEqual(ImageConfig.settings(value), {
        env: [],
        cmd: [],
        entrypoint: [],
        user: undefined,
        workingDir: undefined,
        exposedPorts: [],
        labels: {}
      })
      assert.deepStrictEqual(ImageConfig.settings(config({ config: null, rootfs: { diff_ids: [] } })).env, [])
    })

    it.each<[string, unknown, RegExp]>([
      ["a text", "x", /expected/i],
      ["no rootfs", { os: "linux" }, /rootfs/],
      ["a diff ID that is none", { rootfs: { diff_ids: ["sha256:x"] } }, /rootfs\.diff_ids\[0\]/],
      ["an Env that is a text", { rootfs: { diff_ids: [] }, config: { Env: "A=1" } }, /config\.Env/],
      ["a label that is a number", { rootfs: { diff_ids: [] }, config: { Labels: { a: 1 } } }, /config\.Labels\.a/]
    ])("refuses %s", (_, value, message) => {
      const error = Either.getOrThrow(Either.flip(decode(value)))
      assert.strictEqual(error.reason, "InvalidImageConfig")
      assert.match(error.message, message)
      assert.match(error.message, /^the config: /)
    })

    it("refuses what is not JSON, and more than 16 MiB", () => {
      const broken = ImageConfig.decode(new TextEncoder().encode("{"), "the config")
      assert.strictEqual(Either.getOrThrow(Either.flip(broken)).reason, "InvalidImageConfig")
      const huge = ImageConfig.decode(new Uint8Array(ImageConfig.maxSize + 1), "the config")
      assert.strictEqual(Either.getOrThrow(Either.flip(huge)).reason, "TooLarge")
    })
  })

  describe("layerHistory", () => {
    it("leaves out the steps without a layer", () => {
      const steps = [
        { created_by: "FROM" },
        { created_by: "ENV", empty_layer: true },
        { created_by: "COPY", empty_layer: null }
      ]
      const value = config({ rootfs: { diff_ids: [diffId, diffId] }, history: steps })
      assert.deepStrictEqual(
        ImageConfig.layerHistory(value).map((step) => step.created_by),
        ["FROM", "COPY"]
      )
    })
  })

  describe("settings", () => {
    it("sorts the ports and takes empty texts for absent ones", () => {
      const value = config({
        rootfs: { diff_ids: [] },
        config: { ExposedPorts: { "8080/tcp": {}, "53/udp": {} }, User: "", WorkingDir: "/srv", Labels: { a: "b" } }
      })
      const settings = ImageConfig.settings(value)
      assert.deepStrictEqual(settings.exposedPorts, ["53/udp", "8080/tcp"])
      assert.isUndefined(settings.user)
      assert.strictEqual(settings.workingDir, "/srv")
      assert.deepStrictEqual(settings.labels, { a: "b" })
    })
  })
})
