/** `ereg tags`: the tags of a repository. */

import * as Command from "@effect/cli/Command"
import { listTags } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { argument, forBlobs, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"

const options = {}

export const page: Page = {
  name: "tags",
  summary: "List the tags of a repository",
  synopsis: "REPOSITORY",
  arguments: [["REPOSITORY", "[HOST[:PORT]/]REPOSITORY"]],
  options,
  without: forBlobs,
  examples: [
    ["ereg tags localhost:15000/team/app", "Every tag, one a line"],
    ["ereg tags team/app --registry http://localhost:15000 --output json", "As JSON: { repository, tags }"]
  ]
}

export const command = Command.make("tags", { repository: argument("repository"), ...options, global }, (input) => {
  const repository = withoutScheme(input.repository)
  return perform(
    { name: "tags", global: input.global, references: [repository] },
    Effect.gen(function* () {
      const output = yield* Output
      const tags = yield* listTags(repository)
      if (tags.length === 0) yield* output.note("no tags")
      yield* output.print(tags, { repository, tags })
    })
  )
})
