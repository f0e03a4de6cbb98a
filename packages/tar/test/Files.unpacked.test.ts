import { execFileSync } from "node:child_process"
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { gunzipSync } from "node:zlib"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { DockerArchive, diff, type FileEntry, files } from "@effect-registry/tar"
import { Fixture, TarBytes, TarRead, Tools } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import { folder } from "./support/files.js"
import * as Layers from "./support/layers.js"

/**
 * Unpacks the layers one over the other by GNU tar. Whiteouts are carried out here, from what `tar -t` lists: first those
 * of a layer, for they are about what is there already, then its members.
 */
const unpack = (root: string, layers: ReadonlyArray<Uint8Array>): void => {
  for (const layer of layers) {
    const names = execFileSync("tar", ["-t", "--quoting-style=literal", "-f", "-"], { input: layer, env })
      .toString()
      .split("\n")
    for (const name of names) {
      const base = name.slice(name.lastIndexOf("/") + 1)
      const parent = join(root, dirname(name))
      if (base === ".wh..wh..opq") {
        for (const child of list(parent)) rmSync(join(parent, child), { recursive: true })
      } else if (base.startsWith(".wh.")) rmSync(join(parent, base.slice(4)), { recursive: true, force: true })
    }
    for (const name of names) {
      // tar puts no file in place of a folder that is not empty.
      const path = join(root, name)
      if (name !== "" && !name.endsWith("/") && isFolder(path)) rmSync(path, { recursive: true })
    }
    execFileSync("tar", ["-x", "-p", "--exclude=.wh.*", "-f", "-", "-C", root], { input: layer, env })
  }
}

const env = { ...process.env, LC_ALL: "C.UTF-8" }

const isFolder = (path: string): boolean => {
  try {
    return lstatSync(path).isDirectory()
  } catch {
    return false
  }
}

