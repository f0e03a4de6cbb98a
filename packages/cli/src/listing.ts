/** What `files` and `diff` share: text and JSON written piece by piece, entries as columns, and word of a long read. */
import { type Digest, Progress } from "@effect-registry/core"
import type { FileEntry, FilesOptions } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Global } from "./options.js"
import { escape, json, type Service as Output, size } from "./output.js"
import type { StdoutClosed } from "./stdio.js"

/** How the library is to look at images. */
export const lookOptions = ({ concurrency, platform }: Global): FilesOptions => ({
  platform: platform[0],
  concurrency: Option.getOrUndefined(concurrency)
})

/** Writes texts as they are made, so that a listing of any length is never held whole. */
export const write = (output: Output, texts: Iterable<string>): Effect.Effect<void, StdoutClosed> =>
  Effect.gen(function* () {
    const iterator = texts[Symbol.iterator]()
    for (let ended = false; !ended; ) {
      let batch = ""
      while (batch.length < batchLength) {
        const next = iterator.next()
        ended = next.done === true
        if (next.done === true) break
        batch += next.value
      }
      if (batch !== "") yield* output.bytes(encoder.encode(batch))
    }
  })

/** Lines of text, escaped. */
export function* textLines(lines: Iterable<string>): Generator<string> {
  for (const line of lines) yield `${escape(line)}\n`
}

/** One JSON document whose last field is a list of any length: `{ …head, NAME: [items] }`. */
export function* jsonWithList(head: object, name: string, items: Iterable<unknown>): Generator<string> {
  const start = compact(head)
  yield `${start.slice(0, -1)}${start === "{}" ? "" : ","}${JSON.stringify(name)}:[`
  let separator = ""
  for (const item of items) {
    yield separator + compact(item)
    separator = ","
  }
  yield "]}\n"
}

/** As `tar tv` shows it, with the layer in place of the time: mode, owner, size, layer, name. */
export const columns = (): ((entry: FileEntry, layer: string) => string) => {
  // As wide as what came so far, as tar does it: the widest one is known only at the end.
  let width = 14
  return (entry, layer) => {
    const owner = entry.implied ? "-" : `${entry.uid}:${entry.gid}`
    const amount = entry.device === undefined ? String(entry.size) : entry.device.join(",")
    width = Math.max(width, owner.length + 1 + amount.length)
    const middle = isMark(entry) ? "".padEnd(width) : owner + amount.padStart(width - owner.length)
    return `${modeText(entry)} ${middle}  ${layer === "" ? "" : `${layer}  `}${nameText(entry)}`
  }
}

/** `-rwsr-xr-x`; ten characters. */
export const modeText = (entry: FileEntry): string => {
  if (isMark(entry)) return entry.type.padEnd(10)
  const type = letters[entry.type] ?? "?"
  if (entry.implied) return `${type}?????????`
  const bits = (shift: number, special: number, letter: string) => {
    const three = entry.mode >> shift
    const isSpecial = (entry.mode & special) !== 0
    const execute = (three & 1) !== 0
    return [
      (three & 4) !== 0 ? "r" : "-",
      (three & 2) !== 0 ? "w" : "-",
      isSpecial ? (execute ? letter : letter.toUpperCase()) : execute ? "x" : "-"
    ].join("")
  }
  return type + bits(6, 0o4000, "s") + bits(3, 0o2000, "s") + bits(0, 0o1000, "t")
}

/** `bin/`, `bin/sh -> busybox`, `a link to b`. */
export const nameText = (entry: FileEntry): string => {
  const name = entry.type === "directory" || entry.type === "opaque" ? `${entry.path || "."}/` : entry.path
  if (entry.type === "symlink") return `${name} -> ${entry.link}`
  if (entry.type !== "hardlink") return name
  return `${name} link to ${entry.link}${entry.broken === undefined ? "" : ` (${entry.broken})`}`
}

/** An entry's fields in JSON. */
export const entryJson = ({ device, mode, ...entry }: FileEntry) => ({
  ...entry,
  mode: octal(mode),
  device: device ?? null
})

/** `0755`, `04755`. */
export const octal = (mode: number): string => `0${mode.toString(8).padStart(3, "0")}`

/** Of each item, as it is asked for. */
export function* map<A, B>(items: Iterable<A>, change: (item: A) => B): Generator<B> {
  for (const item of items) yield change(item)
}

/** A layer's digest as it stands in lists. */
export const short = (digest: Digest.Digest): string => digest.slice(digest.indexOf(":") + 1, digest.indexOf(":") + 13)

/** Reads on, with a line on standard error every ten seconds that says how far it is. */
export const telling = <A, E, R>(output: Output, read: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.gen(function* () {
    const outer = yield* Progress.Progress
    const moved = new Map<Digest.Digest, { readonly size: number; bytes: number }>()
    let done = 0
    const say = Effect.suspend(() => {
      const running = [...moved].map(
        ([digest, { bytes, size: all }]) => `${short(digest)} ${size(bytes)} of ${size(all)}`
      )
      return output.note(`reading layers: ${[`${done} done`, ...running].join(", ")}`)
    })
    const emit: Progress.Service["emit"] = (event) => {
      if (event._tag === "BlobStarted") moved.set(event.digest, { size: event.size, bytes: 0 })
      else if (event._tag === "BlobDone") done += moved.delete(event.digest) ? 1 : 0
      else if (event._tag === "BlobProgress") {
        const blob = moved.get(event.digest)
        if (blob !== undefined) blob.bytes += event.bytes
      } else outer.emit(event)
    }
    yield* Effect.forkScoped(Effect.forever(Effect.delay(say, "10 seconds")))
    return yield* Effect.provideService(read, Progress.Progress, { emit })
  }).pipe(Effect.scoped)

// internal

const batchLength = 64 * 1024
const encoder = new TextEncoder()

const compact = (value: unknown): string => json(value, false).trimEnd()

const isMark = ({ type }: FileEntry): boolean => type === "whiteout" || type === "opaque"

const letters: Readonly<Record<string, string>> = {
  file: "-",
  directory: "d",
  symlink: "l",
  hardlink: "h",
  character: "c",
  block: "b",
  fifo: "p"
}
