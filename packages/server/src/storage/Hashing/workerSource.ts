/**
 * What the thread that hashes runs, as text: a bundle has no file that a worker could be started from.
 *
 * A message is `{ key, algorithm, bytes, id }`: more bytes of the upload `key`, answered by `{ id }` when nobody looks at them
 * any more; without `bytes` it asks for the digest of what came so far, answered by `{ id, digest }`; `{ key }` alone forgets.
 */
export const workerSource = `"use strict"
const { parentPort } = require("node:worker_threads")
const { createHash } = require("node:crypto")

const hashes = new Map()

parentPort.on("message", ({ algorithm, bytes, id, key }) => {
  if (id === undefined) return void hashes.delete(key)
  let hash = hashes.get(key)
  if (hash === undefined) hashes.set(key, (hash = createHash(algorithm)))
  if (bytes === undefined) return void parentPort.postMessage({ id, digest: hash.copy().digest("hex") })
  hash.update(bytes)
  parentPort.postMessage({ id })
})
`
