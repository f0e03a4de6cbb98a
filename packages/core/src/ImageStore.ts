/**
 * The seam between the copy engine and everything that holds images. A source or target is a value; opening it, in a
 * scope, gives the reader or writer that one run works with. A blob's content is described before it is moved, so that
 * two stores that know each other can take the short way.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Descriptor } from "./model/Descriptor.js"
import type { Digest } from "./model/Digest.js"

// ---- sources

/** Holds images: an archive, a layout, a repository. `name` is how errors and results call it. */
export interface ImageSource<out E = never, out R = never> {
  readonly name: string
  readonly open: Effect.Effect<ImageReader<E, R>, E, R | Scope.Scope>
}

export interface ImageReader<out E = never, out R = never> {
  /** The images this source was asked for, in its own order; at least one, or the effect fails. */
  readonly images: Effect.Effect<ReadonlyArray<ImageEntry>, E, R>
  /** The exact bytes, verified against the descriptor. */
  readonly manifest: (descriptor: Descriptor) => Effect.Effect<Uint8Array, E, R>
  /** Where the content is; nothing is read yet. */
  readonly blob: (descriptor: Descriptor) => Effect.Effect<BlobContent<E, R>, E, R>
  /**
   * The manifests whose `subject` is this one, each once; empty where there are none. Absent: the source holds no
   * referrers. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
   */
  readonly referrers?: ((descriptor: Descriptor) => Effect.Effect<ReadonlyArray<Descriptor>, E, R>) | undefined
  /** Whether this error says that the source does not hold what it was asked for: a list may name what is gone. */
  readonly isMissing?: ((error: unknown) => boolean) | undefined
  /** What a tag of the same repository or layout names: cosign keeps signatures under tags made of a digest. */
  readonly tagged?: ((tag: string) => Effect.Effect<Option.Option<Descriptor>, E, R>) | undefined
  /** A plain layer that the source has compressed while it read it, ready to be moved; `None` where it has not. */
  readonly compressed?:
    | ((
        diffId: Digest,
        algorithm: Algorithm
      ) => Option.Option<{
        readonly descriptor: Pick<Descriptor, "digest" | "size">
        readonly content: PlainContent<E, R>
      }>)
    | undefined
  /** Fails where the source changed since it was opened. Run before anything is made visible in a target. */
  readonly unchanged?: Effect.Effect<void, E, R> | undefined
}

export interface ImageEntry {
  readonly root: Root
  /** The names the source knows the image by, first the primary one. */
  readonly names: ReadonlyArray<ImageName>
  /** Platforms that the image's index lists and the source does not hold, `linux/arm64`. */
  readonly missingPlatforms: ReadonlyArray<string>
}

/** `localhost:5000/team/app:1.0` is `{ repository: "localhost:5000/team/app", tag: "1.0" }`; an OCI layout may know the tag only. */
export interface ImageName {
  readonly repository: Option.Option<string>
  readonly tag: Option.Option<string>
}

/** What the copy of an image starts from. */
export type Root =
  /** A manifest or index that exists and is moved byte for byte. */
  | { readonly _tag: "Manifest"; readonly descriptor: Descriptor }
  /** Bytes of a manifest that the source had to make, such as an index without the platforms it lacks. */
  | { readonly _tag: "Made"; readonly descriptor: Descriptor; readonly bytes: Uint8Array }
  /**
   * A config and layers without a manifest, as `docker save` writes them. A layer of an uncompressed type is described
   * by its diff ID and the size of its tar; compressed layers are moved as they are.
   */
  | { readonly _tag: "Draft"; readonly config: Descriptor; readonly layers: ReadonlyArray<Descriptor> }

// ---- targets

export interface ImageTarget<out E = never, out R = never> {
  readonly name: string
  readonly open: Effect.Effect<ImageWriter<E, R>, E, R | Scope.Scope>
}

export interface ImageWriter<out E = never, out R = never> {
  /** Whether this manifest and all it names are there. `false` is always safe. */
  readonly hasManifest: (descriptor: Descriptor) => Effect.Effect<boolean, E, R>
  /** Whether the target has this name, and it names exactly this manifest. Absent: the target is written to anyway. */
  readonly isTagged?: ((descriptor: Descriptor, name: ImageName) => Effect.Effect<boolean, E, R>) | undefined
  /** The referrers of this manifest that the target has. Absent: the target cannot say. */
  readonly referrers?: ((descriptor: Descriptor) => Effect.Effect<ReadonlyArray<Descriptor>, E, R>) | undefined
  /** Makes the blob present, by the cheapest way there is, and verifies it. */
  readonly writeBlob: <E1, R1>(write: BlobWrite<E1, R1>) => Effect.Effect<BlobWritten, E | E1, R | R1>
  /**
   * Writes a manifest whose blobs and children are there; `names` are the tags it gets, none for a child. `force`: also
   * where the target says that it is there.
   */
  readonly writeManifest: (
    descriptor: Descriptor,
    bytes: Uint8Array,
    names: ReadonlyArray<ImageName>,
    force?: boolean
  ) => Effect.Effect<void, E, R>
  /** Whether a manifest was refused for lack of what it names, although the target had said that it is there. */
  readonly lacksContent?: ((error: unknown) => boolean) | undefined
  /**
   * Makes everything visible under the target's final name. The success path only: closing the scope without it leaves nothing
   * under that name. In a registry, where a tag is seen as soon as it is put, it finishes the lists of referrers.
   */
  readonly commit?: Effect.Effect<void, E, R> | undefined
}

