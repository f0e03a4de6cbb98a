/** Taking a tag off an image, and removing images. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Digest } from "./model/Digest.js"
import * as Json from "./model/Json.js"
import * as ManifestModel from "./model/Manifest.js"
import * as MediaType from "./model/MediaType.js"
import * as Reference from "./model/Reference.js"
import * as Progress from "./Progress.js"
import * as Client from "./Registry/Client.js"
import { type Connection, connect } from "./Registry/Connection.js"
import * as Failure from "./Registry/Failure.js"
import * as Manifest from "./Registry/Manifest.js"
import * as Page from "./Registry/Page.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import { ValidationError } from "./ValidationError.js"

type Environment = HttpClient.HttpClient | RegistryConfig

/** Tags looked at before an image is deleted; a repository could have any number of them. */
export const maxTags = 10_000

export interface DeletedTag {
  /** `HOST/REPOSITORY:TAG`, now gone. */
  readonly reference: string
}

/**
 * Takes one tag away and leaves the image under its digest and every other tag. Where the registry cannot do that
 * (docker-registry 2.8), the tag is moved to an empty manifest made for the purpose, and that one is deleted.
 *
 * Fails with a RegistryError: `NotFound`, or `DeleteDisabled`, which leaves the tag untouched; or a ValidationError
 * where the reference is malformed or names no tag.
 *
 * @example
 * ```ts
 * import { deleteTag } from "@effect-registry/core"
 *
 * const program = deleteTag("localhost:15000/team/app:nightly")
 * ```
 * @since 0.1.0
 */
export const deleteTag = (
  reference: string | Reference.Reference
): Effect.Effect<DeletedTag, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const connection = yield* connect(reference, Reference.parse, "pull", "push", "delete")
    const { client, reference: parsed, repository } = connection
    if (Option.isNone(parsed.tag) || Option.isSome(parsed.digest)) {
      const message = "names no tag to delete"
      const hint = "HOST/REPOSITORY:TAG; an image goes by its digest with deleteImage"
      return yield* Effect.fail(ValidationError.of("NoTag", Reference.format(parsed), message, { hint }))
    }
    const tag = parsed.tag.value
    const status = yield* Manifest.remove(client, repository, tag, [202, 200, 204, 400, 405])
    if (status === 400 || status === 405) yield* deleteByThrowaway(connection, tag)
    return { reference: Manifest.subjectOf(client, repository, tag) }
  }).pipe(Effect.withSpan("effect-registry.deleteTag"))

export interface DeleteImageOptions {
  /** What happens where other tags, or tagged indexes, name the image too. `delete` does not look. Default `fail`. */
  readonly shared?: "fail" | "delete" | undefined
}

export interface DeletedImage {
  /** `HOST/REPOSITORY@DIGEST`, now gone. */
  readonly reference: string
  readonly digest: Digest
}

/**
 * Deletes the manifest that a reference names, with every tag of it. The space is freed by the registry's own garbage
 * collection. An image under a single tag is not shared.
 *
 * Fails with a RegistryError: `NotFound`, `DeleteDisabled`, `StillReferenced` with the names, `TooLarge` where there are
 * more than 10,000 tags to look at; or a ValidationError for a malformed reference.
 *
 * @example
 * ```ts
 * import { deleteImage } from "@effect-registry/core"
 *
 * const program = deleteImage("localhost:15000/team/app:1.0", { shared: "delete" })
 * ```
 * @since 0.1.0
 */
export const deleteImage = (
  reference: string | Reference.Reference,
  options: DeleteImageOptions = {}
): Effect.Effect<DeletedImage, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const connection = yield* connect(reference, Reference.parse, "pull", "push", "delete")
    return yield* deleteManifest(connection, options)
  }).pipe(Effect.withSpan("effect-registry.deleteImage"))

/**
 * Deletes the manifest of a digest, `HOST/REPOSITORY@DIGEST`. As `deleteImage`, except that a reference without a digest
 * is a ValidationError.
 *
 * @example
 * ```ts
 * import { deleteImageByDigest } from "@effect-registry/core"
 *
 * const program = deleteImageByDigest(
 *   "localhost:15000/team/app@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
 * )
 * ```
 * @since 0.1.0
 */
