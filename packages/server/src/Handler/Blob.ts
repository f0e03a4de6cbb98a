/** Reading and deleting blobs. https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#pulling-blobs */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { BlobStore } from "../BlobStore.js"
import { ManifestStore } from "../ManifestStore.js"
import * as OciError from "../OciError.js"
import * as Conditions from "./Conditions.js"
import { type Exchange, empty } from "./Exchange.js"

/** The blob, or the range of it that was asked for. */
export const get = (name: string, digest: Digest.Digest, exchange: Exchange) =>
  Effect.gen(function* () {
    const found = yield* (yield* BlobStore).find(name, digest)
    if (Option.isNone(found)) return yield* unknown(digest)
    const { open, size } = found.value
    const headers = { "docker-content-digest": digest, etag: Conditions.etag(digest), "accept-ranges": "bytes" }
    if (yield* Conditions.isUnchanged(exchange, digest)) return empty(304, headers)
    const wantsPart = exchange.method === "GET" && Conditions.fitsRange(exchange, digest)
    const range = wantsPart ? parseRange(exchange.headers.range, size) : undefined
    if (range === "unsatisfiable") {
      return yield* OciError.make("SIZE_INVALID", "the blob has no such range", {
        status: 416,
        headers: { "content-range": `bytes */${size}` }
      })
    }
    const { end, start } = range ?? { start: 0, end: size - 1 }
    const partial = range === undefined ? {} : { "content-range": `bytes ${start}-${end}/${size}` }
    const status = range === undefined ? 200 : 206
    const all = {
      ...headers,
      ...partial,
      "content-type": "application/octet-stream",
      "content-length": String(end - start + 1)
    }
    return size === 0 ? empty(status, all) : bytes(status, all, exchange, () => open(start, end))
  })

/** Takes the blob out of this repository. A manifest is not deleted as a blob. */
export const remove = (name: string, digest: Digest.Digest) =>
  Effect.gen(function* () {
    const manifests = yield* ManifestStore
    const blobs = yield* BlobStore
    // A manifest that is being put has looked whether its blobs are there.
    const removed = yield* manifests.change(name, () =>
      Effect.gen(function* () {
        return Option.isNone(yield* manifests.describe(name, digest)) && (yield* blobs.remove(name, digest))
      })
    )
    return removed ? empty(202) : yield* unknown(digest)
  })

export type Range = { readonly start: number; readonly end: number }

/**
 * The bytes that a `Range` header wants of `size`, both ends included. Without a header, and for what we do not serve
 * (several ranges, other units, bad syntax), `undefined`: all of it, as RFC 9110 section 14.2 allows.
 */
export const parseRange = (header: string | undefined, size: number): Range | "unsatisfiable" | undefined => {
  const match = header === undefined ? null : /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(header.trim())
  const [, from = "", to = ""] = match ?? []
  if (match === null || (from === "" && to === "")) return undefined
  if (from === "") {
    const length = Math.min(Number(to), size)
    return length === 0 ? "unsatisfiable" : { start: size - length, end: size - 1 }
  }
  const start = Number(from)
  if (to !== "" && Number(to) < start) return "unsatisfiable"
  return start >= size ? "unsatisfiable" : { start, end: to === "" ? size - 1 : Math.min(Number(to), size - 1) }
}

// internal

// The file is opened for GET only: a HEAD's stream would never be read nor closed.
const bytes = (
  status: number,
  headers: Readonly<Record<string, string>>,
  exchange: Exchange,
  open: () => NodeJS.ReadableStream
) => (exchange.method === "HEAD" ? empty(status, headers) : HttpServerResponse.raw(open(), { status, headers }))

const unknown = (digest: Digest.Digest) =>
  OciError.make("BLOB_UNKNOWN", "the blob is unknown to this repository", { detail: { digest } })
