/** Reading and writing manifests. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests */
import * as HttpBody from "@effect/platform/HttpBody"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as Manifest from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Client from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Request from "./Request.js"
import * as Retry from "./Retry.js"

/**
 * The manifest under a tag or digest, verified. Bytes that are not those of the digest, or that do not parse, are
 * fetched again at most twice.
 */
export const get = (
  client: Client.Client,
  repository: string,
  identifier: string,
  expected: { readonly mediaType?: string | undefined; readonly size?: number | undefined } = {}
): Effect.Effect<Manifest.Manifest, RegistryError | ValidationError> => {
  const call = callOf(client, repository, identifier, "get manifest", "GET")
  const asked = Either.getOrUndefined(Digest.parse(identifier))
  return Retry.retry(
    client,
    call.operation,
    () =>
      Effect.flatMap(read(client, call, asked, expected.size), ({ bytes, mediaType }) =>
        Manifest.decode(bytes, {
          subject: subjectOf(client, repository, identifier),
          mediaType: expected.mediaType ?? (mediaType === "" ? undefined : mediaType),
          digest: asked
        })
      ),
    {
      // Where no digest vouches for the bytes, what does not parse may have been damaged on the way.
      restart: (error) =>
        error._tag === "ValidationError"
          ? error.reason === "InvalidManifest" && asked === undefined
          : Retry.isWrongContent(error)
    }
  )
}

/** The bytes of a manifest of any type, verified and not decoded, and the type they came under; empty where none was said. */
export const bytes = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<Raw, RegistryError> => {
  const call = callOf(client, repository, digest, "get manifest", "GET")
  return Retry.retry(client, call.operation, () => read(client, call, digest, undefined))
}

/** What the registry has under a tag or digest, without its bytes where possible. */
export const head = (
  client: Client.Client,
  repository: string,
  identifier: string
): Effect.Effect<Option.Option<Descriptor>, RegistryError | ValidationError> => {
  const call = {
    ...callOf(client, repository, identifier, "look for manifest", "HEAD"),
    accept: [200, 400, 404, 405, 501]
  }
  return Effect.gen(function* () {
    const { headers, status } = yield* Retry.exchange(client, call, Effect.succeed)
    if (status === 404) return Option.none<Descriptor>()
    const digest = Digest.parse(headers["docker-content-digest"] ?? identifier)
    const size = headers["content-length"]
    const mediaType = MediaType.essence(headers["content-type"] ?? "")
    if (status === 200 && Either.isRight(digest) && size !== undefined && /^\d+$/.test(size) && mediaType !== "") {
      return Option.some<Descriptor>({ mediaType, digest: digest.right, size: Number(size) })
    }
    return yield* Effect.map(get(client, repository, identifier), ({ descriptor }) => Option.some(descriptor)).pipe(
      Effect.catchIf(isNotFound, () => Effect.succeed(Option.none<Descriptor>()))
    )
  })
}

/** Whether a registry has said that it lists a manifest among the referrers of its subject. */
export type Listed = "yes" | "no" | "unknown"

/** Writes the bytes under a tag or digest. `unknown` where an answer was lost, and what was sent is there. */
export const put = (
  client: Client.Client,
  repository: string,
  identifier: string,
  descriptor: Descriptor,
  bytes: Uint8Array
): Effect.Effect<Listed, RegistryError> => {
  const call: Exchange.Call = {
    ...callOf(client, repository, identifier, "put manifest", "PUT"),
    headers: { "content-type": descriptor.mediaType },
    body: HttpBody.uint8Array(bytes, descriptor.mediaType),
    accept: [201, 200, 202, 204]
  }
  const once = Effect.scoped(
    Effect.gen(function* () {
      const response = yield* Request.send(client, call)
      yield* Exchange.drain(response)
      yield* verify(call, bytes, undefined, response.headers["docker-content-digest"], undefined)
      return response.headers["oci-subject"] === undefined ? ("no" as const) : ("yes" as const)
    })
  )
  // The bytes were decoded before they got here, so what the registry finds wrong with them may be the network's doing.
  // Where only the answer was lost a second PUT would fail on an immutable tag.
  const isStored = Effect.map(
    head(client, repository, identifier),
    Option.exists(({ digest }) => digest === descriptor.digest)
  ).pipe(Effect.catchTag("ValidationError", () => Effect.succeed(false)))
  const again = Effect.flatMap(isStored, (done) => (done ? Effect.succeed<Listed>("unknown") : once))
  const attempt = (number: number): Effect.Effect<Listed, RegistryError> => (number === 1 ? once : again)
  return Retry.retry(client, call.operation, attempt, { restart: isDamaged }).pipe(
    Effect.mapError((error) => {
      const hint = refusalHint(descriptor, bytes, error)
      return hint === undefined ? error : Failure.withHint(error, hint)
    })
  )
}

/** The digest of what is there; `NotFound` where nothing is. */
export const resolve = (
  client: Client.Client,
  repository: string,
  identifier: string
): Effect.Effect<Digest.Digest, RegistryError | ValidationError> =>
  Effect.flatMap(
    head(client, repository, identifier),
    Option.match({
      onNone: () => Effect.fail(notFound(client, repository, identifier)),
      onSome: ({ digest }) => Effect.succeed(digest)
    })
  )

/** As `head`; what cannot be read, and is to be replaced, is as good as not there. */
export const headReadable = (
  client: Client.Client,
  repository: string,
  identifier: string
): Effect.Effect<Option.Option<Descriptor>, RegistryError> =>
  Effect.catchTag(head(client, repository, identifier), "ValidationError", () => Effect.succeedNone)

