import { mkdir, readdir, readFile, rename, symlink, truncate, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { SystemError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { copy, type ImageSource, type ImageTarget, MemoryStore, type ValidationError } from "@effect-registry/core"
import { DockerArchive, OciArchive, OciLayout, type TarReadError, validateArchive } from "@effect-registry/tar"
import { Fixture } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { archiveOf, dockerArchive, file, folder } from "./support/files.js"

type Failure = TarReadError | ValidationError
type Source = ImageSource<Failure, FileSystem.FileSystem>

const layer = NodeFileSystem.layer

/** The error of copying the source into a store, where nothing may become visible. */
const failure = (source: Source, compress: "gzip" | "none" = "gzip") =>
  Effect.gen(function* () {
    const store = MemoryStore.make()
    const error = yield* Effect.flip(copy(source, store.target, { compress }))
    assert.strictEqual(store.manifests.size, 0)
    assert.strictEqual(store.names.size, 0)
    return error
  })

/** Asserts the tag, the reason and the message behind the path, which stands in front of it. */
const expectFailure = (
  path: string,
  source: Source,
  [tag, reason, message]: readonly [Failure["_tag"], Failure["reason"], string | RegExp]
) =>
  Effect.gen(function* () {
    const error = yield* failure(source)
    assert.deepStrictEqual([error._tag, error.reason], [tag, reason])
    assert.isTrue(error.message.startsWith(path), error.message)
    assert.notInclude(error.message, "\n")
    if (typeof message === "string") assert.include(error.message, message)
    else assert.match(error.message, message)
  })

describe("a docker-archive that cannot be pushed", () => {
  const expected: Readonly<
    Record<Fixture.DockerBreak, readonly [Failure["_tag"], Failure["reason"], string | RegExp]>
  > = {
    Empty: ["TarReadError", "Empty", "is empty"],
    NotATar: ["TarReadError", "NotATar", "is no tar archive"],
    CutInLayer: ["TarReadError", "Truncated", /layer\.tar": the archive ends \d+ bytes before the end of this member/],
    NoManifest: ["ValidationError", "InvalidArchive", "it has neither manifest.json nor index.json"],
    ManifestNotJson: ["ValidationError", "InvalidArchive", "manifest.json: is not JSON"],
    ManifestNotArray: ["ValidationError", "InvalidArchive", "manifest.json: is not a list of images"],
    ManifestEmpty: ["ValidationError", "NoImage", "its manifest.json lists no image"],
    MissingLayer: [
      "TarReadError",
      "MissingMember",
      /layer\.tar": is named in manifest\.json, but is not in the archive/
    ],
    MissingConfig: ["TarReadError", "MissingMember", /\.json": is named in manifest\.json, but is not in the archive/],
    ConfigNotJson: ["ValidationError", "InvalidImageConfig", "is not JSON"],
    LayerMismatch: ["ValidationError", "LayerMismatch", /a layer's bytes are sha256:.*, its config says sha256:/],
    LayerCount: ["ValidationError", "DigestMismatch", "has the digest sha256:"],
    DuplicateMember: ["TarReadError", "DuplicateMember", "stands in the archive twice"],
    SymlinkLoop: ["TarReadError", "LinkLoop", "is a chain of more than 16 links"],
    LinkOutside: ["TarReadError", "UnsafePath", "leads out of the archive"],
    AbsoluteName: ["TarReadError", "UnsafePath", `"/etc/layer.tar": leads out of the archive`],
    DotDotName: ["TarReadError", "UnsafePath", `"../layer.tar": leads out of the archive`]
  }
  for (const broken of Fixture.dockerBreaks) {
    it.scopedLive(`says what is wrong: ${broken}`, () =>
      Effect.gen(function* () {
        const path = yield* dockerArchive(broken)
        yield* expectFailure(path, DockerArchive.file(path), expected[broken])
        const { problems, valid } = yield* validateArchive(path)
        assert.isFalse(valid)
        assert.include(
          problems.map(({ reason }) => reason),
          expected[broken][1]
        )
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("says so without compressing, too, when a layer is not its diff ID", () =>
    Effect.gen(function* () {
      const path = yield* dockerArchive("LayerMismatch")
      const error = yield* failure(DockerArchive.file(path), "none")
      assert.strictEqual(error.reason, "DigestMismatch")
      assert.isTrue(error.message.startsWith(path))
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("says that layers and diff_ids differ in number", () =>
    Effect.gen(function* () {
      const config = JSON.stringify({ rootfs: { type: "layers", diff_ids: [] } })
      const path = yield* archiveOf(
        [{ Config: "config.json", RepoTags: ["app:1"], Layers: ["layer.tar"] }],
        [
          { name: "config.json", content: config },
          { name: "layer.tar", content: "layer" }
        ]
      )
      yield* expectFailure(path, DockerArchive.file(path), [
        "ValidationError",
        "LayerMismatch",
        "manifest.json[0] names 1 layers, its config has 0 diff_ids"
      ])
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("says that there is no such file, and that a folder is no archive", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const missing = join(there, "missing.tar")
      yield* expectFailure(missing, DockerArchive.file(missing), ["TarReadError", "NotFound", "no such file or folder"])
      yield* expectFailure(there, DockerArchive.file(there), [
        "TarReadError",
        "IsDirectory",
        "is a folder, not an archive"
      ])
      assert.strictEqual((yield* Effect.flip(validateArchive(missing))).reason, "NotFound")
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive(
    "is never a defect, wherever it is cut, and pushes only where no data is lost",
    () =>
      Effect.gen(function* () {
        const whole = Fixture.dockerArchive([
          { image: Fixture.image({ compressed: false, layers: 1, size: 700 }), tags: ["app:1"] }
        ])
        const there = yield* folder
        // manifest.json is last; what is behind its data is padding and end-of-archive blocks.
        const data = Buffer.from(whole).lastIndexOf("]") + 1
        yield* Effect.forEach(
          Array.from({ length: whole.length - 1 }, (_, index) => index + 1),
          (length) =>
            Effect.gen(function* () {
              const path = join(there, `${length}.tar`)
              yield* Effect.promise(() => writeFile(path, whole.subarray(0, length)))
              const fromFile = yield* Effect.either(Effect.scoped(DockerArchive.file(path).open))
              assert.strictEqual(Either.isRight(fromFile), length >= data, `cut at ${length}`)
            }),
          { concurrency: 32, discard: true }
        )
        for (const length of [data, whole.length - 1025, whole.length - 1024, whole.length - 512, whole.length - 1]) {
          const cut = DockerArchive.stream(Stream.succeed(whole.subarray(0, length)))
          const error = yield* Effect.flip(Effect.scoped(cut.open))
          assert.strictEqual(error.reason, "Truncated", `cut at ${length}`)
          assert.include(error.message, "standard input: the input ended before the end of the archive")
        }
        yield* copy(DockerArchive.stream(Stream.succeed(whole)), MemoryStore.make().target)
      }).pipe(Effect.provide(layer)),
    60_000
  )

  it.scopedLive("says that compressed data is damaged, or takes too much memory", () =>
    Effect.gen(function* () {
      const zstd = yield* file(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0))
      yield* expectFailure(zstd, DockerArchive.file(zstd), ["TarReadError", "Truncated", "its zstd data is cut off"])
      const large = yield* file(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0))
      yield* expectFailure(large, DockerArchive.file(large), [
        "TarReadError",
        "TooLarge",
        "its zstd data takes a window of more than 128 MiB"
      ])
      const gzip = yield* file(Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1, 2, 3, 4))
      yield* expectFailure(gzip, DockerArchive.file(gzip), [
        "TarReadError",
        "Truncated",
        "its gzip data is damaged or cut off"
      ])
    }).pipe(Effect.provide(layer))
  )
})

describe("a layout that cannot be pushed", () => {
  const expected: Readonly<
    Partial<Record<Fixture.LayoutBreak, readonly [Failure["_tag"], Failure["reason"], string]>>
  > = {
    NoIndex: ["ValidationError", "InvalidArchive", "it has no index.json"],
    IndexNotJson: ["ValidationError", "InvalidManifest", "index.json: is not JSON"],
    MissingBlob: ["ValidationError", "MissingContent", "is not in it"],
    WrongBlob: ["ValidationError", "DigestMismatch", "expected sha256:"],
    SizeMismatch: ["ValidationError", "InvalidDescriptor", "its descriptor says"],
    SymlinkIndex: ["TarReadError", "UnsafePath", `"index.json": is a symlink; a layout has none`],
    SymlinkBlob: ["TarReadError", "UnsafePath", "is a symlink; a layout has none"],
    SymlinkBlobs: ["TarReadError", "UnsafePath", `"blobs": is a symlink; a layout has none`]
  }
  for (const broken of Fixture.layoutBreaks) {
    const wanted = expected[broken]
    if (wanted === undefined) continue
    it.scopedLive(`says what is wrong: ${broken}`, () =>
      Effect.gen(function* () {
        const path = join(yield* folder, "layout")
        yield* Fixture.ociLayout(path, [{ image: Fixture.image(), tags: ["1"] }], { broken })
        yield* expectFailure(path, OciLayout.folder(path), wanted)
        assert.isFalse((yield* validateArchive(path)).valid)
        if (broken.startsWith("Symlink")) return
        const archive = yield* file(Fixture.ociArchive([{ image: Fixture.image(), tags: ["1"] }], { broken }))
        yield* expectFailure(archive, OciArchive.file(archive), wanted)
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("says that a file is no folder", () =>
    Effect.gen(function* () {
      const path = yield* file("text")
      yield* expectFailure(path, OciLayout.folder(path), ["TarReadError", "NotADirectory", "is no folder"])
    }).pipe(Effect.provide(layer))
  )
})

describe("an archive that changes while it is read", () => {
  /** A target that lets somebody loose on the file when the first blob is written. */
  const meddling = (store: MemoryStore.MemoryStore, meddle: () => Promise<void>): ImageTarget<ValidationError> => {
    let done = false
    return {
      name: "meddling",
      open: Effect.map(store.target.open, (writer) => ({
        ...writer,
        writeBlob: (write) =>
          Effect.zipLeft(
            writer.writeBlob(write),
            Effect.promise(async () => {
              if (!done) await meddle()
              done = true
            })
          )
      }))
    }
  }
  const big = Fixture.dockerArchive([{ image: Fixture.image({ compressed: false, size: 3_000_000 }), tags: ["app:1"] }])

  it.scopedLive("is pushed as it was where it is replaced by another file", () =>
    Effect.gen(function* () {
      const path = yield* file(big)
      const store = MemoryStore.make()
      const target = meddling(store, async () => {
        await writeFile(`${path}.new`, "something else")
        await rename(`${path}.new`, path)
      })
      yield* copy(DockerArchive.file(path), target, { concurrency: 1 })
      assert.strictEqual(store.names.size, 1)
    }).pipe(Effect.provide(layer))
  )

  for (const [how, meddle] of [
    ["truncated", (path: string) => truncate(path, 100_000)],
    ["rewritten in place", (path: string) => writeFile(path, big)]
  ] as const) {
    it.scopedLive(`is an error where it is ${how}, and nothing becomes visible`, () =>
      Effect.gen(function* () {
        const path = yield* file(big)
        const store = MemoryStore.make()
        const target = meddling(store, async () => {
          // The clock of some file systems ticks every few milliseconds.
          await new Promise((resolve) => setTimeout(resolve, 20))
          await meddle(path)
        })
        const error = yield* Effect.flip(copy(DockerArchive.file(path), target, { concurrency: 1 }))
        assert.strictEqual(error.reason, "SourceChanged")
        assert.match(error.message, /app\.tar: (?:changed|became shorter) while it was read/)
        assert.strictEqual(store.names.size, 0)
      }).pipe(Effect.provide(layer))
    )
  }
})

describe("a target that cannot be written", () => {
  const image = Effect.map(dockerArchive(), (path) => DockerArchive.file(path))
  const leftovers = (path: string) => Effect.promise(() => readdir(path))

  it.scopedLive("is refused where it exists, unless forced", () =>
    Effect.gen(function* () {
      const source = yield* image
      const path = yield* file("precious", "out.tar")
      const error = yield* Effect.flip(copy(source, DockerArchive.target(path)))
      assert.strictEqual(error.reason, "TargetExists")
      assert.strictEqual(error.message, `${path}: exists already`)
      yield* copy(source, DockerArchive.target(path, { force: true }))
      assert.strictEqual((yield* validateArchive(path)).valid, true)
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("is not taken from somebody who made it in the meantime", () =>
    Effect.gen(function* () {
      const source = yield* image
      const path = join(yield* folder, "out.tar")
      const target = DockerArchive.target(path)
      const late: ImageTarget<Failure, FileSystem.FileSystem> = {
        name: path,
        open: Effect.map(target.open, (writer) => ({
          ...writer,
          writeManifest: (descriptor, bytes, names) =>
            Effect.zipRight(
              Effect.promise(() => writeFile(path, "precious")),
              writer.writeManifest(descriptor, bytes, names)
            )
        }))
      }
      assert.strictEqual((yield* Effect.flip(copy(source, late))).reason, "TargetExists")
      assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), "precious")
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive(
    "is refused where it is a folder, where its folder is missing, where a part of the path is a file",
    () =>
      Effect.gen(function* () {
        const source = yield* image
        const there = yield* folder
        const reason = (path: string) =>
          Effect.map(Effect.flip(copy(source, DockerArchive.target(path))), (error) => error.reason)
        assert.strictEqual(yield* reason(there), "IsDirectory")
        assert.strictEqual(yield* reason(join(there, "missing", "out.tar")), "NotFound")
        const plain = yield* file("text")
        assert.strictEqual(yield* reason(join(plain, "out.tar")), "NotADirectory")
        const layout = yield* Effect.flip(copy(source, OciLayout.target(plain)))
        assert.strictEqual(layout.reason, "NotADirectory")
        yield* Effect.promise(() => mkdir(join(there, "full")))
        yield* Effect.promise(() => writeFile(join(there, "full", "file"), ""))
        assert.strictEqual(
          (yield* Effect.flip(copy(source, OciLayout.target(join(there, "full"))))).reason,
          "TargetExists"
        )
      }).pipe(Effect.provide(layer))
  )

  for (const [code, reason] of [
    ["ENOSPC", "NoSpace"],
    ["EROFS", "ReadOnly"],
    ["EACCES", "Permission"]
  ] as const) {
    it.scopedLive(`says ${reason}, and leaves nothing behind`, () =>
      Effect.gen(function* () {
        const source = yield* image
        const there = yield* folder
        const fs = yield* FileSystem.FileSystem
        let left = 3
        const failed = new SystemError({
          reason: "Unknown",
          module: "FileSystem",
          method: "write",
          pathOrDescriptor: there,
          cause: Object.assign(new Error(code), { code })
        })
        const full: FileSystem.FileSystem = {
          ...fs,
          open: (path, options) =>
            Effect.map(fs.open(path, options), (handle) =>
              options?.flag === "r"
                ? handle
                : Object.assign(Object.create(handle), {
                    writeAll: (bytes: Uint8Array) => (left-- > 0 ? handle.writeAll(bytes) : Effect.fail(failed))
                  })
            )
        }
        for (const target of [DockerArchive.target(join(there, "out.tar")), OciLayout.target(join(there, "layout"))]) {
          left = 2
          const error = yield* Effect.flip(Effect.provideService(copy(source, target), FileSystem.FileSystem, full))
          assert.strictEqual(error.reason, reason)
          assert.deepStrictEqual(yield* leftovers(there), [])
        }
      }).pipe(Effect.provide(layer))
    )
  }

  it.scopedLive("is left without a trace when the copy is interrupted", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const store = MemoryStore.make()
      yield* copy(yield* image, store.target)
      const slow: ImageSource<ValidationError> = {
        name: "slow",
        open: Effect.map(store.source().open, (reader) => ({ ...reader, blob: () => Effect.never }))
      }
      for (const target of [DockerArchive.target(join(there, "out.tar")), OciLayout.target(join(there, "layout"))]) {
        const fiber = yield* Effect.fork(copy(slow, target))
        yield* Effect.sleep("30 millis")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* leftovers(there), [])
      }
    }).pipe(Effect.provide(layer))
  )

  it.scopedLive("is never reached through a symlink in a layout", () =>
    Effect.gen(function* () {
      const there = yield* folder
      const outside = yield* folder
      yield* Effect.promise(async () => {
        await mkdir(join(there, "layout"))
        await writeFile(join(there, "layout", "oci-layout"), "{}")
        await symlink(outside, join(there, "layout", "blobs"))
      })
      const error = yield* Effect.flip(copy(yield* image, OciLayout.target(join(there, "layout"))))
      assert.strictEqual(error.reason, "UnsafePath")
    }).pipe(Effect.provide(layer))
  )
})

describe("a member that is no file of a tar", () => {
  it.scopedLive("is an error where manifest.json names a folder", () =>
    Effect.gen(function* () {
      const path = yield* archiveOf(
        [{ Config: "folder", RepoTags: null, Layers: [] }],
        [{ name: "folder/", type: "directory" }]
      )
      yield* expectFailure(path, DockerArchive.file(path), ["TarReadError", "MissingMember", "is no regular file"])
    }).pipe(Effect.provide(layer))
  )
})
