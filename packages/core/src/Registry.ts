/** A repository of a registry as a store of images: where a copy comes from or goes to. */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as BlobInfoCache from "./BlobInfoCache.js"
import type { ImageName, ImageSource, ImageTarget, RemoteContent } from "./ImageStore.js"
import type { Descriptor } from "./model/Descriptor.js"
import type { Digest } from "./model/Digest.js"
import * as ManifestModel from "./model/Manifest.js"
import * as Reference from "./model/Reference.js"
import { isDigestTag } from "./model/TagFilter.js"
import * as Additions from "./Registry/Additions.js"
import * as Auth from "./Registry/Auth.js"
import * as Blob from "./Registry/Blob.js"
import * as Client from "./Registry/Client.js"
import { connect } from "./Registry/Connection.js"
import * as Download from "./Registry/Download.js"
import * as Manifest from "./Registry/Manifest.js"
import { type Place, reading } from "./Registry/Mirror.js"
import * as Referrers from "./Registry/Referrers.js"
import * as Upload from "./Registry/Upload.js"
import type { RegistryConfig } from "./RegistryConfig.js"
import { RegistryError } from "./RegistryError.js"
import type { ValidationError } from "./ValidationError.js"

type Environment = HttpClient.HttpClient | RegistryConfig

/**
 * The image that a reference names, as a source with one entry. A digest decides where there is one; the tag beside it
 * is kept as the image's name, and an image named by digest alone has none.
 *
 * Reading fails with a RegistryError (`NotFound` where there is no such image), or a ValidationError: a malformed
 * reference, or what is wrong with a manifest.
 *
 * @example
 * ```ts
 * import { copy, MemoryStore, Registry } from "@effect-registry/core"
 *
 * const program = copy(Registry.image("localhost:15000/team/app:1.0"), MemoryStore.make().target)
 * ```
 * @since 0.1.0
 */
export const image = (
  reference: string | Reference.Reference
): ImageSource<RegistryError | ValidationError, Environment> => ({
  name: typeof reference === "string" ? reference : Reference.format(reference),
  open: Effect.gen(function* () {
    const { first, own, reference: parsed } = yield* reading(reference, Reference.parse)
    const identifier = Reference.identifier(parsed)
    // The engine asks for the root's bytes again, and its digest vouches for them.
    const held = new Map<Digest, Uint8Array>()
    /** Which list a referrer's descriptor came from. */
    const claims = new Map<Digest, Referrers.Claim>()
    return {
      images: Effect.gen(function* () {
        const { bytes, descriptor } = yield* first(({ client, repository }) =>
          Manifest.get(client, repository, identifier)
        )
        held.set(descriptor.digest, bytes)
        const tag = Option.isNone(parsed.digest) ? Option.some(identifier) : parsed.tag
        const names: ReadonlyArray<ImageName> = Option.isNone(tag)
          ? []
          : [{ repository: Option.some(Client.nameOf(own.client, own.repository)), tag }]
        return [{ root: { _tag: "Manifest" as const, descriptor }, names, missingPlatforms: [] }]
      }),
      manifest: ({ digest, mediaType, size }) =>
        Effect.suspend(() => {
          const bytes = held.get(digest)
          return bytes === undefined || bytes.length !== size
            ? first(({ client, repository }) =>
                Effect.map(Manifest.get(client, repository, digest, { mediaType, size }), (manifest) => manifest.bytes)
              )
            : Effect.succeed(bytes)
        }).pipe(
          Effect.mapError((error) => {
            const claim = claims.get(digest)
            return claim === undefined ? error : Referrers.blame(own, claim, error)
          })
        ),
      blob: ({ digest, size }) =>
        Effect.sync((): RemoteContent<RegistryError> => {
          const at = ({ client, repository }: Place) => Download.remote(client, repository, digest, size)
          const there = first((place) =>
            place === own ? Effect.succeed(own) : Effect.as(Blob.find(place.client, place.repository, digest), place)
          )
          return {
            ...at(own),
            stream: Stream.unwrap(Effect.map(there, (place) => at(place).stream)),
            streamFrom: (offset) => Stream.unwrap(Effect.map(there, (place) => at(place).streamFrom(offset))),
            save: (sink) => first((place) => at(place).save(sink))
          }
        }),
      referrers: ({ digest }) =>
        Effect.map(
          first((place) => Referrers.listAt(place, own, digest)),
          ({ referrers, source }) => {
            for (const each of referrers) claims.set(each.digest, { source, subject: digest })
            return referrers
          }
        ),
      isMissing: (error) => error instanceof RegistryError && error.reason === "NotFound",
      tagged: (tag) =>
        first((place) =>
          Effect.flatMap(Manifest.head(place.client, place.repository, tag), (found) =>
            Option.isSome(found) || place === own
              ? Effect.succeed(found)
              : Effect.fail(Manifest.notFound(place.client, place.repository, tag))
          )
        )
    }
  })
})