export const deleteImageByDigest = (
  reference: string | Reference.Reference,
  options: DeleteImageOptions = {}
): Effect.Effect<DeletedImage, RegistryError | ValidationError, Environment> =>
  Effect.gen(function* () {
    const connection = yield* connect(reference, Reference.parse, "pull", "push", "delete")
    if (Option.isNone(connection.reference.digest)) {
      const subject = Reference.format(connection.reference)
      return yield* Effect.fail(ValidationError.of("InvalidReference", subject, "expected HOST/REPOSITORY@DIGEST"))
    }
    return yield* deleteManifest(connection, options)
  }).pipe(Effect.withSpan("effect-registry.deleteImageByDigest"))

// internal

const deleteManifest = (
  { client, reference, repository }: Connection,
  options: DeleteImageOptions
): Effect.Effect<DeletedImage, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const identifier = Reference.identifier(reference)
    const found = yield* Manifest.head(client, repository, identifier)
    const subject = deletion(client, repository, identifier)
    if (Option.isNone(found)) return yield* Effect.fail(Failure.make(subject, "NotFound", { status: 404 }))
    const { digest } = found.value
    if (options.shared !== "delete") {
      const own = Option.isNone(reference.digest) ? identifier : Option.getOrUndefined(reference.tag)
      const names = yield* usesOf(client, repository, digest)
      const others = names.tags.filter((tag) => tag !== own)
      // By digest alone the caller did not choose among tags: one is the image's name, two share it.
      const shared = own === undefined && others.length === 1 ? [] : others
      if (shared.length > 0 || names.indexes.length > 0) {
        const list = [...shared.map((tag) => `tag ${tag}`), ...names.indexes.map((tag) => `index ${tag}`)]
        return yield* Effect.fail(
          Failure.make(subject, "StillReferenced", {
            detail: `${digest} is also named by ${list.slice(0, 20).join(", ")}${list.length > 20 ? " …" : ""}`,
            hint: 'delete the tag alone, or all of it with --force (shared: "delete")'
          })
        )
      }
    }
    yield* removeDigest(client, repository, digest)
    return { reference: Manifest.subjectOf(client, repository, digest), digest }
  })

/** The tags that name the digest, and those whose index does. */
const usesOf = (client: Client.Client, repository: string, digest: Digest) =>
  Effect.gen(function* () {
    const operation = `list tags of ${Client.nameOf(client, repository)}`
    const tags = yield* Page.names(client, operation, `${repository}/tags/list`, "tags").pipe(
      Stream.take(maxTags + 1),
      Stream.runCollect,
      Effect.map((all) => [...new Set(all)]),
      // A repository whose tags are all gone is unknown to some registries.
      Effect.catchIf(
        (error) => error.reason === "NotFound",
        () => Effect.succeed<ReadonlyArray<string>>([])
      )
    )
    if (tags.length > maxTags) {
      const subject = deletion(client, repository, digest)
      const detail = `more than ${maxTags} tags may name it`
      return yield* Effect.fail(Failure.make(subject, "TooLarge", { detail, hint: "--force deletes without looking" }))
    }
    if (tags.length > 100) {
      const message = `looking at ${tags.length} tags of ${Client.nameOf(client, repository)} for other uses`
      ;(yield* Progress.Progress).emit({ _tag: "Warning", message })
    }
    const looked = yield* Effect.forEach(tags, (tag) => useBy(client, repository, tag, digest), {
      concurrency: client.config.concurrency
    })
    const having = (use: "tag" | "index") => tags.filter((_, index) => looked[index] === use)
    return { tags: having("tag"), indexes: having("index") }
  })

const useBy = (client: Client.Client, repository: string, tag: string, digest: Digest) =>
  Effect.gen(function* () {
    const found = yield* Manifest.head(client, repository, tag).pipe(
      // What no client can read any more names nothing.
      Effect.catchTag("ValidationError", () => Effect.succeed(Option.none()))
    )
    if (Option.isNone(found)) return "none"
    if (found.value.digest === digest) return "tag"
    if (!MediaType.isIndex(found.value.mediaType)) return "none"
    const index = yield* Manifest.get(client, repository, found.value.digest).pipe(
      Effect.map(Option.some),
      Effect.catchAll((error) =>
        error._tag === "ValidationError" || Manifest.isNotFound(error)
          ? Effect.succeed(Option.none())
          : Effect.fail(error)
      )
    )
    const named = Option.exists(index, (manifest) =>
      ManifestModel.children(manifest).some((child) => child.digest === digest)
    )
    return named ? "index" : "none"
  })

