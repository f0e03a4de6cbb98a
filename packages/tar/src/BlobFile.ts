/** Puts a blob's content at a place in an open file, hashed on the way. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type { BlobContent, BlobSink, BlobWrite, BlobWritten, Descriptor } from "@effect-registry/core"
import { BlobTransport, Compressor, Digest, Hasher, Progress, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Io from "./Io.js"
import type { ReadAt } from "./TarIndex.js"
import type { TarReadError } from "./TarReadError.js"

/** An open file that several blobs are written to at once, each at its own place. */
export interface BlobFile {
  readonly path: string
  readonly fd: FileSystem.File.Descriptor
  readonly read: ReadAt
  readonly write: (bytes: Uint8Array, position: number) => Effect.Effect<void, TarReadError>
}

/** How far a blob is, between one run and the next. */
export interface Course {
  /** Bytes of the blob that lie there already, from its first one on; less than its size. */
  readonly earlier: number
  /** Hears how many bytes lie there now. */
  readonly onWritten: (bytes: number) => void
}

export const make = (file: FileSystem.File, path: string): Effect.Effect<BlobFile> =>
  Effect.map(Effect.makeSemaphore(1), (turn) => ({
    path,
    fd: file.fd,
    read: Io.readAt(file, path, turn),
    // The handle has one position, so writers take turns. A write that was begun is waited for: nothing may reach the
    // file after its owner gave it up.
    write: (bytes, position) =>
      Effect.uninterruptible(
        turn.withPermits(1)(Effect.zipRight(file.seek(position, "start"), Io.writeAll(file, bytes, path)))
      )
  }))

/** Whether the bytes at `offset` are those of the descriptor; what cannot be read is not. */
export const holds = (
  file: BlobFile,
  offset: number,
  { digest, size }: Pick<Descriptor.Descriptor, "digest" | "size">
): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const hash = (yield* Hasher.Hasher).make(Digest.algorithm(digest))
    yield* Stream.runForEach(Io.streamAt(file.read, offset, size, file.path), (chunk) =>
      Effect.sync(() => hash.update(chunk))
    )
    return hash.digest() === digest
  }).pipe(Effect.orElseSucceed(() => false))

/**
 * Writes the content at `offset` and returns the descriptor of what lies there. Fails with `DigestMismatch` where it is
 * not what the descriptor says, with `LayerMismatch` where the plain bytes under a compression are not their diff ID.
 */
export const write = <E, R>(
  file: BlobFile,
  offset: number,
  { descriptor, mediaType }: Pick<BlobWrite<E, R>, "descriptor" | "mediaType">,
  content: BlobContent<E, R>,
  course: Course = { earlier: 0, onWritten: () => {} }
): Effect.Effect<BlobWritten, TarReadError | ValidationError | E, R> =>
  Effect.gen(function* () {
    const expected = Option.getOrUndefined(descriptor)
    if (content._tag === "Remote" && expected !== undefined) {
      let earlier = course.earlier
      const onWritten = (bytes: number) => {
        // It started over, because what was there was wrong.
        if (bytes < earlier) earlier = 0
        course.onWritten(bytes)
      }
      yield* content.save(sink(file, offset, { ...course, onWritten }))
      const written: BlobWritten = { descriptor: expected, outcome: "Sent" }
      return earlier === 0 ? written : { ...written, bytes: expected.size - earlier }
    }
    const hasher = yield* Hasher.Hasher
    const compressor = yield* Compressor.Compressor
    const progress = yield* Progress.Progress
    const source = content._tag === "Compressed" ? content.diffId : expected?.digest
    const onBytes = (bytes: number) => {
      if (source !== undefined) progress.emit({ _tag: "BlobProgress", digest: source, bytes })
    }
    const mismatch = (got: string) => {
      const message = `expected ${expected?.digest} of ${expected?.size} bytes, got ${got}`
      return Effect.fail(ValidationError.of("DigestMismatch", file.path, message))
    }
    const hash = hasher.make(expected === undefined ? "sha256" : Digest.algorithm(expected.digest))
    let size = 0
    const { compressed, stream } = BlobTransport.streamOf(content, compressor, onBytes)
    yield* Stream.runForEach(stream, (chunk): Effect.Effect<void, TarReadError | ValidationError> => {
      const position = offset + size
      // What lies behind its place belongs to another blob.
      if (expected !== undefined && size + chunk.length > expected.size) return mismatch("more")
      size += chunk.length
      hash.update(chunk)
      return Effect.tap(file.write(chunk, position), () => Effect.sync(() => course.onWritten(size)))
    })
    const actual = { mediaType, digest: hash.digest(), size }
    if (expected !== undefined && (actual.digest !== expected.digest || actual.size !== expected.size)) {
      return yield* mismatch(`${actual.digest} of ${actual.size}`)
    }
    yield* BlobTransport.checkDiffId(file.path, content, compressed())
    return { descriptor: actual, outcome: "Sent" as const }
  })

// internal

const sink = (file: BlobFile, offset: number, { earlier, onWritten }: Course): BlobSink<TarReadError> => ({
  fd: file.fd,
  offset,
  write: file.write,
  writeError: Io.writeError(file.path),
  earlier: earlier === 0 ? undefined : { size: earlier, stream: Io.streamAt(file.read, offset, earlier, file.path) },
  onWritten
})
