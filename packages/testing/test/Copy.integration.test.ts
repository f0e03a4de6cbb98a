/** `ereg copy` from registry to registry: what it asks, what it sends, and what it leaves alone. */
import { readdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Faults } from "@effect-registry/server"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { bundled, start } from "../../cli/test/support.js"
import { Fixture, GraphFixture, Walk } from "../src/index.js"
import { startEmbedded, temporaryFolder } from "./support/servers.js"
import * as Signed from "./support/signed.js"

const name = "team/app"

class Setup extends Context.Tag("test/Setup")<Setup, { readonly command: string }>() {}

const setup = Layer.scoped(
  Setup,
  Effect.map(bundled, (command) => ({ command }))
)

interface Registry {
  readonly host: string
  /** `GET manifests/1.0`, since it was asked the last time. */
  readonly asked: Effect.Effect<ReadonlyArray<string>>
  readonly contents: Effect.Effect<Walk.Contents, Walk.WalkError>
}

const registry = Effect.gen(function* () {
  const recorder = Faults.recorder()
  const host = yield* startEmbedded({ observe: recorder.observe })
  const asked = Effect.map(Effect.zipLeft(recorder.exchanges, recorder.clear), (exchanges) =>
    exchanges.map(({ method, path }) => `${method} ${path.replace(/^\/v2\/team\/[a-z]+\//, "")}`)
  )
  const contents = Effect.zipLeft(Walk.repository(`http://${host}`, name), recorder.clear)
  return { host, asked, contents } satisfies Registry
})

/** A registry with the signed image, an empty one, and `ereg copy` from there to here. */
const two = Effect.gen(function* () {
  const { command } = yield* Setup
  const [from, to, home] = yield* Effect.all([registry, registry, temporaryFolder])
  yield* fill(from, Signed.graph)
  const environment = { HOME: home, XDG_STATE_HOME: join(home, "state"), XDG_CACHE_HOME: join(home, "cache") }
  const ereg = (words: ReadonlyArray<string>, more: Readonly<Record<string, string>> = {}) =>
    Effect.gen(function* () {
      yield* from.asked
      yield* to.asked
      const { ended } = yield* start(command, ["copy", ...words], { ...environment, ...more })
      const { code, stderr, stdout } = yield* ended
      assert.strictEqual(code, 0, stderr)
      return { stdout, stderr, from: yield* from.asked, to: yield* to.asked }
    })
  const copy = (...options: ReadonlyArray<string>) =>
    ereg([`${from.host}/${name}:1.0`, `${to.host}/${name}:1.0`, ...options])
  return { from, to, home, ereg, copy }
})

const fill = ({ asked, host }: Registry, graph: GraphFixture.Graph) =>
  Effect.zipRight(GraphFixture.toRegistry({ url: `http://${host}`, name, referrersApi: true }, graph), asked)

const blobsRead = (asked: ReadonlyArray<string>) => asked.filter((each) => /^GET blobs\/sha/.test(each)).sort()

const remove = (host: string, path: string) =>
  Effect.promise(async () => {
    const answer = await fetch(`http://${host}/v2/${name}/${path}`, { method: "DELETE" })
    assert.strictEqual(answer.status, 202, await answer.text())
  })

const root = Signed.root.descriptor.digest

