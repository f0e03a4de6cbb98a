/**
 * Misbehaviour on demand, for testing clients against a real registry: answer with a status, wait, cut the connection at a
 * chosen point, flip a byte, say a wrong digest. Hand `onRequest` to the registry's layer; it sees every request before the
 * handlers do and says what shall go wrong. `on`, `once`, `nth` and `sequence` make such hooks, `first` puts several together,
 * `switchable` changes them in mid-test, and `recorder` collects what was asked and answered.
 *
 * @example
 * ```ts
 * import { EmbeddedRegistry, Faults } from "@effect-registry/server"
 *
 * EmbeddedRegistry.layerMemory({
 *   onRequest: Faults.first(
 *     Faults.once({ method: "PUT", path: /manifests/ }, Faults.respond(503, { headers: { "retry-after": "1" } })),
 *     Faults.nth(2, { route: "BlobGet" }, Faults.cutResponse(1000))
 *   )
 * })
 * ```
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type Match, matches } from "./Faults/Match.js"

export { requestBody, response } from "./Faults/Body.js"
export type { Match, RouteName } from "./Faults/Match.js"

export interface Request {
  /** 0 for the first request since the registry started. */
  readonly index: number
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** Without the `?`. */
  readonly query: string
  /** Names in lower case; `authorization` included. */
  readonly headers: Readonly<Record<string, string | undefined>>
}

export type Fault =
  | {
      readonly _tag: "Respond"
      readonly status: number
      readonly headers: Readonly<Record<string, string>>
      readonly body: string | Uint8Array
    }
  | { readonly _tag: "Delay"; readonly duration: Duration.DurationInput }
  | { readonly _tag: "Disconnect" }
  | { readonly _tag: "LoseResponse" }
  | { readonly _tag: "CutRequest"; readonly bytes: number }
  | { readonly _tag: "CutResponse"; readonly bytes: number }
  | { readonly _tag: "CorruptResponse"; readonly offset: number }
  | { readonly _tag: "StallResponse"; readonly bytes: number }
  | { readonly _tag: "SlowResponse"; readonly rate: number }
  | { readonly _tag: "ChangeHeaders"; readonly headers: Readonly<Record<string, string | undefined>> }

// ---- faults

/** Answers without doing anything; the request's body is discarded. */
export const respond = (
  status: number,
  options: {
    readonly headers?: Readonly<Record<string, string>> | undefined
    readonly body?: string | Uint8Array | undefined
  } = {}
): Fault => ({ _tag: "Respond", status, headers: options.headers ?? {}, body: options.body ?? "" })

/** Sends the client elsewhere. Default status 307. */
export const redirect = (location: string, status = 307): Fault => respond(status, { headers: { location } })

/** Does what was asked, later. */
export const delay = (duration: Duration.DurationInput): Fault => ({ _tag: "Delay", duration })

/** Cuts the connection before anything is done or answered. */
export const disconnect: Fault = { _tag: "Disconnect" }

/** Does what was asked, then cuts the connection instead of answering. */
export const loseResponse: Fault = { _tag: "LoseResponse" }

/** Cuts the connection when so many bytes of the request's body have arrived; the registry keeps what it keeps of such. */
export const cutRequest = (bytes: number): Fault => ({ _tag: "CutRequest", bytes })

/** Cuts the connection after the headers and so many bytes of the response's body. */
export const cutResponse = (bytes: number): Fault => ({ _tag: "CutResponse", bytes })

/** Flips the lowest bit of one byte of the response's body; nothing where the body is shorter. */
export const corruptResponse = (offset: number): Fault => ({ _tag: "CorruptResponse", offset })

/** Sends the headers and so many bytes of the response's body, then nothing more; the connection stays open. */
export const stallResponse = (bytes: number): Fault => ({ _tag: "StallResponse", bytes })

/** Sends the response's body at this many bytes a second. */
export const slowResponse = (rate: number): Fault => ({ _tag: "SlowResponse", rate })

