/** An OCI image layout in a tar, as `skopeo` and `buildah` write it. */
import type * as FileSystem from "@effect/platform/FileSystem"
import { type ImageReader, type ImageSource, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ArchiveFile from "./ArchiveFile.js"
import type * as LayoutGraph from "./LayoutGraph.js"
import * as LayoutReader from "./LayoutReader.js"
import * as TarIndex from "./TarIndex.js"
import type { TarReadError } from "./TarReadError.js"

/**
 * An archive on disk, plain or compressed with gzip or zstd. Fails as `DockerArchive.file` does; every digest that an index of it names must
 * be there (`MissingContent`).
 * @since 0.1.0
 */
export const file = (
  path: string,
  options: LayoutReader.SourceOptions = {}
): ImageSource<TarReadError | ValidationError, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.flatMap(ArchiveFile.open(path), (archive) => reader(archive, options))
})

/** The reader over an archive that is open. */
export const reader = (
  archive: ArchiveFile.ArchiveFile,
  options: LayoutReader.SourceOptions = {}
): Effect.Effect<ImageReader<TarReadError | ValidationError>, TarReadError | ValidationError> =>
  archive.index.members.has("index.json")
    ? LayoutReader.make(filesOf(archive), archive.unchanged, options)
    : Effect.fail(ValidationError.of("InvalidArchive", archive.path, "is no OCI archive: it has no index.json"))

/** The archive's members as the files of a layout. */
export const filesOf = (archive: ArchiveFile.ArchiveFile): LayoutGraph.LayoutFiles => ({
  name: archive.path,
  size: (path) =>
    Effect.map(
      Effect.option(TarIndex.resolve(archive.index, path, archive.path)),
      Option.map(({ size }) => size)
    ),
  bytes: archive.bytes,
  content: archive.content
})
