import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { type Digest, MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Index from "../../src/storage/Index.js"
import * as IndexWriter from "../../src/storage/IndexWriter.js"
import * as Layout from "../../src/storage/Layout.js"
import { digestOf } from "../support.js"

const [image, child, index, loose, absent] = ["image", "child", "index", "loose", "absent"].map((text) =>
  digestOf(text)
)
if (!image || !child || !index || !loose || !absent) throw new Error("five of them")

const described = { mediaType: MediaType.ociManifest, size: 5 }
const content: Index.Content = {
  tags: new Map([
    ["1", image],
    ["2", image],
    ["broken", absent],
    ["multi", index]
  ]),
  manifests: new Map<Digest.Digest, Index.Manifest>([
    [image, described],
    [child, described],
    [index, { mediaType: MediaType.ociIndex, size: 7, children: [child, absent] }],
    [loose, described]
  ])
}

const setup = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "index-test-"))),
    (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
  ),
  (root) => {
    const layout = Layout.make(root)
    for (const path of [layout.tmp, layout.tags("app"), layout.manifests("app", "sha256")]) {
      mkdirSync(path, { recursive: true })
    }
    const age = (seconds: number) => {
      const time = Date.now() / 1000 - seconds
      for (const path of [layout.tags("app"), layout.manifests("app", "sha256")]) utimesSync(path, time, time)
    }
    return { layout, age }
  }
)

const write = (layout: Layout.Layout, read = async () => content) =>
  Effect.promise(() => Index.write(layout, "app", read))
const isStale = (layout: Layout.Layout) => Effect.promise(() => Index.isStale(layout, "app"))

describe("Index", () => {
  describe("render", () => {
    it("has an entry for each tag, and one without name for each manifest that nothing leads to", () => {
      const entry = (digest: string, name: string) => ({
        ...described,
        digest,
        annotations: { "org.opencontainers.image.ref.name": name }
      })
      assert.deepStrictEqual(JSON.parse(Index.render(content)), {
        schemaVersion: 2,
        mediaType: MediaType.ociIndex,
        manifests: [
          entry(image, "1"),
          entry(image, "2"),
          { ...entry(index, "multi"), mediaType: MediaType.ociIndex, size: 7 },
          { ...described, digest: loose }
        ]
      })
    })
  })

  describe("write and isStale", () => {
    it.scoped("a new one is true until a folder it was made from changes", () =>
      Effect.gen(function* () {
        const { age, layout } = yield* setup
        age(10)
        assert.isTrue(yield* isStale(layout))
        yield* write(layout)
        assert.strictEqual(readFileSync(layout.index("app"), "utf8"), Index.render(content))
        assert.strictEqual(
          readFileSync(join(layout.image("app"), "oci-layout"), "utf8"),
          '{"imageLayoutVersion":"1.0.0"}'
        )
        assert.isFalse(yield* isStale(layout))
        writeFileSync(layout.tag("app", "new"), image)
        assert.isTrue(yield* isStale(layout))
      })
    )

    it.scoped(
      "is stale where something changed while it was read, or so late that the clock may not show the next change",
      () =>
        Effect.gen(function* () {
          const { age, layout } = yield* setup
          age(10)
          yield* write(layout, async () => {
            writeFileSync(layout.tag("app", "new"), image)
            return content
          })
          assert.isTrue(yield* isStale(layout))
          age(-60)
          yield* write(layout)
          assert.isTrue(yield* isStale(layout))
        })
    )

    it.scoped("is stale where a power cut left nothing of it", () =>
      Effect.gen(function* () {
        const { age, layout } = yield* setup
        age(10)
        yield* write(layout)
        const { atime, mtime } = statSync(layout.index("app"))
        writeFileSync(layout.index("app"), "")
        utimesSync(layout.index("app"), atime, mtime)
        assert.isTrue(yield* isStale(layout))
      })
    )

    it.scoped("a repository that never had a manifest needs none", () =>
      Effect.gen(function* () {
        const { layout } = yield* setup
        assert.isFalse(yield* Effect.promise(() => Index.isStale(layout, "other")))
      })
    )
  })
})

describe("IndexWriter", () => {
  const make = (layout: Layout.Layout, read: (repository: string) => Promise<Index.Content>) => {
    const failures: Array<string> = []
    const writer = IndexWriter.make({ layout, read, onFailure: (name, cause) => failures.push(`${name}: ${cause}`) })
    return { writer, failures }
  }

  describe("touch", () => {
    it.scopedLive("writes once for many changes, soon after the last", () =>
      Effect.gen(function* () {
        const { layout } = yield* setup
        let reads = 0
        const { writer } = make(layout, async () => {
          reads++
          return content
        })
        for (let change = 0; change < 20; change++) {
          writer.touch("app")
          yield* Effect.sleep("10 millis")
        }
        assert.strictEqual(reads, 0)
        yield* Effect.sleep("800 millis")
        assert.strictEqual(reads, 1)
        assert.isTrue(existsSync(layout.index("app")))
      })
    )
  })

  describe("close", () => {
    it.scopedLive("writes what is outstanding, and nothing after", () =>
      Effect.gen(function* () {
        const { layout } = yield* setup
        let reads = 0
        const { writer } = make(layout, async () => {
          reads++
          return content
        })
        writer.touch("app")
        yield* Effect.promise(() => writer.close())
        assert.strictEqual(reads, 1)
        writer.touch("app")
        yield* Effect.sleep("600 millis")
        assert.strictEqual(reads, 1)
      })
    )
  })

  describe("flush", () => {
    it.scopedLive("goes on with the others where one cannot be written, and says so", () =>
      Effect.gen(function* () {
        const { layout } = yield* setup
        const { failures, writer } = make(layout, (name) =>
          name === "bad" ? Promise.reject(new Error("no disk")) : Promise.resolve(content)
        )
        for (const name of ["bad", "app"]) writer.touch(name)
        yield* Effect.promise(() => writer.flush())
        assert.deepStrictEqual(failures, ["bad: Error: no disk"])
        assert.isTrue(existsSync(layout.index("app")))
        assert.isFalse(existsSync(layout.index("bad")))
      })
    )
  })
})