const deletion = (client: Client.Client, repository: string, identifier: string): Failure.Subject => ({
  operation: `delete ${Manifest.subjectOf(client, repository, identifier)}`,
  method: "DELETE",
  url: Client.urlOf(client, `${repository}/manifests/${identifier}`)
})

const removeDigest = (client: Client.Client, repository: string, digest: Digest) =>
  Effect.gen(function* () {
    const status = yield* Manifest.remove(client, repository, digest, [202, 200, 204, 405])
    if (status === 405) return yield* Effect.fail(disabled(client, repository, digest))
  })

const disabled = (client: Client.Client, repository: string, identifier: string): RegistryError =>
  Failure.make(deletion(client, repository, identifier), "DeleteDisabled", {
    status: 405,
    hint: "docker-registry deletes with REGISTRY_STORAGE_DELETE_ENABLED=true, or storage.delete.enabled in its config"
  })

// ---- taking a tag away from a registry that deletes by digest only

const throwawayKey = "io.github.effect-registry.deleted-tag"

/** An index without images, never the same twice: deleting its digest takes along the one tag it got. */
const makeThrowaway = (tag: string): ManifestModel.Manifest => {
  const random = globalThis.crypto.getRandomValues(new Uint8Array(16))
  const unique = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  return ManifestModel.assembleIndex(MediaType.ociIndex, [], { [throwawayKey]: `${tag} ${unique}` })
}

const Throwaway = Schema.Struct({
  manifests: Schema.Tuple(),
  annotations: Schema.Struct({ [throwawayKey]: Schema.String })
})

const isThrowaway = (bytes: Uint8Array): boolean =>
  Option.match(
    Option.getRight(Json.parse(bytes, { subject: "", reason: "InvalidManifest", maxSize: ManifestModel.maxSize })),
    {
      onNone: () => false,
      onSome: ({ value }) => Schema.is(Throwaway)(value)
    }
  )

/** Nothing is done to the tag before a deletion was seen to work. */
const deleteByThrowaway = (
  { client, repository }: Connection,
  tag: string
): Effect.Effect<void, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const before = yield* Manifest.get(client, repository, tag)
    // Left by a run that was killed before its last step.
    if (isThrowaway(before.bytes)) return yield* removeDigest(client, repository, before.descriptor.digest)

    const probe = makeThrowaway(tag)
    // A digest that is not there: says 405 where deleting is off, and nothing has been written yet.
    const status = yield* Manifest.remove(client, repository, probe.descriptor.digest, [202, 404, 405])
    if (status === 405) return yield* Effect.fail(disabled(client, repository, tag))
    yield* Manifest.put(client, repository, probe.descriptor.digest, probe.descriptor, probe.bytes)
    yield* removeDigest(client, repository, probe.descriptor.digest)

    const now = yield* Manifest.head(client, repository, tag)
    if (!Option.exists(now, ({ digest }) => digest === before.descriptor.digest)) {
      const detail = "the tag was moved by somebody else in the meantime"
      return yield* Effect.fail(Failure.make(deletion(client, repository, tag), "Rejected", { detail }))
    }
    const last = makeThrowaway(tag)
    const restore = Manifest.put(client, repository, tag, before.descriptor, before.bytes)
    yield* Manifest.put(client, repository, tag, last.descriptor, last.bytes).pipe(
      Effect.zipRight(removeDigest(client, repository, last.descriptor.digest)),
      // The tag is put back as it was; the error that led here is the one to tell.
      Effect.tapError(() => Effect.catchAll(restore, () => Effect.void)),
      toTheEnd
    )
  })

/** Goes on where we are interrupted. In a fiber of its own, because the time limits inside need interruption to work. */
const toTheEnd = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptible(Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), Fiber.join))
