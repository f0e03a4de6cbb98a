/**
 * The form of our zstd (RFC 8878): frames one after the other, each of a block of fixed size with its size and checksum in
 * it, so that the bytes depend on the data alone. The encoder is the library itself, one version of it compiled to
 * WebAssembly, which is loaded when it is used for the first time.
 */

export const name = "ereg-zstd-1"

/** Twice the window: a block of 1 MiB would cost 1.5 per cent of the ratio, one of 8 MiB gains 0.2. */
export const blockSize = 4 << 20

/** A block that does not compress grows by three bytes for each 128 KiB, and header and checksum. */
export const outputSize = blockSize + 4_096

/** What the zstd command calls its default. */
export const level = 3

export const header = (): Uint8Array => new Uint8Array(0)

/** Nothing, but for content without a block: a frame without data, because no data at all is no zstd. */
export const trailer = (_crc: number, size: number): Uint8Array =>
  size > 0
    ? new Uint8Array(0)
    : Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x00, 0x01, 0x00, 0x00, 0x99, 0xe9, 0xd8, 0x51)

/** Encoder and decoder, compiled once a thread. */
export const module = (): Promise<WebAssembly.Module> => {
  compiled ??= compile()
  return compiled
}

/** One at a time; its memory is 9 MiB, and 5 MiB more from the first check on. */
export interface Encoder {
  /** The frame of at most a block, as a copy; `undefined` where it was to be checked and is wrong. */
  readonly compress: (block: Uint8Array, check: boolean) => Uint8Array | undefined
}

/** A new instance of the encoder. */
export const makeEncoder = (module: WebAssembly.Module): Encoder => {
  const zstd = instantiate(module)
  if (zstd.encoder(blockSize, level) === 0) throw new Error("no memory for zstd")
  return {
    compress: (block, check) => {
      bytesAt(zstd, zstd.plain(), block.length).set(block)
      const size = zstd.compress(block.length)
      if (size === 0 || (check && zstd.verify(size, block.length) === 0)) return undefined
      return bytesAt(zstd, zstd.frame(), size).slice()
    }
  }
}

/** What the module exports; addresses are those of its own memory. */
export interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly encoder: (blockSize: number, level: number) => number
  readonly plain: () => number
  readonly frame: () => number
  readonly compress: (size: number) => number
  readonly verify: (size: number, plainSize: number) => number
  readonly decoder: (inputSize: number, outputSize: number, windowLog: number) => number
  readonly input: () => number
  readonly output: () => number
  readonly feed: (size: number) => void
  readonly left: () => number
  readonly made: () => number
  readonly decompress: () => number
}

export const instantiate = (module: WebAssembly.Module): Exports =>
  // What is exported is known from native/zstd.c; no type system sees into a module.
  new WebAssembly.Instance(module).exports as unknown as Exports

/** A piece of the memory, until it grows: views of it are taken anew for each use. */
export const bytesAt = ({ memory }: Exports, address: number, size: number): Uint8Array =>
  new Uint8Array(memory.buffer, address, size)

// internal

let compiled: Promise<WebAssembly.Module> | undefined

const compile = async (): Promise<WebAssembly.Module> => {
  const { base64 } = await import("./zstdWasm.js")
  const gzipped = new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))])
  const binary = await new Response(gzipped.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()
  // Some milliseconds, at once: a process with nothing else to do would not wait for the compiler of another thread.
  return new WebAssembly.Module(binary)
}
