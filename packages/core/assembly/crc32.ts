/** CRC-32 as gzip has it (RFC 1952), eight bytes at a time. */
import { CRC_TABLES, INPUT } from "./format"

/** Fills the tables. */
export function initCrc(): void {
  for (let i: u32 = 0; i < 256; i++) {
    let c = i
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0xedb88320 : c >> 1
    store<u32>(CRC_TABLES + (i << 2), c)
  }
  for (let i: u32 = 256; i < 8 * 256; i++) {
    const before = load<u32>(CRC_TABLES + ((i - 256) << 2))
    store<u32>(CRC_TABLES + (i << 2), (before >> 8) ^ load<u32>(CRC_TABLES + ((before & 255) << 2)))
  }
}

function crcCell(table: u32, byte: u64): u32 {
  return load<u32>(CRC_TABLES + (table << 10) + ((<usize>(byte & 255)) << 2))
}

/** Continues `crc` (0 at the start) over the `n` bytes at INPUT. */
export function crc32(crc: u32, n: u32): u32 {
  let c = ~crc
  let p = INPUT
  const end = INPUT + n
  for (; p + 8 <= end; p += 8) {
    const x = load<u64>(p) ^ <u64>c
    c =
      crcCell(7, x) ^
      crcCell(6, x >> 8) ^
      crcCell(5, x >> 16) ^
      crcCell(4, x >> 24) ^
      crcCell(3, x >> 32) ^
      crcCell(2, x >> 40) ^
      crcCell(1, x >> 48) ^
      crcCell(0, x >> 56)
  }
  for (; p < end; p++) c = (c >> 8) ^ crcCell(0, <u64>(c ^ load<u8>(p)))
  return ~c
}
