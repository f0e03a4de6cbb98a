/** The commands that ask a registry: ping, list, tags, tag, delete. */
import { describe, expect, layer } from "@effect/vitest"
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import { ereg, errorOf, fixture, known, output, registry, repositoryName } from "./support.js"

/** A repository of the registry with one image, tagged 1 and 2. */
const prepared = Effect.gen(function* () {
  const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
  const repository = repositoryName()
  const name = `${host}/${repository}`
  yield* output(["push", fixture("oci-archive.tar"), `${name}:1`, `${name}:2`])
  return { host, repository, name }
})

const tagsOf = (name: string) => Effect.map(output(["tags", name]), (text) => text.split("\n").slice(0, -1))

layer(registry, { excludeTestServices: true })("registry commands", (it) => {
  describe("ping", () => {
    it.scoped("says that it is a registry", () =>
      Effect.gen(function* () {
        const { host, url } = yield* EmbeddedRegistry.EmbeddedRegistry
        for (const words of [[host], [url], ["--registry", url]]) {
          expect(yield* output(["ping", ...words])).toMatch(
            new RegExp(`^${url} is a registry, registry/2\\.0, \\d+ ms\n$`)
          )
        }
        expect(JSON.parse(yield* output(["ping", host, "--output", "json"]))).toEqual({
          host,
          url,
          version: "registry/2.0",
          warnings: [],
          milliseconds: expect.any(Number)
        })
      })
    )
    it.scoped("ends with 1 and says why where nothing listens", () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* ereg(["ping", "127.0.0.1:1", "--quiet"])
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
        expect(stderr).toMatch(
          /^error: ping 127\.0\.0\.1:1\n {2}why: cannot reach the registry: .*ECONNREFUSED.*\n {2}try: .+\n$/
        )
      })
    )
    it.scoped("gives up after --timeout, which EREG_TIMEOUT may set", () =>
      Effect.gen(function* () {
        const environment = { EREG_TIMEOUT: "1ms" }
        for (const outcome of [
          yield* ereg(["ping", "127.0.0.1:1", "--timeout", "1ms", "--output", "json"]),
          yield* ereg(["ping", "127.0.0.1:1", "--output", "json"], { environment })
        ]) {
          expect(outcome.code).toBe(1)
          expect(errorOf(outcome.stdout)).toMatchObject({ tag: "TimedOut", message: "ereg ping: not done within 1ms" })
        }
        const wrong = yield* ereg(["ping", "127.0.0.1:1"], { environment: { EREG_TIMEOUT: "soon" } })
        expect(wrong.code).toBe(2)
        expect(wrong.stderr).toContain('EREG_TIMEOUT is "soon", which is no time')
      })
    )
    it.scoped("speaks HTTP where --plain-http says so", () =>
      Effect.gen(function* () {
        const { port } = yield* EmbeddedRegistry.EmbeddedRegistry
        // 0.0.0.0 is this machine, and no loopback address: HTTPS unless told otherwise.
        const host = `0.0.0.0:${port}`
        const tls = yield* ereg(["ping", host, "--quiet", "--output", "json"])
        expect(errorOf(tls.stdout)).toMatchObject({
          reason: "PlainHttpServer",
          hint: expect.stringContaining("--plain-http")
        })
        for (const option of ["--plain-http", `--plain-http=${host}`]) {
          expect((yield* ereg(["ping", host, option])).code).toBe(0)
          expect((yield* ereg(["list", option, "--registry", host])).code).toBe(0)
        }
        expect((yield* ereg(["ping", host, "--plain-http=other:1", "--quiet"])).code).toBe(1)
      })
    )
  })

  describe("list", () => {
    it.scoped("prints a repository a line, or JSON", () =>
      Effect.gen(function* () {
        const { host, repository } = yield* prepared
        const lines = (yield* output(["list", host])).split("\n")
        expect(lines).toContain(repository)
        const { repositories } = JSON.parse(yield* output(["--output", "json", "list", host]))
        expect(repositories).toEqual(expect.arrayContaining([repository]))
      })
    )
  })

  describe("tags", () => {
    it.scoped("prints a tag a line, or JSON", () =>
      Effect.gen(function* () {
        const { name } = yield* prepared
        expect(yield* output(["tags", name])).toBe("1\n2\n")
        expect(JSON.parse(yield* output(["tags", `docker://${name}`, "--output=json"]))).toEqual({
          repository: name,
          tags: ["1", "2"]
        })
      })
    )
    it.scoped("tells a repository that is not there in JSON", () =>
      Effect.gen(function* () {
        const { host } = yield* EmbeddedRegistry.EmbeddedRegistry
        const { code, stderr, stdout } = yield* ereg(["tags", `${host}/none/there`, "--output", "json"])
        expect({ code, stderr }).toEqual({ code: 1, stderr: "" })
        expect(errorOf(stdout)).toEqual({
          tag: "RegistryError",
          reason: "NotFound",
          message: expect.stringContaining(`list tags of ${host}/none/there: not found (HTTP 404)`),
          hint: expect.any(String),
          status: 404,
          codes: [{ code: "NAME_UNKNOWN", message: expect.any(String) }]
        })
      })
    )
  })

  describe("tag", () => {
    it.scoped("gives further tags", () =>
      Effect.gen(function* () {
        const { name } = yield* prepared
        expect(yield* output(["tag", `${name}:1`, "stable", "latest"])).toBe(
          `${name}:stable@${known.ociArchive}\n${name}:latest@${known.ociArchive}\n`
        )
        expect(yield* tagsOf(name)).toEqual(["1", "2", "latest", "stable"])
      })
    )
    it.scoped("changes nothing where one is malformed", () =>
      Effect.gen(function* () {
        const { name } = yield* prepared
        expect((yield* ereg(["tag", `${name}:1`, "good", "b/ad"])).code).toBe(1)
        expect(yield* tagsOf(name)).toEqual(["1", "2"])
      })
    )
  })

  describe("delete", () => {
    it.scoped("takes one tag away and leaves the others", () =>
      Effect.gen(function* () {
        const { name } = yield* prepared
        expect(yield* output(["delete", `${name}:1`])).toBe(`${name}:1\n`)
        expect(yield* tagsOf(name)).toEqual(["2"])
      })
    )
    it.scoped("refuses to remove an image that two tags name, until --force", () =>
      Effect.gen(function* () {
        const { name } = yield* prepared
        const refused = yield* ereg(["delete", `${name}@${known.ociArchive}`, "--output", "json"])
        expect(refused.code).toBe(1)
        expect(errorOf(refused.stdout)).toMatchObject({
          reason: "StillReferenced",
          hint: expect.stringContaining("--force")
        })
        const forced = yield* ereg(["delete", "--manifest", "--force", `${name}:1`])
        expect(forced).toMatchObject({ code: 0, stdout: `${name}@${known.ociArchive}\n` })
        expect(forced.stderr).toContain("garbage")
        expect((yield* ereg(["digest", `${name}:2`])).code).toBe(1)
      })
    )
    it.scoped("says what can be deleted where neither tag nor digest is named, and takes no `latest`", () =>
      Effect.gen(function* () {
        const { name } = yield* prepared
        yield* output(["tag", `${name}:1`, "latest"])
        for (const words of [[name], ["--manifest", "--force", name]]) {
          const { code, stdout } = yield* ereg(["delete", ...words, "--output", "json"])
          expect(code).toBe(1)
          const { hint, reason } = errorOf(stdout) as Record<string, string>
          expect(reason).toBe("NoTag")
          for (const way of [`${name}:TAG`, `${name}@DIGEST`, "--manifest", "--match"]) expect(hint).toContain(way)
        }
        expect(yield* tagsOf(name)).toEqual(["1", "2", "latest"])
      })
    )
    it.effect.each([
      [["--referrers", "127.0.0.1:1/x:1"], "--manifest --referrers"],
      [["--match", "pr-*", "--referrers", "127.0.0.1:1/x"], "--manifest"],
      [["--keep-last", "3", "--force", "127.0.0.1:1/x"], "--yes"]
    ] as const)("refuses %j, which would have no effect, and says what to write", ([words, instead]) =>
      Effect.gen(function* () {
        const { code, stderr } = yield* ereg(["delete", ...words])
        expect(code).toBe(2)
        expect(stderr).toContain(instead)
      })
    )
    it.scoped("says in its help when an image is not removed", () =>
      Effect.gen(function* () {
        expect(yield* output(["delete", "--help"])).toContain("unless several tags or an index name it")
      })
    )
    it.scoped("tries every argument and ends with 1 if one failed", () =>
      Effect.gen(function* () {
        const { name } = yield* prepared
        const { code, stderr, stdout } = yield* ereg(["delete", `${name}:nope`, `${name}:1`, "--output", "json"])
        expect(code).toBe(1)
        expect(stderr).toContain(`error: delete ${name}:nope`)
        expect(JSON.parse(stdout)).toEqual({
          deleted: [{ kind: "tag", reference: `${name}:1`, digest: null, referrers: [], leftReferrers: [] }],
          failed: [{ argument: `${name}:nope`, error: expect.objectContaining({ reason: "NotFound" }) }],
          error: expect.objectContaining({ reason: "NotFound" })
        })
        expect(yield* tagsOf(name)).toEqual(["2"])
      })
    )
  })
})
