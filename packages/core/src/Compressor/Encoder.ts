/** The deflate encoder of `assembly/`, compiled once a thread and run in it. */

import { base64 } from "./deflateWasm.js"
/** Plain bytes that it takes at once. */
export const blockSize = 1 << 20

export interface Encoder {
  /** Deflates at most a block, ended by a sync flush. The answer is a copy. */
  readonly deflate: (block: Uint8Array) => Uint8Array
  /** Continues a CRC-32, 0 at the start, over at most a block. */
  readonly crc32: (block: Uint8Array, crc: number) => number
}

/** What the module exports. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly INPUT: { readonly value: number }
  readonly OUTPUT: { readonly value: number }
  readonly init: () => void
  readonly deflate: (n: number) => number
  readonly crc32: (crc: number, n: number) => number
}

/** The binary module, for whoever runs it in threads of its own. */
export const binary = (): Uint8Array => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))

/** A new instance: 3 MiB of memory, synchronous, one caller at a time. */
export const make = (): Encoder => {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(binary() as BufferSource))
  const { INPUT, OUTPUT, crc32, deflate, init, memory } = instance.exports as unknown as Exports
  init()
  const input = new Uint8Array(memory.buffer, INPUT.value, blockSize)
  return {
    deflate: (block) => {
      input.set(block)
      return new Uint8Array(memory.buffer, OUTPUT.value, deflate(block.length)).slice()
    },
    crc32: (block, crc) => {
      input.set(block)
      return crc32(crc, block.length) >>> 0
    }
  }
}

let instance: Encoder | undefined
/** The instance that this thread shares. */
export const shared = (): Encoder => {
  instance ??= make()
  return instance
}
