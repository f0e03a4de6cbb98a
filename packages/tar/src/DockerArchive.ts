/** What `docker save` and `podman save` write, as an image source, and the archive that `docker load` reads as a target. */
import type * as FileSystem from "@effect/platform/FileSystem"
import {
  type Algorithm,
  type ImageEntry,
  type ImageReader,
  type ImageSource,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import * as ArchiveFile from "./ArchiveFile.js"
import * as ArchiveStream from "./ArchiveStream.js"
import * as Beside from "./DockerArchive/Beside.js"
import * as DockerReader from "./DockerReader.js"
import * as LayoutGraph from "./LayoutGraph.js"
import * as LayoutReader from "./LayoutReader.js"
import * as OciArchive from "./OciArchive.js"
import * as Selection from "./Selection.js"
import type { TarReadError } from "./TarReadError.js"

export { type PipeOptions, pipe } from "./DockerArchive/Pipe.js"
export { type TargetOptions, target } from "./DockerArchive/Writer.js"

export interface SourceOptions {
  /** One image: a name it carries (`app:1.0`), or its place in the archive from 0 on. Default: all. */
  readonly image?: string | number | undefined
}

type Failure = TarReadError | ValidationError

/**
 * An archive on disk, plain or compressed with gzip or zstd: manifest.json with plain layers, or an OCI layout, by content. It is opened once
 * and read through that handle.
 *
 * Opening fails with a TarReadError (`NotFound`, `IsDirectory`, `NotSeekable`, `Empty`, `NotATar`, `Truncated`, `UnsupportedFormat`,
 * `UnsafePath`, `DuplicateMember`, `MissingMember`, `LinkLoop`) or a ValidationError (`InvalidArchive`,
 * `InvalidImageConfig`, `LayerMismatch`, `MissingContent`, `NoImage`, `SeveralImages`); reading with `SourceChanged`.
 *
 * @example
 * ```ts
 * import { push } from "@effect-registry/core"
 * import { DockerArchive } from "@effect-registry/tar"
 *
 * const program = push(DockerArchive.file("app.tar", { image: "app:1.0" }), "localhost:15000/team/app:1.0")
 * ```
 * @since 0.1.0
 */
export const file = (path: string, options: SourceOptions = {}): ImageSource<Failure, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.flatMap(ArchiveFile.open(path), (archive) => reader(archive, options))
})

export interface StreamOptions extends SourceOptions {
  /** How errors and results call it. Default `standard input`. */
  readonly name?: string | undefined
  /** What becomes of plain layers while the stream arrives, so that they can be sent when it ends. Default `gzip`. */
  readonly compress?: Algorithm | "none" | undefined
}

/**
 * An archive from a pipe, plain or compressed as a whole. It is kept in a temporary file, because `docker save` puts
 * manifest.json last, and its layers are compressed beside it while they arrive. A stream without end-of-archive blocks is
 * `Truncated`; fails else as `file` does.
 */
export const stream = <E, R>(
  input: Stream.Stream<Uint8Array, E, R>,
  options: StreamOptions = {}
): ImageSource<Failure, FileSystem.FileSystem | R> => {
  const name = options.name ?? "standard input"
  return {
    name,
    open: Effect.gen(function* () {
      const { archive, compressed } = yield* ArchiveStream.open(name, input, options.compress ?? "gzip")
      return { ...(yield* reader(archive, options)), compressed }
    })
  }
}

/** The reader over an archive that is open. */
export const reader = (
  archive: ArchiveFile.ArchiveFile,
  options: SourceOptions = {}
): Effect.Effect<ImageReader<Failure>, Failure> =>
  Effect.gen(function* () {
    const { members } = archive.index
    if (!members.has("manifest.json") && members.has("index.json")) return yield* OciArchive.reader(archive, options)
    if (!members.has("manifest.json")) {
      return yield* Effect.fail(
        ValidationError.of(
          "InvalidArchive",
          archive.path,
          "is no image archive: it has neither manifest.json nor index.json",
          {
            hint: "docker save IMAGE -o FILE writes one; a tar of files (docker export) is no image"
          }
        )
      )
    }
    const files = LayoutGraph.remembering(OciArchive.filesOf(archive))
    const images = yield* DockerReader.images(archive)
    const layout = members.has("index.json") ? yield* Beside.read(files) : undefined
    const entries = yield* Beside.entries(archive, files, images, layout)
    const chosen: ReadonlyArray<ImageEntry> = yield* Selection.choose(archive.path, entries, options.image)
    const paths = new Map(
      images.flatMap(({ config, layers }) => [
        [config.descriptor.digest, config.path] as const,
        ...layers.map(({ descriptor, path }) => [descriptor.digest, path] as const)
      ])
    )
    return {
      ...(yield* LayoutReader.content(files, layout?.listed ?? [])),
      images: Effect.succeed(chosen),
      blob: (descriptor) =>
        LayoutGraph.blob(files, paths.get(descriptor.digest) ?? LayoutGraph.blobPath(descriptor.digest), descriptor),
      unchanged: archive.unchanged
    }
  })
