/**
 * Deflate (RFC 1951) for one independent block of at most 1 MiB, and CRC-32, in AssemblyScript.
 *
 * The encoder is ours so that a layer gets the same digest on every machine: zlib promises no bytes, WebAssembly does. It uses
 * integers only, for the same reason. `scripts/build-deflate.mjs` turns this folder into `src/Compressor/deflateWasm.ts`; whoever
 * changes a byte of the output changes the digest of every image that is pushed, so that is for a major version.
 *
 * How it works: a greedy matcher with two candidates a hash bucket finds matches in the last 32 KiB of the block; at most 65,535
 * bytes at a time become one Huffman block with codes of its own, or a stored block where that is not larger. A block whose
 * samples show no redundancy is stored without a search. Each block ends with a sync flush, so that blocks concatenate.
 */
import { putStored, putStoredHeader, restart, written } from "./bits"
import { putBlock } from "./block"
import { crc32, initCrc } from "./crc32"
import {
  BUCKETS,
  count,
  countLiterals,
  DISTANCE_FREQUENCY,
  distanceSymbol,
  INPUT,
  LENGTH_BASE,
  LENGTH_EXTRA,
  LENGTH_SYMBOL,
  LITERAL_FREQUENCY,
  LONGEST_MATCH,
  META_ORDER,
  OUTPUT,
  SAMPLE,
  SEQUENCES,
  STORED_LIMIT,
  WINDOW
} from "./format"

// ---- tuning: each of these decides the bytes that come out

const HASH_BITS: u32 = 15
/** A search that found this much does not look at the second candidate. */
const GOOD_MATCH: u32 = 32
/** Positions inside a match that are put into the table: every second one of the first twelve. */
const INSERT_STEP: usize = 2
const INSERT_SPAN: usize = 12
/** Without a match the step grows by one every `1 << SKIP_BITS` bytes: data without matches is passed quickly. */
const SKIP_BITS: u32 = 5
/** No search in the last bytes of a block: reads of four bytes stay inside it. */
const TAIL: usize = 12

const SAMPLE_PIECE: u32 = 4096
const SAMPLE_SIZE: u32 = 4 * SAMPLE_PIECE
/** Smaller blocks are always searched. */
const SAMPLE_FROM: u32 = 65536
/** Sum of squared byte counts of a sample. Random bytes give 1,065,000; this is an entropy of 7.95 bits a byte. */
const FLAT: u32 = 1122000
/** A deflated sample longer than this (98.5 %) saves too little. */
const SAMPLE_POOR: u32 = 16138

// ---- matches

function bucketOf(fourBytes: u32): usize {
  return BUCKETS + <usize>((fourBytes * 0x9e3779b1) >> (32 - HASH_BITS)) * 8
}

/** How many bytes are equal from `a` and from `b`, which is ahead of it and ends at `limit`. */
function equalBytes(a: usize, b: usize, limit: usize): u32 {
  const from = b
  while (b + 8 <= limit) {
    const difference = load<u64>(a) ^ load<u64>(b)
    if (difference) return <u32>(b - from) + (<u32>ctz(difference) >> 3)
    a += 8
    b += 8
  }
  while (b < limit && load<u8>(a) === load<u8>(b)) {
    a++
    b++
  }
  return <u32>(b - from)
}

