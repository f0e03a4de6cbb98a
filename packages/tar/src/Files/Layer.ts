/** A layer read as it comes, decompressed, hashed and verified, of which only the names stay. */
import {
  type BlobContent,
  BlobTransport,
  Compressor,
  type Descriptor,
  Digest,
  Hasher,
  MediaType,
  Progress,
  ValidationError
} from "@effect-registry/core"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Header, isFolder, type Problem, text } from "../TarHeader.js"
import { TarReadError } from "../TarReadError.js"
import { type Attributes, type Budget, device, Kind } from "./Member.js"
import { type Fault, Scanner } from "./Scanner.js"
import { ignored, Tree } from "./Tree.js"

/** What a layer is, before it is read. */
export interface Layer {
  readonly descriptor: Descriptor.Descriptor
  /** Of the uncompressed tar, where a config tells it. */
  readonly diffId: Digest.Digest | undefined
}

export interface LayerTree {
  readonly tree: Tree
  /** Bytes of the tar, uncompressed. */
  readonly tarSize: number
  /** Members that cannot stand in an image, the first of them. */
  readonly leftOut: ReadonlyArray<LeftOut>
  /** How many there are. */
  readonly leftOutCount: number
}

/** A member that is in no listing. */
export interface LeftOut {
  readonly name: string
  readonly why: string
}

export interface ReadOptions {
  /** How errors call the image. */
  readonly name: string
  readonly budget: Budget
  /** Whether the data of files is hashed, to compare it. */
  readonly hashed: boolean
}

/** Whether the layer is a tar by its type, as images have them and artifacts often. */
export const isTar = (mediaType: string): boolean =>
  MediaType.layerCompression(mediaType) !== undefined ||
  /(?:^|[./+-])(?:tar|tgz)(?:[.+](?:gzip|gz|zstd|zst))?$/.test(MediaType.essence(mediaType))

/**
 * Reads it to its end. Fails with a TarReadError where it is no tar, with a ValidationError: `DamagedData`, `TooLarge`,
 * `DigestMismatch`, `LayerMismatch` where the tar has not the diff ID.
 */
export const read = <E, R>(
  { descriptor, diffId }: Layer,
  content: BlobContent<E, R>,
  { budget, hashed, name }: ReadOptions
): Effect.Effect<LayerTree, E | TarReadError | ValidationError, R> =>
  Effect.gen(function* () {
    const subject = `${name} layer ${Digest.short(descriptor.digest)}`
    const hasher = yield* Hasher.Hasher
    const compressor = yield* Compressor.Compressor
    const progress = yield* Progress.Progress
    const { digest } = descriptor
    // A download is verified by whoever makes it.
    const rawHash = content._tag === "Remote" ? undefined : hasher.make(Digest.algorithm(digest))
    const plainHash =
      diffId === undefined || (diffId === digest && rawHash !== undefined)
        ? undefined
        : hasher.make(Digest.algorithm(diffId))
    let rawSize = 0
    const raw = Stream.mapChunks(BlobTransport.streamOf(content, compressor, () => {}).stream, (chunks) => {
      for (const bytes of chunks) {
        rawHash?.update(bytes)
        rawSize += bytes.length
        progress.emit({ _tag: "BlobProgress", digest, bytes: bytes.length })
      }
      return chunks
    })
    const members = new Members(budget, hashed ? hasher : undefined)
    const scanner = new Scanner(members)
    let tarSize = 0
    const fail = ({ detail, entry, offset, reason }: Fault) =>
      Effect.fail(
        new TarReadError({ reason, path: name, detail: `layer ${Digest.short(digest)}: ${detail}`, entry, offset })
      )
    progress.emit({ _tag: "BlobStarted", digest, size: descriptor.size })
    yield* Stream.runForEachChunk(decompressed(raw, compressor, subject), (chunks) => {
      for (const bytes of chunks) {
        plainHash?.update(bytes)
        tarSize += bytes.length
        const fault = scanner.push(bytes)
        if (fault !== undefined) return fail(fault)
      }
      return Effect.void
    })
    const rawDigest = rawHash?.digest() ?? digest
    if (rawDigest !== digest || rawSize !== descriptor.size) {
      const message = `expected ${digest} of ${descriptor.size} bytes, got ${rawDigest} of ${rawSize}`
      return yield* Effect.fail(ValidationError.of("DigestMismatch", subject, message))
    }
    const plainDigest = plainHash?.digest() ?? diffId
    if (plainDigest !== diffId) {
      const message = `its tar is ${plainDigest}, the config says ${diffId}`
      return yield* Effect.fail(ValidationError.of("LayerMismatch", subject, message))
    }
    const fault = scanner.finish()
    if (fault !== undefined) return yield* fail(fault)
    progress.emit({ _tag: "BlobDone", digest, outcome: "Sent" })
    return { tree: members.tree, tarSize, leftOut: members.leftOut, leftOutCount: members.leftOutCount }
  })

