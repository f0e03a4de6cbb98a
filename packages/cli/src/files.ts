/** `ereg files`: what is in an image, without pulling it. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { files, type ImageFiles, type LayerFiles } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { parse, source, withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { columns, entryJson, jsonWithList, lookOptions, map, short, telling, textLines, write } from "./listing.js"
import { argument, global } from "./options.js"
import { count, Output, type Service as OutputService, size } from "./output.js"
import { perform } from "./perform.js"

const options = {
  layers: Options.boolean("layers").pipe(
    Options.withDescription("Each layer with what it adds and removes, not what they come to together")
  )
}

export const page: Page = {
  name: "files",
  summary: "List the files of an image, without pulling or unpacking it",
  synopsis: "ADDRESS",
  arguments: [["ADDRESS", "A reference, or an archive or layout with one image"]],
  options,
  without: ["noResume", "noCache"],
  notes: [
    "The columns: mode, uid:gid, bytes, the layer it comes from, name. All layers are read and verified, none is unpacked.",
    "Of an image for several platforms, Linux on this machine's architecture is listed unless --platform says otherwise."
  ],
  examples: [
    ["ereg files localhost:15000/team/app:1.0", "The files a container would see"],
    ["ereg files app.tar --layers", "What each layer adds and removes"],
    ["ereg files app.tar | grep ^-rws", "Programs that run as their owner"]
  ]
}

export const command = Command.make("files", { address: argument("address"), ...options, global }, (input) =>
  perform(
    { name: "files", global: input.global, references: [withoutScheme(input.address)] },
    Effect.gen(function* () {
      const output = yield* Output
      const images = yield* source(yield* parse(input.address))
      const image = yield* telling(output, files(images, lookOptions(input.global)))
      yield* Effect.forEach(warnings(image), output.warn, { discard: true })
      yield* write(output, input.layers ? byLayer(output, input.address, image) : merged(output, input.address, image))
    })
  )
)

/** What the listing cannot show. */
export const warnings = ({ layers }: Pick<ImageFiles, "layers">): ReadonlyArray<string> =>
  layers.flatMap(({ contents, descriptor: { digest, mediaType }, leftOut, leftOutCount }) => [
    ...(contents === "foreign" ? [`layer ${short(digest)} is one that registries do not hold, and is not listed`] : []),
    ...(contents === "other" ? [`layer ${short(digest)} is no tar but ${mediaType}, and is not listed`] : []),
    ...leftOut.map(({ name, why }) => `layer ${short(digest)}: ${JSON.stringify(name)} is left out: ${why}`),
    ...(leftOutCount > leftOut.length
      ? [`layer ${short(digest)}: ${leftOutCount - leftOut.length} more are left out`]
      : [])
  ])

// internal

const head = (address: string, { configDigest, digest, layers }: ImageFiles) => ({
  address,
  digest,
  configDigest,
  layers: layers.map(layerJson)
})

const layerJson = ({
  contents,
  createdBy,
  descriptor,
  diffId,
  entryCount,
  leftOut,
  leftOutCount,
  tarSize
}: LayerFiles) => ({
  digest: descriptor.digest,
  diffId,
  mediaType: descriptor.mediaType,
  size: descriptor.size,
  tarSize,
  createdBy,
  contents,
  entryCount,
  leftOut,
  leftOutCount
})

const merged = (output: OutputService, address: string, image: ImageFiles): Iterable<string> => {
  if (output.format === "json") return jsonWithList(head(address, image), "files", map(image.entries(), entryJson))
  const names = image.layers.map(({ descriptor }) => short(descriptor.digest))
  const row = columns()
  return textLines(map(image.entries(), (entry) => row(entry, names[entry.layer] ?? "")))
}

const byLayer = (output: OutputService, address: string, image: ImageFiles): Iterable<string> =>
  output.format === "json" ? layersJson(address, image) : textLines(layersText(image))

function* layersText({ layers }: ImageFiles): Generator<string> {
  for (const [index, layer] of layers.entries()) {
    const { contents, createdBy, descriptor, entryCount } = layer
    if (index > 0) yield ""
    const what = contents === "tar" ? count(entryCount, "entry", "entries") : `${descriptor.mediaType}, not listed`
    yield `layer ${descriptor.digest} ${size(descriptor.size)}, ${what}`
    if (createdBy !== undefined) yield `  ${createdBy.replaceAll(/\s+/g, " ").trim().slice(0, 100)}`
    const row = columns()
    for (const entry of layer.entries()) yield row(entry, "")
  }
}

function* layersJson(address: string, image: ImageFiles): Generator<string> {
  const { layers: _, ...rest } = head(address, image)
  // Each layer is a document of its own kind in the list, so none is held whole.
  const [start = "", end = ""] = [...jsonWithList(rest, "layers", [])]
  yield start
  for (const [index, layer] of image.layers.entries()) {
    if (index > 0) yield ","
    for (const text of jsonWithList(layerJson(layer), "entries", map(layer.entries(), entryJson))) yield text.trimEnd()
  }
  yield end
}
