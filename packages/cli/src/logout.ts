/** `ereg logout`: forgets the credentials of a registry. */

import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import { RegistryConfig } from "@effect-registry/core"
import { DockerConfig } from "@effect-registry/node"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Page } from "./help.js"
import { files } from "./login.js"
import { argument, forRegistries, global } from "./options.js"
import { Output } from "./output.js"
import { hostReferences, perform } from "./perform.js"
import { Stdio } from "./stdio.js"

const options = {}

export const page: Page = {
  name: "logout",
  summary: "Forget the credentials of a registry",
  synopsis: "[HOST]",
  arguments: [["HOST", "HOST[:PORT] or a URL; without one the configured registry, else docker.io"]],
  options,
  without: forRegistries,
  notes: [
    "They are removed from every file that commands read, and from the credential helper that it names.",
    "Nothing is sent to the registry: what it has handed out stays valid there until it ends."
  ],
  examples: [
    ["ereg logout registry.example:5000", "From Docker's and Podman's files, and their credential helpers"],
    ["ereg logout ghcr.io --authfile auth.json", "From a file of yours"]
  ]
}

export const command = Command.make(
  "logout",
  { host: Args.optional(argument("host")), ...options, global },
  ({ global, host: named }) =>
    perform(
      { name: "logout", global, references: hostReferences(named) },
      Effect.gen(function* () {
        const output = yield* Output
        const { host } = yield* RegistryConfig.find(Option.getOrUndefined(named))
        const where = files(yield* Stdio, global)
        const from = yield* DockerConfig.erase(host, where)
        const removed = from.length > 0
        yield* output.note(
          removed ? `logged out of ${host}: removed from ${from.join(", ")}` : `there were no credentials for ${host}`
        )
        yield* output.print([], { host, removed, files: from })
      })
    )
)
