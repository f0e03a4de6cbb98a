/** manifest.json and `repositories`, the two files by which `docker load` reads an archive. */
import { Json, ValidationError } from "@effect-registry/core"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"

/** Lists every image of the archive; a real one has a few KiB. */
export const maxSize = 16 * 1024 * 1024

/** One image of manifest.json. Unknown fields survive. */
export const DockerManifestEntry = Schema.Struct({
  Config: Schema.String.pipe(Schema.minLength(1)),
  RepoTags: Schema.optional(Schema.NullOr(Schema.Array(Schema.String))),
  Layers: Schema.optionalWith(Schema.NullOr(Schema.Array(Schema.String)), { default: () => [] })
})
export type DockerManifestEntry = typeof DockerManifestEntry.Type

const Repositories = Schema.Record({
  key: Schema.String,
  value: Schema.Record({ key: Schema.String, value: Schema.String })
})

/** The images, or a ValidationError with reason `InvalidArchive`; `NoImage` for an empty list. */
export const decode = (
  bytes: Uint8Array,
  archive: string
): Either.Either<ReadonlyArray<DockerManifestEntry>, ValidationError> => {
  const limits = { subject: `${archive} manifest.json`, reason: "InvalidArchive", maxSize } as const
  return Either.gen(function* () {
    const { value } = yield* Json.parse(bytes, limits)
    if (!Array.isArray(value)) {
      return yield* Either.left(ValidationError.of("InvalidArchive", limits.subject, "is not a list of images"))
    }
    const entries = yield* Json.decode(Schema.Array(DockerManifestEntry), value, limits)
    if (entries.length === 0) {
      return yield* Either.left(ValidationError.of("NoImage", archive, "its manifest.json lists no image"))
    }
    return entries
  })
}

/** `repositories` as `[repository, tag, layer id]`. */
export const decodeRepositories = (
  bytes: Uint8Array,
  archive: string
): Either.Either<ReadonlyArray<readonly [repository: string, tag: string, layer: string]>, ValidationError> => {
  const limits = { subject: `${archive} repositories`, reason: "InvalidArchive", maxSize } as const
  return Either.gen(function* () {
    const { value } = yield* Json.parse(bytes, limits)
    const decoded = yield* Json.decode(Repositories, value, limits)
    return Object.entries(decoded).flatMap(([repository, tags]) =>
      Object.entries(tags).map(([tag, layer]) => [repository, tag, layer] as const)
    )
  })
}
