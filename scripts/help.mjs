// Prints the developer commands, from the one table that lists them.
import { readFileSync } from "node:fs"

const text = readFileSync(new URL("../CONTRIBUTING.md", import.meta.url), "utf8")
for (const [, command, does] of text.matchAll(/^\| `npm (?:run )?([a-z:-]+)`\s*\| (.+?)\s*\|$/gm)) {
  console.log(`  ${command.padEnd(24)}${does.replaceAll("`", "")}`)
}
