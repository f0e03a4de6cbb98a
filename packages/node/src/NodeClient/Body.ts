/** What a request's body becomes on its way to the socket. */
import { Readable } from "node:stream"
import type { ReadableStream as WebStream } from "node:stream/web"
import type * as HttpBody from "@effect/platform/HttpBody"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Stream from "effect/Stream"

/**
 * Opens a fresh Node stream of a body's bytes. Any client sees an ordinary body; ours takes this shorter way, once for
 * every attempt, so that a retry never sends a stream that was consumed.
 */
export const OpenReadable: unique symbol = Symbol.for("@effect-registry/node/OpenReadable")

/** The body with the shorter way added. */
export const withReadable = (body: HttpBody.HttpBody, open: () => Readable): HttpBody.HttpBody =>
  Object.assign(body, { [OpenReadable]: open })

export interface Payload {
  readonly content: Readable | Uint8Array | string | undefined
  readonly length: number | undefined
  readonly type?: string | undefined
}

/** Opens the body. The Readable has to be destroyed by whoever asked. */
export const open = (body: HttpBody.HttpBody): Effect.Effect<Payload, Error> => {
  if (hasReadable(body)) return Effect.sync(() => ({ content: body[OpenReadable](), length: body.contentLength }))
  switch (body._tag) {
    case "Empty":
      return Effect.succeed({ content: undefined, length: undefined })
    case "Uint8Array":
      return Effect.succeed({ content: body.body, length: body.body.length })
    case "Stream":
      return Effect.map(NodeStream.toReadable(body.stream as Stream.Stream<Uint8Array, Error>), (content) => ({
        content,
        length: body.contentLength
      }))
    case "FormData":
      return Effect.sync(() => {
        const form = new Response(body.formData)
        return {
          content: form.body === null ? undefined : Readable.fromWeb(form.body as WebStream),
          length: undefined,
          type: form.headers.get("content-type") ?? undefined
        }
      })
    case "Raw":
      return raw(body.body, body.contentLength)
  }
}

// internal

const hasReadable = (body: HttpBody.HttpBody): body is HttpBody.HttpBody & { [OpenReadable]: () => Readable } =>
  OpenReadable in body

const raw = (body: unknown, length: number | undefined): Effect.Effect<Payload, Error> => {
  if (body === null || body === undefined) return Effect.succeed({ content: undefined, length: undefined })
  if (typeof body === "string") return Effect.succeed({ content: body, length: Buffer.byteLength(body) })
  if (Predicate.isUint8Array(body)) return Effect.succeed({ content: body, length: body.length })
  if (body instanceof Readable) return Effect.succeed({ content: body, length })
  if (body instanceof ReadableStream) {
    return Effect.sync(() => ({ content: Readable.fromWeb(body as WebStream), length }))
  }
  if (body instanceof Blob) {
    return Effect.sync(() => ({ content: Readable.fromWeb(body.stream() as WebStream), length: body.size }))
  }
  return Effect.fail(new TypeError(`a raw body of type ${typeof body} cannot be sent`))
}
