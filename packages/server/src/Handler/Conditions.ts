/**
 * Requests that ask for something only if it is, or is no longer, what the client knows. Digests are the entity tags, so they
 * are always strong. https://www.rfc-editor.org/rfc/rfc9110#section-13
 */
import type { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as OciError from "../OciError.js"
import type { Exchange } from "./Exchange.js"

/** The entity tag of this content. */
export const etag = (digest: Digest.Digest): string => `"${digest}"`

/** Whether the client has what it reads: `304`. Fails with 412 where it wants something else than what is there. */
export const isUnchanged = (
  { headers }: Exchange,
  current: Digest.Digest
): Effect.Effect<boolean, OciError.OciError> =>
  names(headers["if-match"], current) === false
    ? failed
    : Effect.succeed(names(headers["if-none-match"], current, true) === true)

/** Fails with 412 where what is there is not what the client wants to change. */
export const admit = (
  { headers }: Exchange,
  current: Digest.Digest | undefined
): Effect.Effect<void, OciError.OciError> =>
  names(headers["if-match"], current) === false || names(headers["if-none-match"], current, true) === true
    ? failed
    : Effect.void

/** Whether a range of this content fits to the part that the client has. A date never does: there are none here. */
export const fitsRange = ({ headers }: Exchange, current: Digest.Digest): boolean => {
  const known = headers["if-range"]
  return known === undefined || known.trim() === etag(current)
}

// internal

/** `undefined` without the header. A weak tag is as good as a strong one only for who asks whether anything changed. */
const names = (header: string | undefined, current: Digest.Digest | undefined, weak = false): boolean | undefined => {
  if (header === undefined) return undefined
  if (current === undefined) return false
  if (header.trim() === "*") return true
  return header.split(",").some((item) => {
    const tag = item.trim()
    return (weak ? tag.replace(/^W\//, "") : tag) === etag(current)
  })
}

const failed = OciError.make("DENIED", "what is there is not what the condition of this request names", { status: 412 })