/**
 * A repository as a target. The names' tags become its tags; a manifest without names is written by its digest.
 *
 * Writing fails with a RegistryError, or a ValidationError: a malformed reference, or `LayerMismatch` and
 * `DigestMismatch` where the source's bytes are not what they were said to be.
 *
 * @example
 * ```ts
 * import { copy, Registry } from "@effect-registry/core"
 *
 * const program = copy(Registry.image("docker.io/library/alpine:3.20"), Registry.repository("localhost:15000/mirror/alpine"))
 * ```
 * @since 0.1.0
 */
export const repository = (
  reference: string | Reference.Reference
): ImageTarget<RegistryError | ValidationError, Environment> => ({
  name: typeof reference === "string" ? reference : Reference.format(reference),
  open: Effect.gen(function* () {
    const { client, repository } = yield* connect(reference, Reference.parseRepository, "pull", "push")
    /** What each tag was found to name, so that nobody asks twice in one run. */
    const tagged = new Map<string, Option.Option<Descriptor>>()
    const additions = yield* Additions.make(client, repository)
    return {
      hasManifest: ({ digest, size }) =>
        Effect.map(
          Manifest.head(client, repository, digest),
          Option.exists((there) => there.digest === digest && there.size === size)
        ),
      isTagged: ({ digest }, { tag }) =>
        Effect.gen(function* () {
          const there = yield* Manifest.headReadable(
            client,
            repository,
            Option.getOrElse(tag, () => digest)
          )
          if (Option.isSome(tag)) tagged.set(tag.value, there)
          return Option.exists(there, (descriptor) => descriptor.digest === digest)
        }),
      referrers: ({ digest }) => Effect.map(Referrers.list(client, repository, digest), ({ referrers }) => referrers),
      writeBlob: (write) =>
        Effect.gen(function* () {
          const cache = yield* BlobInfoCache.BlobInfoCache
          // Known only once the registry has answered: before that nobody's credentials are looked up.
          const place = Effect.map(Auth.account(client), (account) => ({ origin: client.endpoint.origin, account }))
          const seen = (digest: Digest) => Effect.flatMap(place, (at) => cache.repositories(at, digest))
          const result = yield* Upload.upload(client, repository, write, seen)
          yield* cache.recordRepository(yield* place, result.descriptor.digest, repository)
          return result
        }),
      lacksContent: (error) =>
        error instanceof RegistryError && error.codes.some(({ code }) => code === "MANIFEST_BLOB_UNKNOWN"),
      writeManifest: (descriptor, bytes, names, force) =>
        Effect.gen(function* () {
          const tags = [...new Set(names.flatMap((name) => Option.toArray(name.tag)))]
          // A tag would take any bytes, whatever digest they were said to have.
          const { digest, mediaType } = descriptor
          const manifest = yield* ManifestModel.decode(bytes, {
            subject: Client.nameOf(client, repository),
            mediaType,
            digest
          })
          // Whoever sees an image by its tag finds what refers to it; cosign's tags are no images.
          const isSeen = tags.some((tag) => !isDigestTag(tag))
          if (isSeen) yield* additions.write
          const listed = yield* Effect.forEach(tags.length === 0 ? [digest] : tags, (identifier) =>
            Effect.gen(function* () {
              const before = tagged.get(identifier)
              tagged.delete(identifier)
              const answer =
                force === true
                  ? yield* Manifest.put(client, repository, identifier, descriptor, bytes)
                  : yield* Manifest.tag(client, repository, identifier, descriptor, bytes, before)
              tagged.set(identifier, Option.some(descriptor))
              return answer
            })
          )
          yield* additions.add(manifest, listed)
          if (isSeen) yield* additions.write
        }),
      commit: additions.write
    }
  })
})
