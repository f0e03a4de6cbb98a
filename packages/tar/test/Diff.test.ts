import { assert, describe, it } from "@effect/vitest"
import { diff, type FileChange } from "@effect-registry/tar"
import { TarBytes } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Layers from "./support/layers.js"
import * as Model from "./support/model.js"

const { file, folder, hardlink, opaque, symlink, whiteout } = Layers

const letters = { added: "A", removed: "D", modified: "M" }
const shown = (changes: Iterable<FileChange>): ReadonlyArray<string> =>
  [...changes].map(
    ({ aspects, change, path, sizeChange }) =>
      `${letters[change]} ${path} ${sizeChange}${aspects.length === 0 ? "" : ` ${aspects.join(",")}`}`
  )

const changes = (a: ReadonlyArray<ReadonlyArray<Layers.Entry>>, b: ReadonlyArray<ReadonlyArray<Layers.Entry>>) =>
  Effect.map(diff(Layers.of(...a).source, Layers.of(...b).source), ({ files }) => shown(files()))

describe("diff", () => {
  describe("of files", () => {
    it.effect("tells what was added, removed and modified, sorted by path", () =>
      Effect.gen(function* () {
        const before = [folder("a"), file("a/gone", "12345"), file("a/kept"), file("grows", "1")]
        const after = [folder("a"), file("a/kept"), file("grows", "123"), folder("new"), file("new/er", "12")]
        assert.deepStrictEqual(yield* changes([before], [after]), [
          "D a/gone -5",
          "M grows 2 size,content",
          "A new 0",
          "A new/er 2"
        ])
      })
    )

    it.effect("finds other content of the same size", () =>
      Effect.gen(function* () {
        const [before, after] = ["x", "y"].map((content) => [file("a", content.repeat(3000)), file("b")])
        assert.deepStrictEqual(yield* changes([before ?? []], [after ?? []]), ["M a 0 content"])
      })
    )

    it.effect("compares the later one of two members with one name", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* changes([[file("a", "old"), file("a", "")]], [[file("a", "")]]), [])
      })
    )

    it.effect("tells a change of mode, owner, type, and of where a symlink points", () =>
      Effect.gen(function* () {
        const owned = TarBytes.make([file("owner", "")], { end: false })
        owned.set(TarBytes.bytes("0001750\0"), 108)
        owned.fill(32, 148, 156)
        const sum = owned.reduce((total, byte) => total + byte, 0)
        owned.set(TarBytes.bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
        const before = TarBytes.make([
          folder("dir", 0o755),
          file("mode", "", 0o644),
          file("owner", ""),
          symlink("s", "a"),
          file("type", "")
        ])
        const after = TarBytes.concat([
          owned,
          TarBytes.make([folder("dir", 0o1777), file("mode", "", 0o4755), symlink("s", "b"), folder("type")])
        ])
        const found = yield* diff(
          Layers.image([Layers.plain(before)]).source,
          Layers.image([Layers.plain(after)]).source
        )
        assert.deepStrictEqual(shown(found.files()), [
          "M dir 0 mode",
          "M mode 0 mode",
          "M owner 0 owner",
          "M s 0 link",
          "M type 0 type"
        ])
        const [, mode] = found.files()
        assert.deepStrictEqual([mode?.before?.mode, mode?.after?.mode], [0o644, 0o4755])
      })
    )

    it.effect("takes no notice of times, of which name is the hard link, and of folders that no layer lists", () =>
      Effect.gen(function* () {
        // The permissions of a symlink mean nothing.
        const link = symlink("s", "a")
        const timed = TarBytes.make([file("a", "data")], { end: false })
        timed.set(TarBytes.bytes("00000000007"), 136)
        timed[147] = 0
        timed.fill(32, 148, 156)
        const sum = timed.subarray(0, 512).reduce((total, byte) => total + byte, 0)
        timed.set(TarBytes.bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
        const before = TarBytes.concat([timed, TarBytes.make([hardlink("b", "a"), file("c/d"), link])])
        const after = TarBytes.make([
          file("b", "data"),
          hardlink("a", "b"),
          folder("c", 0o700),
          file("c/d"),
          { ...link, mode: 0o777 }
        ])
        const found = yield* diff(
          Layers.image([Layers.plain(before)]).source,
          Layers.image([Layers.plain(after)]).source
        )
        assert.deepStrictEqual(shown(found.files()), [])
      })
    )

    it.effect("sees what a hard link names change, in a layer that is the same", () =>
      Effect.gen(function* () {
        const link = [folder("l"), hardlink("l/b", "a")]
        assert.deepStrictEqual(yield* changes([[file("a", "one")], link], [[file("a", "three")], link]), [
          "M a 2 size,content",
          "M l/b 2 size,content"
        ])
      })
    )

    it.effect("is what a simple model says, for any two images that share layers or do not", () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.array(Model.layer, { maxLength: 2 }),
            fc.array(Model.layer, { maxLength: 2 }),
            fc.array(Model.layer, { maxLength: 2 }),
            async (below, left, right) => {
              const of = (layers: ReadonlyArray<Model.Layer>) => Layers.of(...layers.map(Model.entries))
              const a = [...below, ...left]
              const b = [...below, ...right]
              const found = await Effect.runPromise(diff(of(a).source, of(b).source))
              const wanted = Model.difference(Model.apply(a), Model.apply(b))
              assert.deepStrictEqual(
                [...found.files()].map(({ change, path }) => `${letters[change]} ${path}`).sort(),
                wanted
              )
            }
          ),
          { numRuns: 200 }
        )
      )
    )
  })

  describe("of layers that both have at the bottom", () => {
    const base = [folder("etc"), file("etc/base"), file("app/lib")]

    it.effect("reads none where all are the same", () =>
      Effect.gen(function* () {
        const [a, b] = [Layers.of(base, [file("x")]), Layers.of(base, [file("x")])]
        const found = yield* diff(a.source, b.source)
        assert.deepStrictEqual([...found.files()], [])
        assert.deepStrictEqual([a.read, b.read], [[], []])
      })
    )

    const unread: Readonly<Record<string, readonly [ReadonlyArray<Layers.Entry>, ReadonlyArray<Layers.Entry>]>> = {
      "other content under the same names": [[file("app/main", "1")], [file("app/main", "22")]],
      "the same whiteouts": [
        [whiteout("etc"), file("a", "1")],
        [whiteout("etc"), file("a", "2")]
      ],
      "folders that hide what lies below": [
        [folder("app"), opaque("app"), file("app/a", "1")],
        [folder("app"), opaque("app"), file("app/b", "1")]
      ],
      "a whiteout and a file of one name": [[whiteout("etc/base")], [file("etc/base", "new")]]
    }
    for (const [what, [left, right]] of Object.entries(unread)) {
      it.effect(`does not read them for ${what}`, () =>
        Effect.gen(function* () {
          const [a, b] = [Layers.of(base, left), Layers.of(base, right)]
          const found = yield* diff(a.source, b.source)
          assert.isAbove([...found.files()].length, 0)
          assert.deepStrictEqual([a.read, b.read], [[a.layers[1]], [b.layers[1]]])
        })
      )
    }

    const read: typeof unread = {
      "a name that one has": [[file("app/main")], [file("app/main"), file("app/lib", "new")]],
      "a whiteout of one": [[file("x", "1")], [file("x", "1"), whiteout("etc/base")]],
      "a folder listed by one": [[folder("app", 0o700), file("app/x")], [file("app/x")]],
      "an opaque folder of one": [[folder("app"), opaque("app")], [folder("app")]],
      "a file in place of what may be a folder": [[file("app")], [folder("app")]],
      "a hard link to a file that lies there": [[hardlink("h", "app/lib")], [file("h", "other")]],
      "the folder of everything listed by one": [[folder("./", 0o700), file("x")], [file("x")]],
      "nothing on one side": [[], [file("etc/base", "new")]]
    }
    for (const [what, [left, right]] of Object.entries(read)) {
      it.effect(`reads them for ${what}`, () =>
        Effect.gen(function* () {
          const [a, b] = [Layers.of(base, left), Layers.of(base, right)]
          yield* diff(a.source, b.source)
          assert.include(a.read, a.layers[0])
          assert.notInclude(b.read, b.layers[0])
        })
      )
    }
  })

  describe("of the list of layers", () => {
    const layer = (name: string) => Layers.plain(TarBytes.make([file(name)]))
    it.effect("finds those that both have, in as few steps as there can be", () =>
      Effect.gen(function* () {
        const a = Layers.image(["1", "2", "3", "4"].map(layer))
        const b = Layers.image(["1", "3", "5", "4"].map(layer))
        const { layers } = yield* diff(a.source, b.source)
        assert.deepStrictEqual(
          layers.map(({ change }) => change),
          ["same", "removed", "same", "added", "same"]
        )
        const apart = yield* diff(
          Layers.image(["1", "2", "same"].map(layer)).source,
          Layers.image(["3", "4", "same"].map(layer)).source
        )
        assert.deepStrictEqual(
          apart.layers.map(({ change }) => change),
          ["removed", "removed", "added", "added", "same"]
        )
        assert.deepStrictEqual(
          [layers[1]?.before?.descriptor.digest, layers[3]?.after?.descriptor.digest],
          [a.layers[1], b.layers[2]]
        )
      })
    )

    it.effect("reads a layer once that lies in both at another place", () =>
      Effect.gen(function* () {
        const [a, b] = [Layers.image(["1", "2"].map(layer)), Layers.image(["2", "1"].map(layer))]
        yield* diff(a.source, b.source)
        assert.deepStrictEqual([a.read.length, b.read.length], [2, 0])
      })
    )

    it.effect("takes a layer that is compressed in another way for the same", () =>
      Effect.gen(function* () {
        const tar = TarBytes.make([file("a")])
        const [a, b] = [Layers.image([Layers.plain(tar)]), Layers.image([Layers.gzipped(tar)])]
        const found = yield* diff(a.source, b.source)
        assert.deepStrictEqual(
          found.layers.map(({ after, before, change }) => [
            change,
            before?.descriptor.digest,
            after?.descriptor.digest
          ]),
          [["same", a.layers[0], b.layers[0]]]
        )
        assert.deepStrictEqual([a.read, b.read], [[], []])
      })
    )
  })

  describe("of settings", () => {
    it.effect("goes field by field, and variable by variable", () =>
      Effect.gen(function* () {
        const config = (fields: object) => Layers.image([], { config: { config: fields } }).source
        const found = yield* diff(
          config({
            Env: ["PATH=/bin", "A=1", "SAME=x"],
            Cmd: ["sh"],
            Labels: { b: "1", a: "1" },
            ExposedPorts: { "80/tcp": {} },
            User: "",
            Volumes: null,
            OnBuild: ["RUN x"]
          }),
          config({
            Env: ["SAME=x", "PATH=/usr/bin", "EMPTY="],
            Cmd: ["sh", "-c"],
            Labels: { a: "2", b: "1" },
            WorkingDir: "/app"
          })
        )
        assert.deepStrictEqual(
          found.config.map(({ after, before, field, key }) => [field, key, before, after]),
          [
            ["env", "A", "1", undefined],
            ["env", "EMPTY", undefined, ""],
            ["env", "PATH", "/bin", "/usr/bin"],
            ["cmd", undefined, '["sh"]', '["sh","-c"]'],
            ["workingDir", undefined, undefined, "/app"],
            ["exposedPorts", "80/tcp", "", undefined],
            ["labels", "a", "1", "2"],
            ["onBuild", undefined, '["RUN x"]', undefined]
          ]
        )
      })
    )
  })

  it.effect("names layers whose files it did not compare", () =>
    Effect.gen(function* () {
      const sbom = { ...Layers.plain(TarBytes.bytes("{}")), mediaType: "application/vnd.example.sbom+json" }
      const { leftOut, unread } = yield* diff(Layers.image([sbom]).source, Layers.of([file("../up"), file("a")]).source)
      assert.deepStrictEqual(
        unread.map(({ descriptor }) => descriptor.mediaType),
        [sbom.mediaType]
      )
      assert.deepStrictEqual(
        leftOut.map(({ count, first }) => [count, first[0]?.name]),
        [[1, "../up"]]
      )
    })
  )
})
