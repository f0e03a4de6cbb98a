import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import { Fixture, TarBytes } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, output, registry, repositoryName, temporaryFolder } from "./support.js"

const web = `docker-archive:${fixture("docker26-multi.tar")}:fixture/web:2.0`

/** A docker-archive of one image with a plain layer of these members. */
const archiveOf = (members: ReadonlyArray<TarBytes.TarEntry>, name = "app.tar") =>
  Effect.map(temporaryFolder, (folder) => {
    const path = join(folder, name)
    const tar = TarBytes.make(members)
    const config = JSON.stringify({ os: "linux", architecture: "amd64", rootfs: { diff_ids: [Fixture.digest(tar)] } })
    const manifest = [{ Config: "config.json", RepoTags: ["app:1"], Layers: ["layer.tar"] }]
    writeFileSync(
      path,
      TarBytes.make([
        { name: "layer.tar", content: tar },
        { name: "config.json", content: config },
        { name: "manifest.json", content: JSON.stringify(manifest) }
      ])
    )
    return path
  })

layer(registry, { excludeTestServices: true })("ereg files", (it) => {
  describe("of an archive", () => {
    it.scoped("lists what a container would see: mode, owner, size, layer, name", () =>
      Effect.gen(function* () {
        const lines = (yield* output(["files", web])).trimEnd().split("\n")
        expect(lines).toHaveLength(25)
        expect(lines.slice(0, 6)).toEqual([
          "drwxr-xr-x 0:0          0  789096bea28c  bin/",
          "-rwsr-xr-x 0:0        712  789096bea28c  bin/tool",
          "drwxr-xr-x 0:0          0  138e984a3c7a  etc/",
          "-rw-r--r-- 0:0         14  789096bea28c  etc/motd",
          "hrw-r--r-- 0:0         14  789096bea28c  etc/motd.hard link to etc/motd",
          "lrwxrwxrwx 0:0          0  789096bea28c  etc/tool-link -> ../bin/tool"
        ])
        expect(lines.join("\n")).not.toContain("removed.conf")
        expect(lines).toContain("-rw-r--r-- 0:0         16  789096bea28c  usr/share/doc/fixture/한국어.txt")
      })
    )

    it.scoped("lists each layer with what it removes", () =>
      Effect.gen(function* () {
        const [, second] = (yield* output(["files", web, "--layers"])).split("\n\n")
        expect(second?.split("\n")).toEqual([
          "layer sha256:138e984a3c7a51b2c9c90b8b7759ef2452f4a4966e38e1b732c1e9b2bc910cfd 2.0 kB, 2 entries",
          "  /bin/tool /etc/removed.conf",
          "drwxr-xr-x 0:0          0  etc/",
          "whiteout                   etc/removed.conf"
        ])
      })
    )

    it.scoped("says the same as JSON", () =>
      Effect.gen(function* () {
        const document = JSON.parse(yield* output(["files", web, "--output", "json"]))
        expect(document).toMatchObject({
          address: web,
          digest: null,
          configDigest: expect.stringMatching(/^sha256:4439/)
        })
        expect(
          document.layers.map((layer: Record<string, unknown>) => [layer.entryCount, layer.contents, layer.tarSize])
        ).toEqual([
          [21, "tar", 17408],
          [2, "tar", 2048],
          [5, "tar", 25088]
        ])
        expect(document.files).toHaveLength(25)
        expect(document.files[4]).toEqual({
          path: "etc/motd.hard",
          type: "hardlink",
          mode: "0644",
          uid: 0,
          gid: 0,
          size: 14,
          mtime: expect.any(Number),
          link: "etc/motd",
          device: null,
          layer: 0,
          implied: false,
          broken: null
        })
        const byLayer = JSON.parse(yield* output(["files", web, "--layers", "--output", "json"]))
        expect(byLayer.files).toBeUndefined()
        expect(byLayer.layers[1].entries.map((entry: Record<string, unknown>) => [entry.type, entry.path])).toEqual([
          ["directory", "etc"],
          ["whiteout", "etc/removed.conf"]
        ])
      })
    )

    it.scoped("takes it from standard input", () =>
      Effect.gen(function* () {
        const path = yield* archiveOf([{ name: "a", content: "a" }])
        expect(yield* output(["files", "-"], { input: readFileSync(path) })).toMatch(
          /^-rw-r--r-- 0:0 +1 {2}[0-9a-f]{12} {2}a\n$/
        )
      })
    )

    it.scoped("shows names that would steer a terminal escaped, and says what it leaves out", () =>
      Effect.gen(function* () {
        const path = yield* archiveOf([
          { name: "a\u001b[2Jb\nc" },
          { name: "l", type: "symlink", link: "\u202etxt" },
          { name: "../../etc/\u0007passwd" },
          { name: "h", type: "link", link: "nothing" }
        ])
        const { code, stderr, stdout } = yield* ereg(["files", path])
        expect(code).toBe(0)
        expect(stdout.split("\n").map((line) => line.slice(line.indexOf("  ", 30) + 2))).toEqual([
          "a\\x1b[2Jb\\nc",
          "h link to nothing (the file that it names is not there)",
          "l -> \\u202etxt",
          ""
        ])
        expect(stderr).toMatch(
          /^warning: layer [0-9a-f]{12}: "\.\.\/\.\.\/etc\/\\u0007passwd" is left out: its name leads upwards\n$/
        )
      })
    )

    it.scoped("fails where it holds several images, listing them, and where a layer is damaged", () =>
      Effect.gen(function* () {
        const several = yield* ereg(["files", fixture("docker26-multi.tar"), "--output", "json"])
        expect(several.code).toBe(1)
        expect(errorOf(several.stdout)).toMatchObject({
          reason: "SeveralImages",
          message: expect.stringContaining("fixture/web:2.0")
        })
        const { stderr } = yield* ereg(["files", yield* archiveOf([{ name: "a", size: 5000 }])])
        expect(stderr).toMatch(
          /why: .*"a": layer [0-9a-f]{12}: the archive ends \d+ bytes before the end of this member/
        )
      })
    )
  })

  describe("of a reference", () => {
    it.scoped("lists the same as of the archive that was pushed", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const name = `${host}/${repositoryName()}:1`
        yield* output(["push", web, name])
        const files = (text: string) => JSON.parse(text).files
        expect(files(yield* output(["files", name, "--output", "json"]))).toEqual(
          files(yield* output(["files", web, "--output", "json"]))
        )
      })
    )

    it.scoped("lists the platform asked for", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const name = `${host}/${repositoryName()}:1`
        yield* output(["push", fixture("oci-multiarch.tar"), name])
        const digest = (platform: string) =>
          Effect.map(
            output(["files", name, "--platform", platform, "--output", "json"]),
            (text) => JSON.parse(text).digest
          )
        expect(yield* digest("linux/arm64")).not.toBe(yield* digest("linux/ppc64le"))
        const none = yield* ereg(["files", name, "--platform", "windows/amd64", "--output", "json"])
        expect(errorOf(none.stdout)).toMatchObject({ reason: "PlatformNotFound" })
      })
    )

    it.scoped("fails where there is no such image", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const { code, stdout } = yield* ereg(["files", `${host}/${repositoryName()}:1`, "--output", "json"])
        expect([code, errorOf(stdout).reason]).toEqual([1, "NotFound"])
      })
    )
  })
})
