/** What faults do to the bodies of requests and responses. */
import { pipeline, Readable, Transform } from "node:stream"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { Fault } from "../Faults.js"

/** The request's body under a fault. `cut` closes the connection. */
export const requestBody = (fault: Fault | undefined, body: Readable, cut: () => void): Readable =>
  fault?._tag === "CutRequest" ? Readable.from(cutAfter(body, fault.bytes, cut), { objectMode: false }) : body

/** The response under a fault. `flushed` ends when all that was written has left, headers too. */
export const response = (
  fault: Fault | undefined,
  original: HttpServerResponse.HttpServerResponse,
  flushed: () => Promise<void>,
  cut: () => void
): HttpServerResponse.HttpServerResponse => {
  if (fault?._tag === "ChangeHeaders") return withHeaders(original, fault.headers)
  const changed = fault === undefined ? undefined : changedBody(fault, original, flushed, cut)
  return changed === undefined
    ? original
    : HttpServerResponse.raw(changed, { status: original.status, headers: original.headers })
}

// internal

const changedBody = (
  fault: Fault,
  original: HttpServerResponse.HttpServerResponse,
  flushed: () => Promise<void>,
  cut: () => void
): Readable | undefined => {
  switch (fault._tag) {
    case "CutResponse":
      return Readable.from(
        cutAfter(readableOf(original), fault.bytes, () => flushed().then(cut)),
        { objectMode: false }
      )
    case "CorruptResponse":
      return Readable.from(flip(readableOf(original), fault.offset), { objectMode: false })
    case "StallResponse":
      return through(readableOf(original), stall(fault.bytes, flushed))
    case "SlowResponse":
      return through(readableOf(original), slow(fault.rate))
    default:
      return undefined
  }
}

/** As a raw response, because others compute their own `Content-Length`. */
const withHeaders = (
  original: HttpServerResponse.HttpServerResponse,
  changes: Readonly<Record<string, string | undefined>>
) => {
  const headers: Record<string, string> = { ...original.headers }
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete headers[name.toLowerCase()]
    else headers[name.toLowerCase()] = value
  }
  return HttpServerResponse.raw(readableOf(original), { status: original.status, headers })
}

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

/** A client that leaves closes the source too. */
const through = (body: Readable, transform: Transform): Readable => {
  pipeline(body, transform, () => {})
  return transform
}

/** Passes so many bytes on, and no more until somebody closes it. */
const stall = (bytes: number, flushed: () => Promise<void>): Transform => {
  let left = bytes
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      const part = chunk.subarray(0, left)
      left -= part.length
      if (part.length > 0) this.push(part)
      if (part.length === chunk.length) done()
      else void flushed()
    }
  })
}

/** Milliseconds between the pieces of a slow body. */
const beat = 20

const slow = (rate: number): Transform => {
  const piece = Math.max(1, Math.round((rate * beat) / 1000))
  const pause = (piece * 1000) / rate
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      const next = (at: number) => {
        if (this.destroyed) return
        if (at >= chunk.length) return done()
        this.push(chunk.subarray(at, at + piece))
        setTimeout(next, pause, at + piece)
      }
      next(0)
    }
  })
}
