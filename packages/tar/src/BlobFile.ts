/** Puts a blob's content at a place in an open file, hashed on the way. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type { BlobContent, BlobSink, BlobWrite, BlobWritten } from "@effect-registry/core"
import { BlobTransport, Compressor, Digest, Hasher, Progress, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Io from "./Io.js"
import type { TarReadError } from "./TarReadError.js"

/** An open file that several blobs are written to at once, each at its own place. */
export interface BlobFile {
  readonly path: string
  readonly fd: FileSystem.File.Descriptor
  readonly write: (bytes: Uint8Array, position: number) => Effect.Effect<void, TarReadError>
}

export const make = (file: FileSystem.File, path: string): Effect.Effect<BlobFile> =>
  Effect.map(Effect.makeSemaphore(1), (turn) => ({
    path,
    fd: file.fd,
    // The handle has one position, so writers take turns.
    write: (bytes, position) =>
      turn.withPermits(1)(Effect.zipRight(file.seek(position, "start"), Io.writeAll(file, bytes, path)))
  }))

/**
 * Writes the content at `offset` and returns the descriptor of what lies there. Fails with `DigestMismatch` where it is
 * not what the descriptor says, with `LayerMismatch` where the plain bytes under a compression are not their diff ID.
 */
export const write = <E, R>(
  file: BlobFile,
  offset: number,
  { descriptor, mediaType }: Pick<BlobWrite<E, R>, "descriptor" | "mediaType">,
  content: BlobContent<E, R>
): Effect.Effect<BlobWritten, TarReadError | ValidationError | E, R> =>
  Effect.gen(function* () {
    const expected = Option.getOrUndefined(descriptor)
    if (content._tag === "Remote" && expected !== undefined) {
      yield* content.save(sink(file, offset))
      return { descriptor: expected, outcome: "Sent" as const }
    }
    const hasher = yield* Hasher.Hasher
    const compressor = yield* Compressor.Compressor
    const progress = yield* Progress.Progress
    const source = content._tag === "Compressed" ? content.diffId : expected?.digest
    const onBytes = (bytes: number) => {
      if (source !== undefined) progress.emit({ _tag: "BlobProgress", digest: source, bytes })
    }
    const hash = hasher.make(expected === undefined ? "sha256" : Digest.algorithm(expected.digest))
    let size = 0
    const { compressed, stream } = BlobTransport.streamOf(content, compressor, onBytes)
    yield* Stream.runForEach(stream, (chunk) => {
      const position = offset + size
      size += chunk.length
      hash.update(chunk)
      return file.write(chunk, position)
    })
    const actual = { mediaType, digest: hash.digest(), size }
    if (expected !== undefined && (actual.digest !== expected.digest || actual.size !== expected.size)) {
      const message = `expected ${expected.digest} of ${expected.size} bytes, got ${actual.digest} of ${actual.size}`
      return yield* Effect.fail(ValidationError.of("DigestMismatch", file.path, message))
    }
    yield* BlobTransport.checkDiffId(file.path, content, compressed())
    return { descriptor: actual, outcome: "Sent" as const }
  })

// internal

const sink = (file: BlobFile, offset: number): BlobSink<TarReadError> => ({
  fd: file.fd,
  offset,
  write: file.write,
  writeError: Io.writeError(file.path)
})
