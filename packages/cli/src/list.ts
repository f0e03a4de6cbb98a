/** `ereg list`: the repositories of a registry. */

import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import { listRepositories } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Page } from "./help.js"
import { argument, forBlobs, global } from "./options.js"
import { Output } from "./output.js"
import { hostReferences, perform } from "./perform.js"

const options = {}

export const page: Page = {
  name: "list",
  summary: "List the repositories of a registry",
  synopsis: "[HOST]",
  arguments: [["HOST", "HOST[:PORT] or a URL; without one the configured registry"]],
  options,
  without: forBlobs,
  examples: [
    ["ereg list localhost:15000", "Every repository, one a line"],
    ["ereg list localhost:15000 --output json", "The same as JSON: { repositories }"]
  ]
}

export const command = Command.make(
  "list",
  { host: Args.optional(argument("host")), ...options, global },
  ({ global, host }) =>
    perform(
      { name: "list", global, references: hostReferences(host) },
      Effect.gen(function* () {
        const output = yield* Output
        const repositories = yield* listRepositories(Option.getOrUndefined(host))
        if (repositories.length === 0) yield* output.note("no repositories")
        yield* output.print(repositories, { repositories })
      })
    )
)
