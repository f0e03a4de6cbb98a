/** What `--help` prints. The options' names, values and defaults come from the parser itself. */
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as Array from "effect/Array"
import { type OptionKind, optionalValues } from "./argv.js"
import type { Global } from "./options.js"

/** A command's help, without what the parser knows. */
export interface Page {
  readonly name: string
  /** One line, no full stop. */
  readonly summary: string
  /** The arguments as they are written: `ARCHIVE [REF...]`. */
  readonly synopsis: string
  readonly arguments: ReadonlyArray<readonly [name: string, description: string]>
  readonly options: Readonly<Record<string, Options.Options<unknown>>>
  /** Options of every command that mean nothing to this one: it takes them, and its help says nothing of them. */
  readonly without?: ReadonlyArray<keyof Global> | undefined
  /** What one has to know, a line each. */
  readonly notes?: ReadonlyArray<string> | undefined
  readonly examples: ReadonlyArray<readonly [command: string, description: string]>
}

/** The page of one command. */
export const page = (self: Page, global: Page["options"]): string =>
  [
    `${self.summary}.`,
    "",
    "Usage:",
    `  ereg ${self.name}${self.synopsis === "" ? "" : ` ${self.synopsis}`} [OPTIONS]`,
    ...section("Arguments:", self.arguments),
    ...(self.notes === undefined ? [] : ["", ...self.notes]),
    ...section("Options:", optionRows(self.options)),
    ...section("Options of every command:", [...optionRows(global), ...builtIn]),
    "",
    "Examples:",
    ...self.examples.flatMap(([command, description]) => [`  # ${description}`, `  ${command}`]),
    ""
  ].join("\n")

/** The page of the whole: what `ereg` alone prints. */
export const overview = (pages: ReadonlyArray<Page>, global: Page["options"]): string =>
  [
    "Move container images between archives and registries.",
    "",
    "Usage:",
    "  ereg COMMAND [ARGUMENTS] [OPTIONS]",
    ...section(
      "Commands:",
      pages.map(({ name, summary, synopsis }) => [`${name} ${synopsis}`.trim(), summary])
    ),
    ...section("Options of every command:", [...optionRows(global), ...builtIn, ["--version", "The version of ereg"]]),
    "",
    "Addresses:",
    ...columns([
      ["[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]", "an image in a registry"],
      ["app.tar, docker-archive:PATH[:REF|:@INDEX]", "a file made by docker save, or to be written"],
      ["oci:DIR[:REF], oci-archive:PATH[:REF]", "an OCI layout, as a folder or in a tar"],
      ["-", "standard input or output"]
    ]),
    "",
    "Examples:",
    "  # A registry to play with, on port 15000",
    "  ereg serve --root registry-data",
    "  # Every tag of an archive goes to it",
    "  ereg push app.tar --registry http://localhost:15000",
    "",
    "`ereg COMMAND --help` has more about each.",
    ""
  ].join("\n")

/** Which options a command knows, and what follows each. */
export const optionKinds = (...groups: ReadonlyArray<Page["options"]>): Readonly<Record<string, OptionKind>> => {
  const kinds: Record<string, OptionKind> = { "--log-level": "value" }
  for (const option of groups.flatMap((options) => Object.values(options))) {
    const kind = Options.isBool(option) ? "flag" : "value"
    for (const [usage] of definitions(Options.getHelp(option))) {
      for (const name of usage.match(/--[a-z-]+/g) ?? [])
        kinds[name] = optionalValues.includes(name) ? "optional" : kind
    }
  }
  return kinds
}

/** A document of the parser as plain text: no colours, no line ends. */
export const plain = (doc: HelpDoc.HelpDoc): string =>
  // biome-ignore format: one expression
  HelpDoc.toAnsiText(doc).replace(/\u001b\[[0-9;]*m/g, "").replace(/\s+/g, " ").trim()

// internal

const builtIn: ReadonlyArray<readonly [string, string]> = [
  ["--log-level LEVEL", "all, trace, debug, info, warning, error, fatal or none (EREG_LOG_LEVEL)"],
  ["-h, --help", "This page"]
]

const section = (title: string, rows: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> =>
  rows.length === 0 ? [] : ["", title, ...columns(rows)]

const widest = 42

const columns = (rows: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> => {
  const width = Math.min(widest, Math.max(...rows.map(([left]) => left.length)))
  return rows.flatMap(([left, right]) =>
    left.length > width ? [`  ${left}`, `  ${" ".repeat(width)}  ${right}`] : [`  ${left.padEnd(width)}  ${right}`]
  )
}

const optionRows = (options: Page["options"]): ReadonlyArray<readonly [string, string]> =>
  Object.values(options)
    .flatMap((option) => definitions(Options.getHelp(option)))
    .map(optionRow)

const definitions = (doc: HelpDoc.HelpDoc): ReadonlyArray<readonly [usage: string, words: ReadonlyArray<string>]> => {
  switch (doc._tag) {
    case "DescriptionList":
      return Array.map(doc.definitions, ([span, body]) => [plain(HelpDoc.p(span)), paragraphs(body)])
    case "Sequence":
      return [...definitions(doc.left), ...definitions(doc.right)]
    default:
      return []
  }
}

const paragraphs = (doc: HelpDoc.HelpDoc): ReadonlyArray<string> =>
  doc._tag === "Sequence"
    ? [...paragraphs(doc.left), ...paragraphs(doc.right)]
    : doc._tag === "Paragraph"
      ? [plain(doc)]
      : []

/** The option as it is typed, and our own sentence about it: the parser's stands first, ours second. */
const optionRow = ([usage, words]: readonly [string, ReadonlyArray<string>]): readonly [string, string] => [
  usage.replace(/^(--[a-z-]+) (\S+?)(?: ?\.\.\.)?$/, (_, name: string, value: string) =>
    optionalValues.includes(name) ? `${name}[=${value}]` : `${name} ${value}`
  ),
  words[1] ?? ""
]
