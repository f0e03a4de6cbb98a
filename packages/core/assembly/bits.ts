/** The bit writer. Its state is here, and so are the loops that keep it in locals. */
import { DISTANCE_CODES, distanceSymbol, LENGTH_CODES, LITERAL_CODES, OUTPUT, SEQUENCES } from "./format"

let out: usize = 0
let bits: u64 = 0
let bitCount: u32 = 0

/** Begins anew at OUTPUT. */
export function restart(): void {
  out = OUTPUT
  bits = 0
  bitCount = 0
}

/** Bytes written since `restart`. */
export function written(): u32 {
  return <u32>(out - OUTPUT)
}

/** Appends `n` bits, least significant first. Up to 57 fit between two calls of `flush`. */
export function put(value: u32, n: u32): void {
  bits |= (<u64>value) << (<u64>bitCount)
  bitCount += n
}

/** Moves the whole bytes to the output. */
export function flush(): void {
  store<u64>(out, bits)
  const n = bitCount >> 3
  out += n
  bits >>= <u64>(n << 3)
  bitCount &= 7
}

/** The header of a stored block that is not the last one, and the padding to a byte that it needs. */
export function putStoredHeader(n: u32): void {
  put(0, 3)
  flush()
  if (bitCount) {
    bitCount = 8
    flush()
  }
  bits = 0
  bitCount = 0
  store<u16>(out, <u16>n)
  store<u16>(out + 2, <u16>~n)
  out += 4
}

export function putStored(from: usize, n: u32): void {
  putStoredHeader(n)
  memory.copy(out, from, n)
  out += n
}

/** Writes literals and matches. The writer's state is kept in locals here: this loop is half of the run time. */
export function putSequences(from: usize, end: usize): void {
  let ip = from
  let o = out
  let acc = bits
  let n = bitCount
  for (let q = SEQUENCES; q < end; q += 8) {
    let literals = load<u32>(q)
    const match = load<u32>(q + 4)
    for (; literals >= 3; literals -= 3) {
      const a = load<u32>(LITERAL_CODES + ((<usize>load<u8>(ip)) << 2))
      const b = load<u32>(LITERAL_CODES + ((<usize>load<u8>(ip + 1)) << 2))
      const c = load<u32>(LITERAL_CODES + ((<usize>load<u8>(ip + 2)) << 2))
      acc |= (<u64>(a & 0xffff)) << (<u64>n)
      n += a >> 16
      acc |= (<u64>(b & 0xffff)) << (<u64>n)
      n += b >> 16
      acc |= (<u64>(c & 0xffff)) << (<u64>n)
      n += c >> 16
      store<u64>(o, acc)
      const whole = n >> 3
      o += whole
      acc >>= <u64>(whole << 3)
      n &= 7
      ip += 3
    }
    for (; literals > 0; literals--) {
      const a = load<u32>(LITERAL_CODES + ((<usize>load<u8>(ip)) << 2))
      acc |= (<u64>(a & 0xffff)) << (<u64>n)
      n += a >> 16
      ip++
    }
    store<u64>(o, acc)
    const whole = n >> 3
    o += whole
    acc >>= <u64>(whole << 3)
    n &= 7
    if (match) {
      const length = match >> 16
      const distance = match & 0xffff
      const lengthCode = load<u32>(LENGTH_CODES + (length << 2))
      acc |= (<u64>(lengthCode & 0xffffff)) << (<u64>n)
      n += lengthCode >> 24
      const symbol = distanceSymbol(distance)
      const code = load<u32>(DISTANCE_CODES + (symbol << 2))
      acc |= (<u64>(code & 0xffff)) << (<u64>n)
      n += code >> 16
      if (symbol >= 4) {
        const extra = (symbol >> 1) - 1
        acc |= (<u64>(distance & ((1 << extra) - 1))) << (<u64>n)
        n += extra
      }
      store<u64>(o, acc)
      const bytes = n >> 3
      o += bytes
      acc >>= <u64>(bytes << 3)
      n &= 7
      ip += length
    }
  }
  out = o
  bits = acc
  bitCount = n
}
