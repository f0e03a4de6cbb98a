/** Content cut into blocks that are compressed one by one. */
import * as Chunk from "effect/Chunk"
import * as Stream from "effect/Stream"
import type { PlainContent } from "../ImageStore.js"

/** The content in blocks of one size, the last one shorter. They stay as they are: none is reused for a later one. */
export const of = <E, R>(plain: PlainContent<E, R>, blockSize: number): Stream.Stream<Uint8Array, E, R> =>
  plain._tag === "Bytes"
    ? Stream.suspend(() => Stream.fromIterable(slices(plain.bytes, blockSize)))
    : regroup(plain.stream, blockSize)

// internal

function* slices(bytes: Uint8Array, blockSize: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += blockSize) yield bytes.subarray(at, at + blockSize)
}

const regroup = <E, R>(stream: Stream.Stream<Uint8Array, E, R>, blockSize: number): Stream.Stream<Uint8Array, E, R> =>
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
