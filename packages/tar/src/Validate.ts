/** Whether an archive or layout can be pushed, and everything that stands in the way. */
import * as FileSystem from "@effect/platform/FileSystem"
import type { Descriptor as DescriptorNs, FileContent } from "@effect-registry/core"
import { Digest, formatName, Hasher, Manifest, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ArchiveFile from "./ArchiveFile.js"
import * as DockerArchive from "./DockerArchive.js"
import * as DockerManifest from "./DockerManifest.js"
import * as DockerReader from "./DockerReader.js"
import * as LayoutGraph from "./LayoutGraph.js"
import * as OciArchive from "./OciArchive.js"
import * as OciLayout from "./OciLayout.js"
import { TarReadError } from "./TarReadError.js"

type Failure = TarReadError | ValidationError

export interface Validation {
  readonly path: string
  readonly valid: boolean
  /** The names of the images that were found, `untagged` for one without. */
  readonly images: ReadonlyArray<string>
  /** What is wrong, in the order it was found. */
  readonly problems: ReadonlyArray<Problem>
  /** What stops no push: platforms that an index lists and a docker-archive lacks. */
  readonly warnings: ReadonlyArray<string>
}

export interface Problem {
  /** The reason of the error that a push would fail with. */
  readonly reason: Failure["reason"]
  readonly message: string
  readonly hint: string | undefined
}

/**
 * Reads an archive or layout folder whole, hashes every config and layer, and lists all problems. It fails only where
 * nothing can be read at all: `NotFound`, `Permission`, `Io`.
 *
 * @example
 * ```ts
 * import { validateArchive } from "@effect-registry/tar"
 * import * as Effect from "effect/Effect"
 *
 * const isValid = Effect.map(validateArchive("app.tar"), (validation) => validation.valid)
 * ```
 * @since 0.1.0
 */
export const validateArchive = (path: string): Effect.Effect<Validation, TarReadError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const isFolder = yield* Effect.map(
      Effect.option(fs.stat(path)),
      Option.exists(({ type }) => type === "Directory")
    )
    const found = yield* Effect.either(isFolder ? folder(path) : archive(path))
    if (Either.isLeft(found) && unreadable.has(found.left.reason) && found.left instanceof TarReadError) {
      return yield* Effect.fail(found.left)
    }
    const { images, problems, warnings } = Either.getOrElse(found, (error) => ({
      images: [],
      problems: [problem(error)],
      warnings: []
    }))
    return { path, valid: problems.length === 0, images, problems, warnings }
  }).pipe(Effect.scoped, Effect.withSpan("effect-registry.validateArchive", { attributes: { path } }))

// internal

type Found = Pick<Validation, "images" | "problems" | "warnings">

const unreadable = new Set<Failure["reason"]>(["NotFound", "Permission", "Io"])

const archive = (path: string): Effect.Effect<Found, Failure, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const opened = yield* ArchiveFile.open(path)
    const files = OciArchive.filesOf(opened)
    const { members } = opened.index
    if (!members.has("manifest.json")) {
      // Says what is missing where it is no OCI archive either.
      if (!members.has("index.json")) yield* DockerArchive.reader(opened)
      return yield* layout(files, "problem")
    }
    const listed = yield* DockerManifest.decode(yield* opened.bytes("manifest.json", DockerManifest.maxSize), path)
    const each = yield* Effect.forEach(listed, (entry, index) =>
      Effect.either(DockerReader.image(opened, entry, `[${index}]`))
    )
    const whole = yield* Effect.either(DockerReader.images(opened))
    const images = Either.getOrElse(whole, () => each.flatMap((result) => Option.toArray(Either.getRight(result))))
    const ownProblems = each.flatMap((result) => Option.toArray(Either.getLeft(result)))
    const listProblems = ownProblems.length === 0 ? Option.toArray(Either.getLeft(whole)) : ownProblems
    const layers = new Map(images.flatMap((image) => image.layers.map((layer) => [layer.path, layer])))
    const layerProblems = yield* Effect.forEach([...layers.values()], (layer) =>
      problemsOf(
        Effect.flatMap(opened.content(layer.path), (content) => check(path, layer.path, content, layer.descriptor))
      )
    )
    const beside = members.has("index.json")
      ? yield* layout(files, "warning")
      : { images: [], problems: [], warnings: [] }
    return {
      images: images.map(({ names }) => names.map(formatName).join(", ") || "untagged"),
      problems: [...listProblems.map(problem), ...layerProblems.flat(), ...beside.problems],
      warnings: beside.warnings
    }
  })

const folder = (path: string): Effect.Effect<Found, Failure, FileSystem.FileSystem | Scope.Scope> =>
  Effect.flatMap(OciLayout.files(path), (files) => layout(files, "problem"))

/** `missing` says what it means that a platform is not there: nothing a docker-archive could not be pushed without. */
const layout = (files: LayoutGraph.LayoutFiles, missing: "problem" | "warning"): Effect.Effect<Found, Failure> =>
  Effect.gen(function* () {
    const images = yield* LayoutGraph.images(files)
    const lacking = images.filter((image) => image.missing.length > 0)
    const fatal = lacking.filter((image) => missing === "problem" || image.complete.length === 0)
    const complete = new Map(
      images.flatMap((image) => image.complete.map((each) => [each.descriptor.digest, each.descriptor]))
    )
    const problems = yield* Effect.forEach([...complete.values()], (descriptor) =>
      Effect.gen(function* () {
        const manifest = yield* LayoutGraph.manifest(files, descriptor)
        const blobs = new Map(Manifest.blobs(manifest).map((blob) => [blob.digest, blob]))
        return yield* Effect.forEach([...blobs.values()], (blob) =>
          Effect.flatMap(files.size(LayoutGraph.blobPath(blob.digest)), (size) =>
            Option.isSome(size)
              ? problemsOf(
                  Effect.flatMap(LayoutGraph.blob(files, LayoutGraph.blobPath(blob.digest), blob), (content) =>
                    check(files.name, LayoutGraph.blobPath(blob.digest), content, blob)
                  )
                )
              : Effect.succeed([])
          )
        )
      })
    )
    return {
      images: images.map(({ descriptor, names }) => names.map(formatName).join(", ") || descriptor.digest),
      problems: [...fatal.map((image) => problem(LayoutGraph.missingContent(files.name, image))), ...problems.flat(2)],
      warnings: lacking
        .filter((image) => !fatal.includes(image))
        .flatMap((image) => LayoutGraph.missingContent(files.name, image).issues.map(({ message }) => message))
    }
  })

const problemsOf = (checked: Effect.Effect<void, Failure>): Effect.Effect<ReadonlyArray<Problem>> =>
  Effect.match(checked, { onFailure: (error) => [problem(error)], onSuccess: () => [] })

const problem = (error: Failure): Problem => ({ reason: error.reason, message: error.message, hint: error.hint })

const check = (
  archive: string,
  entry: string,
  content: FileContent<TarReadError>,
  { digest }: DescriptorNs.Descriptor
): Effect.Effect<void, Failure> =>
  Effect.gen(function* () {
    const hash = (yield* Hasher.Hasher).make(Digest.algorithm(digest))
    yield* Stream.runForEach(content.stream, (chunk) => Effect.sync(() => hash.update(chunk)))
    yield* DockerReader.checkLayer(archive, entry, hash.digest(), digest)
  })
