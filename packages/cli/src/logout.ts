/** `ereg logout`: forgets the credentials of a registry. */

import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import { RegistryConfig } from "@effect-registry/core"
import { DockerConfig } from "@effect-registry/node"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Page } from "./help.js"
import { files } from "./login.js"
import { argument, global } from "./options.js"
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
  notes: ["Nothing is sent to the registry: what it has handed out stays valid there until it ends."],
  examples: [
    ["ereg logout registry.example:5000", "From the credential helper or from config.json"],
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
        const removed = yield* DockerConfig.erase(host, where)
        yield* output.note(removed ? `logged out of ${host}` : `there were no credentials for ${host}`)
        const left = yield* Effect.option(DockerConfig.service(where).find(host, Option.none()))
        if (Option.isSome(Option.flatten(left))) {
          yield* output.warn(
            `credentials for ${host} remain in another of ${DockerConfig.paths(where).join(", ")}; --authfile names one`
          )
        }
        yield* output.print([], { host, removed })
      })
    )
)
