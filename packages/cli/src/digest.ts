/** `ereg digest`: the digest that an address has. */
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
  name: "digest",
  summary: "Print the digest of an image's manifest or index",
  synopsis: "ADDRESS",
  arguments: [["ADDRESS", "A reference, or an archive as for push"]],
  options,
  examples: [
    ["ereg digest localhost:15000/team/app:1.0", "What the tag names now"],
    ["ereg digest localhost:15000/team/app:1.0 --platform linux/arm64", "That of one platform of an index"]
  ]
}

export const command = Command.make("digest", { address: argument("address"), ...options, global }, (input) =>
  perform(
    { name: "digest", global: input.global, references: [withoutScheme(input.address)] },
    Effect.gen(function* () {
      const output = yield* Output
      const from = yield* source(yield* parse(input.address))
      const { descriptor } = yield* manifestOf(from, input.global.platform[0])
      const { digest, mediaType, size } = descriptor
      yield* output.print([digest], { digest, mediaType, size })
    })
  )
)
