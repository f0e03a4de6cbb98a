import { createHash } from "node:crypto"
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { ereg, errorOf, output, registry, repositoryName } from "./support.js"

const day = 86_400_000
const daysAgo = (days: number): string => new Date(Date.now() - days * day).toISOString()

/** An image without layers under a tag, made so many days ago. */
const put = (name: string, tag: string, days: number | undefined) =>
  Effect.promise(async () => {
    const [host = "", ...rest] = name.split("/")
    const base = `http://${host}/v2/${rest.join("/")}`
    const created = days === undefined ? {} : { created: daysAgo(days) }
    const config = JSON.stringify({
      os: "linux",
      architecture: "amd64",
      ...created,
      tag,
      rootfs: { type: "layers", diff_ids: [] }
    })
    const digest = `sha256:${createHash("sha256").update(config).digest("hex")}`
    const started = await fetch(`${base}/blobs/uploads/`, { method: "POST" })
    const location = new URL(started.headers.get("location") ?? "", base)
    location.searchParams.set("digest", digest)
    await fetch(location, { method: "PUT", body: config })
    const mediaType = "application/vnd.oci.image.manifest.v1+json"
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: config.length },
      layers: []
    })
    const answer = await fetch(`${base}/manifests/${tag}`, {
      method: "PUT",
      headers: { "content-type": mediaType },
      body: manifest
    })
    if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`)
  })

/** `pr-1` to `pr-4`, the first the oldest, one without an age, and `main`. */
const seeded = Effect.gen(function* () {
  const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
  const name = `${host}/${repositoryName()}`
  for (const [tag, days] of [
    ["pr-1", 90],
    ["pr-2", 60],
    ["pr-3", 40],
    ["pr-4", 2],
    ["pr-x", undefined],
    ["main", 99]
  ] as const) {
    yield* put(name, tag, days)
  }
  return name
})

const tagsOf = (name: string) => Effect.map(output(["tags", name]), (text) => text.trim().split("\n").filter(Boolean))

layer(registry, { excludeTestServices: true })("ereg delete", (it) => {
  describe("with rules for a repository", () => {
    it.effect("shows the plan and deletes nothing with --plan", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const rules = ["--match", "pr-*", "--older-than", "30d", "--keep-last", "2"]
        const text = yield* output(["delete", ...rules, "--plan", name])
        const lines = text.trimEnd().split("\n")
        expect(lines[0]).toMatch(
          new RegExp(`^delete {2}${name}:pr-1 {2}90d {2}[0-9a-f]{12} {2}not among the newest 2, older than 30d$`)
        )
        expect(lines[1]).toContain(`${name}:pr-2`)
        expect(lines.slice(2)).toEqual([
          "keep 2 tags: among the newest 2",
          "keep 1 tag: of unknown age",
          "keep 1 tag: not chosen by name",
          `${name}: delete 2 tags, keep 4 tags`
        ])
        expect(yield* tagsOf(name)).toHaveLength(6)
        const { plans } = JSON.parse(yield* output(["delete", ...rules, "--plan", "--output", "json", name])) as {
          plans: ReadonlyArray<{
            repository: string
            delete: ReadonlyArray<{ tag: string; reason: string }>
            rules: unknown
          }>
        }
        expect(plans).toHaveLength(1)
        expect(plans[0]?.delete.map(({ tag }) => tag)).toEqual(["pr-1", "pr-2"])
        expect(plans[0]?.rules).toEqual({
          tags: { glob: ["pr-*"] },
          keepLast: 2,
          olderThan: 30 * day,
          manifests: false
        })
      })
    )
    it.effect("deletes without a question where nobody could answer, and prints what went", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const { code, stderr, stdout } = yield* ereg(["delete", "--match", "pr-*", "--older-than", "30d", name])
        expect(code).toBe(0)
        expect(stdout).toBe(`${name}:pr-1\n${name}:pr-2\n${name}:pr-3\n`)
        expect(stderr).toContain("older than 30d")
        expect(stderr).toContain(`${name}: deleted 3 tags`)
        expect(yield* tagsOf(name)).toEqual(["main", "pr-4", "pr-x"])
      })
    )
    it.effect("asks at a terminal, and leaves everything unless the answer is yes", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const answer = (text: string) => ({ terminal: true, input: new TextEncoder().encode(`${text}\n`) })
        const no = yield* ereg(["delete", "--match", "pr-1", name], answer(""))
        expect(no.code).toBe(1)
        expect(no.stderr).toContain(`Delete 1 tag of ${name}? [y/N]`)
        expect(no.stderr).toContain("nothing was deleted")
        expect(yield* tagsOf(name)).toHaveLength(6)
        const yes = yield* ereg(["delete", "--match", "pr-1", name], answer("y"))
        expect([yes.code, yes.stdout]).toEqual([0, `${name}:pr-1\n`])
        const told = yield* ereg(["delete", "--match", "pr-2", "--yes", name], answer(""))
        expect([told.code, told.stdout]).toEqual([0, `${name}:pr-2\n`])
        expect(told.stderr).not.toContain("[y/N]")
        const images = yield* ereg(["delete", "--match", "pr-3", "--manifest", name], answer(""))
        expect(images.stderr).toContain(`Delete 1 tag and 1 manifest of ${name}? [y/N]`)
        const json = yield* ereg(["delete", "--match", "pr-3", "--output", "json", name], answer("n"))
        expect(JSON.parse(json.stdout)).toMatchObject({ plans: [{ delete: [{ tag: "pr-3" }] }], reports: [] })
      })
    )
    it.effect("deletes nothing at a terminal where its question would not be seen, unless --yes answers it", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const logged = { terminal: true, errorTerminal: false, input: new TextEncoder().encode("y\n") }
        const { code, stderr, stdout } = yield* ereg(["delete", "--match", "pr-1", name], logged)
        expect([code, stdout]).toEqual([2, ""])
        expect(stderr).toContain("standard error is no terminal")
        expect(stderr).toContain("--yes")
        expect(yield* tagsOf(name)).toHaveLength(6)
        expect((yield* ereg(["delete", "--match", "pr-1", "--plan", name], logged)).code).toBe(0)
        const told = yield* ereg(["delete", "--match", "pr-1", "--yes", name], logged)
        expect([told.code, told.stdout]).toEqual([0, `${name}:pr-1\n`])
      })
    )
    it.effect("takes several patterns, any of which is enough", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const words = ["--match", "pr-[1-3]", "--match", "main", "--exclude", "pr-1", "--exclude", "*-2"]
        expect(yield* output(["delete", ...words, name])).toBe(`${name}:main\n${name}:pr-3\n`)
      })
    )
    it.effect("deletes the images with --manifest", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const digest = (yield* output(["digest", `${name}:pr-1`])).trim()
        const { code, stderr, stdout } = yield* ereg(["delete", "--match", "pr-1", "--manifest", name])
        expect([code, stdout]).toEqual([0, `${name}:pr-1\n${name}@${digest}\n`])
        expect(stderr).toContain("delete 1 tag and 1 manifest, keep 5 tags")
        expect(stderr).toMatch(new RegExp(`${name}@sha256:… +${digest.slice(7, 19)} +no tag that stays needs it`))
        expect(stderr).toContain(`${name}: deleted 1 tag and 1 manifest\n`)
        expect((yield* ereg(["manifest", `${name}@${digest}`])).code).toBe(1)
      })
    )
    it.effect("tries every repository, and ends with 1 if one failed", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const { code, stderr, stdout } = yield* ereg(["delete", "--match", "pr-1", `${name}-none`, name])
        expect([code, stdout]).toEqual([1, `${name}:pr-1\n`])
        expect(stderr).toContain(`error: list tags of ${name}-none`)
        const json = yield* ereg(["delete", "--match", "pr-2", "--output", "json", `${name}-none`, name])
        const document = JSON.parse(json.stdout) as Record<string, ReadonlyArray<Record<string, unknown>>>
        expect(document.reports?.[0]?.tags).toMatchObject([{ tag: "pr-2", outcome: "Deleted" }])
        expect(errorOf(json.stdout)).toMatchObject({ reason: "NotFound" })
      })
    )
    it.effect.each([
      [["--plan"], "nothing says which tags"],
      [["--yes"], "nothing says which tags"],
      [["--exclude", "x"], "nothing says which tags"],
      [["--older-than", "30"], "no time such as 30d"],
      [["--older-than", "6m"], "no time such as 30d"],
      [["--older-than", "1d6m"], "no time such as 30d"],
      [["--keep-last", "0"], "--keep-last is a number from 1"],
      [["--match", "ok", "--match", "a/b"], "--match 'a/b': character 2: no tag has a \"/\"\n  try: as in 'pr-*'"],
      [["--match", "*", "--exclude", "["], "--exclude '[': character 1"],
      [["--regex", "("], "--regex '(': missing closing ): `(`\n  try: as in --regex 'pr-[0-9]+'"],
      [["--semver", "new"], "--semver 'new': no range such as >=1.2 <2, 1.x or ^3\n  try: as in --semver '>=1.2 <2'"]
    ] as const)("refuses %j as wrong usage", ([options, why]) =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["delete", ...options, "127.0.0.1:1/x"])
        expect(code).toBe(2)
        expect(stderr).toContain(why)
      })
    )
    it.effect("says once that there is nothing to do, and succeeds", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        const { code, stderr, stdout } = yield* ereg(["delete", "--match", "none-*", name])
        expect([code, stdout]).toEqual([0, ""])
        expect(stderr).toBe(`keep 6 tags: not chosen by name\n${name}: delete 0 tags, keep 6 tags\n`)
      })
    )
    it.effect("takes times in the units that are clear", () =>
      Effect.gen(function* () {
        const name = yield* seeded
        for (const [time, tags] of [
          ["89d", 1],
          ["1440h", 2],
          ["57600min", 3],
          ["40days", 3],
          ["1d12h", 4]
        ] as const) {
          const text = yield* output(["delete", "--match", "pr-*", "--older-than", time, "--plan", name])
          expect(text, time).toContain(`delete ${tags} tag`)
          if (time === "1d12h") expect(text).toContain("older than 36h")
        }
      })
    )
  })
})
