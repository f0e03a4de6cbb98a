/** The memory map, the limits of the format, and its symbols. */

// ---- memory map: fixed addresses, nothing is allocated

export const CRC_TABLES: usize = 0x2000 // u32[8][256]
export const SAMPLE: usize = 0x8000 // u8[SAMPLE_SIZE]
export const BUCKETS: usize = 0x10000 // u32[2 << HASH_BITS]: the two latest positions that had this hash
export const SEQUENCES: usize = 0x50000 // u64 each: literals | (length << 16 | distance - 1) << 32
export const LITERAL_FREQUENCY: usize = 0x74000 // u32[288]
export const DISTANCE_FREQUENCY: usize = 0x74800 // u32[32]
export const LITERAL_CODES: usize = 0x75000 // u32[288]: code | bits << 16
export const DISTANCE_CODES: usize = 0x75800 // u32[32]
export const LENGTH_CODES: usize = 0x76000 // u32[259]: code and extra bits of a match length | bits << 24
export const LENGTH_SYMBOL: usize = 0x76800 // u8[259]: match length -> symbol - 257
export const LENGTH_EXTRA: usize = 0x76a00 // u8[32]: symbol - 257 -> number of extra bits
export const LENGTH_BASE: usize = 0x76a40 // u16[32]: symbol - 257 -> shortest length
export const SORT_KEYS: usize = 0x77000 // u32[288]: frequency << 9 | symbol
export const TREE: usize = 0x77800 // u32[288]: weights, parents, then depths
export const COUNTS: usize = 0x78000 // u32[64]: number of codes of each length
export const LENGTHS: usize = 0x78200 // u8[320]: code lengths, literals first, distances behind them
export const META_LENGTHS: usize = LENGTHS + 320 // u8[19]
export const RUNS: usize = 0x78400 // u8[2][316]: symbol of the code length code, value of its extra bits
export const META_FREQUENCY: usize = 0x78800 // u32[19]
export const META_CODES: usize = 0x78900 // u32[19]
export const META_ORDER: usize = 0x78a00 // u8[19]

/** Where the caller puts the bytes of a block. */
export const INPUT: usize = 0x80000 // u8[1 MiB]
/** Where `deflate` leaves its answer. */
export const OUTPUT: usize = 0x190000 // u8[1 MiB + what stored blocks and the flush add]

// ---- limits of the format (RFC 1951, 3.2.5 to 3.2.7)

export const LITERAL_SYMBOLS: u32 = 286
export const DISTANCE_SYMBOLS: u32 = 30
export const META_SYMBOLS: u32 = 19
export const END_OF_BLOCK: usize = 256
export const WINDOW: u32 = 32768
export const LONGEST_MATCH: usize = 258
export const STORED_LIMIT: usize = 65535

// ---- symbols

export function count(table: usize, symbol: usize): void {
  const cell = table + (symbol << 2)
  store<u32>(cell, load<u32>(cell) + 1)
}

export function countLiterals(from: usize, to: usize): void {
  for (let p = from; p < to; p++) count(LITERAL_FREQUENCY, load<u8>(p))
}

/** Symbol of a distance, given distance - 1. */
export function distanceSymbol(d: u32): u32 {
  if (d < 4) return d
  const n = 31 - clz(d)
  return (n << 1) + ((d >> (n - 1)) & 1)
}

export function distanceExtra(symbol: u32): u32 {
  return symbol < 4 ? 0 : (symbol >> 1) - 1
}
