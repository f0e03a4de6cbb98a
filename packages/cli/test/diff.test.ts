import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import { Fixture, TarBytes } from "@effect-registry/testing"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, output, registry, repositoryName, temporaryFolder } from "./support.js"

const archive = fixture("docker26-multi.tar")
const app = `docker-archive:${archive}:@0`
const web = `docker-archive:${archive}:@1`

layer(registry, { excludeTestServices: true })("ereg diff", (it) => {
  it.scoped("shows settings, layers and files that differ, and the sizes", () =>
    Effect.gen(function* () {
      const lines = (yield* output(["diff", app, web])).trimEnd().split("\n")
      expect(lines).toEqual([
        "config:",
        expect.stringMatching(/^ {2}- created 2026-/),
        expect.stringMatching(/^ {2}\+ created 2026-/),
        "  - user 1000:1000",
        "  + user 0",
        "  + volumes /srv/data",
        "  - labels org.opencontainers.image.title=fixture app",
        "  + labels org.opencontainers.image.title=fixture web",
        "  - labels org.opencontainers.image.version=1.0",
        "  + labels org.opencontainers.image.version=2.0",
        expect.stringMatching(/^ {2}\+ healthcheck \{"Test":/),
        expect.stringMatching(/^ {2}- image sha256:/),
        expect.stringMatching(/^ {2}\+ image sha256:/),
        "layers:",
        expect.stringMatching(/^ {2}= {2}789096bea28c {2}17\.4 kB {2}\/bin\/sh -c #\(nop\) ADD/),
        "  =  138e984a3c7a  2.0 kB   /bin/tool /etc/removed.conf",
        expect.stringMatching(/^ {2}\+ {2}4c552a5a3b95 {2}25\.1 kB/),
        "files:",
        "  A          0  srv/",
        "  A          0  srv/web/",
        "  A        +10  srv/web/app.conf",
        "  A     +20000  srv/web/asset.bin",
        "  A        +21  srv/web/index.html",
        "size: 19.5 kB in 2 layers -> 44.5 kB in 3 layers; files +20031 B"
      ])
    })
  )

  it.scoped("says of a modified file what is another", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const write = (name: string, members: ReadonlyArray<TarBytes.TarEntry>) => {
        const tar = TarBytes.make(members)
        const config = JSON.stringify({ rootfs: { diff_ids: [Fixture.digest(tar)] } })
        const manifest = JSON.stringify([{ Config: "config.json", RepoTags: ["app:1"], Layers: ["layer.tar"] }])
        writeFileSync(
          join(folder, name),
          TarBytes.make([
            { name: "layer.tar", content: tar },
            { name: "config.json", content: config },
            { name: "manifest.json", content: manifest }
          ])
        )
        return join(folder, name)
      }
      const before = write("a.tar", [
        { name: "gone\u001b[0m", content: "123" },
        { name: "link", type: "symlink", link: "old" },
        { name: "mode", content: "x" },
        { name: "same size", content: "x" },
        { name: "type", content: "x" }
      ])
      const after = write("b.tar", [
        { name: "link", type: "symlink", link: "new" },
        { name: "mode", content: "x", mode: 0o4755 },
        { name: "same size", content: "y" },
        { name: "type/", type: "directory" }
      ])
      const text = yield* output(["diff", before, after])
      expect(text.slice(text.indexOf("files:"))).toBe(
        [
          "files:",
          "  D         -3  gone\\x1b[0m",
          "  M          0  link -> new  (was old)",
          "  M          0  mode  (mode 0644 -> 04755)",
          "  M          0  same size  (content)",
          "  M         -1  type/  (file -> directory)",
          "size: 5.6 kB in 1 layer -> 4.1 kB in 1 layer; files -4 B",
          ""
        ].join("\n")
      )
    })
  )

  it.scoped("compares an archive with what was pushed of it, and finds no difference", () =>
    Effect.gen(function* () {
      const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
      const name = `${host}/${repositoryName()}:1`
      yield* output(["push", web, name])
      const same = yield* ereg(["diff", web, name, "--exit-code"])
      expect([same.code, same.stdout, same.stderr]).toEqual([0, "", "no difference\n"])
      const json = JSON.parse(yield* output(["diff", web, name, "--output", "json"]))
      expect(json).toMatchObject({
        equal: true,
        config: [],
        files: [],
        before: { address: web },
        after: { address: name }
      })
      expect(json.layers.map((layer: Record<string, unknown>) => layer.change)).toEqual(["same", "same", "same"])
    })
  )

  describe("with --exit-code", () => {
    it.scoped("ends with 1 where they differ, and with 0 without it", () =>
      Effect.gen(function* () {
        expect((yield* ereg(["diff", app, web])).code).toBe(0)
        const told = yield* ereg(["diff", app, web, "--exit-code", "--output", "json"])
        expect(told.code).toBe(1)
        const document = JSON.parse(told.stdout)
        expect(document).toMatchObject({ equal: false, before: { size: 19456 }, after: { size: 44544 } })
        expect(document.config).toContainEqual({ field: "user", key: null, before: "1000:1000", after: "0" })
        expect(document.layers[2]).toMatchObject({ change: "added", before: null, after: { size: 25088 } })
        expect(document.files[2]).toMatchObject({
          change: "added",
          path: "srv/web/app.conf",
          sizeChange: 10,
          aspects: [],
          before: null,
          after: { type: "file", mode: "0644", size: 10 }
        })
      })
    )
  })

  it.scoped("is wrong usage with both from standard input, and fails where one cannot be read", () =>
    Effect.gen(function* () {
      expect((yield* ereg(["diff", "-", "-"])).code).toBe(2)
      const missing = yield* ereg(["diff", app, "./no-such.tar", "--output", "json"])
      expect([missing.code, errorOf(missing.stdout).reason]).toEqual([1, "NotFound"])
    })
  )
})
