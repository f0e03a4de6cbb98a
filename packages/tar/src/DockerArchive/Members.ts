/** The members of an archive that is being written: blobs at places of their own, several at once, and small files behind them. */
import type { Digest } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as BlobFile from "../BlobFile.js"
import * as Io from "../Io.js"
import { blobPath } from "../LayoutGraph.js"
import type { TarReadError } from "../TarReadError.js"
import * as Header from "./Header.js"
import type { Entry, PartialList } from "./PartialList.js"

/** Room for a blob. */
export interface Place {
  /** Of the data's first byte. */
  readonly data: number
  /** Bytes of it that an earlier attempt wrote. */
  readonly written: number
}

export interface Sized {
  readonly digest: Digest.Digest
  readonly size: number
}

export interface Members {
  readonly file: BlobFile.BlobFile
  readonly list: PartialList
  /** Where the next member begins. */
  readonly end: () => number
  /** The place of a blob of known size: the one it has, or a new one. The data may then be written while others are. */
  readonly place: (digest: Digest.Digest, size: number) => Effect.Effect<Place, TarReadError>
  /**
   * Makes a member of what `write` puts at the end, unless it turns out to be there already; nothing else is added
   * meanwhile.
   */
  readonly last: <A extends Sized, E, R>(
    write: (data: number) => Effect.Effect<A, E, R>,
    isThere: (written: Sized) => Effect.Effect<boolean, TarReadError>
  ) => Effect.Effect<{ readonly written: A; readonly isNew: boolean }, E | TarReadError, R>
  readonly append: (name: string, bytes: Uint8Array) => Effect.Effect<void, TarReadError>
}

/** The members that the list names are there already. */
export const make = (file: BlobFile.BlobFile, list: PartialList): Effect.Effect<Members> =>
  Effect.gen(function* () {
    const tail = yield* Effect.makeSemaphore(1)
    let end = 0
    for (const entry of list.entries()) end = Math.max(end, yield* endOf(entry))

    /** What lies around the data. Written also where it should be there: only the data is ever checked. */
    const frame = (name: string, size: number, at: number) =>
      Effect.gen(function* () {
        const header = yield* Header.header(name, size)
        const data = at + header.length
        yield* file.write(header, at)
        yield* file.write(new Uint8Array(Header.padded(size) - size), data + size)
        return data
      })

    return {
      file,
      list,
      end: () => end,
      place: (digest, size) =>
        Effect.gen(function* () {
          const known = list.find(digest)
          if (known !== undefined && known.size === size) {
            return { data: yield* frame(blobPath(digest), size, known.offset), written: known.written }
          }
          return yield* tail.withPermits(1)(
            Effect.gen(function* () {
              const offset = end
              end = yield* endOf({ digest, size, offset })
              yield* list.reserve({ digest, size, offset, written: 0 })
              return { data: yield* frame(blobPath(digest), size, offset), written: 0 }
            })
          )
        }),
      last: (write, isThere) =>
        tail.withPermits(1)(
          Effect.gen(function* () {
            const offset = end
            const written = yield* write(offset + shortHeader)
            const { digest, size } = written
            if (yield* isThere(written)) return { written, isNew: false }
            yield* frame(blobPath(digest), size, offset)
            end = offset + shortHeader + Header.padded(size)
            yield* list.reserve({ digest, size, offset, written: size })
            return { written, isNew: true }
          })
        ),
      append: (name, bytes) =>
        tail.withPermits(1)(
          Effect.gen(function* () {
            const data = yield* frame(name, bytes.length, end)
            end = data + Header.padded(bytes.length)
            yield* file.write(bytes, data)
          })
        )
    }
  })

/** Whether the members stand one behind the other from the first byte on, as this module writes them. */
export const areInLine = (entries: ReadonlyArray<Entry>): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    let end = 0
    for (const entry of entries) {
      if (entry.offset !== end) return false
      end = yield* endOf(entry)
    }
    return Number.isSafeInteger(end)
  })

/** Where the data of a member begins. */
export const dataOf = ({ digest, offset, size }: Omit<Entry, "written">): Effect.Effect<number> =>
  Effect.map(Header.header(blobPath(digest), size), ({ length }) => offset + length)

/** Whether there is nothing in the archive but these blobs. */
export const hasOnly = (members: Members, digests: ReadonlySet<Digest.Digest>): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const entries = members.list.entries().filter(({ digest }) => digests.has(digest))
    return entries.length === digests.size && members.end() === (yield* total(entries))
  })

/** Copies these blobs to another archive, in their order. */
export const copy = (
  from: Members,
  to: Members,
  digests: ReadonlySet<Digest.Digest>
): Effect.Effect<void, TarReadError> =>
  Effect.gen(function* () {
    const entries = from.list.entries().filter(({ digest }) => digests.has(digest))
    for (const { digest, offset, size } of entries.sort((a, b) => a.offset - b.offset)) {
      const source = yield* dataOf({ digest, offset, size })
      const target = (yield* to.place(digest, size)).data
      let done = 0
      yield* Stream.runForEach(Io.streamAt(from.file.read, source, size, from.file.path), (chunk) => {
        const position = target + done
        done += chunk.length
        return to.file.write(chunk, position)
      })
    }
  })

// internal

/** Of a blob by SHA-256, whatever its size: the field takes any in its binary form. */
const shortHeader = 512

const endOf = (entry: Omit<Entry, "written">): Effect.Effect<number> =>
  Effect.map(dataOf(entry), (data) => data + Header.padded(entry.size))

const total = (entries: ReadonlyArray<Entry>): Effect.Effect<number> =>
  Effect.reduce(entries, 0, (sum, entry) => Effect.map(endOf({ ...entry, offset: 0 }), (length) => sum + length))
