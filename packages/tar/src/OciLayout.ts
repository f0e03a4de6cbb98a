/** An OCI image layout folder. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md */
import type * as FileSystem from "@effect/platform/FileSystem"
import type { ImageSource } from "@effect-registry/core"
import { Digest, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as LayoutGraph from "./LayoutGraph.js"
import * as LayoutReader from "./LayoutReader.js"
import * as Files from "./OciLayout/Files.js"
import { TarReadError } from "./TarReadError.js"

export { type TargetOptions, target } from "./OciLayout/Writer.js"

type Failure = TarReadError | ValidationError

/**
 * A layout folder that exists. Nothing outside it is ever read: a symlink in it fails with `UnsafePath` before a byte is
 * moved. Fails also with `NotFound`, `NotADirectory`, `MissingMember`, and the ValidationErrors of `OciArchive.file`.
 * @since 0.1.0
 */
export const folder = (
  path: string,
  options: LayoutReader.SourceOptions = {}
): ImageSource<Failure, FileSystem.FileSystem> => ({
  name: path,
  open: Effect.gen(function* () {
    const opened = yield* files(path)
    const before = yield* opened.bytes("index.json", LayoutGraph.maxIndexSize)
    const unchanged = Effect.flatMap(opened.bytes("index.json", LayoutGraph.maxIndexSize), (after) =>
      Digest.fromBytes(after) === Digest.fromBytes(before)
        ? Effect.void
        : Effect.fail(
            new TarReadError({
              reason: "SourceChanged",
              path,
              entry: "index.json",
              detail: "changed while it was read"
            })
          )
    )
    return yield* LayoutReader.make(opened, unchanged, options)
  })
})

/** The files of a layout folder, checked as `folder` says; open until the scope ends. */
export const files = Files.open