export interface BlobWrite<out E = never, out R = never> {
  /** Media type, digest and size of the result; `None` where content is compressed on the way for the first time. */
  readonly descriptor: Option.Option<Descriptor>
  /** What the content was compressed to at another time: used where the target confirms that it has exactly that. */
  readonly before?: Option.Option<Descriptor> | undefined
  /** The media type of the result. */
  readonly mediaType: string
  /** Run only when the blob has to be sent. */
  readonly content: Effect.Effect<BlobContent<E, R>, E, R>
  /** Send it even where the target says that it is there. Default false. */
  readonly force?: boolean | undefined
  /** Repositories of the target's store that hold this blob already, to mount from. */
  readonly alsoIn: ReadonlyArray<string>
}

export interface BlobWritten {
  readonly descriptor: Descriptor
  readonly outcome: "Sent" | "Mounted" | "Exists"
  /** Bytes that this run moved, where an earlier one had left some. Default: all of a blob that was sent. */
  readonly bytes?: number | undefined
}

// ---- content

export type BlobContent<E = never, R = never> = PlainContent<E, R> | RemoteContent<E, R> | CompressedContent<E, R>

/** Bytes as they lie in an archive or in memory. */
export type PlainContent<E = never, R = never> = FileContent<E, R> | BytesContent | StreamContent<E, R>

export interface BytesContent {
  readonly _tag: "Bytes"
  readonly bytes: Uint8Array
}

/** Can be run again from its first byte. */
export interface StreamContent<out E = never, out R = never> {
  readonly _tag: "Stream"
  /** Bytes; infinite where that is known only at the end, which is allowed for content that is compressed on the way. */
  readonly size: number
  readonly stream: Stream.Stream<Uint8Array, E, R>
}

/** `size` bytes at `offset` of a file that is open. */
export interface FileContent<out E = never, out R = never> {
  readonly _tag: "File"
  readonly fd: FileSystem.File.Descriptor
  readonly path: string
  readonly offset: number
  readonly size: number
  /** The same bytes, for whoever cannot read by descriptor. */
  readonly stream: Stream.Stream<Uint8Array, E, R>
  /** The source's error for a failure of reading by descriptor. */
  readonly readError: (cause: unknown) => E
  /**
   * Of a file that is written meanwhile: settles when all bytes before this position of the file are there. Only for
   * content that is compressed; `stream` waits by itself. Absent: all bytes are there.
   */
  readonly arrived?: ((position: number) => Promise<void>) | undefined
}

/** A blob of a registry. */
export interface RemoteContent<out E = never, out R = never> {
  readonly _tag: "Remote"
  /** `https://registry.example:5000`. */
  readonly origin: string
  readonly repository: string
  readonly digest: Digest
  readonly size: number
  /** Verified: fails at the end where size or digest are wrong. */
  readonly stream: Stream.Stream<Uint8Array, E, R>
  /** The bytes from this one on, which nobody has verified. */
  readonly streamFrom: (offset: number) => Stream.Stream<Uint8Array, E, R>
  /** Downloads and verifies; goes on after a fault where it stopped, and over from the first byte where that was wrong. */
  readonly save: <E1, R1>(sink: BlobSink<E1, R1>) => Effect.Effect<void, E | E1, R | R1>
}

/** How a layer can be compressed. */
export type Algorithm = "gzip" | "zstd"

/** `plain`, compressed on the way. The plain bytes must have the digest `diffId`, else the write fails. */
export interface CompressedContent<out E = never, out R = never> {
  readonly _tag: "Compressed"
  readonly algorithm: Algorithm
  readonly plain: PlainContent<E, R>
  readonly diffId: Digest
}
/** Where a download goes: a place in an open file. */
export interface BlobSink<out E = never, out R = never> {
  readonly fd: FileSystem.File.Descriptor
  /** Position in the file of the blob's first byte. */
  readonly offset: number
  /** Writes all bytes at `position` of the file, for whoever cannot write by descriptor. */
  readonly write: (bytes: Uint8Array, position: number) => Effect.Effect<void, E, R>
  /** The target's error for a failure of writing by descriptor. */
  readonly writeError: (cause: unknown) => E
  /** The first bytes of the blob, where an earlier attempt left some: they are hashed again, and not asked for. */
  readonly earlier?: { readonly size: number; readonly stream: Stream.Stream<Uint8Array, E, R> } | undefined
  /** Hears how many bytes of the blob are written, from its first one on; less than before where it starts over. */
  readonly onWritten?: ((bytes: number) => void) | undefined
}
