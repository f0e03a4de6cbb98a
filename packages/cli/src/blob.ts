/** `ereg blob`: a blob's bytes. */

import * as Command from "@effect/cli/Command"
import { getBlob } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { argument, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"

const options = {}

export const page: Page = {
  name: "blob",
  summary: "Print the bytes of a blob: a layer, a config",
  synopsis: "REPOSITORY@DIGEST",
  arguments: [["REPOSITORY@DIGEST", "[HOST[:PORT]/]REPOSITORY@sha256:HEX"]],
  options,
  notes: ["The digest is checked while they stream; where it is wrong, the exit code says so after the last byte."],
  examples: [
    ["ereg blob localhost:15000/team/app@sha256:… | tar -tzf -", "The files in a layer"],
    ["ereg blob localhost:15000/team/app@sha256:… > config.json", "A config, to a file"]
  ]
}

export const command = Command.make("blob", { reference: argument("reference"), ...options, global }, (input) => {
  const reference = withoutScheme(input.reference)
  return perform(
    { name: "blob", global: input.global, references: [reference], carriesBytes: true },
    Effect.gen(function* () {
      const output = yield* Output
      yield* Stream.runForEach(getBlob(reference), output.bytes)
    })
  )
})
