/**
 * A tar from a pipe: kept in a temporary file, because its list of images comes last, and worked on while it arrives, so
 * that little is left to do when the pipe ends.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import { type Algorithm, Compressor, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ArchiveFile from "./ArchiveFile.js"
import * as Ahead from "./ArchiveStream/Ahead.js"
import { decompress } from "./Decompress.js"
import * as Io from "./Io.js"
import { TarReadError } from "./TarReadError.js"
import * as Temporary from "./Temporary.js"

type Failure = TarReadError | ValidationError

export interface ArchiveStream {
  readonly archive: ArchiveFile.ArchiveFile
  /** The plain layers of it that are compressed already. */
  readonly compressed: Ahead.Ahead["find"]
}

/**
 * Reads the input to its end, decompressed where it is compressed as a whole; `compress` says what becomes of plain layers
 * meanwhile. An archive without end-of-archive blocks is `Truncated`: `docker save` dies without a word, and they are the
 * only sign that all of it came through. Fails else as `ArchiveFile.open`.
 */
export const open = <E, R>(
  name: string,
  input: Stream.Stream<Uint8Array, E, R>,
  compress: Algorithm | "none"
): Effect.Effect<ArchiveStream, Failure, FileSystem.FileSystem | Scope.Scope | R> =>
  Effect.gen(function* () {
    const { reader, writer } = yield* Temporary.files
    const ahead = compress === "none" ? undefined : yield* Ahead.make(name, reader, compress)
    const spooled = Stream.runForEach(plain(name, Stream.mapError(input, Io.readError(name))), (chunk) =>
      Effect.map(Io.writeAll(writer, chunk, Temporary.place), () => ahead?.wrote(chunk))
    )
    yield* ahead === undefined ? spooled : Effect.raceFirst(spooled, ahead.failure)
    const archive = yield* ArchiveFile.ofFile(name, reader)
    if (!archive.index.ended) {
      const detail = "the input ended before the end of the archive"
      const hint = "did the command that writes it fail?"
      return yield* Effect.fail(new TarReadError({ reason: "Truncated", path: name, detail, hint }))
    }
    yield* ahead?.done ?? Effect.void
    return { archive, compressed: ahead?.find ?? Option.none }
  })

// internal

const { detect, headSize } = Compressor.Decompress

/** The tar itself, whatever it is wrapped in. */
const plain = <R>(
  name: string,
  input: Stream.Stream<Uint8Array, TarReadError, R>
): Stream.Stream<Uint8Array, TarReadError, R> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const pull = yield* Stream.toPull(input)
      const first: Array<Uint8Array> = []
      const head = () => Uint8Array.from(first.flatMap((bytes) => [...bytes.subarray(0, headSize)]))
      while (head().length < headSize) {
        const more = yield* Effect.either(pull)
        if (Either.isRight(more)) first.push(...more.right)
        else if (Option.isNone(more.left)) break
        else return yield* Effect.fail(more.left.value)
      }
      const whole = Stream.concat(Stream.fromIterable(first), Stream.fromPull(Effect.succeed(pull)))
      const algorithm = detect(head())
      return algorithm === undefined ? whole : decompress(algorithm, whole, { path: name })
    })
  )
