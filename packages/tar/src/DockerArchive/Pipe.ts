/**
 * An archive written to a pipe, member by member, while its blobs arrive. Nothing that was written can be taken back, so
 * what fails on the way leaves an archive without its end and without the lists that say what is in it.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type {
  BlobContent,
  BlobWrite,
  BlobWritten,
  Descriptor as DescriptorNs,
  ImageTarget
} from "@effect-registry/core"
import {
  BlobTransport,
  Compressor,
  Digest,
  Hasher,
  Manifest,
  type Platform,
  Progress,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as BlobFile from "../BlobFile.js"
import * as Io from "../Io.js"
import { blobPath } from "../LayoutGraph.js"
import * as Roots from "../Roots.js"
import { TarReadError } from "../TarReadError.js"
import * as Temporary from "../Temporary.js"
import * as Header from "./Header.js"
import * as Listing from "./Listing.js"

export interface PipeOptions {
  /** How errors and results call it. Default `standard output`. */
  readonly name?: string | undefined
  /** The platform whose image of an index `docker load` gets. Default: Linux on this machine's architecture. */
  readonly platform?: Platform.Platform | undefined
}

type Failure = TarReadError | ValidationError

/**
 * The archive that `target` writes, to whoever takes its bytes in their order: `write` is done when they were taken, so
 * that a slow reader slows the source down. One blob follows the other; only those that are compressed on the way, whose
 * size no header can tell before, go to a temporary file first. Whole, it ends with manifest.json and the end of archive;
 * a failure leaves it without both. Fails with the errors of `write`, a TarReadError (`NoSpace`, `Io`) or a ValidationError
 * (`DigestMismatch`, `LayerMismatch`).
 *
 * @example
 * ```ts
 * import { pull } from "@effect-registry/core"
 * import { DockerArchive } from "@effect-registry/tar"
 * import * as Effect from "effect/Effect"
 *
 * const chunks: Array<Uint8Array> = []
 * const target = DockerArchive.pipe((bytes) => Effect.sync(() => void chunks.push(bytes)))
 * const program = pull("localhost:15000/team/app:1.0", target)
 * ```
 * @since 0.1.0
 */
export const pipe = <E = never, R = never>(
  write: (bytes: Uint8Array) => Effect.Effect<void, E, R>,
  options: PipeOptions = {}
): ImageTarget<Failure | E, FileSystem.FileSystem | R> => {
  const name = options.name ?? "standard output"
  return {
    name,
    open: Effect.gen(function* () {
      const roots = Roots.make()
      // Blobs and manifests together: one artifact's layer may be another one's manifest, and no member stands there twice.
      const written = new Set<Digest.Digest>()
      const member = yield* sequence(name)
      const add = <E1, R1>(
        descriptor: DescriptorNs.Descriptor,
        content: Effect.Effect<BlobContent<E1, R1>, E1, R1>
      ): Effect.Effect<BlobWritten, Failure | E | E1, R | R1> =>
        member(
          Effect.gen(function* () {
            if (written.has(descriptor.digest)) return { descriptor, outcome: "Exists" as const }
            const bytes = verified(name, descriptor, yield* content)
            yield* writeMember(write, blobPath(descriptor.digest), descriptor.size, bytes)
            written.add(descriptor.digest)
            return { descriptor, outcome: "Sent" as const }
          })
        )

      return {
        hasManifest: ({ digest }) => Effect.sync(() => roots.find(digest) !== undefined),
        writeBlob: <E1, R1>(blob: BlobWrite<E1, R1>) =>
          Option.match(blob.descriptor, {
            onSome: (descriptor) => add(descriptor, blob.content),
            onNone: () =>
              Effect.scoped(
                Effect.flatMap(spool(blob), ({ content, descriptor }) => add(descriptor, Effect.succeed(content)))
              )
          }),
        writeManifest: (descriptor, bytes, names) =>
          Effect.gen(function* () {
            const { digest, mediaType } = descriptor
            const manifest = yield* Manifest.decode(bytes, { subject: `${name} ${digest}`, mediaType, digest })
            yield* member(
              Effect.gen(function* () {
                if (written.has(digest)) return
                yield* writeMember(write, blobPath(digest), bytes.length, Stream.succeed(bytes))
                written.add(digest)
              })
            )
            roots.add(manifest, names)
          }),
        commit: Effect.gen(function* () {
          for (const { bytes, name } of yield* Listing.make(roots, (digest) => written.has(digest), options.platform)) {
            yield* member(writeMember(write, name, bytes.length, Stream.succeed(bytes)))
          }
          yield* member(write(Header.endOfArchive))
        })
      }
    })
  }
}

