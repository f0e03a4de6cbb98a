/**
 * The form of our gzip (RFC 1952): one member whose header and block borders are fixed, so that its bytes depend on the
 * data alone. Blocks are independent, so that any number of threads writes the same bytes.
 */
import * as Chunk from "effect/Chunk"
import * as Stream from "effect/Stream"
import type { PlainContent } from "../ImageStore.js"
import { ValidationError } from "../ValidationError.js"

/** The encoder with this form around it; another number with every change of its bytes. */
export const name = "ereg-gzip-1"

/** Plain bytes of a block; the last one may be shorter. Changing it changes every digest. */
export const blockSize = 1 << 20

/** No name, no time, no operating system (255): nothing that differs between machines. */
export const header = (): Uint8Array => Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)

/** The last, empty deflate block, then checksum and size of the plain bytes. */
export const trailer = (crc: number, size: number): Uint8Array => {
  const bytes = new Uint8Array(10)
  const view = new DataView(bytes.buffer)
  bytes[0] = 3
  view.setUint32(2, crc, true)
  view.setUint32(6, size % 2 ** 32, true)
  return bytes
}

/** Whether block `index` is inflated again and compared: the first one and every sixteenth cost about three per cent. */
export const isVerified = (index: number): boolean => index % 16 === 0

/** The error that stops a push whose compressed bytes are not what was read. */
export const wrongBlock = (index: number): ValidationError =>
  ValidationError.of("DigestMismatch", "gzip", `block ${index} does not inflate to the bytes it was made of`, {
    hint: "this machine's memory or its WebAssembly is faulty; compress elsewhere, or push without compression"
  })

/** The content cut into blocks. They stay as they are: none is reused for a later one. */
export const blocks = <E, R>(plain: PlainContent<E, R>): Stream.Stream<Uint8Array, E, R> =>
  plain._tag === "Bytes" ? Stream.suspend(() => Stream.fromIterable(slices(plain.bytes))) : regroup(plain.stream)

// internal

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += blockSize) yield bytes.subarray(at, at + blockSize)
}

const regroup = <E, R>(stream: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E, R> =>
  Stream.suspend(() => {
    let block = new Uint8Array(blockSize)
    let filled = 0
    const take = (chunk: Uint8Array): Array<Uint8Array> => {
      const full: Array<Uint8Array> = []
      for (let at = 0; at < chunk.length; ) {
        const part = chunk.subarray(at, at + blockSize - filled)
        block.set(part, filled)
        filled += part.length
        at += part.length
        if (filled === blockSize) {
          full.push(block)
          block = new Uint8Array(blockSize)
          filled = 0
        }
      }
      return full
    }
    const rest = Stream.suspend(() => (filled === 0 ? Stream.empty : Stream.succeed(block.subarray(0, filled))))
    return stream.pipe(
      Stream.mapChunks((chunks) => Chunk.flatMap(chunks, (chunk) => Chunk.unsafeFromArray(take(chunk)))),
      Stream.concat(rest)
    )
  })
