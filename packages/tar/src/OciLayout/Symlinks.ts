/** A layout has no symlinks: through one, files outside of it would be read or written. */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { TarReadError } from "../TarReadError.js"

/** Fails with `UnsafePath` where one of the entries is a symlink. */
export const refuse = (
  fs: FileSystem.FileSystem,
  path: string,
  entries: ReadonlyArray<string>
): Effect.Effect<void, TarReadError> =>
  Effect.forEach(
    entries,
    (entry) =>
      // readLink succeeds for symlinks alone.
      Effect.flatMap(Effect.option(fs.readLink(`${path}/${entry}`)), (link) =>
        Option.isNone(link)
          ? Effect.void
          : Effect.fail(
              new TarReadError({ reason: "UnsafePath", path, entry, detail: "is a symlink; a layout has none" })
            )
      ),
    { discard: true }
  )
