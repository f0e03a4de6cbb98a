/** `ereg inspect`: what an image is, in a registry or in an archive. */
import { getImageInfo, type ImageInfo } from "@effect-registry/core"
import { type ArchiveImage, inspectArchive } from "@effect-registry/tar"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { parse, withoutScheme } from "./address.js"
import { UsageError } from "./exit.js"
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
  notes: ["Of an image for several platforms, Linux on this machine's architecture is shown unless --platform says otherwise."],
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
      const info = yield* getImageInfo(withoutScheme(input.address), { platform: input.global.platform[0] })
      yield* output.print([info.reference], info)
    })
  )
)
