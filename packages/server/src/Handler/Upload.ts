/** Pushing blobs. https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#pushing-blobs */
import type { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { BlobStore, type Upload, type UploadError } from "../BlobStore.js"
import * as OciError from "../OciError.js"
import type { Route } from "../Route.js"
import { type Exchange, empty } from "./Exchange.js"

type Start = Extract<Route, { readonly _tag: "UploadStart" }>

/** A mounted blob (201), a whole blob in one request (201), or a new upload (202), also where a mount cannot be done. */
export const start = ({ algorithm, digest, mount, name }: Start, exchange: Exchange) =>
  Effect.gen(function* () {
    const store = yield* BlobStore
    if (mount !== undefined && (yield* store.mount(name, mount.digest, mount.from))) return created(name, mount.digest)
    const upload = yield* Effect.catchTag(store.startUpload(name, algorithm), "UploadError", refuse)
    if (digest === undefined) return accepted(202, name, upload)
    // The client never hears of this upload, so one that fails is of no use to it.
    yield* store.append(name, upload.id, exchange.body, undefined, announced(exchange), exchange.proceed).pipe(
      Effect.zipRight(store.finish(name, upload.id, digest)),
      Effect.onError(() => Effect.ignoreLogged(store.cancel(name, upload.id))),
      Effect.catchTag("UploadError", refuse)
    )
    return created(name, digest)
  })

/** How far an upload is. */
export const status = (name: string, id: string) =>
  Effect.gen(function* () {
    const upload = yield* (yield* BlobStore).findUpload(name, id)
    return Option.isSome(upload) ? accepted(204, name, upload.value) : yield* unknown
  })

/** Adds the body to an upload: a chunk with its Content-Range, or a stream without. */
export const append = (name: string, id: string, exchange: Exchange) =>
  Effect.gen(function* () {
    const upload = yield* receive(name, id, exchange)
    return accepted(202, name, upload)
  })

/** Adds the body, if there is one, and makes the upload a blob. */
export const finish = (name: string, id: string, digest: Digest.Digest, exchange: Exchange) =>
  Effect.gen(function* () {
    yield* receive(name, id, exchange)
    yield* Effect.catchTag((yield* BlobStore).finish(name, id, digest), "UploadError", refuse)
    return created(name, digest)
  })

export const cancel = (name: string, id: string) =>
  Effect.gen(function* () {
    return (yield* (yield* BlobStore).cancel(name, id)) ? empty(204) : yield* unknown
  })

// internal

const receive = (name: string, id: string, exchange: Exchange) =>
  Effect.gen(function* () {
    const store = yield* BlobStore
    const range = yield* rangeGiven(name, id, exchange)
    const upload = yield* Effect.catchTag(
      store.append(name, id, exchange.body, range?.start, announced(exchange, range), exchange.proceed),
      "UploadError",
      (error) => (error.reason === "OutOfOrder" ? outOfOrder(name, { id, size: error.size ?? 0 }) : refuse(error))
    )
    // Only a body without length can be longer or shorter than it said. What came is kept; its sender is told how much.
    return range === undefined || upload.size === range.end + 1 ? upload : yield* outOfOrder(name, upload)
  })

/**
 * Where the chunk says it starts and ends; `undefined` for a stream, which starts where the upload ends. The specification
 * writes `0-99`; clients also send `bytes 0-99/200` as RFC 9110 does, and `bytes=0-99`.
 */
const rangeGiven = (name: string, id: string, exchange: Exchange) =>
  Effect.gen(function* () {
    const header = exchange.headers["content-range"]
    if (header === undefined && exchange.proceed === undefined) return undefined
    const upload = yield* (yield* BlobStore).findUpload(name, id)
    if (Option.isNone(upload)) return yield* unknown
    if (header === undefined) return undefined
    const match = /^(?:bytes[ =])?([0-9]{1,15})-([0-9]{1,15})(?:\/(?:[0-9]+|\*))?$/.exec(header.trim())
    if (match === null) return yield* outOfOrder(name, upload.value)
    const [start, end] = [Number(match[1]), Number(match[2])]
    const length = exchange.headers["content-length"]
    if (length !== undefined && Number(length) !== end - start + 1) {
      return yield* OciError.make("SIZE_INVALID", "Content-Range and Content-Length say different sizes")
    }
    return start === upload.value.size ? { start, end } : yield* outOfOrder(name, upload.value)
  })

/** How many bytes the body says it has. */
const announced = ({ headers }: Exchange, range?: { readonly start: number; readonly end: number }) => {
  const length = headers["content-length"]
  if (length !== undefined) return Number(length)
  return range && range.end + 1 - range.start
}

/** `0-0` is also what an empty upload says: the form has no way to say "nothing". */
const rangeOf = ({ size }: Upload) => `0-${Math.max(0, size - 1)}`

const sessionHeaders = (name: string, upload: Upload) => ({
  location: `/v2/${name}/blobs/uploads/${upload.id}`,
  range: rangeOf(upload),
  "docker-upload-uuid": upload.id
})

const accepted = (code: 202 | 204, name: string, upload: Upload) => empty(code, sessionHeaders(name, upload))

const created = (name: string, digest: Digest.Digest) =>
  empty(201, { location: `/v2/${name}/blobs/${digest}`, "docker-content-digest": digest })

const unknown = OciError.make("BLOB_UPLOAD_UNKNOWN", "no such upload in this repository")

const outOfOrder = (name: string, upload: Upload) =>
  OciError.make("BLOB_UPLOAD_INVALID", "the chunk does not start where the upload ends", {
    status: 416,
    headers: sessionHeaders(name, upload)
  })

const refuse = (error: UploadError): OciError.OciError => {
  switch (error.reason) {
    case "Unknown":
      return unknown
    case "DigestMismatch":
      return OciError.make("DIGEST_INVALID", "the bytes received have another digest")
    case "OutOfOrder":
      return OciError.make("BLOB_UPLOAD_INVALID", "the chunk does not start where the upload ends", { status: 416 })
    case "TooLarge":
      return OciError.make("SIZE_INVALID", "the upload is larger than this registry takes", {
        status: 413,
        headers: { connection: "close" }
      })
    case "TooMany":
      return OciError.make("TOOMANYREQUESTS", "too many uploads are open; finish or cancel some", {
        headers: { "retry-after": "30" }
      })
    case "ConnectionLost":
      return OciError.make("BLOB_UPLOAD_INVALID", "the body broke off", { headers: { connection: "close" } })
  }
}
