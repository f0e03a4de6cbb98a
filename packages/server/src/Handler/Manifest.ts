/** Manifests and their referrers. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests */
import { createHash } from "node:crypto"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { Digest, MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { BlobStore } from "../BlobStore.js"
import * as ManifestDocument from "../ManifestDocument.js"
import { type Described, ManifestStore } from "../ManifestStore.js"
import * as OciError from "../OciError.js"
import type { ManifestReference } from "../Route.js"
import { type Exchange, empty, isUnchanged, json } from "./Exchange.js"

/** The exact bytes that were pushed, under the media type they were pushed with. */
export const get = (name: string, reference: ManifestReference, exchange: Exchange) =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    const digest = yield* resolve(name, reference)
    if (exchange.method === "HEAD" || isUnchanged(exchange, digest)) {
      const found = yield* store.describe(name, digest)
      if (Option.isNone(found)) return yield* unknown(reference)
      const status = isUnchanged(exchange, digest) ? 304 : 200
      const length = status === 200 ? { "content-length": String(found.value.size) } : {}
      return empty(status, { ...headersOf(found.value), ...length })
    }
    const found = yield* store.read(name, digest)
    if (Option.isNone(found)) return yield* unknown(reference)
    const { bytes, mediaType } = found.value
    return HttpServerResponse.uint8Array(bytes, { contentType: mediaType, headers: headersOf(found.value) })
  })

/**
 * Stores a manifest whose config and layers are in the repository with the sizes it states. An index may name children that
 * are not here: the specification allows sparse indexes, and tools push them.
 */
export const put = (name: string, reference: ManifestReference, exchange: Exchange) =>
  Effect.gen(function* () {
    const bytes = yield* readBody(exchange)
    const algorithm = reference._tag === "Digest" ? Digest.algorithm(reference.digest) : "sha256"
    const digest = digestOf(bytes, algorithm)
    if (reference._tag === "Digest" && reference.digest !== digest) {
      return yield* OciError.make("DIGEST_INVALID", "the manifest has another digest", { detail: { digest } })
    }
    const document = yield* ManifestDocument.read(bytes, exchange.headers["content-type"])
    yield* checkBlobs(name, document)
    const { annotations, artifactType, mediaType, subject } = document
    const as = { mediaType, digest, size: bytes.length, artifactType, annotations }
    yield* (yield* ManifestStore).put(name, {
      digest,
      mediaType,
      bytes,
      tag: reference._tag === "Tag" ? reference.tag : undefined,
      refersTo: subject && { subject: subject.digest, as }
    })
    return empty(201, {
      location: `/v2/${name}/manifests/${digest}`,
      "docker-content-digest": digest,
      // Tells the client that it need not keep the fallback tag of the referrers.
      ...(subject === undefined || !exchange.referrers ? {} : { "oci-subject": subject.digest })
    })
  })

/** By tag: that tag and nothing else. By digest: the manifest and every tag that names it. */
export const remove = (name: string, reference: ManifestReference) =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    const removed =
      reference._tag === "Tag" ? yield* store.untag(name, reference.tag) : yield* store.remove(name, reference.digest)
    return removed ? empty(202) : yield* unknown(reference)
  })

/** An index of the manifests that refer to a digest; empty where none do, also for a digest or repository never seen. */
export const referrers = (name: string, subject: Digest.Digest, artifactType: string | undefined) =>
  Effect.gen(function* () {
    const all = yield* (yield* ManifestStore).referrers(name, subject)
    const manifests = artifactType === undefined ? all : all.filter((entry) => entry.artifactType === artifactType)
    const filtered = artifactType === undefined ? {} : { "oci-filters-applied": "artifactType" }
    return json({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }, filtered, MediaType.ociIndex)
  })

// internal

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
  etag: `"${digest}"`
})

const unknown = (reference: ManifestReference) =>
  OciError.make("MANIFEST_UNKNOWN", "the manifest is unknown to this repository", {
    detail: reference._tag === "Tag" ? { tag: reference.tag } : { digest: reference.digest }
  })

const digestOf = (bytes: Uint8Array, algorithm: Digest.Algorithm) =>
  `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` as Digest.Digest

const checkBlobs = (name: string, document: ManifestDocument.ManifestDocument) =>
  Effect.gen(function* () {
    const store = yield* BlobStore
    for (const { digest, size } of document.blobs) {
      const found = yield* store.find(name, digest)
      if (Option.isNone(found)) {
        return yield* OciError.make("MANIFEST_BLOB_UNKNOWN", `the manifest names ${digest}, which is not here`, {
          detail: { digest }
        })
      }
      if (found.value.size !== size) {
        return yield* OciError.make(
          "SIZE_INVALID",
          `${digest} has ${found.value.size} bytes, the manifest says ${size}`
        )
      }
    }
  })

/** The body, bounded: a gigabyte "manifest" must not be held in memory, nor cost the client its answer. */
const readBody = (exchange: Exchange): Effect.Effect<Uint8Array, OciError.OciError> =>
  Effect.suspend(() =>
    Number(exchange.headers["content-length"] ?? 0) > exchange.maxManifestSize
      ? tooLarge(exchange)
      : Effect.async<Uint8Array, OciError.OciError>((resume) => {
          const chunks: Array<Uint8Array> = []
          let size = 0
          const lost = OciError.make("MANIFEST_INVALID", "the body broke off", { headers: { connection: "close" } })
          exchange.body
            .on("data", (chunk: Uint8Array) => {
              size += chunk.length
              if (size <= exchange.maxManifestSize) return chunks.push(chunk)
              exchange.body.pause()
              return resume(tooLarge(exchange))
            })
            .on("end", () => resume(Effect.succeed(Buffer.concat(chunks))))
            .on("error", () => resume(lost))
            .on("close", () => resume(lost))
        })
  )

const tooLarge = ({ maxManifestSize }: Exchange) =>
  OciError.make("MANIFEST_INVALID", `a manifest has at most ${maxManifestSize} bytes`, {
    status: 413,
    headers: { connection: "close" }
  })