// internal

/** Runs one after the other, and none after one that was cut off: its bytes would be taken for the rest of that one's. */
const sequence = (name: string) =>
  Effect.map(Effect.makeSemaphore(1), (turn) => {
    let isBroken = false
    return <A, E1, R1>(member: Effect.Effect<A, E1, R1>): Effect.Effect<A, E1 | TarReadError, R1> =>
      turn.withPermits(1)(
        Effect.suspend((): Effect.Effect<A, E1 | TarReadError, R1> => {
          const detail = "an earlier member of the archive was cut off"
          if (isBroken) return Effect.fail(new TarReadError({ reason: "Io", path: name, detail }))
          isBroken = true
          return Effect.tap(member, () =>
            Effect.sync(() => {
              isBroken = false
            })
          )
        })
      )
  })

const writeMember = <E, R, E1, R1>(
  write: (bytes: Uint8Array) => Effect.Effect<void, E, R>,
  name: string,
  size: number,
  bytes: Stream.Stream<Uint8Array, E1, R1>
): Effect.Effect<void, E | E1, R | R1> =>
  Effect.gen(function* () {
    yield* write(yield* Header.header(name, size))
    yield* Stream.runForEach(bytes, write)
    const padding = Header.padded(size) - size
    if (padding > 0) yield* write(new Uint8Array(padding))
  })

/** The bytes of the content, never more than the descriptor says; fails at the end where they are not those of its digest. */
const verified = <E, R>(
  name: string,
  { digest, size }: DescriptorNs.Descriptor,
  content: BlobContent<E, R>
): Stream.Stream<Uint8Array, E | ValidationError, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const compressor = yield* Compressor.Compressor
      const progress = yield* Progress.Progress
      const hash = (yield* Hasher.Hasher).make(Digest.algorithm(digest))
      const mismatch = (got: string) =>
        ValidationError.of("DigestMismatch", name, `expected ${digest} of ${size} bytes, got ${got}`)
      const source = content._tag === "Compressed" ? content.diffId : digest
      const { compressed, stream } = BlobTransport.streamOf(content, compressor, (bytes) =>
        progress.emit({ _tag: "BlobProgress", digest: source, bytes })
      )
      // A registry's own stream is verified at its end.
      const isVerified = content._tag === "Remote" && content.digest === digest && content.size === size
      if (isVerified) return stream
      let read = 0
      const counted = Stream.mapEffect(stream, (chunk) => {
        read += chunk.length
        if (read > size) return Effect.fail(mismatch("more"))
        hash.update(chunk)
        return Effect.succeed(chunk)
      })
      const check = Effect.suspend(() => {
        const actual = hash.digest()
        return actual === digest && read === size
          ? BlobTransport.checkDiffId(name, content, compressed())
          : Effect.fail(mismatch(`${actual} of ${read}`))
      })
      return Stream.concat(counted, Stream.drain(Stream.fromEffect(check)))
    })
  )

/** A blob whose size is known only at its end, in a temporary file that goes with the scope. */
const spool = <E, R>(blob: BlobWrite<E, R>) =>
  Effect.gen(function* () {
    const file = yield* BlobFile.make(yield* Temporary.file, Temporary.place)
    const { descriptor } = yield* BlobFile.write(file, 0, blob, yield* blob.content)
    const content: BlobContent<TarReadError> = {
      _tag: "Stream",
      size: descriptor.size,
      stream: Io.streamAt(file.read, 0, descriptor.size, file.path)
    }
    return { descriptor, content }
  })
