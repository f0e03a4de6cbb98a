/** What holds for decompressed data of every kind: how it is recognized, its bounds, and how failures are told. */
import type { Bounds } from "../Compressor.js"
import type { Algorithm } from "../ImageStore.js"
import { ValidationError } from "../ValidationError.js"

/** More than this comes out of no image: it would only fill the disk. */
export const maxTotal = 256 * 1024 ** 3
/** Zeros compress a thousandfold, real archives a few times: past `ratioFrom` bytes, more than this ratio is refused. */
export const maxRatio = 200
export const ratioFrom = 8 * 1024 ** 3
/** Of a zstd window, 128 MiB: what the zstd command takes unless it is told otherwise. */
export const maxWindowLog = 27

/** Bytes at the start of data that say how it is compressed. */
export const headSize = 4

/**
 * Which algorithm wrote data that begins so: `undefined` for plain data. A zstd file may begin with a frame that is to be
 * skipped: https://www.rfc-editor.org/rfc/rfc8878#section-3.1.2
 */
export const detect = (head: Uint8Array): Algorithm | undefined => {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip"
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return "zstd"
  const isSkipped = ((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18
  return isSkipped ? "zstd" : undefined
}

/** Counts both sides of one run. */
export class Guard {
  private read = 0
  private written = 0

  constructor(private readonly bounds: Bounds) {}

  /** Whether no compressed byte went in. */
  get isEmpty(): boolean {
    return this.read === 0
  }

  /** So many more compressed bytes went in. */
  reads(bytes: number): void {
    this.read += bytes
  }

  /** So many more plain bytes came out; the error where that is more than may be. */
  writes(bytes: number): ValidationError | undefined {
    this.written += bytes
    const { maxRatio: ratio = maxRatio, maxSize = maxTotal, subject } = this.bounds
    if (this.written > maxSize) return tooLarge(subject, `decompresses to more than ${maxSize} bytes`)
    if (this.written <= ratioFrom || this.written <= ratio * this.read) return undefined
    return tooLarge(subject, `decompresses to more than ${ratio} times its size`)
  }
}

/** The error of data that the algorithm has not written, or not whole. */
export const damaged = (
  algorithm: Algorithm,
  subject: string,
  message = `its ${algorithm} data is damaged or cut off`,
  cause?: unknown
): ValidationError => ValidationError.of("DamagedData", subject, message, { cause })

/** The error of no data at all, which neither algorithm writes. */
export const empty = (algorithm: Algorithm, subject: string): ValidationError =>
  damaged(algorithm, subject, `its ${algorithm} data is empty`)

/** The error of data that ends, and goes on. */
export const followed = (algorithm: Algorithm, subject: string): ValidationError =>
  damaged(algorithm, subject, `its ${algorithm} data is followed by something else`)

/** The error of a zstd frame that can be read only with more memory than it may take. */
export const windowTooLarge = (subject: string): ValidationError =>
  tooLarge(subject, "its zstd data takes a window of more than 128 MiB", "compress it without --long and --ultra")

/** The error of a zstd frame whose window this process has no memory for. */
export const outOfMemory = (subject: string): ValidationError =>
  tooLarge(subject, "there is no memory for the window of its zstd data")

// internal

const tooLarge = (subject: string, message: string, hint?: string): ValidationError =>
  ValidationError.of("TooLarge", subject, message, hint === undefined ? {} : { hint })
