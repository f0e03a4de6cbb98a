/** `ereg ping`: whether a registry is there. */

import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import { ping } from "@effect-registry/core"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Page } from "./help.js"
import { argument, forBlobs, global } from "./options.js"
import { Output } from "./output.js"
import { hostReferences, perform } from "./perform.js"

const options = {}

export const page: Page = {
  name: "ping",
  summary: "Tell whether a registry answers",
  synopsis: "[HOST]",
  arguments: [["HOST", "HOST[:PORT] or a URL; without one the configured registry"]],
  options,
  without: forBlobs,
  notes: ["Exit code 1 where nothing answers, something else does, or it wants credentials."],
  examples: [
    ["ereg ping localhost:15000", "Is it there?"],
    ["until ereg ping localhost:15000 --quiet 2>/dev/null; do sleep 1; done", "Wait until it is up"]
  ]
}

export const command = Command.make(
  "ping",
  { host: Args.optional(argument("host")), ...options, global },
  ({ global, host }) =>
    perform(
      { name: "ping", global, references: hostReferences(host) },
      Effect.gen(function* () {
        const output = yield* Output
        const [took, result] = yield* Effect.timed(ping(Option.getOrUndefined(host)))
        yield* Effect.forEach(result.warnings, output.warn, { discard: true })
        const milliseconds = Math.round(Duration.toMillis(took))
        const version = Option.match(result.version, { onNone: () => "", onSome: (text) => `, ${text}` })
        yield* output.print([`${result.url} is a registry${version}, ${milliseconds} ms`], {
          host: result.host,
          url: result.url,
          version: Option.getOrNull(result.version),
          warnings: result.warnings,
          milliseconds
        })
      })
    )
)
