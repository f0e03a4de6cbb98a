/** One block of deflate: its code lengths as runs (RFC 1951, 3.2.7), its codes, its sequences. */
import { flush, put, putSequences, putStored } from "./bits"
import {
  count,
  DISTANCE_CODES,
  DISTANCE_FREQUENCY,
  DISTANCE_SYMBOLS,
  distanceExtra,
  END_OF_BLOCK,
  LENGTH_BASE,
  LENGTH_CODES,
  LENGTH_EXTRA,
  LENGTH_SYMBOL,
  LENGTHS,
  LITERAL_CODES,
  LITERAL_FREQUENCY,
  LITERAL_SYMBOLS,
  LONGEST_MATCH,
  META_CODES,
  META_FREQUENCY,
  META_LENGTHS,
  META_ORDER,
  META_SYMBOLS,
  RUNS
} from "./format"
import { buildCode } from "./huffman"

let runsEnd: usize = 0
function putRun(symbol: u32, extra: u32): void {
  store<u8>(runsEnd, <u8>symbol)
  store<u8>(runsEnd + 1, <u8>extra)
  runsEnd += 2
  count(META_FREQUENCY, symbol)
}

function collectRuns(total: u32): void {
  memory.fill(META_FREQUENCY, 0, META_SYMBOLS << 2)
  runsEnd = RUNS
  let i: u32 = 0
  while (i < total) {
    const length: u32 = load<u8>(LENGTHS + i)
    let run: u32 = 1
    while (i + run < total && load<u8>(LENGTHS + i + run) === length) run++
    i += run
    if (length === 0) {
      while (run >= 11) {
        const n = min<u32>(run, 138)
        putRun(18, n - 11)
        run -= n
      }
      if (run >= 3) {
        putRun(17, run - 3)
        run = 0
      }
    } else {
      putRun(length, 0)
      run--
      while (run >= 3) {
        const n = min<u32>(run, 6)
        putRun(16, n - 3)
        run -= n
      }
    }
    for (; run > 0; run--) putRun(length, 0)
  }
}

function runExtra(symbol: u32): u32 {
  return symbol < 16 ? 0 : symbol === 16 ? 2 : symbol === 17 ? 3 : 7
}

// ---- one Huffman block

/** Size in bits of the block with the codes at hand. */
function blockBits(metaCount: u32): u32 {
  let size: u32 = 17 + metaCount * 3
  for (let p = RUNS; p < runsEnd; p += 2) {
    const symbol: u32 = load<u8>(p)
    size += load<u8>(META_LENGTHS + symbol) + runExtra(symbol)
  }
  for (let s: u32 = 0; s < LITERAL_SYMBOLS; s++) {
    const extra: u32 = s > 264 && s < 285 ? load<u8>(LENGTH_EXTRA + s - 257) : 0
    size += load<u32>(LITERAL_FREQUENCY + (s << 2)) * ((load<u32>(LITERAL_CODES + (s << 2)) >> 16) + extra)
  }
  for (let s: u32 = 0; s < DISTANCE_SYMBOLS; s++) {
    size += load<u32>(DISTANCE_FREQUENCY + (s << 2)) * ((load<u32>(DISTANCE_CODES + (s << 2)) >> 16) + distanceExtra(s))
  }
  return size
}

/** Joins code and extra bits of every match length, so that the loop below reads one table. */
function fillLengthCodes(): void {
  for (let length: u32 = 3; length <= <u32>LONGEST_MATCH; length++) {
    const symbol: u32 = load<u8>(LENGTH_SYMBOL + length)
    const code = load<u32>(LITERAL_CODES + ((symbol + 257) << 2))
    const codeBits = code >> 16
    const extra = (length - load<u16>(LENGTH_BASE + (symbol << 1))) << codeBits
    store<u32>(
      LENGTH_CODES + (length << 2),
      (code & 0xffff) | extra | ((codeBits + load<u8>(LENGTH_EXTRA + symbol)) << 24)
    )
  }
}

/** Writes the `n` bytes at `from`, whose sequences and frequencies were collected, as a Huffman or a stored block. */
export function putBlock(from: usize, n: u32, sequencesEnd: usize): void {
  store<u32>(LITERAL_FREQUENCY + (END_OF_BLOCK << 2), 1)
  buildCode(LITERAL_FREQUENCY, LITERAL_SYMBOLS, 15, LITERAL_CODES, LENGTHS)
  let matches: u32 = 0
  for (let i: u32 = 0; i < DISTANCE_SYMBOLS; i++) matches |= load<u32>(DISTANCE_FREQUENCY + (i << 2))
  if (!matches) store<u32>(DISTANCE_FREQUENCY, 1) // some decoders refuse a distance code without any symbol
  buildCode(DISTANCE_FREQUENCY, DISTANCE_SYMBOLS, 15, DISTANCE_CODES, LENGTHS + 288)

  let literalCount = LITERAL_SYMBOLS
  while (literalCount > 257 && !load<u8>(LENGTHS + literalCount - 1)) literalCount--
  let distanceCount = DISTANCE_SYMBOLS
  while (distanceCount > 1 && !load<u8>(LENGTHS + 288 + distanceCount - 1)) distanceCount--
  memory.copy(LENGTHS + literalCount, LENGTHS + 288, distanceCount)
  collectRuns(literalCount + distanceCount)
  buildCode(META_FREQUENCY, META_SYMBOLS, 7, META_CODES, META_LENGTHS)
  let metaCount = META_SYMBOLS
  while (metaCount > 4 && !load<u8>(META_LENGTHS + load<u8>(META_ORDER + metaCount - 1))) metaCount--

  if (blockBits(metaCount) >> 3 >= n) {
    putStored(from, n)
    return
  }
  put(4, 3) // not the last block, dynamic codes
  put(literalCount - 257, 5)
  put(distanceCount - 1, 5)
  put(metaCount - 4, 4)
  flush()
  for (let s: u32 = 0; s < metaCount; s++) {
    put(load<u8>(META_LENGTHS + load<u8>(META_ORDER + s)), 3)
    flush()
  }
  for (let p = RUNS; p < runsEnd; p += 2) {
    const symbol: u32 = load<u8>(p)
    const code = load<u32>(META_CODES + (symbol << 2))
    put(code & 0xffff, code >> 16)
    put(load<u8>(p + 1), runExtra(symbol))
    flush()
  }
  fillLengthCodes()
  putSequences(from, sequencesEnd)
  const end = load<u32>(LITERAL_CODES + (END_OF_BLOCK << 2))
  put(end & 0xffff, end >> 16)
  flush()
}
