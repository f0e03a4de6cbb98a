import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const root = fileURLToPath(new URL("../../../", import.meta.url))

interface Example {
  readonly where: string
  readonly code: string
}

/** The fenced blocks of a text, the stars of a doc comment taken away. */
const blocks = (where: string, text: string): ReadonlyArray<Example> =>
  [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, block = ""], index) => ({
    where: `${where}-${index}`,
    code: block.replaceAll(/^ *\* ?/gm, "")
  }))

const documented = ["core", "tar", "node", "server"].flatMap((name) => {
  const folder = join(root, "packages", name, "src")
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => {
      const source = readFileSync(join(folder, file), "utf8")
      const examples = [...source.matchAll(/@example([\s\S]*?)(?:@since|\*\/)/g)]
        .map(([, text = ""]) => text)
        .join("\n")
      return blocks(`${name}-${file.replaceAll(/[/.]/g, "-")}`, examples)
    })
})

describe("the examples in doc comments, README and docs/testing.md", () => {
  it("compile", () => {
    const folder = join(root, "node_modules/.cache/doc-examples")
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    const pages = ["README.md", "docs/testing.md"].flatMap((page) =>
      blocks(page.replaceAll(/[/.]/g, "-"), readFileSync(join(root, page), "utf8"))
    )
    const all = [...documented, ...pages]
    assert.isAbove(all.length, 15)
    for (const { code, where } of all) writeFileSync(join(folder, `${where}.ts`), `${code}\nexport {}\n`)
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.base.json"),
        compilerOptions: {
          noEmit: true,
          composite: false,
          incremental: false,
          declaration: false,
          declarationMap: false,
          noUnusedLocals: false,
          types: ["node"]
        },
        include: ["*.ts"]
      })
    )
    const { status, stdout } = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" })
    assert.strictEqual(status, 0, stdout)
  }, 120_000)
})