/**
 * Does what was asked and answers with other headers; `undefined` takes one away. For a wrong `docker-content-digest`, a
 * `content-length` that is a lie (where it says too much, the client waits for bytes that never come), an upload's `location`.
 */
export const changeHeaders = (headers: Readonly<Record<string, string | undefined>>): Fault => ({
  _tag: "ChangeHeaders",
  headers
})

// ---- when

/** What shall go wrong with this request; `undefined` for nothing. */
export type Hook = (request: Request) => Effect.Effect<Fault | undefined>

/** A fault, or one that depends on the request. */
export type FaultFor = Fault | ((request: Request) => Fault | undefined)

/** Every request that matches. */
export const on =
  (match: Match, fault: FaultFor): Hook =>
  (request) =>
    Effect.sync(() => (matches(match, request) ? faultFor(fault, request) : undefined))

/** The requests that match, one fault after the other, `undefined` for none; those after the last one are let alone. */
export const sequence = (match: Match, faults: ReadonlyArray<FaultFor | undefined>): Hook => {
  let count = 0
  return (request) =>
    Effect.sync(() => {
      if (!matches(match, request)) return undefined
      const fault = faults[count++]
      return fault === undefined ? undefined : faultFor(fault, request)
    })
}

/** The first request that matches. */
export const once = (match: Match, fault: FaultFor): Hook => nth(1, match, fault)

/** The request that is the `n`th to match, counted from 1. */
export const nth = (n: number, match: Match, fault: FaultFor): Hook => {
  let count = 0
  return (request) =>
    Effect.sync(() => (matches(match, request) && ++count === n ? faultFor(fault, request) : undefined))
}

/** Asks one hook after the other until one has a fault; those behind it do not count that request. */
export const first =
  (...hooks: ReadonlyArray<Hook>): Hook =>
  (request) =>
    Effect.gen(function* () {
      for (const hook of hooks) {
        const fault = yield* hook(request)
        if (fault !== undefined) return fault
      }
      return undefined
    })

/** A hook that does nothing until a test sets another. */
export interface Switchable {
  readonly onRequest: Hook
  /** From the next request on. */
  readonly set: (hook: Hook) => Effect.Effect<void>
  /** Back to nothing. */
  readonly clear: Effect.Effect<void>
}

/** For tests that first prepare and then let things go wrong: pass `onRequest` to the layer. */
export const switchable = (): Switchable => {
  let current: Hook = none
  const set = (hook: Hook) =>
    Effect.sync(() => {
      current = hook
    })
  return { onRequest: (request) => current(request), set, clear: set(none) }
}

// ---- what happened

/** A request and how it went. */
export interface Exchange extends Request {
  /** What was answered; `undefined` where the connection went before that. */
  readonly status: number | undefined
  readonly fault: Fault | undefined
}

export interface Hooks {
  /** What shall go wrong with this request. */
  readonly onRequest?: Hook | undefined
  /** Told of every request just before its answer goes out, or when it ends without one. */
  readonly observe?: ((exchange: Exchange) => Effect.Effect<void>) | undefined
}

export interface Recorder {
  readonly observe: (exchange: Exchange) => Effect.Effect<void>
  /** In the order of their answers. */
  readonly exchanges: Effect.Effect<ReadonlyArray<Exchange>>
  /** Those that match. */
  readonly matching: (match: Match) => Effect.Effect<ReadonlyArray<Exchange>>
  /** Forgets what was collected so far. */
  readonly clear: Effect.Effect<void>
}

/** Collects exchanges: pass `observe` to the layer and read `exchanges` when the client is done. */
export const recorder = (): Recorder => {
  let collected: Array<Exchange> = []
  return {
    observe: (exchange) => Effect.sync(() => void collected.push(exchange)),
    exchanges: Effect.sync(() => [...collected]),
    matching: (match) => Effect.sync(() => collected.filter((exchange) => matches(match, exchange))),
    clear: Effect.sync(() => {
      collected = []
    })
  }
}

// internal

const none: Hook = () => Effect.succeed(undefined)

const faultFor = (fault: FaultFor, request: Request) => (typeof fault === "function" ? fault(request) : fault)