layer(setup, { excludeTestServices: true })("ereg copy", (it) => {
  it.scoped("asks each registry once where the tag names the image already", () =>
    Effect.gen(function* () {
      const { copy } = yield* two
      yield* copy()
      const again = yield* copy()
      assert.match(again.stdout, new RegExp(`@${root}\n$`))
      assert.deepStrictEqual([again.from.length, again.to.length], [1, 1], `${again.from}\n${again.to}`)
      assert.match(again.from[0] ?? "", /^(?:GET|HEAD) manifests\/1\.0$/)
      assert.deepStrictEqual(again.to, ["HEAD manifests/1.0"])
    })
  )

  it.scoped("asks once more for referrers", () =>
    Effect.gen(function* () {
      const { copy } = yield* two
      yield* copy("--referrers")
      const again = yield* copy("--referrers")
      assert.deepStrictEqual([again.from.length, again.to.length], [2, 2], `${again.from}\n${again.to}`)
      for (const asked of [again.from, again.to]) assert.strictEqual(asked[1], `GET referrers/${root}`)
    })
  )

  it.scoped("reads every blob once, and none that is there", () =>
    Effect.gen(function* () {
      const { copy, from, to } = yield* two
      const [shared] = Signed.root.blobs.keys()
      yield* fill(to, { manifests: new Map(), blobs: new Map([...Signed.root.blobs].slice(0, 1)), tags: new Map() })
      const asked = yield* copy("--referrers", "--digest-tags")
      const wanted = [...Signed.graph.blobs.keys()].filter((digest) => digest !== shared)
      assert.deepStrictEqual(blobsRead(asked.from), wanted.map((digest) => `GET blobs/${digest}`).sort())
      assert.deepStrictEqual(blobsRead(asked.to), [])
      const [there, here] = [yield* from.contents, yield* to.contents]
      assert.deepStrictEqual(new Map([...here.tags].sort()), new Map([...there.tags].sort()))
      assert.sameMembers([...here.manifests.keys()], [...there.manifests.keys()])
    })
  )

  it.scoped("mounts blobs inside a registry and reads none", () =>
    Effect.gen(function* () {
      const { ereg, from } = yield* two
      const asked = yield* ereg([`${from.host}/${name}:1.0`, `${from.host}/team/other:1.0`])
      assert.deepStrictEqual(blobsRead(asked.from), [])
      assert.deepStrictEqual(
        asked.from.filter((each) => /^(?:PUT|PATCH) blobs/.test(each)),
        []
      )
      const { blobs } = yield* Walk.registry(`http://${from.host}`, "team/other", "1.0")
      assert.sameMembers([...blobs.keys()], [...Signed.root.blobs.keys()])
    })
  )

  it.scoped("touches no disk: it works where there is no place to write to", () =>
    Effect.gen(function* () {
      const { ereg, from, home, to } = yield* two
      const image = Fixture.image({ format: "oci", seed: 501, layers: 2, size: 8 * 1024 * 1024 })
      yield* fill(from, Signed.graphOf([image], { big: image }))
      // Not even root can make a file below a file.
      const nowhere = join(home, "no-folder")
      yield* Effect.promise(() => writeFile(nowhere, ""))
      const below = { HOME: nowhere, TMPDIR: nowhere, XDG_STATE_HOME: nowhere, XDG_CACHE_HOME: nowhere }
      yield* ereg([`${from.host}/${name}:big`, `${to.host}/${name}:big`], below)
      const { root: copied } = yield* Walk.registry(`http://${to.host}`, name, "big")
      assert.strictEqual<string>(copied, image.descriptor.digest)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(home)), ["no-folder"])
    })
  )

  it.scoped("with --force-recursive puts back what a registry lost, and reads nothing else", () =>
    Effect.gen(function* () {
      const { copy, to } = yield* two
      yield* copy("--referrers")
      const [blob] = Signed.root.blobs.keys()
      const [child] = Signed.root.children
      yield* remove(to.host, `blobs/${blob}`)
      yield* remove(to.host, `manifests/${child?.descriptor.digest}`)
      assert.strictEqual((yield* Effect.flip(to.contents))._tag, "WalkError")
      yield* copy("--referrers")
      assert.strictEqual((yield* Effect.flip(to.contents))._tag, "WalkError")

      const asked = yield* copy("--referrers", "--force-recursive")
      assert.deepStrictEqual(blobsRead(asked.from), [`GET blobs/${blob}`])
      const contents = yield* to.contents
      assert.strictEqual<string | undefined>(contents.tags.get("1.0"), root)
      assert.deepStrictEqual(Object.fromEntries(contents.referrers), Signed.listed)
    })
  )

  it.scoped("with --force-recursive looks after the referrers too", () =>
    Effect.gen(function* () {
      const { copy, to } = yield* two
      yield* copy("--referrers")
      yield* remove(to.host, `manifests/${Signed.attestation.descriptor.digest}`)
      yield* copy("--referrers", "--force-recursive")
      assert.deepStrictEqual(Object.fromEntries((yield* to.contents).referrers), Signed.listed)
    })
  )

  it.scoped("says which digests became others, and that signatures do not fit them", () =>
    Effect.gen(function* () {
      const { copy, to } = yield* two
      const { stderr, stdout } = yield* copy("--format", "docker")
      const became = (yield* Walk.registry(`http://${to.host}`, name, "1.0")).root
      assert.include(stdout, `@${became}`)
      assert.include(stderr, `${root} became ${became}`)
      assert.match(stderr, /signatures/)
    })
  )
})
