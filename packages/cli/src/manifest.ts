/** `ereg manifest`: a manifest's exact bytes. */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { parse, source, withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { argument, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"
import { manifestOf } from "./source.js"

const options = {}

export const page: Page = {
  name: "manifest",
  summary: "Print the exact bytes of a manifest or index",
  synopsis: "ADDRESS",
  arguments: [["ADDRESS", "A reference, or an archive as for push"]],
  options,
  notes: ["No byte is added or changed, whatever --output says: sha256sum gives the digest."],
  examples: [
    ["ereg manifest localhost:15000/team/app:1.0 | jq .", "To look at it"],
    ["ereg manifest localhost:15000/team/app:1.0 --platform linux/arm64", "That of one platform of an index"],
    ["ereg manifest oci:layout:1.0", "From a layout"]
  ]
}

export const command = Command.make("manifest", { address: argument("address"), ...options, global }, (input) =>
  perform(
    { name: "manifest", global: input.global, references: [withoutScheme(input.address)] },
    Effect.gen(function* () {
      const output = yield* Output
      const from = yield* source(yield* parse(input.address))
      const { bytes } = yield* manifestOf(from, input.global.platform[0])
      yield* output.bytes(bytes)
    })
  )
)
