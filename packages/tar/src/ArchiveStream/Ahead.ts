/** Layers that are compressed while their archive arrives: from its file, as far as that is written, into one beside it. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type { Algorithm, Descriptor, FileContent } from "@effect-registry/core"
import { BlobInfoCache, Compressor, Digest, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Mailbox from "effect/Mailbox"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Io from "../Io.js"
import type { TarReadError } from "../TarReadError.js"
import * as Temporary from "../Temporary.js"
import { Arrival } from "./Arrival.js"
import { Walker } from "./Walker.js"

type Failure = TarReadError | ValidationError

/** What a layer became, and where it lies. */
export interface Ready {
  readonly descriptor: Pick<Descriptor.Descriptor, "digest" | "size">
  readonly content: FileContent<TarReadError>
}

export interface Ahead {
  /** The next bytes of the archive are in the file. */
  readonly wrote: (bytes: Uint8Array) => void
  /** Runs until it fails. */
  readonly failure: Effect.Effect<never, Failure>
  /** No layer follows; the last one is compressed when this ends. */
  readonly done: Effect.Effect<void, Failure>
  readonly find: (diffId: Digest.Digest, algorithm: Algorithm) => Option.Option<Ready>
}

/** Reads the archive by the handle `source`. Writes to a temporary file of its own; what it compresses ends with the scope. */
export const make = (
  name: string,
  source: FileSystem.File,
  algorithm: Algorithm
): Effect.Effect<Ahead, TarReadError, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function* () {
    const cache = yield* BlobInfoCache.BlobInfoCache
    const compressor = yield* Compressor.Compressor
    const { reader, writer } = yield* Temporary.files
    const readAt = Io.readAt(source, name, yield* Effect.makeSemaphore(1))
    const readReady = Io.readAt(reader, name, yield* Effect.makeSemaphore(1))
    const ready = new Map<
      Digest.Digest,
      { readonly digest: Digest.Digest; readonly size: number; readonly at: number }
    >()
    const arrival = new Arrival()
    const finder = new Finder()
    let position = 0
    let end = 0

    const contentOf = ({ offset, size }: Layer): FileContent<TarReadError> => {
      const readError = Io.readError(name)
      const arrived = (at: number) => Effect.tryPromise({ try: () => arrival.until(at), catch: readError })
      const waiting: typeof readAt = (at, length) => Effect.zipRight(arrived(at + length), readAt(at, length))
      const stream = Io.streamAt(waiting, offset, size, name)
      return { _tag: "File", fd: source.fd, path: name, offset, size, stream, readError, arrived: arrival.until }
    }
    const compress = (layer: Layer) =>
      Effect.gen(function* () {
        if (yield* isKnown(cache, algorithm, layer.name)) return
        const { result, stream } = compressor.compress(algorithm, contentOf(layer), () => {})
        const at = end
        yield* Stream.runForEach(stream, (chunk) => {
          end += chunk.length
          return Io.writeAll(writer, chunk, Temporary.place)
        })
        const found = Option.getOrUndefined(result())
        if (found !== undefined) ready.set(found.diffId, { digest: found.digest, size: found.size, at })
      })

    const layers = yield* Mailbox.make<Layer>()
    const working = yield* Effect.forkScoped(Stream.runForEach(Mailbox.toStream(layers), compress))
    // Before the fiber is interrupted: a thread may be waiting for bytes, which cannot be.
    yield* Effect.addFinalizer(() => Effect.sync(() => arrival.stop()))

    return {
      wrote: (bytes) => {
        position += bytes.length
        for (const layer of finder.take(bytes)) layers.unsafeOffer(layer)
        arrival.reached(position)
      },
      failure: Effect.zipRight(Fiber.join(working), Effect.never),
      done: Effect.zipRight(layers.end, Fiber.join(working)),
      find: (diffId, wanted) =>
        Option.map(
          Option.fromNullable(wanted === algorithm ? ready.get(diffId) : undefined),
          ({ at, digest, size }) => ({
            descriptor: { digest, size },
            content: {
              _tag: "File",
              fd: reader.fd,
              path: name,
              offset: at,
              size,
              stream: Io.streamAt(readReady, at, size, name),
              readError: Io.readError(name)
            }
          })
        )
    }
  })

// internal

interface Layer {
  readonly name: string
  /** Where its data begins in the archive. */
  readonly offset: number
  readonly size: number
}

/** The members of an archive that are plain tars themselves, told by their first bytes. */
class Finder {
  private readonly walker = new Walker()
  private member: Layer | undefined
  private head = new Uint8Array(0)

  take(bytes: Uint8Array): ReadonlyArray<Layer> {
    const found: Array<Layer> = []
    for (const part of this.walker.take(bytes)) {
      if (part._tag === "Begin") {
        this.member = part
        this.head = new Uint8Array(0)
      } else if (part._tag === "Data" && this.member !== undefined) {
        this.head = join(this.head, part.bytes.subarray(0, magicEnd - this.head.length))
        if (this.head.length === magicEnd) {
          if (new TextDecoder().decode(this.head.subarray(magicAt)) === "ustar") found.push(this.member)
          this.member = undefined
        }
      }
    }
    return found
  }
}

/** The magic of a tar's first header, as POSIX and GNU write it; compressed data has none there. */
const magicAt = 257
const magicEnd = 262

const join = (a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> => {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

/** Docker names a layer by its diff ID: what it was compressed to before, and where, need not be found out again. */
const isKnown = (cache: BlobInfoCache.Service, algorithm: Algorithm, name: string): Effect.Effect<boolean> => {
  const [, hash, hex] = /(?:^|\/)blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(name) ?? []
  const digest = `${hash}:${hex}`
  return Digest.is(digest) ? Effect.map(cache.compressed(digest, algorithm), Option.isSome) : Effect.succeed(false)
}
