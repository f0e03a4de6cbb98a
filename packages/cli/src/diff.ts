/** `ereg diff`: what differs between two images, without pulling them. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import {
  type ConfigChange,
  type DiffSide,
  diff,
  type FileChange,
  type FileEntry,
  type ImageDiff,
  type LayerChange
} from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { parse, source, withoutScheme } from "./address.js"
import { code, Failed, UsageError } from "./exit.js"
import type { Page } from "./help.js"
import {
  entryJson,
  jsonWithList,
  lookOptions,
  map,
  nameText,
  octal,
  short,
  telling,
  textLines,
  write
} from "./listing.js"
import { argument, global } from "./options.js"
import { count, Output, size, table } from "./output.js"
import { perform } from "./perform.js"

const options = {
  exitCode: Options.boolean("exit-code").pipe(Options.withDescription("Exit with 1 where the images differ"))
}

export const page: Page = {
  name: "diff",
  summary: "Show what differs between two images: settings, layers, files",
  synopsis: "A B",
  arguments: [
    ["A", "A reference, or an archive or layout with one image"],
    ["B", "The image it is compared with"]
  ],
  options,
  without: ["noResume", "noCache"],
  notes: [
    "Settings and layers with - are those of A, with + those of B, with = of both. Files are A added, D deleted, M modified,",
    "with the bytes that they have more. Times and compression are no difference. Nothing is printed where there is none."
  ],
  examples: [
    ["ereg diff localhost:15000/team/app:1.0 localhost:15000/team/app:1.1", "Two images of a registry"],
    ["ereg diff app.tar localhost:15000/team/app:1.0 --exit-code", "Is the archive what was pushed?"]
  ]
}

export const command = Command.make(
  "diff",
  { a: argument("a"), b: argument("b"), ...options, global },
  ({ a, b, exitCode, global }) =>
    perform(
      { name: "diff", global, references: [a, b].map(withoutScheme) },
      Effect.gen(function* () {
        const output = yield* Output
        const [left, right] = [yield* parse(a), yield* parse(b)]
        if (left._tag === "Standard" && right._tag === "Standard") return yield* Effect.fail(twice)
        const found = yield* telling(output, diff(yield* source(left), yield* source(right), lookOptions(global)))
        yield* Effect.forEach(warnings(found), output.warn, { discard: true })
        const equal = isEqual(found)
        if (output.format === "json") {
          const head = headJson(found, [a, b], equal)
          yield* write(output, jsonWithList(head, "files", map(found.files(), fileJson)))
        } else if (equal) yield* output.note("no difference")
        else yield* write(output, textLines(text(found)))
        if (exitCode && !equal) return yield* Effect.fail(new Failed({ code: code.failed }))
      })
    )
)

// internal

const twice = new UsageError({
  what: "ereg diff",
  why: "both images cannot come from standard input",
  hint: "save one of them to a file"
})

const warnings = ({ leftOut, unread }: ImageDiff): ReadonlyArray<string> => [
  ...unread.map(
    ({ descriptor }) => `layer ${short(descriptor.digest)} is ${descriptor.mediaType}, and not looked into`
  ),
  ...leftOut.flatMap(({ count: all, first, layer }) => [
    ...first.map(({ name, why }) => `layer ${short(layer)}: ${JSON.stringify(name)} is left out: ${why}`),
    ...(all > first.length ? [`layer ${short(layer)}: ${all - first.length} more are left out`] : [])
  ])
]

const isEqual = ({ config, files, layers }: ImageDiff): boolean =>
  config.length === 0 && layers.every(({ change }) => change === "same") && files().next().done === true

function* text(found: ImageDiff): Generator<string> {
  const { after, before, config, layers } = found
  if (config.length > 0) yield "config:"
  for (const change of config) yield* configText(change)
  if (layers.length > 0) yield "layers:"
  yield* table(layers.map(layerRow))
  let started = false
  let sum = 0
  for (const change of found.files()) {
    if (!started) yield "files:"
    started = true
    sum += ownSize(change.after) - ownSize(change.before)
    yield fileText(change)
  }
  yield `size: ${size(before.size)} in ${count(before.layers.length, "layer")} -> ${size(after.size)} in ${count(
    after.layers.length,
    "layer"
  )}; files ${signed(sum)} B`
}

/** Hard links have no data of their own. */
const ownSize = (entry: FileEntry | undefined): number => (entry?.type === "file" ? entry.size : 0)

