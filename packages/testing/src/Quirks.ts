/**
 * Registries as they are: each simulation enforces what its original does, before a real registry, so that a client that
 * does not expect it fails.
 *
 * ```ts
 * const registry = yield* Quirks.serve(Quirks.ecr({ repositories: ["team/app"] }))
 * ```
 */
import { EmbeddedRegistry } from "@effect-registry/server"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Certificates from "./Certificates.js"
import * as Rewrite from "./quirks/Rewrite.js"
import { k8sPrefix } from "./quirks/Vendors.js"

export * from "./quirks/Behaviours.js"
export { all, type Decision, type Quirk, type Request, type Response, type Seen, type Site } from "./quirks/Rewrite.js"
export * from "./quirks/Vendors.js"

export interface Options {
  /** Whether it speaks TLS, with the certificate of `Certificates.make`. Default false. */
  readonly tls?: boolean | undefined
}

export interface Simulation {
  /** `http://127.0.0.1:41234`. */
  readonly url: string
  /** `127.0.0.1:41234`, as references begin. */
  readonly host: string
  /** The URL of the registry behind, which has no quirks: for judges, and to put there what is to be found. */
  readonly behind: string
  /** `host` of the registry behind. */
  readonly behindHost: string
  /** Answered requests so far. */
  readonly requests: () => ReadonlyArray<Rewrite.Seen>
  /** Those at the other origin, where the quirk has one. */
  readonly elsewhere: () => ReadonlyArray<Rewrite.Seen>
}

/** A registry with this quirk and an empty one behind it. Dies where no port can be had. */
export const serve = (quirk: Rewrite.Quirk, options: Options = {}): Effect.Effect<Simulation, never, Scope.Scope> =>
  Effect.gen(function* () {
    const behind = yield* Effect.orDie(EmbeddedRegistry.makeMemory())
    const site = { url: "", other: "" }
    const complete = (): Rewrite.Site => ({
      ...site,
      ask: (method, target, headers) => Rewrite.ask(behind.url, method, target, headers)
    })
    const certificate = options.tls === true ? (yield* Certificates.make).server : undefined
    const other = yield* Rewrite.listen(behind.url, storage, complete, certificate)
    const own = yield* Rewrite.listen(behind.url, quirk, complete, certificate)
    Object.assign(site, { url: own.url, other: other.url })
    return {
      url: own.url,
      host: own.host,
      behind: behind.url,
      behindHost: behind.host,
      requests: own.seen,
      elsewhere: other.seen
    }
  })

// internal

/** The other origin: what comes with credentials is refused, as S3 does with more than one way to authenticate. */
const storage: Rewrite.Quirk = {
  request: ({ headers, path, query }) => {
    if (headers.authorization !== undefined) {
      return Rewrite.answer(400, { "content-type": "application/xml" }, "<Code>InvalidArgument</Code>")
    }
    const rest = query.replace(/&?sig=a%2Fb/, "")
    const target = path.replace(`/v2/${k8sPrefix}/`, "/v2/")
    return Rewrite.forward({ target: rest === "" ? target : `${target}?${rest}` })
  }
}
