/** `ereg referrers`: what refers to an image. */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { referrers } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { argument, global } from "./options.js"
import { Output, size, table } from "./output.js"
import { perform } from "./perform.js"

const options = {
  artifactType: Options.text("artifact-type").pipe(
    Options.withPseudoName("TYPE"),
    Options.withDescription("Only those of this type"),
    Options.optional
  )
}

export const page: Page = {
  name: "referrers",
  summary: "List what refers to an image: signatures, SBOMs, attestations",
  synopsis: "REF",
  arguments: [["REF", "An image, by its tag or digest"]],
  options,
  without: ["platform", "concurrency", "noResume", "noCache"],
  notes: ["One a line: a reference to it, its type, its size, and when it was created where it says so."],
  examples: [
    ["ereg referrers localhost:15000/team/app:1.0", "All of them"],
    ["ereg referrers localhost:15000/team/app:1.0 --artifact-type application/spdx+json", "The SBOMs of one format"]
  ]
}

export const command = Command.make("referrers", { reference: argument("ref"), ...options, global }, (input) => {
  const reference = withoutScheme(input.reference)
  return perform(
    { name: "referrers", global: input.global, references: [reference] },
    Effect.gen(function* () {
      const output = yield* Output
      const found = yield* referrers(reference, { artifactType: Option.getOrUndefined(input.artifactType) })
      if (found.referrers.length === 0) yield* output.note("no referrers")
      const rows = found.referrers.map((each) => [
        each.reference,
        each.artifactType ?? "-",
        size(each.size),
        each.annotations?.[created] ?? ""
      ])
      yield* output.print(table(rows), {
        subject: found.subject,
        digest: found.digest,
        source: found.source,
        referrers: found.referrers.map((each) => ({
          reference: each.reference,
          digest: each.digest,
          mediaType: each.mediaType,
          artifactType: each.artifactType,
          size: each.size,
          annotations: each.annotations ?? {}
        }))
      })
    })
  )
})

// internal

/** https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md */
const created = "org.opencontainers.image.created"
