/**
 * What a thread of the compressor runs, as text: a bundle has no file that a worker could be started from.
 *
 * A job is `{ id, buffer, output, length, fd?, position?, verify }`: the plain bytes are in `buffer`, or are read into it
 * from `fd`. The answer is `{ id, buffer, output, size }`, or with `error`, or with `wrong: true` where the compressed block
 * does not decompress to its bytes. Both buffers move to and fro, so that a thread allocates nothing for a block.
 */
export const workerSource = `"use strict"
const { parentPort, workerData } = require("node:worker_threads")
const { readSync } = require("node:fs")
const { inflateRawSync, constants } = require("node:zlib")

const wasm = new WebAssembly.Instance(workerData.module).exports
let memory = new Uint8Array(0)
const grown = () => memory.buffer === wasm.memory.buffer ? memory : (memory = new Uint8Array(wasm.memory.buffer))

const gzip = () => {
  wasm.init()
  return (bytes, output) => {
    grown().set(bytes, wasm.INPUT.value)
    const size = wasm.deflate(bytes.length)
    const compressed = new Uint8Array(output, 0, size)
    compressed.set(memory.subarray(wasm.OUTPUT.value, wasm.OUTPUT.value + size))
    const isRight = () => {
      const most = bytes.length + 64
      const options = { chunkSize: most, finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: most }
      return Buffer.compare(inflateRawSync(compressed, options), bytes) === 0
    }
    return { compressed, isRight }
  }
}

const zstd = () => {
  if (wasm.encoder(workerData.blockSize, workerData.level) === 0) throw new Error("no memory for zstd")
  return (bytes, output) => {
    grown().set(bytes, wasm.plain())
    const size = wasm.compress(bytes.length)
    if (size === 0) throw new Error("no memory for zstd")
    const compressed = new Uint8Array(output, 0, size)
    compressed.set(grown().subarray(wasm.frame(), wasm.frame() + size))
    const isRight = () => {
      memory.set(compressed, wasm.frame())
      return wasm.verify(size, bytes.length) !== 0
    }
    return { compressed, isRight }
  }
}

const encode = workerData.algorithm === "zstd" ? zstd() : gzip()

const fill = (bytes, fd, position) => {
  let got = 0
  while (got < bytes.length) {
    const n = readSync(fd, bytes, got, bytes.length - got, position + got)
    if (n === 0) throw new Error("the file ends " + (bytes.length - got) + " bytes too early")
    got += n
  }
}

parentPort.on("message", ({ buffer, fd, id, length, output, position, verify }) => {
  const answer = (more) => parentPort.postMessage({ id, buffer, output, ...more }, [buffer, output])
  try {
    const bytes = new Uint8Array(buffer, 0, length)
    if (fd !== undefined) fill(bytes, fd, position)
    const { compressed, isRight } = encode(bytes, output)
    if (verify && !isRight()) return answer({ wrong: true })
    answer({ size: compressed.length })
  } catch (error) {
    const { code, message } = error
    answer({ error: { code, message } })
  }
})
`
