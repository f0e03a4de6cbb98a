/** Taking a tag off an image, and removing images. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Referrers from "./Delete/Referrers.js"
import * as Uses from "./Delete/Uses.js"
import type { Descriptor } from "./model/Descriptor.js"
import type { Digest } from "./model/Digest.js"
import * as MediaType from "./model/MediaType.js"
import * as Reference from "./model/Reference.js"
import type * as Client from "./Registry/Client.js"
import { type Connection, connect } from "./Registry/Connection.js"
import * as Failure from "./Registry/Failure.js"
import * as Manifest from "./Registry/Manifest.js"
import { deletion, isThrowaway, removeTag } from "./Registry/RemoveTag.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import type { RegistryError } from "./RegistryError.js"
import { ValidationError } from "./ValidationError.js"

type Environment = HttpClient.HttpClient | RegistryConfig

const actions = ["pull", "push", "delete"] as const

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
    const { client, reference: parsed, repository } = yield* connect(reference, Reference.parse, ...actions)
    if (Option.isNone(parsed.tag) || Option.isSome(parsed.digest)) {
      const message = "names no tag to delete"
      const hint = "HOST/REPOSITORY:TAG takes a tag away; deleteImage removes an image"
      return yield* Effect.fail(ValidationError.of("NoTag", Reference.format(parsed), message, { hint }))
    }
    const tag = parsed.tag.value
    yield* removeTag(client, repository, tag)
    return { reference: Manifest.subjectOf(client, repository, tag) }
  }).pipe(Effect.withSpan("effect-registry.deleteTag"))

export interface DeleteImageOptions {
  /** What happens where other tags, or tagged indexes, name the image too. `delete` does not look. Default `fail`. */
  readonly shared?: "fail" | "delete" | undefined
  /**
   * Whether the manifests that refer to the image (signatures, SBOMs), and those that refer to them, go with it, after the
   * same look at what else names them. What a list of referrers names and has another subject stays, with a warning. Default
   * false: they are left behind.
   */
  readonly referrers?: boolean | undefined
}

export interface DeletedImage {
  /** `HOST/REPOSITORY@DIGEST`, now gone. */
  readonly reference: string
  readonly digest: Digest
  /** Manifests that referred to it and went with it. */
  readonly deletedReferrers: ReadonlyArray<Digest>
  /** Manifests that refer to it and are still there. */
  readonly leftReferrers: ReadonlyArray<Descriptor>
}

/**
 * Deletes the manifest that a reference names, with every tag of it. The space is freed by the registry's own garbage
 * collection. An image under a single tag is not shared; being the subject of a referrer, or listed as one, is no use
 * either. Where a referrer is deleted and the registry keeps no list of them, the list under its subject's tag is kept in
 * step.
 *
 * Fails with a RegistryError: `NotFound`, `DeleteDisabled`, `StillReferenced` with the names, `TooLarge` where there are
 * more than 10,000 tags to look at, `Protocol` where the list of tags has no end; or a ValidationError for a malformed reference.
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
    const connection = yield* connect(reference, Reference.parse, ...actions)
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
    const connection = yield* connect(reference, Reference.parse, ...actions)
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
    if (Option.isNone(found)) {
      return yield* Effect.fail(Failure.make(deletion(client, repository, identifier), "NotFound", { status: 404 }))
    }
    const { digest } = found.value
    if (Option.isNone(reference.digest)) yield* finishTag(client, repository, identifier, found.value)
    const referrers = yield* Referrers.find(client, repository, digest, options.referrers === true)
    const going = options.referrers === true ? referrers.all : []
    if (options.shared !== "delete") {
      const own = Option.isNone(reference.digest) ? identifier : Option.getOrUndefined(reference.tag)
      const uses = yield* usesOf(client, repository, digest, own, going)
      if (uses.length > 0) {
        return yield* Effect.fail(
          Failure.make(deletion(client, repository, identifier), "StillReferenced", {
            detail: `${uses.slice(0, 20).join(", ")}${uses.length > 20 ? " …" : ""}`,
            hint: 'delete the tag alone, or all of it with --force (shared: "delete")'
          })
        )
      }
    }
    yield* Referrers.removeAll(client, repository, going)
    yield* Referrers.removeListed(client, repository, found.value, referrers.source)
    return {
      reference: Manifest.subjectOf(client, repository, digest),
      digest,
      deletedReferrers: going.map(({ descriptor }) => descriptor.digest),
      leftReferrers: options.referrers === true ? [] : referrers.all.map(({ descriptor }) => descriptor)
    }
  })

/** Every other use of the image, and every use of the referrers that go with it, in words. */
const usesOf = (
  client: Client.Client,
  repository: string,
  digest: Digest,
  own: string | undefined,
  referrers: ReadonlyArray<Referrers.Found>
) =>
  Effect.gen(function* () {
    const digests = [digest, ...referrers.map(({ descriptor }) => descriptor.digest)]
    const find = yield* Uses.find(client, repository, new Set(digests))
    return digests.flatMap((each) => {
      const { indexes, tags } = find(each)
      const others = tags.filter((tag) => tag !== own || each !== digest)
      // By digest alone the caller did not choose among tags: one is the image's name, two share it.
      const shared = own === undefined && each === digest && others.length === 1 ? [] : others
      const list = [...shared.map((tag) => `tag ${tag}`), ...indexes.map((tag) => `index ${tag}`)]
      const what = each === digest ? each : `its referrer ${each}`
      return list.map((use, index) => (index === 0 ? `${what} is also named by ${use}` : use))
    })
  })

/** An earlier deletion of the tag was killed before its last step: what the tag names is no image, and it goes now. */
const finishTag = (
  client: Client.Client,
  repository: string,
  tag: string,
  { digest, mediaType }: Descriptor
): Effect.Effect<void, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    if (!MediaType.isIndex(mediaType) || !isThrowaway(yield* Manifest.get(client, repository, digest))) return
    yield* removeTag(client, repository, tag)
    const detail = "the tag was being deleted already, and is gone now"
    return yield* Effect.fail(Failure.make(deletion(client, repository, tag), "NotFound", { detail }))
  })