const list = (path: string): ReadonlyArray<string> => {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** What `find` sees: path, type, mode, owner, size of files, target of symlinks. */
const found = (root: string): ReadonlyArray<string> =>
  execFileSync("find", [root, "-mindepth", "1", "-printf", "%P\\t%y\\t%m\\t%U:%G\\t%s\\t%l\\0"], {
    env,
    maxBuffer: 1 << 28
  })
    .toString()
    .split("\0")
    .filter((line) => line !== "")
    .map((line) => {
      const [path = "", type = "", mode = "", owner = "", size = "", link = ""] = line.split("\t")
      return told(path, type, mode, owner, type === "f" ? size : "", link)
    })
    .sort()

const told = (path: string, type: string, mode: string, owner: string, size: string, link: string): string =>
  // Owners are kept only by who may give files away.
  [path, type, type === "l" ? "" : mode, process.getuid?.() === 0 ? owner : "", size, link].join(" ")

const types: Readonly<Record<string, string>> = { file: "f", hardlink: "f", directory: "d", symlink: "l", fifo: "p" }

const listed = (entries: Iterable<FileEntry>): ReadonlyArray<string> =>
  [...entries]
    .filter(({ path }) => path !== "")
    .map(({ gid, link = "", mode, path, size, type, uid }) => {
      const kind = types[type] ?? type
      return told(
        path,
        kind,
        mode.toString(8),
        `${uid}:${gid}`,
        kind === "f" ? String(size) : "",
        type === "symlink" ? link : ""
      )
    })
    .sort()

/** The layers of the image at a place in an archive's manifest.json, or of its only OCI manifest. */
const layersOf = (archive: string, index: number): ReadonlyArray<Uint8Array> => {
  const members = TarRead.read(readFileSync(archive))
  const json = (name: string) => JSON.parse(Buffer.from(members.get(name) ?? "").toString())
  const blob = (digest: string) => `blobs/${digest.replace(":", "/")}`
  const oci = () => {
    let manifest = json("index.json").manifests[index]
    manifest = json(blob(manifest.digest))
    if (manifest.manifests !== undefined) {
      const amd64 = manifest.manifests.find(
        (each: { platform: { architecture: string } }) => each.platform.architecture === "amd64"
      )
      manifest = json(blob(amd64.digest))
    }
    return manifest.layers.map(({ digest }: { digest: string }) => blob(digest))
  }
  const names: ReadonlyArray<string> = members.has("manifest.json") ? json("manifest.json")[index].Layers : oci()
  return names.map((name) => {
    const bytes = members.get(name) ?? new Uint8Array(0)
    return bytes[0] === 0x1f ? new Uint8Array(gunzipSync(bytes)) : bytes
  })
}

Tools.needing(
  describe,
  "tar",
  "find"
)("files, beside what GNU tar unpacks", () => {
  const { docker20Multi, docker26Multi, docker26Partial, docker26Untagged, ociArchive, ociMultiarch, podmanMulti } =
    Fixture.archives
  for (const [archive, index] of [
    [docker20Multi, 0],
    [docker20Multi, 1],
    [docker26Multi, 0],
    [docker26Multi, 1],
    [docker26Partial, 0],
    [docker26Untagged, 0],
    [ociArchive, 0],
    [ociMultiarch, 0],
    [podmanMulti, 0],
    [podmanMulti, 1]
  ] as const) {
    it.scoped(`agrees on ${archive.slice(archive.lastIndexOf("/") + 1)}, image ${index}`, () =>
      Effect.gen(function* () {
        const root = yield* folder
        unpack(root, layersOf(archive, index))
        const image = yield* files(DockerArchive.file(archive, { image: index }), { platform: "linux/amd64" })
        const entries = listed(image.entries())
        assert.isAbove(entries.length, 0)
        assert.deepStrictEqual(entries, found(root))
      }).pipe(Effect.provide(NodeFileSystem.layer))
    )
  }

  for (const format of ["ustar", "gnu", "oldgnu", "pax"]) {
    it.scoped(`agrees on layers that GNU tar wrote: ${format}`, () =>
      Effect.gen(function* () {
        const work = yield* folder
        const [lower, upper] = [join(work, "lower"), join(work, "upper")]
        writeTree(lower, format)
        mkdirSync(join(upper, "etc"), { recursive: true })
        mkdirSync(join(upper, "var/cache"), { recursive: true })
        writeFileSync(join(upper, "etc/.wh.passwd"), "")
        writeFileSync(join(upper, "etc/new"), "new")
        writeFileSync(join(upper, ".wh.opt"), "")
        writeFileSync(join(upper, "var/cache/.wh..wh..opq"), "")
        writeFileSync(join(upper, "var/cache/fresh"), "fresh")
        writeFileSync(join(upper, "folder"), "a file now")
        mkdirSync(join(upper, "plain"))
        writeFileSync(join(upper, "plain/inside"), "a folder now")
        const pack = (root: string) =>
          new Uint8Array(
            execFileSync("tar", ["-c", `--format=${format}`, "-f", "-", "-C", root, "."], { env, maxBuffer: 1 << 28 })
          )
        const link = TarBytes.make([Layers.hardlink("etc/linked", "etc/group")])
        const layers = [pack(lower), pack(upper), link]
        const root = join(work, "root")
        mkdirSync(root)
        unpack(root, layers)
        const image = yield* files(Layers.image(layers.map(Layers.gzipped)).source)
        assert.deepStrictEqual(listed(image.entries()), found(root))
        // What tar says of one layer, by its names.
        const names = execFileSync("tar", ["-t", "--quoting-style=literal", "-f", "-"], { input: layers[0], env })
          .toString()
          .split("\n")
          .map((name) => name.replace(/^\.\//, "").replace(/\/$/, ""))
          .filter((name) => name !== "")
        assert.deepStrictEqual(
          [...(image.layers[0]?.entries() ?? [])]
            .map(({ path }) => path)
            .filter((path) => path !== "")
            .sort(),
          [...names].sort()
        )
      })
    )
  }

  it.scoped("and diff agrees on what was added, removed and modified", () =>
    Effect.gen(function* () {
      const [before, after] = [
        layersOf(docker26Multi, 0),
        [
          ...layersOf(docker26Multi, 1),
          TarBytes.make([
            Layers.whiteout("opt"),
            Layers.file("etc/motd", "changed"),
            Layers.file("bin/more", "x".repeat(3000), 0o755)
          ])
        ]
      ]
      const lists = yield* Effect.forEach([before, after], (layers) =>
        Effect.map(folder, (root) => {
          unpack(root, layers)
          return new Map(
            execFileSync(
              "sh",
              [
                "-c",
                `find . -mindepth 1 -printf '%P\\t%y%m%s%l\\t' -a \\( -type f -exec sha256sum {} \\; -o -printf '\\n' \\)`
              ],
              { cwd: root, env }
            )
              .toString()
              .split("\n")
              .flatMap((line) => {
                const [path, attributes = "", sum = ""] = line.split("\t")
                // A folder's size says how full it is.
                return path === undefined || path === ""
                  ? []
                  : [[path, attributes.startsWith("d") ? "d" : attributes + sum.slice(0, 64)] as const]
              })
          )
        })
      )
      const [a = new Map<string, string>(), b = new Map<string, string>()] = lists
      const wanted = [...new Set([...a.keys(), ...b.keys()])]
        .filter((path) => a.get(path) !== b.get(path))
        .map((path) => `${a.has(path) ? (b.has(path) ? "modified" : "removed") : "added"} ${path}`)
      const image = (layers: ReadonlyArray<Uint8Array>) => Layers.image(layers.map(Layers.plain)).source
      const { files: changed } = yield* diff(image(before), image(after))
      assert.isAbove(wanted.length, 10)
      assert.deepStrictEqual([...changed()].map(({ change, path }) => `${change} ${path}`).sort(), wanted.sort())
    })
  )
})

/** The names and kinds that images have. */
const writeTree = (root: string, format: string): void => {
  for (const path of ["etc", "bin", "var/cache/old", "opt/app/deep", "folder"])
    mkdirSync(join(root, path), { recursive: true })
  const long = format === "ustar" ? "usr/share/한국어" : `usr/${`${"long".repeat(30)}/`.repeat(4)}end`
  mkdirSync(join(root, dirname(long)), { recursive: true })
  for (const path of [
    "etc/passwd",
    "etc/group",
    "bin/tool",
    "var/cache/a",
    "var/cache/old/b",
    "opt/app/deep/c",
    "folder/d",
    "plain",
    long
  ]) {
    writeFileSync(join(root, path), `content of ${path}`)
  }
  writeFileSync(join(root, "etc/large"), "x".repeat(100_000))
  chmodSync(join(root, "bin/tool"), 0o4755)
  chmodSync(join(root, "var/cache"), 0o1777)
  linkSync(join(root, "etc/group"), join(root, "etc/group.hard"))
  symlinkSync("../bin/tool", join(root, "etc/tool"))
  symlinkSync(format === "ustar" ? "t" : "t".repeat(300), join(root, "etc/long-link"))
  execFileSync("mkfifo", [join(root, "var/pipe")])
}
