/** Manifests and their referrers. https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#pushing-manifests */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { BlobStore } from "../BlobStore.js"
import * as ManifestDocument from "../ManifestDocument.js"
import { type Described, ManifestStore } from "../ManifestStore.js"
import * as OciError from "../OciError.js"
import type { ManifestReference } from "../Route.js"
import { digestOf } from "../storage/Hashing.js"
import * as Body from "./Body.js"
import * as Conditions from "./Conditions.js"
import { type Exchange, empty } from "./Exchange.js"

/** The exact bytes that were pushed, under the media type they were pushed with. */
export const get = (name: string, reference: ManifestReference, exchange: Exchange) =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    const digest = yield* resolve(name, reference)
    if (isConditional(exchange) || exchange.method === "HEAD") {
      const found = yield* store.describe(name, digest)
      if (Option.isNone(found)) return yield* unknown(reference)
      const headers = headersOf(found.value)
      if (yield* Conditions.isUnchanged(exchange, digest)) return empty(304, headers)
      if (exchange.method === "HEAD") return empty(200, { ...headers, "content-length": String(found.value.size) })
    }
    const found = yield* store.read(name, digest)
    if (Option.isNone(found)) return yield* unknown(reference)
    const { bytes, mediaType } = found.value
    return HttpServerResponse.uint8Array(bytes, { contentType: mediaType, headers: headersOf(found.value) })
  })

/**
 * Stores a manifest whose config and layers are in the repository with the sizes it states. An index may name children that
 * are not here: the specification allows sparse indexes, and tools push them. `tags` are set besides.
 */
export const put = (name: string, reference: ManifestReference, tags: ReadonlyArray<string>, exchange: Exchange) =>
  Body.use(exchange, (bytes) =>
    Effect.gen(function* () {
      const algorithm = reference._tag === "Digest" ? Digest.algorithm(reference.digest) : "sha256"
      const digest = digestOf(bytes, algorithm)
      if (reference._tag === "Digest" && reference.digest !== digest) {
        return yield* OciError.make("DIGEST_INVALID", "the manifest has another digest", { detail: { digest } })
      }
      const document = yield* ManifestDocument.read(bytes, exchange.headers["content-type"])
      const { annotations, artifactType, children, mediaType, subject } = document
      const as = { mediaType, digest, size: bytes.length, artifactType, annotations }
      const refersTo = subject && { subject: subject.digest, as }
      const all = reference._tag === "Tag" ? [reference.tag] : tags
      yield* (yield* ManifestStore).change(name, (edit) =>
        Effect.gen(function* () {
          if (isConditional(exchange)) yield* Conditions.admit(exchange, yield* current(name, reference))
          yield* checkBlobs(name, document)
          yield* edit.put({ digest, mediaType, bytes, tags: all, children, refersTo })
        })
      )
      return empty(201, {
        location: `/v2/${name}/manifests/${digest}`,
        "docker-content-digest": digest,
        ...(tags.length === 0 ? {} : { "oci-tag": tags.join(", ") }),
        // Tells the client that it need not keep the fallback tag of the referrers.
        ...(subject === undefined || !exchange.referrers ? {} : { "oci-subject": subject.digest })
      })
    })
  )

/** By tag: that tag and nothing else. By digest: the manifest and every tag that names it. */
export const remove = (name: string, reference: ManifestReference, exchange: Exchange) =>
  Effect.gen(function* () {
    const removed = yield* (yield* ManifestStore).change(name, (edit) =>
      Effect.gen(function* () {
        if (isConditional(exchange)) {
          const digest = yield* current(name, reference)
          if (digest === undefined) return false
          yield* Conditions.admit(exchange, digest)
        }
        return yield* reference._tag === "Tag" ? edit.untag(reference.tag) : edit.remove(reference.digest)
      })
    )
    return removed ? empty(202) : yield* unknown(reference)
  })

// internal

const isConditional = ({ headers }: Exchange): boolean =>
  headers["if-match"] !== undefined || headers["if-none-match"] !== undefined

/** What a reference names now. */
const current = (name: string, reference: ManifestReference) =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    if (reference._tag === "Tag") return Option.getOrUndefined(yield* store.resolve(name, reference.tag))
    return Option.isSome(yield* store.describe(name, reference.digest)) ? reference.digest : undefined
  })

const resolve = (name: string, reference: ManifestReference) =>
  reference._tag === "Digest"
    ? Effect.succeed(reference.digest)
    : Effect.flatMap(ManifestStore, (store) =>
        Effect.flatMap(
          store.resolve(name, reference.tag),
          Option.match({ onNone: () => unknown(reference), onSome: Effect.succeed })
        )
      )

const headersOf = ({ digest, mediaType }: Described) => ({
  "content-type": mediaType,
  "docker-content-digest": digest,
  etag: Conditions.etag(digest)
})

const unknown = (reference: ManifestReference) =>
  OciError.make("MANIFEST_UNKNOWN", "the manifest is unknown to this repository", {
    detail: reference._tag === "Tag" ? { tag: reference.tag } : { digest: reference.digest }
  })

const checkBlobs = (name: string, document: ManifestDocument.ManifestDocument) =>
  Effect.gen(function* () {
    const store = yield* BlobStore
    const missing: Array<Digest.Digest> = []
    for (const { digest, size } of document.blobs) {
      const found = yield* store.find(name, digest)
      if (Option.isNone(found)) {
        missing.push(digest)
      } else if (found.value.size !== size) {
        return yield* OciError.make(
          "SIZE_INVALID",
          `${digest} has ${found.value.size} bytes, the manifest says ${size}`
        )
      }
    }
    const [first, ...more] = [...new Set(missing)].slice(0, maxErrors).map((digest) => ({
      message: `the manifest names ${digest}, which is not here`,
      detail: { digest }
    }))
    if (first !== undefined) {
      return yield* OciError.make("MANIFEST_BLOB_UNKNOWN", first.message, { detail: first.detail, more })
    }
  })

/** A manifest of 8 MiB can name 100,000 blobs; nobody reads as many errors. */
const maxErrors = 100
