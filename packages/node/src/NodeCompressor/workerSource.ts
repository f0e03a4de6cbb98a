/**
 * What a thread of the compressor runs, as text: a bundle has no file that a worker could be started from.
 *
 * A job is `{ id, buffer, length, fd?, position?, verify }`: the plain bytes are in `buffer`, or are read into it from
 * `fd`. The answer is `{ id, buffer, output, size }`, or with `error`, or with `wrong: true` where the deflated block does
 * not inflate to its bytes. Both buffers move to and fro, so that a thread allocates nothing for a block.
 */
export const workerSource = `"use strict"
const { parentPort, workerData } = require("node:worker_threads")
const { readSync } = require("node:fs")
const { inflateRawSync, constants } = require("node:zlib")

const encoder = new WebAssembly.Instance(workerData.module).exports
encoder.init()
const memory = new Uint8Array(encoder.memory.buffer)

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
    memory.set(bytes, encoder.INPUT.value)
    const size = encoder.deflate(length)
    const deflated = new Uint8Array(output, 0, size)
    deflated.set(memory.subarray(encoder.OUTPUT.value, encoder.OUTPUT.value + size))
    if (verify) {
      const options = { chunkSize: length + 64, finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: length + 64 }
      if (Buffer.compare(inflateRawSync(deflated, options), bytes) !== 0) return answer({ wrong: true })
    }
    answer({ size })
  } catch (error) {
    const { code, message } = error
    answer({ error: { code, message } })
  }
})
`
