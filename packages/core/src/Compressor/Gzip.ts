/**
 * The form of our gzip (RFC 1952): one member whose header and block borders are fixed, so that its bytes depend on the
 * data alone. Blocks are independent, so that any number of threads writes the same bytes.
 */
import * as Encoder from "./Encoder.js"

export const name = "ereg-gzip-1"

export const blockSize = Encoder.blockSize

/** A block that does not compress grows by five bytes for each 65,535, and the flush. */
export const outputSize = blockSize + 1_024

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

export const module = async (): Promise<WebAssembly.Module> => new WebAssembly.Module(Encoder.binary() as BufferSource)
