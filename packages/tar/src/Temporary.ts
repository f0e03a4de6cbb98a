/** Files without a name of their own: what passes through on its way. */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Io from "./Io.js"
import type { TarReadError } from "./TarReadError.js"

/** How errors call it. */
export const place = "the temporary folder"

type Made<A> = Effect.Effect<A, TarReadError, FileSystem.FileSystem | Scope.Scope>

/** A new file by two handles, each with its own position; it goes with the scope. */
export const files: Made<{ readonly writer: FileSystem.File; readonly reader: FileSystem.File }> = Effect.gen(
  function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* fs.makeTempFileScoped({ prefix: "ereg-" })
    return { writer: yield* fs.open(path, { flag: "r+" }), reader: yield* fs.open(path, { flag: "r" }) }
  }
).pipe(Effect.mapError(Io.writeError(place)))

/** An empty file, open for reading and writing; it goes with the scope. */
export const file: Made<FileSystem.File> = Effect.map(files, ({ writer }) => writer)
