/**
 * The body of a request that was answered without it: a refusal, an upload that is too large. Reading all of it would cost
 * what its sender likes; closing at once would make the client lose the answer. So a little is read, for a short time.
 */
import type { IncomingMessage, ServerResponse } from "node:http"

/** Bytes read for nothing on a connection that closes. */
const most = 1 << 20
/** Bodies up to this size are read, and the connection stays. */
const small = 64 << 10
/** Milliseconds from the end of the answer. */
const time = 2000

/**
 * Sees to what is left of the request's body once the answer, about to be sent, is out. Returns whether the answer must say
 * `connection: close`.
 */
export const settle = (incoming: IncomingMessage, response: ServerResponse): boolean => {
  if (incoming.complete || incoming.destroyed || !hasBody(incoming)) return false
  const { socket } = incoming
  const length = Number(incoming.headers["content-length"] ?? Number.POSITIVE_INFINITY)
  const closes = length > small
  let left = closes ? most : small
  let answered = false
  const end = () => {
    if (answered) socket.destroy()
    else incoming.pause()
  }
  incoming.on("error", () => {})
  incoming.on("data", (chunk: Uint8Array) => {
    left -= chunk.length
    if (left < 0) end()
  })
  incoming.resume()
  response.once("finish", () => {
    answered = true
    // All of it came before the answer was out: the connection is in order and may be at its next request.
    if (incoming.readableEnded) return
    const timer = setTimeout(() => socket.destroy(), time)
    const stop = () => {
      clearTimeout(timer)
      socket.off("close", stop)
    }
    incoming.once("end", stop)
    socket.once("close", stop)
  })
  // What Node calls when an answer that closes the connection has been written; it would cut off what comes in.
  if (closes) {
    socket.destroySoon = () => {
      socket.end()
      if (incoming.complete || left < 0) socket.destroy()
      else incoming.once("end", () => socket.destroy())
    }
  }
  return closes
}

// internal

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined ||
  (headers["content-length"] !== undefined && headers["content-length"] !== "0")