function* configText({ after, before, field, key }: ConfigChange): Generator<string> {
  const line = (value: string) =>
    [field, key === undefined ? value : value === "" ? key : `${key}=${value}`].join(" ").trimEnd()
  if (before !== undefined) yield `  - ${line(before)}`
  if (after !== undefined) yield `  + ${line(after)}`
}

const layerRow = ({ after, before, change }: LayerChange): ReadonlyArray<string> => {
  const layer = after ?? before
  if (layer === undefined) return []
  const recompressed =
    before !== undefined && after !== undefined && before.descriptor.digest !== after.descriptor.digest
  return [
    `  ${{ same: "=", removed: "-", added: "+" }[change]}`,
    short(layer.descriptor.digest),
    recompressed ? `${size(before.descriptor.size)} -> ${size(after.descriptor.size)}` : size(layer.descriptor.size),
    (layer.createdBy ?? "").replaceAll(/\s+/g, " ").trim().slice(0, 80)
  ]
}

const letters = { added: "A", removed: "D", modified: "M" }

const fileText = (change: FileChange): string => {
  const entry = change.after ?? change.before
  const what = change.aspects.flatMap((aspect) => (aspect === "size" ? [] : [aspectText(aspect, change)])).join(", ")
  const name = entry === undefined ? change.path : nameText(entry)
  return `  ${letters[change.change]} ${signed(change.sizeChange).padStart(10)}  ${name}${what === "" ? "" : `  (${what})`}`
}

/** What it was and what it is, where that says more than the size beside it. */
const aspectText = (aspect: FileChange["aspects"][number], { after, before }: FileChange): string => {
  if (before === undefined || after === undefined) return aspect
  if (aspect === "mode") return `mode ${octal(before.mode)} -> ${octal(after.mode)}`
  if (aspect === "owner") return `owner ${before.uid}:${before.gid} -> ${after.uid}:${after.gid}`
  if (aspect === "type") return `${before.type} -> ${after.type}`
  if (aspect === "link") return `was ${before.link}`
  return aspect
}

const signed = (bytes: number): string => (bytes > 0 ? `+${bytes}` : String(bytes))

const headJson = (found: ImageDiff, [a, b]: readonly [string, string], equal: boolean) => ({
  equal,
  before: sideJson(a, found.before),
  after: sideJson(b, found.after),
  config: found.config.map(({ after, before, field, key }) => ({ field, key, before, after })),
  layers: found.layers.map(({ after, before, change }) => ({
    change,
    diffId: (after ?? before)?.diffId,
    createdBy: (after ?? before)?.createdBy,
    before: before === undefined ? null : blobJson(before),
    after: after === undefined ? null : blobJson(after)
  })),
  unread: found.unread.map(blobJson),
  leftOut: found.leftOut
})

const sideJson = (address: string, { configDigest, digest, size }: DiffSide) => ({
  address,
  digest,
  configDigest,
  size
})

const blobJson = ({ descriptor: { digest, mediaType, size } }: DiffSide["layers"][number]) => ({
  digest,
  mediaType,
  size
})

const fileJson = ({ after, aspects, before, change, path, sizeChange }: FileChange) => ({
  change,
  path,
  aspects,
  sizeChange,
  before: before === undefined ? null : entryJson(before),
  after: after === undefined ? null : entryJson(after)
})
