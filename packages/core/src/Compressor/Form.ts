/** What is fixed about the bytes of compressed layers, beside the encoder: any number of threads writes the same. */
import type { Algorithm } from "../ImageStore.js"
import { ValidationError } from "../ValidationError.js"
import * as Gzip from "./Gzip.js"
import * as Zstd from "./Zstd.js"

export interface Form {
  /** The encoder with this form around it; another name with every change of its bytes. */
  readonly name: string
  /** Plain bytes of a block; the last one may be shorter. Changing it changes every digest. */
  readonly blockSize: number
  /** Bytes that a block may become at most. */
  readonly outputSize: number
  /** What the encoder is told, where it can be told. */
  readonly level?: number
  /** What stands before the first block; may be empty, as the trailer may. */
  readonly header: () => Uint8Array
  /** What stands behind the last block, from the CRC-32 of all plain bytes and their number. */
  readonly trailer: (crc: number, size: number) => Uint8Array
  /** The compiled encoder, for whoever runs it in threads of its own. */
  readonly module: () => Promise<WebAssembly.Module>
}

/** The form of everything that this algorithm compresses. */
export const of = (algorithm: Algorithm): Form => (algorithm === "zstd" ? Zstd : Gzip)

/** Whether block `index` is decompressed again and compared: the first one and every sixteenth cost about three per cent. */
export const isVerified = (index: number): boolean => index % 16 === 0

/** The error that stops a push whose compressed bytes are not what was read. */
export const wrongBlock = (algorithm: Algorithm, index: number): ValidationError =>
  ValidationError.of("DigestMismatch", algorithm, `block ${index} does not decompress to the bytes it was made of`, {
    hint: "this machine's memory or its WebAssembly is faulty; compress elsewhere, or push without compression"
  })