// internal

/** How many members that were left out are told by name. */
const maxLeftOut = 20

/** The plain bytes, by what the data begins with: what a media type says of it is often wrong, and unpackers look too. */
const decompressed = <E, R>(
  raw: Stream.Stream<Uint8Array, E, R>,
  compressor: Compressor.Service,
  subject: string
): Stream.Stream<Uint8Array, E | ValidationError, R> =>
  Stream.unwrapScoped(
    Effect.map(headed(raw), ({ head, stream }) => {
      const algorithm = Compressor.Decompress.detect(head)
      // Nothing of it is kept, so a layer of zeros does no harm.
      const bounds = { subject, maxRatio: Number.POSITIVE_INFINITY }
      return algorithm === undefined ? stream : compressor.decompress(algorithm, stream, bounds)
    })
  )

/** The first bytes of a stream, enough to tell how it is compressed, and all of it. */
const headed = <E, R>(
  raw: Stream.Stream<Uint8Array, E, R>
): Effect.Effect<{ readonly head: Uint8Array; readonly stream: Stream.Stream<Uint8Array, E, R> }, E, R | Scope.Scope> =>
  Effect.gen(function* () {
    const pull = yield* Stream.toPull(raw)
    const next = Effect.catchAll(
      Effect.asSome(pull),
      Option.match({ onNone: () => Effect.succeedNone, onSome: (error: E) => Effect.fail(error) })
    )
    let seen: Chunk.Chunk<Uint8Array> = Chunk.empty()
    let head: ReadonlyArray<number> = []
    while (head.length < Compressor.Decompress.headSize) {
      const chunk = yield* next
      if (Option.isNone(chunk)) return { head: Uint8Array.from(head), stream: Stream.fromChunk(seen) }
      seen = Chunk.appendAll(seen, chunk.value)
      head = Chunk.toReadonlyArray(seen).flatMap((bytes) => [...bytes.subarray(0, Compressor.Decompress.headSize)])
    }
    return {
      head: Uint8Array.from(head),
      stream: Stream.concat(Stream.fromChunk(seen), Stream.repeatEffectChunkOption(pull))
    }
  })

/** Puts the members of a layer into a tree. */
class Members {
  readonly tree: Tree
  readonly leftOut: Array<LeftOut> = []
  leftOutCount = 0
  private node = ignored
  private hash: Hasher.Hash | undefined

  constructor(
    budget: Budget,
    private readonly hasher: Hasher.Service | undefined
  ) {
    this.tree = new Tree(budget, hasher !== undefined)
  }

  readonly member = (header: Header): Problem | undefined => {
    this.node = ignored
    if (header.type === "V") return undefined
    const attributes = attributesOf(header)
    const added = this.tree.add(header.name, attributes)
    if (typeof added === "string") {
      this.leftOutCount++
      if (this.leftOut.length < maxLeftOut) this.leftOut.push({ name: text(header.name.subarray(0, 1000)), why: added })
      return undefined
    }
    if (this.tree.full)
      return { reason: "TooLarge", detail: "has more names than can be held", entry: text(header.name) }
    this.node = added
    this.hash =
      added !== ignored && attributes.kind === Kind.File && header.size > 0 ? this.hasher?.make("sha256") : undefined
    return undefined
  }

  readonly data = (bytes: Uint8Array): void => this.hash?.update(bytes)

  readonly end = (): void => {
    if (this.hash !== undefined) this.tree.setContent(this.node, this.hash.digest())
    this.hash = undefined
  }
}

const kinds: Readonly<Record<string, Kind>> = {
  "0": Kind.File,
  "7": Kind.File,
  // GNU tar's old sparse files.
  S: Kind.File,
  "1": Kind.HardLink,
  "2": Kind.Symlink,
  "3": Kind.Character,
  "4": Kind.Block,
  "6": Kind.Fifo
}

const noLink = new Uint8Array(0)

const attributesOf = (header: Header): Attributes => {
  // The oldest tars had no type for a folder.
  const folder = header.type === "5" || header.type === "D" || (header.type === "0" && isFolder(header))
  const kind = folder ? Kind.Folder : (kinds[header.type] ?? Kind.Other)
  const isDevice = kind === Kind.Character || kind === Kind.Block
  return {
    kind,
    mode: header.mode,
    uid: header.uid,
    gid: header.gid,
    size: isDevice ? device(header.major, header.minor) : kind === Kind.File ? header.fileSize : 0,
    mtime: header.mtime,
    link: kind === Kind.HardLink || kind === Kind.Symlink ? header.link : noLink
  }
}
