/** The names that images carry in archives. */
import type * as FileSystem from "@effect/platform/FileSystem"
import { formatName, type ImageName, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ArchiveFile from "./ArchiveFile.js"
import * as DockerArchive from "./DockerArchive.js"
import type { DockerManifestEntry } from "./DockerManifest.js"
import * as DockerManifest from "./DockerManifest.js"
import type { TarReadError } from "./TarReadError.js"

/** The images that manifest.json lists, as it lists them. Fails as `DockerArchive.file`, without an index.json in place of it. */
export const getTarManifest = (
  path: string
): Effect.Effect<ReadonlyArray<DockerManifestEntry>, TarReadError | ValidationError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const archive = yield* ArchiveFile.open(path)
    return yield* DockerManifest.decode(yield* archive.bytes("manifest.json", DockerManifest.maxSize), path)
  }).pipe(Effect.scoped)

/** All tags of an archive, `repository:tag`, in its order; empty where it has none. Fails as `DockerArchive.file`. */
export const extractTags = (
  path: string
): Effect.Effect<ReadonlyArray<string>, TarReadError | ValidationError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const reader = yield* DockerArchive.file(path).open
    return (yield* reader.images).flatMap(({ names }) => names.map(formatName))
  }).pipe(Effect.scoped)

/** The first tag of an archive, `None` where it has none. Fails as `DockerArchive.file`. */
export const getPrimaryTag = (
  path: string
): Effect.Effect<Option.Option<ImageName>, TarReadError | ValidationError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const reader = yield* DockerArchive.file(path).open
    return Option.fromNullable((yield* reader.images).flatMap(({ names }) => names)[0])
  }).pipe(Effect.scoped)
