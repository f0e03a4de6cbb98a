/** Which registry a verb without a repository means. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Reference from "../model/Reference.js"
import * as RegistryConfig from "../RegistryConfig.js"
import { ValidationError } from "../ValidationError.js"

/** `HOST[:PORT]`, or a URL whose scheme then counts; without one the configured registry. */
export const parse = (
  host: string | undefined
): Effect.Effect<RegistryConfig.Endpoint, ValidationError, RegistryConfig.RegistryConfig> =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    if (host === undefined) return yield* RegistryConfig.endpoint(config, Option.none())
    if (host.includes("://"))
      return yield* RegistryConfig.endpoint({ ...config, url: Option.some(host) }, Option.none())
    // A capital makes any name a host in the grammar of references, and references lower it again.
    const named = Either.getOrUndefined(Reference.parse(`${Reference.isHost(host) ? host : capital(host)}/x`))
    if (named === undefined || Option.isNone(named.host) || host.includes("/")) {
      return yield* Effect.fail(
        ValidationError.of("InvalidReference", JSON.stringify(host), "is no host name with an optional port", {
          hint: "a registry is given as HOST[:PORT], http://HOST:PORT or https://HOST"
        })
      )
    }
    return yield* RegistryConfig.endpoint(config, named.host)
  })

// internal

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)
