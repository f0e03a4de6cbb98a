/**
 * Misbehaviour on demand, for testing clients against a real registry: answer with a status, wait, cut the connection at a
 * chosen point, flip a byte. Hand `onRequest` to the registry's layer; it sees every request before the handlers do and says
 * what shall go wrong. `recorder` collects what was asked and answered.
 *
 * ```ts
 * const onRequest = (request: Faults.Request) => Effect.sync(() =>
 *   request.index === 2 ? Faults.respond(503, { headers: { "retry-after": "1" } }) : undefined)
 * EmbeddedRegistry.layerTemp({ onRequest })
 * ```
 */
import { Readable } from "node:stream"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

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

/** Answers without doing anything; the request's body is discarded. */
export const respond = (
  status: number,
  options: {
    readonly headers?: Readonly<Record<string, string>> | undefined
    readonly body?: string | Uint8Array | undefined
  } = {}
): Fault => ({ _tag: "Respond", status, headers: options.headers ?? {}, body: options.body ?? "" })

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

/** A request and how it went. */
export interface Exchange extends Request {
  /** What was answered; `undefined` where the connection went before that. */
  readonly status: number | undefined
  readonly fault: Fault | undefined
}

export interface Hooks {
  /** What shall go wrong with this request; `undefined` for nothing. */
  readonly onRequest?: ((request: Request) => Effect.Effect<Fault | undefined>) | undefined
  /** Told of every request just before its answer goes out, or when it ends without one. */
  readonly observe?: ((exchange: Exchange) => Effect.Effect<void>) | undefined
}

/** Collects exchanges: pass `observe` to the layer and read `exchanges` when the client is done. */
export const recorder = (): {
  readonly observe: (exchange: Exchange) => Effect.Effect<void>
  readonly exchanges: Effect.Effect<ReadonlyArray<Exchange>>
  /** Forgets what was collected so far. */
  readonly clear: Effect.Effect<void>
} => {
  let collected: Array<Exchange> = []
  return {
    observe: (exchange) => Effect.sync(() => void collected.push(exchange)),
    exchanges: Effect.sync(() => [...collected]),
    clear: Effect.sync(() => {
      collected = []
    })
  }
}

/** The request's body under a fault. `cut` closes the connection. */
export const requestBody = (fault: Fault | undefined, body: Readable, cut: () => void): Readable =>
  fault?._tag === "CutRequest" ? Readable.from(cutAfter(body, fault.bytes, cut), { objectMode: false }) : body

/** The response under a fault, its headers unchanged. `flushed` ends when all that was written has left. */
export const response = (
  fault: Fault | undefined,
  original: HttpServerResponse.HttpServerResponse,
  flushed: () => Promise<void>,
  cut: () => void
): HttpServerResponse.HttpServerResponse => {
  if (fault?._tag !== "CutResponse" && fault?._tag !== "CorruptResponse") return original
  const body = readableOf(original)
  const changed =
    fault._tag === "CorruptResponse" ? flip(body, fault.offset) : cutAfter(body, fault.bytes, () => flushed().then(cut))
  return HttpServerResponse.raw(Readable.from(changed, { objectMode: false }), {
    status: original.status,
    headers: original.headers
  })
}

// internal

const readableOf = ({ body }: HttpServerResponse.HttpServerResponse): Readable => {
  if (body._tag === "Raw" && body.body instanceof Readable) return body.body
  return Readable.from(body._tag === "Uint8Array" ? [body.body] : [])
}

async function* cutAfter(body: Readable, bytes: number, cut: () => void | Promise<void>) {
  let left = bytes
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    if (chunk.length > left) {
      if (left > 0) yield chunk.subarray(0, left)
      await cut()
      throw new Error("cut on purpose")
    }
    left -= chunk.length
    yield chunk
  }
}

async function* flip(body: Readable, offset: number) {
  let at = 0
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    const index = offset - at
    at += chunk.length
    if (index >= 0 && index < chunk.length) {
      const copy = Uint8Array.from(chunk)
      copy[index] = (copy[index] ?? 0) ^ 1
      yield copy
    } else yield chunk
  }
}
