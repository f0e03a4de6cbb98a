/** Whether a registry is there. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as MediaType from "./model/MediaType.js"
import * as Client from "./Registry/Client.js"
import * as Exchange from "./Registry/Exchange.js"
import * as Failure from "./Registry/Failure.js"
import * as Retry from "./Registry/Retry.js"
import * as RegistryConfig from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import type { ValidationError } from "./ValidationError.js"

export interface PingResult {
  /** `host[:port]` as in references. */
  readonly host: string
  /** `http://localhost:15000` */
  readonly url: string
  /** Docker-Distribution-Api-Version, `registry/2.0`; newer registries may leave it out. */
  readonly version: Option.Option<string>
  readonly warnings: ReadonlyArray<string>
}

/** The base answer is a few bytes; a wrong server may send a page of any length. */
export const maxBody = 64 * 1024

/**
 * Asks the registry for its API version. `host` is `HOST[:PORT]` or a URL; by default the configured registry.
 *
 * Fails with a RegistryError: `Unreachable`, `Unauthorized`, `NotARegistry` (something else answers there),
 * `PlainHttpServer`, `Tls`, `Timeout`; or a ValidationError for a malformed host.
 *
 * @example
 * ```ts
 * import { ping } from "@effect-registry/core"
 *
 * const program = ping("localhost:15000")
 * ```
 * @since 0.1.0
 */
export const ping = (
  host?: string
): Effect.Effect<PingResult, RegistryError | ValidationError, HttpClient.HttpClient | RegistryConfig.RegistryConfig> =>
  Effect.gen(function* () {
    const endpoint = yield* RegistryConfig.find(host)
    const client = yield* Client.make(endpoint, { repository: Option.none(), scopes: [] })
    const call: Exchange.Call = {
      operation: `ping ${endpoint.host}`,
      method: "GET",
      url: Client.urlOf(client, ""),
      accept: [200, 404]
    }
    return yield* Retry.exchange(client, call, (response) =>
      Effect.gen(function* () {
        const header = "docker-distribution-api-version"
        const version = Option.fromNullable(response.headers[header]).pipe(Option.filter((value) => value !== ""))
        const body = yield* Exchange.bytes(client, call, response, maxBody).pipe(
          Effect.map((bytes) => new TextDecoder().decode(bytes)),
          Effect.catchIf(
            (error) => error.reason === "TooLarge",
            () => Effect.succeed("<too long>")
          )
        )
        const stranger = strangeness(response, version, body)
        if (stranger !== undefined) {
          return yield* Effect.fail(
            Failure.make(call, "NotARegistry", {
              status: response.status,
              detail: stranger,
              hint: `check the port: what answers at ${endpoint.host} is something else`
            })
          )
        }
        const warnings = Option.isSome(version) ? [] : ["the answer has no Docker-Distribution-Api-Version header"]
        return { host: endpoint.host, url: endpoint.origin, version, warnings }
      })
    )
  }).pipe(Effect.withSpan("effect-registry.ping"))

// internal

/** What tells that this is no registry; a JSON answer without the header is taken for one. */
const strangeness = (response: Exchange.Response, version: Option.Option<string>, body: string): string | undefined => {
  if (response.status === 404) return "there is nothing at /v2/"
  if (Option.exists(version, (value) => value.startsWith("registry/2"))) return undefined
  if (Option.isSome(version)) return `its API version is ${version.value.slice(0, 100)}`
  const type = MediaType.essence(response.headers["content-type"] ?? "")
  if (type === "text/html" || /^\s*</.test(body)) return "a web page came"
  return body.trim() === "" || isJson(body) ? undefined : "the answer is neither empty nor JSON"
}

const isJson = (text: string): boolean => {
  try {
    return typeof JSON.parse(text) === "object"
  } catch {
    return false
  }
}
