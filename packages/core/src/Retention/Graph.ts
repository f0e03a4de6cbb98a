/** The manifests of a repository as retention sees them: what each names, and when it was made. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import * as ImageConfig from "../model/ImageConfig.js"
import * as Json from "../model/Json.js"
import * as ManifestModel from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import * as Platform from "../model/Platform.js"
import * as Referrer from "../model/Referrer.js"
import * as Blob from "../Registry/Blob.js"
import type { Connection } from "../Registry/Connection.js"
import * as Failure from "../Registry/Failure.js"
import * as Manifest from "../Registry/Manifest.js"
import * as Referrers from "../Registry/Referrers.js"
import { deletion, isThrowaway } from "../Registry/RemoveTag.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Age from "./Age.js"

/** Manifests looked at in one plan; indexes could name others without end. */
export const maxManifests = 200_000

export interface Node {
  readonly digest: Digest
  /** Of an index, all that it names, whatever type it says that this has: what stays with it. */
  readonly named: ReadonlyArray<Digest>
  /** Those of them that it says are manifests: what may go with it. */
  readonly children: ReadonlyArray<Descriptor>
  readonly isIndex: boolean
  readonly subject: Digest | undefined
  /** What says of itself when it was made. */
  readonly annotation: string | undefined
  readonly config: Descriptor | undefined
  /** An earlier deletion of a tag was cut off before its last step. */
  readonly isThrowaway: boolean
}

export interface Graph {
  /** What is under the digest, each read once; `None` where nothing is. */
  readonly look: (digest: Digest) => Effect.Effect<Option.Option<Node>, RegistryError | ValidationError>
  /** What refers to it, as the registry says: each is asked for once. */
  readonly referrers: (digest: Digest) => Effect.Effect<ReadonlyArray<Digest>, RegistryError>
  /** When it was made, in milliseconds; `None` where that is unknown, or cannot be read. */
  readonly created: (digest: Digest) => Effect.Effect<Option.Option<number>, RegistryError>
}

/** `now`: milliseconds; what is said to be made later is not believed. */
export const make = ({ client, repository }: Connection, now: number): Effect.Effect<Graph> =>
  Effect.gen(function* () {
    let count = 0
    const look = yield* Effect.cachedFunction((digest: Digest) =>
      Effect.suspend((): Effect.Effect<Option.Option<Node>, RegistryError | ValidationError> => {
        if (++count > maxManifests) {
          const detail = `more than ${maxManifests} manifests to look at`
          return Effect.fail(Failure.make(deletion(client, repository, digest), "TooLarge", { detail }))
        }
        return Manifest.get(client, repository, digest).pipe(
          Effect.map((manifest) => Option.some(nodeOf(manifest))),
          Effect.catchIf(Manifest.isNotFound, () => Effect.succeed(Option.none<Node>()))
        )
      })
    )
    const referrers = yield* Effect.cachedFunction((digest: Digest) =>
      Effect.map(Referrers.list(client, repository, digest), (listing) => listing.referrers.map((each) => each.digest))
    )
    const configCreated = (config: Descriptor) =>
      MediaType.isImageConfig(config.mediaType)
        ? Blob.bytes(client, repository, config.digest, Option.some(config.size), ImageConfig.maxSize).pipe(
            Effect.map((bytes) => Age.instant(createdOf(bytes), now)),
            Effect.catchIf(isUnreadable, () => Effect.succeedNone)
          )
        : Effect.succeedNone
    const created = (digest: Digest, depth: number): Effect.Effect<Option.Option<number>, RegistryError> =>
      Effect.gen(function* () {
        const node = yield* Effect.catchTag(look(digest), "ValidationError", () => Effect.succeedNone)
        if (Option.isNone(node) || depth > ManifestModel.maxDepth) return Option.none()
        const { annotation, children, config } = node.value
        if (annotation !== undefined) return Age.instant(annotation, now)
        if (config !== undefined) return yield* configCreated(config)
        const ages = yield* Effect.forEach(children.filter(runs), (child) => created(child.digest, depth + 1))
        // One that is unknown could be the newest.
        return Option.map(Option.all(ages), (known) => Math.max(...known)).pipe(Option.filter(Number.isFinite))
      })
    return { look, referrers, created: yield* Effect.cachedFunction((digest: Digest) => created(digest, 0)) }
  })

// internal

const nodeOf = (manifest: ManifestModel.Manifest): Node => ({
  digest: manifest.descriptor.digest,
  named: ManifestModel.children(manifest).map(({ digest }) => digest),
  children: ManifestModel.children(manifest).filter(({ mediaType }) => MediaType.isManifest(mediaType)),
  isIndex: manifest._tag === "Index",
  subject: Referrer.subjectOf(manifest)?.digest,
  annotation: manifest.value.annotations?.[Age.annotation],
  config: manifest._tag === "Image" ? manifest.value.config : undefined,
  isThrowaway: isThrowaway(manifest)
})

/** An attestation among the images of an index is as old as nothing. */
const runs = ({ platform }: Descriptor): boolean => !platform || !Platform.isUnknown(platform)

/** What is wrong with one image and will be so the next time. */
const isUnreadable = (error: RegistryError): boolean =>
  error.reason === "NotFound" || error.reason === "TooLarge" || Failure.isMismatch(error)

const Created = Schema.Struct({ created: Schema.String })

/** Whatever else is wrong with the config. */
const createdOf = (bytes: Uint8Array): string | undefined => {
  const limits = { subject: "config", reason: "InvalidImageConfig", maxSize: ImageConfig.maxSize } as const
  const parsed = Either.flatMap(Json.parse(bytes, limits), ({ value }) => Json.decode(Created, value, limits))
  return Either.getOrUndefined(parsed)?.created
}
