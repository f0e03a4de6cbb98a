/** Programs that some tests need: without them those tests are skipped in plain words, and in CI they fail. */
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"

/** What `describe` and `it` are here: their skipping twin is all that is asked of them. */
interface Skippable {
  readonly skip: unknown
}

/** Whether the program is on PATH. */
export const has = (program: string): boolean =>
  (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })

/**
 * `block` where all programs are there or this is CI, so that a missing one makes its tests fail there; else its skipping
 * twin, with a line that says what is missing.
 */
export const needing = <A extends Skippable>(block: A, ...programs: ReadonlyArray<string>): A | A["skip"] => {
  const missing = programs.filter((program) => !has(program))
  if (missing.length === 0 || process.env.CI === "true") return block
  process.stderr.write(`skipped, ${missing.join(" and ")} not found: install it to run these tests\n`)
  return block.skip
}
