/** `ereg tag`: further tags for an image that is in a registry. */

import * as Command from "@effect/cli/Command"
import { tag } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { argument, argumentList, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"

const options = {}

export const page: Page = {
  name: "tag",
  summary: "Give an image in a registry further tags",
  synopsis: "REF NEW...",
  arguments: [
    ["REF", "The image: [HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]"],
    ["NEW", "Tags it gets in the same repository"]
  ],
  options,
  notes: ["Nothing is downloaded but the manifest. Prints HOST/REPOSITORY:TAG@DIGEST, a line for each tag."],
  examples: [
    ["ereg tag localhost:15000/team/app:1.0.3 1.0 latest", "Two more tags for 1.0.3"],
    ["ereg tag localhost:15000/team/app@sha256:… rescued", "A tag for an image that is known by its digest"]
  ]
}

export const command = Command.make(
  "tag",
  { reference: argument("ref"), tags: argumentList("new", 1), ...options, global },
  ({ global, reference, tags }) =>
    perform(
      { name: "tag", global, references: [reference] },
      Effect.gen(function* () {
        const output = yield* Output
        const { descriptor, references } = yield* tag(withoutScheme(reference), tags)
        yield* output.print(references, { digest: descriptor.digest, mediaType: descriptor.mediaType, references })
      })
    )
)