/** Writes the bytes from `from` to `end` as blocks. Matches reach back into earlier blocks of the same range. */
function deflateRange(from: usize, end: usize): void {
  memory.fill(BUCKETS, 0, (2 * 4) << HASH_BITS)
  for (let start = from; start < end; ) {
    const stop = min<usize>(start + STORED_LIMIT, end)
    memory.fill(LITERAL_FREQUENCY, 0, 288 * 4)
    memory.fill(DISTANCE_FREQUENCY, 0, 32 * 4)
    let ip = start
    let anchor = start // the first byte that no sequence covers yet
    let q = SEQUENCES
    const limit = stop - start > TAIL ? stop - TAIL : start
    while (ip < limit) {
      const four = load<u32>(ip)
      const bucket = bucketOf(four)
      const first = <usize>load<u32>(bucket)
      const second = <usize>load<u32>(bucket + 4)
      store<u64>(bucket, <u64>ip | ((<u64>first) << 32))
      const longest = min<usize>(ip + LONGEST_MATCH, stop)
      let length: u32 = 0
      let match = first
      if (<u32>(ip - first) <= WINDOW && load<u32>(first) === four) {
        length = equalBytes(first + 4, ip + 4, longest) + 4
        if (
          length < GOOD_MATCH &&
          <u32>(ip - second) <= WINDOW &&
          load<u32>(second + length - 3) === load<u32>(ip + length - 3)
        ) {
          const other = equalBytes(second, ip, longest)
          if (other > length) {
            length = other
            match = second
          }
        }
      } else if (<u32>(ip - second) <= WINDOW && load<u32>(second) === four) {
        length = equalBytes(second + 4, ip + 4, longest) + 4
        match = second
      } else {
        ip += 1 + ((ip - anchor) >> SKIP_BITS)
        continue
      }
      const distance = <u32>(ip - match) - 1
      store<u64>(q, <u64>(ip - anchor) | ((<u64>((length << 16) | distance)) << 32))
      q += 8
      countLiterals(anchor, ip)
      count(LITERAL_FREQUENCY, 257 + <usize>load<u8>(LENGTH_SYMBOL + length))
      count(DISTANCE_FREQUENCY, distanceSymbol(distance))
      const next = ip + length
      const insertEnd = min<usize>(min<usize>(next, limit), ip + INSERT_SPAN)
      for (let p = ip + 1; p < insertEnd; p += INSERT_STEP) {
        const slot = bucketOf(load<u32>(p))
        store<u64>(slot, <u64>p | ((<u64>load<u32>(slot)) << 32))
      }
      ip = next
      anchor = next
    }
    if (anchor < stop) {
      store<u64>(q, <u64>(stop - anchor))
      q += 8
      countLiterals(anchor, stop)
    }
    putBlock(start, <u32>(stop - start), q)
    start = stop
  }
}

/** True when four samples of the block have next to no redundancy: flat byte counts first, a real deflate only then. */
function incompressible(n: u32): bool {
  if (n < SAMPLE_FROM) return false
  const step = (n - SAMPLE_PIECE) / 3
  for (let i: u32 = 0; i < 4; i++) memory.copy(SAMPLE + i * SAMPLE_PIECE, INPUT + i * step, SAMPLE_PIECE)
  memory.fill(LITERAL_FREQUENCY, 0, 288 * 4)
  countLiterals(SAMPLE, SAMPLE + SAMPLE_SIZE)
  let squares: u32 = 0
  for (let i: u32 = 0; i < 256; i++) {
    const f = load<u32>(LITERAL_FREQUENCY + (i << 2))
    squares += f * f
  }
  if (squares > FLAT) return false
  restart()
  deflateRange(SAMPLE, SAMPLE + SAMPLE_SIZE)
  return written() >= SAMPLE_POOR
}

// ---- what the host calls

export { crc32, INPUT, OUTPUT }

/** Fills the tables that never change. Once, before anything else. */
export function init(): void {
  let base: u32 = 3
  for (let symbol: u32 = 0; symbol < 28; symbol++) {
    const extra: u32 = symbol < 8 ? 0 : (symbol - 4) >> 2
    store<u8>(LENGTH_EXTRA + symbol, <u8>extra)
    store<u16>(LENGTH_BASE + (symbol << 1), <u16>base)
    for (let i: u32 = 0; i < 1 << extra && base + i <= <u32>LONGEST_MATCH; i++) {
      store<u8>(LENGTH_SYMBOL + base + i, <u8>symbol)
    }
    base += 1 << extra
  }
  // 258 has a symbol of its own, without extra bits
  store<u8>(LENGTH_EXTRA + 28, 0)
  store<u16>(LENGTH_BASE + 56, 258)
  store<u8>(LENGTH_SYMBOL + 258, 28)
  // 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15
  store<u8>(META_ORDER, 16)
  store<u8>(META_ORDER + 1, 17)
  store<u8>(META_ORDER + 2, 18)
  store<u8>(META_ORDER + 3, 0)
  for (let i: u32 = 0; i < 8; i++) store<u8>(META_ORDER + 4 + 2 * i, <u8>(8 + i))
  for (let i: u32 = 0; i < 7; i++) store<u8>(META_ORDER + 5 + 2 * i, <u8>(7 - i))
  initCrc()
}

/** Deflates the `n` bytes at INPUT and returns how many bytes it left at OUTPUT. */
export function deflate(n: u32): u32 {
  const poor = incompressible(n)
  restart()
  if (poor) {
    for (let at: u32 = 0; at < n; at += <u32>STORED_LIMIT) putStored(INPUT + at, min<u32>(<u32>STORED_LIMIT, n - at))
  } else {
    deflateRange(INPUT, INPUT + n)
  }
  putStoredHeader(0) // a sync flush: byte aligned, ready for the next block
  return written()
}
