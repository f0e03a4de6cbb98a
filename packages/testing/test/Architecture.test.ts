import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const packages = fileURLToPath(new URL("../../", import.meta.url))

interface Import {
  /** `core/Push.ts`, without `src`. */
  readonly from: string
  /** As it stands there. */
  readonly specifier: string
  /** The file it means, where it is relative. */
  readonly to: string | undefined
  /** Whether it is erased by the compiler. */
  readonly typeOnly: boolean
}

const files = ["core", "tar", "node", "server", "cli"].flatMap((name) =>
  readdirSync(join(packages, name, "src"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => ({ name, file, path: join(packages, name, "src", file) }))
)

const idOf = (path: string): string => relative(packages, path).replace("/src/", "/")

const imports: ReadonlyArray<Import> = files.flatMap(({ path }) => {
  const source = readFileSync(path, "utf8")
  const found = source.matchAll(/^(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm)
  return [...found].map(([, type, specifier = ""]) => ({
    from: idOf(path),
    specifier,
    to: specifier.startsWith(".") ? idOf(join(dirname(path), specifier.replace(/\.js$/, ".ts"))) : undefined,
    typeOnly: type !== undefined
  }))
})

const packageOf = (id: string): string => id.split("/")[0] ?? ""
const show = ({ from, specifier }: Import): string => `${from} imports ${specifier}`

/** Which packages a package may use. */
const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  core: [],
  tar: ["core"],
  node: ["core"],
  server: ["core"],
  cli: ["core", "tar", "node", "server"]
}

describe("the structure", () => {
  it("has arrows from cli over tar, server and node to core only", () => {
    const wrong = imports.filter(({ from, specifier }) => {
      const used = /^@effect-registry\/([a-z]+)/.exec(specifier)?.[1]
      return used !== undefined && !allowed[packageOf(from)]?.includes(used)
    })
    assert.deepStrictEqual(wrong.map(show), [])
  })

  it("uses packages by their entry, never their inside", () => {
    const inside = imports.filter(
      ({ from, specifier, to }) =>
        /^@effect-registry\/[a-z]+\//.test(specifier) || (to !== undefined && packageOf(to) !== packageOf(from))
    )
    assert.deepStrictEqual(inside.map(show), [])
  })

  it("keeps core and tar off Node's own modules", () => {
    const native = imports.filter(
      ({ from, specifier }) =>
        ["core", "tar"].includes(packageOf(from)) &&
        (specifier.startsWith("node:") || specifier.startsWith("@effect/platform-node"))
    )
    assert.deepStrictEqual(native.map(show), [])
  })

  it("imports single modules of effect, not its barrel", () => {
    const barrels = new Set(["effect", "@effect/platform", "@effect/platform-node", "@effect/cli"])
    assert.deepStrictEqual(imports.filter(({ specifier }) => barrels.has(specifier)).map(show), [])
  })

  it("has no cycle of imports", () => {
    const next = new Map<string, Array<string>>()
    for (const { from, to, typeOnly } of imports) {
      if (to !== undefined && !typeOnly) next.set(from, [...(next.get(from) ?? []), to])
    }
    const done = new Set<string>()
    const visit = (id: string, path: ReadonlyArray<string>): void => {
      const start = path.indexOf(id)
      assert.isTrue(start < 0, `a cycle: ${[...path.slice(start), id].join(" → ")}`)
      if (done.has(id)) return
      for (const to of next.get(id) ?? []) visit(to, [...path, id])
      done.add(id)
    }
    for (const id of next.keys()) visit(id, [])
  })

  describe("of core", () => {
    const verbs = /^core\/(?:Push|Pull|Copy|List|Inspect|Delete|Tag|Ping|Referrers|Sync(?:\/\w+)?)\.ts$/
    const mechanics = /^core\/Registry\//
    const model = /^core\/model\//
    const errors = /^core\/(?:ValidationError|RegistryError)\.ts$/

    it("has verbs on top: nothing but the index uses them, except each other", () => {
      const wrong = imports.filter(
        ({ from, to, typeOnly }) =>
          !typeOnly && to !== undefined && verbs.test(to) && !verbs.test(from) && from !== "core/index.ts"
      )
      assert.deepStrictEqual(wrong.map(show), [])
    })

    it("has a model without I/O at the bottom: it uses itself and the errors", () => {
      const wrong = imports.filter(
        ({ from, to }) => model.test(from) && to !== undefined && !model.test(to) && !errors.test(to)
      )
      assert.deepStrictEqual(wrong.map(show), [])
    })

    it("has mechanics that know neither stores nor verbs", () => {
      const wrong = imports.filter(
        ({ from, to }) => mechanics.test(from) && to !== undefined && (to === "core/Registry.ts" || verbs.test(to))
      )
      assert.deepStrictEqual(wrong.map(show), [])
    })

    it("has an engine that knows no registry", () => {
      const wrong = imports.filter(
        ({ from, to }) => from === "core/Copy.ts" && /^core\/Registry(?:\/|\.ts)/.test(to ?? "")
      )
      assert.deepStrictEqual(wrong.map(show), [])
    })
  })
})
