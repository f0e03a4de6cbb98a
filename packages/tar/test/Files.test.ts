import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import type { Descriptor } from "@effect-registry/core"
import { type FileEntry, files } from "@effect-registry/tar"
import { Fixture, TarBytes, Tools } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Layers from "./support/layers.js"
import * as Model from "./support/model.js"

const { file, folder, hardlink, opaque, symlink, whiteout } = Layers

/** `path@layer`, with a slash behind folders and a question mark behind those that no layer lists. */
const shown = (entries: Iterable<FileEntry>): ReadonlyArray<string> =>
  [...entries].map(
    ({ implied, layer, path, type }) =>
      `${path}${type === "directory" ? "/" : ""}${implied ? "?" : ""}@${layer}${
        type === "whiteout" || type === "opaque" ? ` ${type}` : ""
      }`
  )

const merged = (...layers: ReadonlyArray<ReadonlyArray<Layers.Entry>>) =>
  Effect.map(files(Layers.of(...layers).source), (image) => shown(image.entries()))

const entry = (path: string, ...layers: ReadonlyArray<ReadonlyArray<Layers.Entry>>) =>
  Effect.map(files(Layers.of(...layers).source), (image) => [...image.entries()].find((each) => each.path === path))

describe("files", () => {
  describe("the merged view", () => {
    it.effect("lists every file once, from the uppermost layer that has it, sorted by its bytes", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(
          yield* merged(
            [folder("b"), file("b/z"), file("b/a"), file("b-c"), file("é"), file("Z")],
            [file("b/z", "new")]
          ),
          ["Z@0", "b/@0", "b/a@0", "b/z@1", "b-c@0", "é@0"]
        )
      })
    )

    it.effect("hides what a whiteout names, and what lies below it", () =>
      Effect.gen(function* () {
        const lower = [folder("a"), folder("a/b"), file("a/b/c"), file("a/d"), file("e")]
        assert.deepStrictEqual(yield* merged(lower, [whiteout("a/b")]), ["a/@0", "a/d@0", "e@0"])
        assert.deepStrictEqual(yield* merged(lower, [whiteout("a")]), ["e@0"])
        assert.deepStrictEqual(yield* merged(lower, [whiteout("a/b/c"), whiteout("nothing/here")]), [
          "a/@0",
          "a/b/@0",
          "a/d@0",
          "e@0"
        ])
      })
    )

    it.effect("applies a whiteout to lower layers only, wherever in its layer it stands", () =>
      Effect.gen(function* () {
        const lower = [folder("a"), file("a/old")]
        for (const upper of [
          [folder("a"), file("a/new"), whiteout("a")],
          [whiteout("a"), folder("a"), file("a/new")]
        ]) {
          assert.deepStrictEqual(yield* merged(lower, upper), ["a/@1", "a/new@1"])
        }
        assert.deepStrictEqual(yield* merged(lower, [whiteout("a")], [file("a/later")]), ["a/?@2", "a/later@2"])
      })
    )

    it.effect("hides what lower layers have in an opaque folder, and keeps the folder", () =>
      Effect.gen(function* () {
        const lower = [folder("a", 0o700), file("a/old"), folder("a/sub"), file("a/sub/old"), file("b")]
        assert.deepStrictEqual(yield* merged(lower, [file("a/new"), opaque("a")]), ["a/@0", "a/new@1", "b@0"])
        assert.deepStrictEqual(yield* merged(lower, [opaque("a")], [file("a/sub/new")]), [
          "a/@0",
          "a/sub/?@2",
          "a/sub/new@2",
          "b@0"
        ])
        assert.deepStrictEqual(yield* merged(lower, [opaque("")], [file("c")]), ["c@2"])
      })
    )

    it.effect("puts a file in place of a folder, and a folder in place of a file", () =>
      Effect.gen(function* () {
        const lower = [folder("a"), file("a/b"), file("c")]
        assert.deepStrictEqual(yield* merged(lower, [file("a"), folder("c"), file("c/d")]), ["a@1", "c/@1", "c/d@1"])
        assert.deepStrictEqual(yield* merged(lower, [symlink("a", "c")], [file("a/n")]), ["a/?@2", "a/n@2", "c@0"])
      })
    )

    it.effect("takes the later one of two members with one name", () =>
      Effect.gen(function* () {
        const twice = yield* entry("a", [file("a", "first"), file("./a", "second one")])
        assert.strictEqual(twice?.size, 10)
        assert.deepStrictEqual(yield* merged([folder("a"), file("a/b"), file("a"), folder("a/")]), ["a/@0"])
        // The file took the place of what the lower layer has, before it was a folder again.
        assert.deepStrictEqual(yield* merged([folder("a"), file("a/b")], [file("a"), folder("a")]), ["a/@1"])
      })
    )

    it.effect("takes names without what says nothing: ./, doubled and trailing slashes, a slash in front", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* merged([folder("./"), folder("./a//"), file("/a/./b")]), ["/@0", "a/@0", "a/b@0"])
      })
    )

    it.effect("gives a hard link the size of its file, in this layer, a lower one or through another link", () =>
      Effect.gen(function* () {
        const own = yield* entry("b", [file("a", "12345"), hardlink("b", "./a")])
        assert.deepStrictEqual([own?.type, own?.size, own?.link, own?.broken], ["hardlink", 5, "./a", undefined])
        const lower = yield* entry("c", [file("a", "12345")], [hardlink("b", "a")], [hardlink("c", "b"), whiteout("b")])
        assert.deepStrictEqual([lower?.size, lower?.layer, lower?.broken], [5, 2, undefined])
        // The link keeps what it was made of.
        const replaced = yield* entry("b", [file("a", "12345"), hardlink("b", "a")], [file("a", "1")])
        assert.strictEqual(replaced?.size, 5)
      })
    )

    it.effect("says of a hard link to a later layer, to nothing and to itself that it cannot be unpacked", () =>
      Effect.gen(function* () {
        const later = yield* entry("b", [hardlink("b", "a")], [file("a", "12345")])
        assert.deepStrictEqual(
          [later?.size, later?.broken],
          [5, "the file that it names comes only with a later layer"]
        )
        for (const link of ["nothing", "b", "../../etc/passwd"]) {
          const broken = yield* entry("b", [hardlink("b", link)])
          assert.deepStrictEqual([broken?.size, broken?.broken], [0, "the file that it names is not there"], link)
        }
      })
    )

    it.effect("leaves out what cannot stand in an image, and says so", () =>
      Effect.gen(function* () {
        const bad = [
          file("../up"),
          file("a/../../b"),
          file("x".repeat(70_000)),
          file(`${"d/".repeat(4200)}x`),
          file(".wh."),
          file(".wh..."),
          symlink("./", "a"),
          symlink("l", "t".repeat(70_000))
        ]
        const image = yield* files(Layers.of([...bad, file("good")]).source)
        assert.deepStrictEqual(shown(image.entries()), ["good@0"])
        const [layer] = image.layers
        assert.strictEqual(layer?.leftOutCount, 8)
        assert.deepStrictEqual(
          layer?.leftOut.map(({ why }) => why),
          [
            "its name leads upwards",
            "its name leads upwards",
            "its name has 70000 bytes",
            "it lies more than 4096 folders deep",
            "it is a whiteout of no name",
            "it is a whiteout of no name",
            "it is the root, and no folder",
            "it points to a name of 70000 bytes"
          ]
        )
        const many = yield* files(Layers.of(Array.from({ length: 30 }, (_, n) => file(`../${n}`))).source)
        assert.deepStrictEqual([many.layers[0]?.leftOut.length, many.layers[0]?.leftOutCount], [20, 30])
      })
    )

    it.effect("lists very long names and very deep folders", () =>
      Effect.gen(function* () {
        const long = "n".repeat(10_000)
        const deep = `${"d/".repeat(4000)}x`
        const found = yield* merged([file(long), file(deep)])
        assert.strictEqual(found.length, 4002)
        assert.include(found, `${long}@0`)
        assert.include(found, `${deep}@0`)
      })
    )

    it.effect("knows links, devices, pipes, owners and the bits above the permissions", () =>
      Effect.gen(function* () {
        const device = TarBytes.make([{ name: "null", type: "3", mode: 0o666 }], { end: false })
        device.set(TarBytes.bytes("0000001\0" + "0000003\0"), 329)
        checksum(device)
        const owned = TarBytes.make([file("owned", "", 0o6755)], { end: false })
        owned.set(TarBytes.bytes("0001750\0" + "0000144\0"), 108)
        checksum(owned)
        const tar = TarBytes.concat([
          device,
          owned,
          TarBytes.make([{ name: "pipe", type: "6" }, symlink("link", "/bin/sh"), { name: "strange", type: "Z" }])
        ])
        const image = yield* files(Layers.image([Layers.plain(tar)]).source)
        const [link, nul, own, pipe, strange] = image.entries()
        assert.deepStrictEqual([link?.type, link?.link], ["symlink", "/bin/sh"])
        assert.deepStrictEqual([nul?.type, nul?.device, nul?.size], ["character", [1, 3], 0])
        assert.deepStrictEqual([own?.mode, own?.uid, own?.gid], [0o6755, 1000, 100])
        assert.deepStrictEqual([pipe?.type, strange?.type], ["fifo", "other"])
      })
    )

    it.effect("is what a simple model of unpacking comes to, for any layers", () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(Model.layer, { maxLength: 4 }), async (layers) => {
            const image = await Effect.runPromise(files(Layers.of(...layers.map(Model.entries)).source))
            const found = [...image.entries()].map(({ implied, layer, mode, path, size, type }) => [
              path,
              { type, mode: implied ? undefined : mode, size, layer: implied ? undefined : layer }
            ])
            const wanted = [...Model.apply(layers)].map(([path, { layer, mode, size, type }]) => [
              path,
              { type, mode, size, layer }
            ])
            assert.deepStrictEqual(Object.fromEntries(found), Object.fromEntries(wanted))
            assert.strictEqual(found.length, wanted.length)
          }),
          { numRuns: 200 }
        )
      )
    )
  })

  describe("the layers", () => {
    it.effect("list their own members, with whiteouts as what they remove", () =>
      Effect.gen(function* () {
        const image = yield* files(
          Layers.of(
            [folder("a"), file("a/b"), file("c")],
            [whiteout("c"), file("c/d"), folder("a"), opaque("a"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs")]
          ).source
        )
        assert.deepStrictEqual(
          image.layers.map(({ entries }) => shown(entries())),
          [
            ["a/@0", "a/b@0", "c@0"],
            ["a/@1", "a@1 opaque", "c@1 whiteout", "c/d@1"]
          ]
        )
        assert.deepStrictEqual(
          image.layers.map(({ entryCount }) => entryCount),
          [3, 4]
        )
      })
    )

    it.effect("are told with digest, diff ID, sizes and build step", () =>
      Effect.gen(function* () {
        const tar = TarBytes.make([file("a", "x".repeat(5000))])
        const layer = Layers.gzipped(tar)
        const image = Layers.image([layer], { config: { history: [{ created_by: "COPY a /" }] } })
        const [found] = (yield* files(image.source)).layers
        assert.deepStrictEqual(
          [found?.descriptor.digest, found?.diffId, found?.tarSize, found?.createdBy, found?.contents],
          [image.layers[0], layer.diffId, tar.length, "COPY a /", "tar"]
        )
      })
    )

    it.effect("are read once where one stands there twice, and decompressed by what they are, not by their type", () =>
      Effect.gen(function* () {
        const same = Layers.gzipped(TarBytes.make([file("a")]))
        const lying = {
          ...Layers.gzipped(TarBytes.make([file("b")])),
          mediaType: Layers.plain(new Uint8Array(0)).mediaType
        }
        const image = Layers.image([same, lying, same])
        assert.deepStrictEqual(shown((yield* files(image.source)).entries()), ["a@2", "b@1"])
        assert.strictEqual(image.read.length, 2)
      })
    )

    it.effect("that are no tars, or that registries do not hold, are named and not read", () =>
      Effect.gen(function* () {
        const of = (mediaType: string) => ({ ...Layers.plain(TarBytes.bytes(`{"${mediaType}":1}`)), mediaType })
        const chart = {
          ...Layers.gzipped(TarBytes.make([file("Chart.yaml")])),
          mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
        }
        const image = Layers.image(
          [
            of("application/vnd.example.sbom+json"),
            of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            chart
          ],
          { configType: "application/vnd.example.config+json" }
        )
        const found = yield* files(image.source)
        assert.deepStrictEqual(
          found.layers.map(({ contents, diffId, tarSize }) => [contents, diffId, tarSize === undefined]),
          [
            ["other", undefined, true],
            ["foreign", undefined, true],
            ["tar", undefined, false]
          ]
        )
        assert.deepStrictEqual(shown(found.entries()), ["Chart.yaml@2"])
        assert.deepStrictEqual(image.read, [image.layers[2]])
      })
    )
  })

  describe("fails", () => {
    const failure = (layers: ReadonlyArray<Layers.LayerBytes>) => Effect.flip(files(Layers.image(layers).source))
    const tar = TarBytes.make([file("a", "content")])

    it.effect("with LayerMismatch where a layer is not that of the config", () =>
      Effect.gen(function* () {
        const diffId = Fixture.digest(new Uint8Array(1))
        const error = yield* failure([{ ...Layers.gzipped(tar), diffId }])
        assert.deepStrictEqual([error._tag, error.reason], ["ValidationError", "LayerMismatch"])
        assert.match(error.message, /^test layer [0-9a-f]{12}: its tar is sha256:.* the config says sha256:/)
      })
    )

    it.effect("with DigestMismatch where the bytes are not those of the manifest", () =>
      Effect.gen(function* () {
        const { source } = Layers.image([Layers.plain(tar)])
        const changed = tar.slice()
        changed[512] = 1
        const error = yield* Effect.flip(
          files({
            ...source,
            open: Effect.map(source.open, (reader) => ({
              ...reader,
              blob: (descriptor: Descriptor.Descriptor) =>
                descriptor.size === tar.length
                  ? Effect.succeed({ _tag: "Bytes" as const, bytes: changed })
                  : reader.blob(descriptor)
            }))
          })
        )
        assert.strictEqual(error.reason, "DigestMismatch")
        assert.include(error.message, `expected ${Fixture.digest(tar)} of ${tar.length} bytes`)
      })
    )

    it.effect("with the place where a layer is no tar, or is cut", () =>
      Effect.gen(function* () {
        const text = yield* failure([Layers.plain(TarBytes.bytes("text".repeat(300)))])
        assert.deepStrictEqual([text._tag, text.reason], ["TarReadError", "NotATar"])
        assert.match(text.message, /^test: layer [0-9a-f]{12}: is no tar archive \(byte 0\)$/)
        const cut = yield* failure([Layers.gzipped(tar.subarray(0, 515))])
        assert.deepStrictEqual([cut.reason, cut.message.includes('"a"')], ["Truncated", true])
      })
    )

    it.effect("with DamagedData where gzip data is damaged", () =>
      Effect.gen(function* () {
        const { bytes, ...layer } = Layers.gzipped(TarBytes.make([file("a", Fixture.noise(5000, 1))]))
        const error = yield* failure([{ ...layer, bytes: bytes.subarray(0, 3000) }])
        assert.strictEqual(error.reason, "DamagedData")
      })
    )

    it.effect("with PlatformNotFound where an index has no such image", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(files(Layers.of([]).source, { platform: "no platform" }))
        assert.strictEqual(error.reason, "InvalidPlatform")
      })
    )
  })
})

Tools.needing(describe, "zstd")("files of layers by zstd", () => {
  it.effect("are listed as those of others", () =>
    Effect.gen(function* () {
      const tar = TarBytes.make([file("a", Fixture.noise(300_000, 1)), file("b", "x".repeat(300_000))])
      const bytes = new Uint8Array(execFileSync("zstd", ["-c"], { input: tar }))
      const mediaType = "application/vnd.oci.image.layer.v1.tar+zstd"
      const image = yield* files(Layers.image([{ bytes, mediaType, diffId: Fixture.digest(tar) }]).source)
      assert.deepStrictEqual(shown(image.entries()), ["a@0", "b@0"])
    })
  )
})

const checksum = (bytes: Uint8Array): void => {
  bytes.fill(32, 148, 156)
  const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  bytes.set(TarBytes.bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
}
