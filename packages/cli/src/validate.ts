/** `ereg validate`: whether an archive can be pushed. */

import * as Command from "@effect/cli/Command"
import { validateArchive } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import { archive } from "./address.js"
import { code, Failed, UsageError } from "./exit.js"
import type { Page } from "./help.js"
import { argument, global } from "./options.js"
import { count, Output } from "./output.js"
import { perform } from "./perform.js"

const options = {}

export const page: Page = {
  name: "validate",
  summary: "Check an archive or layout, and list everything that is wrong with it",
  synopsis: "ARCHIVE",
  arguments: [["ARCHIVE", "app.tar, docker-archive:PATH, oci:DIR, oci-archive:PATH"]],
  options,
  notes: ["Every config and layer is read and hashed. Exit code 1 where it is invalid."],
  examples: [
    ["ereg validate app.tar", "Can it be pushed?"],
    ["ereg validate app.tar --output json", "As JSON: { path, valid, images, problems, warnings }"]
  ]
}

export const command = Command.make("validate", { archive: argument("archive"), ...options, global }, (input) =>
  perform(
    { name: "validate", global: input.global },
    Effect.gen(function* () {
      const output = yield* Output
      const address = yield* archive("validate", input.archive)
      if (address._tag === "Standard") return yield* Effect.fail(noStream)
      const { images, path, problems, valid, warnings } = yield* validateArchive(address.path)
      yield* Effect.forEach(warnings, output.warn, { discard: true })
      const lines = valid
        ? [`${path}: valid, ${count(images.length, "image")}`, ...images.map((name) => `  ${name}`)]
        : [`${path}: ${count(problems.length, "problem")}`, ...problems.map(({ message }) => `  ${message}`)]
      yield* output.print(lines, {
        path,
        valid,
        images,
        problems: problems.map(({ hint, message, reason }) => ({ reason, message, hint: hint ?? null })),
        warnings
      })
      if (!valid) return yield* Effect.fail(new Failed({ code: code.failed }))
    })
  )
)

// internal

const noStream = new UsageError({
  what: "ereg validate",
  why: "standard input cannot be validated",
  hint: "save it to a file first: docker save app:1.0 -o app.tar"
})
