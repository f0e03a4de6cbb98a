/** `ereg inspect`: what an image is, in a registry or in an archive. */

import * as Command from "@effect/cli/Command"
import { getImageInfo, type ImageConfig } from "@effect-registry/core"
import { inspectSource } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { parse, source, withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { argument, global } from "./options.js"
import { count, fields, Output, size, table } from "./output.js"
import { perform } from "./perform.js"

const options = {}

export const page: Page = {
  name: "inspect",
  summary: "Show an image: platform, creation, size, settings, layers",
  synopsis: "ADDRESS",
  arguments: [["ADDRESS", "A reference, or an archive or layout, of which every image is shown"]],
  options,
  notes: [
    "Of an image for several platforms, Linux on this machine's architecture is shown unless --platform says otherwise."
  ],
  examples: [
    ["ereg inspect localhost:15000/team/app:1.0", "An image in a registry"],
    ["ereg inspect app.tar", "What is in a docker save archive"],
    ["ereg inspect localhost:15000/team/app:1.0 --platform linux/arm64 --output json", "All fields, for programs"]
  ]
}

export const command = Command.make("inspect", { address: argument("address"), ...options, global }, (input) =>
  perform(
    { name: "inspect", global: input.global, references: [withoutScheme(input.address)] },
    Effect.gen(function* () {
      const output = yield* Output
      const platform = input.global.platform[0]
      const address = yield* parse(input.address)
      if (address._tag === "Reference") {
        const info = yield* getImageInfo(address.reference, { platform })
        return yield* output.print(
          show(info, [
            ["reference", info.reference],
            ["digest", info.digest],
            [
              "index",
              info.indexDigest === undefined ? undefined : `${info.indexDigest} for ${info.platforms.join(", ")}`
            ]
          ]),
          info
        )
      }
      const images = yield* inspectSource(yield* source(address), platform)
      const lines = images.flatMap((image, index) => [
        ...(index === 0 ? [] : [""]),
        ...show(image, [
          ["tags", image.tags.join(", ") || "none"],
          ["digest", image.digest],
          ["missing", image.missingPlatforms.join(", ")]
        ])
      ])
      yield* output.print(lines, { address: input.address, images })
    })
  )
)

// internal

/** An image as rows of fields, then its layers. */
const show = (
  image: ImageConfig.Summary,
  names: ReadonlyArray<readonly [name: string, value: string | undefined]>
): ReadonlyArray<string> => [
  ...fields([
    ...names,
    ["image ID", image.configDigest],
    ["platform", [image.os, image.architecture, image.variant].filter((part) => part !== undefined).join("/")],
    ["created", image.created],
    ["author", image.author],
    ["size", `${size(image.totalSize)} in ${count(image.layerCount, "layer")}`],
    ["entrypoint", words(image.entrypoint)],
    ["cmd", words(image.cmd)],
    ["user", image.user],
    ["working dir", image.workingDir],
    ["ports", image.exposedPorts.join(", ")],
    ...image.env.map((entry, index) => [index === 0 ? "env" : "", entry] as const),
    ...Object.entries(image.labels).map(
      ([key, value], index) => [index === 0 ? "labels" : "", `${key}=${value}`] as const
    )
  ]),
  "layers:",
  ...table(
    image.layers.map((layer) => [
      `  ${layer.digest.slice(layer.digest.indexOf(":") + 1, layer.digest.indexOf(":") + 13)}`,
      size(layer.size),
      (layer.createdBy ?? "").replaceAll(/\s+/g, " ").slice(0, 80)
    ])
  )
]

const words = (list: ReadonlyArray<string>): string => (list.length === 0 ? "" : JSON.stringify(list))
