import { assert, describe, it } from "@effect/vitest"
import { MediaType } from "@effect-registry/core"

describe("MediaType", () => {
  it.each<[string, MediaType.Compression | undefined]>([
    [MediaType.dockerLayer, "none"],
    [MediaType.dockerLayerGzip, "gzip"],
    [MediaType.dockerForeignLayer, "gzip"],
    [MediaType.ociLayer, "none"],
    [MediaType.ociLayerGzip, "gzip"],
    [MediaType.ociLayerZstd, "zstd"],
    ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"],
    [MediaType.ociConfig, undefined],
    [MediaType.dockerConfig, undefined],
    ["application/vnd.in-toto+json", undefined]
  ])("the compression of %s is %s", (mediaType, expected) => {
    assert.strictEqual(MediaType.layerCompression(mediaType), expected)
  })

  it("knows the layers that a registry does not hold", () => {
    assert.isTrue(MediaType.isForeignLayer(MediaType.dockerForeignLayer))
    assert.isTrue(MediaType.isForeignLayer("application/vnd.oci.image.layer.nondistributable.v1.tar"))
    assert.isFalse(MediaType.isForeignLayer(MediaType.ociLayerGzip))
  })

  it("tells images, indexes and Docker's schema 1 apart", () => {
    const kinds = (type: string) =>
      [MediaType.isImageManifest, MediaType.isIndex, MediaType.isManifest, MediaType.isDockerSchema1].map((is) =>
        is(type)
      )
    assert.deepStrictEqual(kinds(MediaType.dockerManifest), [true, false, true, false])
    assert.deepStrictEqual(kinds(MediaType.ociManifest), [true, false, true, false])
    assert.deepStrictEqual(kinds(MediaType.dockerIndex), [false, true, true, false])
    assert.deepStrictEqual(kinds(MediaType.ociIndex), [false, true, true, false])
    assert.deepStrictEqual(kinds("application/vnd.docker.distribution.manifest.v1+prettyjws"), [
      false,
      false,
      false,
      true
    ])
    assert.deepStrictEqual(kinds("application/json"), [false, false, false, false])
  })

  it("takes parameters and case from a Content-Type", () => {
    assert.strictEqual(MediaType.essence(" Application/JSON; charset=utf-8"), "application/json")
    assert.strictEqual(MediaType.essence(""), "")
  })
})
