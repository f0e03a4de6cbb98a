/** What a command says: data on standard output, everything else on standard error, nothing that could steer a terminal. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Failure } from "./exit.js"
import type { Service as Stdio, StdoutClosed } from "./stdio.js"

export type Format = "text" | "json"

export interface Service {
  readonly format: Format
  /** The command's result: lines of text, or one JSON document, by `--output`. */
  readonly print: (lines: ReadonlyArray<string>, json: unknown) => Effect.Effect<void, StdoutClosed>
  /** Bytes as they are, whatever `--output` says. */
  readonly bytes: (data: Uint8Array) => Effect.Effect<void, StdoutClosed>
  /** A line on standard error; not with `--quiet`. */
  readonly note: (text: string) => Effect.Effect<void>
  /** A line on standard error, also with `--quiet`. */
  readonly warn: (text: string) => Effect.Effect<void>
  /** The three lines of a failure, on standard error. */
  readonly error: (failure: Pick<Failure, "what" | "why" | "hint">) => Effect.Effect<void>
}

export class Output extends Context.Tag("@effect-registry/cli/Output")<Output, Service>() {}

export interface Options {
  readonly format: Format
  readonly quiet: boolean
  /** Writes a line to standard error, above the bars where there are some. */
  readonly line: (text: string) => void
}

export const make = (stdio: Stdio, { format, line, quiet }: Options): Service => ({
  format,
  print: (lines, value) =>
    format === "json"
      ? stdio.write(json(value, stdio.outputIsTerminal))
      : lines.length === 0
        ? Effect.void
        : stdio.write(lines.map((text) => `${escape(text)}\n`).join("")),
  bytes: stdio.write,
  note: (text) => (quiet ? Effect.void : Effect.sync(() => line(escape(text)))),
  warn: (text) => Effect.sync(() => line(`warning: ${escape(text)}`)),
  error: (failure) => Effect.sync(() => line(render(failure).join("\n")))
})

/** What, why, what to try: three lines. */
export const render = ({ hint, what, why }: Pick<Failure, "what" | "why" | "hint">): ReadonlyArray<string> => [
  `error: ${escape(what)}`,
  `  why: ${escape(why)}`,
  `  try: ${escape(hint)}`
]

// Names and messages come from registries and archives. C0 and C1 controls move the cursor, set titles or hide text; the
// separators and the bidirectional marks make a line read as something else.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** The text on one line, with control characters, line ends and invisible marks written as `\n`, `\x1b`, `\u202e`. */
export const escape = (text: string): string =>
  text.replace(unsafe, (character) => {
    const named = names[character]
    if (named !== undefined) return named
    const code = character.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`
  })

/** As `escape`, with its line ends kept. */
export const lines = (text: string): string => text.split("\n").map(escape).join("\n")

/** One document and a line end; indented for people, on one line for programs. What is unknown is `null`, never left out. */
export const json = (value: unknown, indented: boolean): string =>
  `${JSON.stringify(value, (_, field) => (field === undefined ? null : field), indented ? 2 : undefined).replace(
    // JSON.stringify leaves these as they are, and they are only ever found inside its strings.
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )}\n`

/** `12.3 MB`, in powers of ten as `docker` counts. */
export const size = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`
}

/** `1 tag`, `2 tags`. */
export const count = (number: number, noun: string, plural = `${noun}s`): string =>
  `${number} ${number === 1 ? noun : plural}`

/** Rows with their columns aligned; two spaces between, none at the end. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  // Escaped here, because the width counts what is shown.
  const shown = rows.map((row) => row.map(escape))
  const widths: Array<number> = []
  for (const row of shown) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    })
  }
  return shown.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
  )
}

/** An image's fields as `name: value` rows; absent values leave no row. */
export const fields = (
  entries: ReadonlyArray<readonly [name: string, value: string | undefined]>
): ReadonlyArray<string> =>
  table(
    entries.flatMap(([name, value]) =>
      value === undefined || value === "" ? [] : [[name === "" ? "" : `${name}:`, value]]
    )
  )

// internal

const names: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }
const units = ["B", "kB", "MB", "GB", "TB", "PB"]