/** Puts it under the tag, unless the tag has it already: tags may be immutable. `before`: what the tag is known to name. */
export const tag = (
  client: Client.Client,
  repository: string,
  name: string,
  descriptor: Descriptor,
  bytes: Uint8Array,
  before?: Option.Option<Descriptor>
): Effect.Effect<Listed, RegistryError> =>
  Effect.gen(function* () {
    const there = before ?? (yield* headReadable(client, repository, name))
    if (Option.exists(there, ({ digest }) => digest === descriptor.digest)) return "unknown"
    return yield* put(client, repository, name, descriptor, bytes)
  })

/** Deletes by tag or digest; the status is the caller's to judge: 202 done, 404 gone, 400 and 405 refused. */
export const remove = (
  client: Client.Client,
  repository: string,
  identifier: string,
  accept: ReadonlyArray<number>
): Effect.Effect<number, RegistryError> => {
  const call = { ...callOf(client, repository, identifier, "delete", "DELETE"), accept }
  return Retry.exchange(client, call, (response) => Effect.as(Exchange.drain(response), response.status))
}

/** `host/repository:tag` or `host/repository@digest`. */
export const subjectOf = (client: Client.Client, repository: string, identifier: string): string =>
  `${Client.nameOf(client, repository)}${Digest.is(identifier) ? "@" : ":"}${identifier}`

/** The error for what is not there, where looking for it was answered and did not fail. */
export const notFound = (client: Client.Client, repository: string, identifier: string): RegistryError =>
  Failure.make(callOf(client, repository, identifier, "look for manifest", "HEAD"), "NotFound", { status: 404 })

export const isNotFound = (error: RegistryError | ValidationError): error is RegistryError =>
  error._tag === "RegistryError" && error.reason === "NotFound"

// internal

interface Raw {
  readonly mediaType: string
  readonly bytes: Uint8Array
}

const read = (
  client: Client.Client,
  call: Exchange.Call,
  asked: Digest.Digest | undefined,
  size: number | undefined
): Effect.Effect<Raw, RegistryError> =>
  Effect.scoped(
    Effect.gen(function* () {
      const response = yield* Request.send(client, call)
      const mediaType = MediaType.essence(response.headers["content-type"] ?? "")
      if (mediaType === "text/html") {
        const detail = "a web page came instead of a manifest"
        return yield* Effect.fail(Failure.make(call, "NotARegistry", { status: response.status, detail }))
      }
      const bytes = yield* Exchange.bytes(client, call, response, Manifest.maxSize)
      yield* verify(call, bytes, asked, response.headers["docker-content-digest"], size)
      return { mediaType, bytes }
    })
  )

const accept = [...MediaType.manifestAccept, "*/*;q=0.1"].join(", ")

const callOf = (
  client: Client.Client,
  repository: string,
  identifier: string,
  verb: string,
  method: "GET" | "HEAD" | "PUT" | "DELETE"
): Exchange.Call => ({
  operation: `${verb} ${subjectOf(client, repository, identifier)}`,
  method,
  url: Client.urlOf(client, `${repository}/manifests/${identifier}`),
  headers: method === "GET" || method === "HEAD" ? { accept } : {},
  accept: [200]
})

/** The bytes against the digest asked for, the one the registry names, and the size of the descriptor that led here. */
const verify = (
  call: Exchange.Call,
  bytes: Uint8Array,
  asked: Digest.Digest | undefined,
  named: string | undefined,
  size: number | undefined
): Effect.Effect<void, RegistryError> => {
  const stated = named === undefined ? undefined : Either.getOrUndefined(Digest.parse(named))
  for (const digest of [asked, stated]) {
    if (digest === undefined) continue
    const actual = Digest.fromBytes(bytes, Digest.algorithm(digest))
    if (actual !== digest) {
      const whose = digest === asked ? "asked for" : "the registry names"
      return Effect.fail(
        Failure.make(call, "DigestMismatch", { detail: `${whose} ${digest}, the bytes are ${actual}` })
      )
    }
  }
  if (size !== undefined && size !== bytes.length) {
    return Effect.fail(Failure.make(call, "SizeMismatch", { detail: `expected ${size} bytes, got ${bytes.length}` }))
  }
  return Effect.void
}

const isDamaged = (error: RegistryError): boolean =>
  error.codes.some(({ code }) => code === "DIGEST_INVALID" || code === "MANIFEST_INVALID") ||
  Retry.isWrongContent(error)

/** What a registry's refusal of a manifest usually means. */
const refusalHint = ({ mediaType }: Descriptor, bytes: Uint8Array, error: RegistryError): string | undefined => {
  const isRefused = [400, 415, 422].includes(error.status ?? 0)
  const text = new TextDecoder().decode(bytes)
  // docker-registry says 500 here.
  if ((isRefused || error.status === 500) && /"urls"\s*:/.test(text)) {
    return "the image has layers to be had elsewhere (`urls`), and the registry has to allow such: docker-registry by validation.manifests.urls.allow"
  }
  // An artifact has no form in Docker's formats.
  const isImage = !/"(?:subject|artifactType)"\s*:/.test(text)
  return isImage && mediaType.startsWith("application/vnd.oci.") && isAboutType(error)
    ? "the registry may know Docker's formats alone: --format docker"
    : undefined
}

const isAboutType = ({ codes, status }: RegistryError): boolean => {
  const has = (...names: ReadonlyArray<string>) => codes.some(({ code }) => names.includes(code))
  if (status === 415) return true
  if ((status !== 400 && status !== 422) || has("MANIFEST_BLOB_UNKNOWN")) return false
  return (
    has("MANIFEST_INVALID", "UNSUPPORTED") ||
    codes.some(({ message }) => /media ?type|content[- ]type|schema ?version/i.test(message))
  )
}
