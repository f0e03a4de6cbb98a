/**
 * From the socket to the file, hashed on the way: no Effect and no allocation of ours for a chunk, writes of 1 MiB and more.
 */
import type { FileHandle } from "node:fs/promises"
import type { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import { UploadError } from "../BlobStore.js"
import { StorageError } from "../StorageError.js"

/** Bytes gathered before a write; the socket is paused at four times as many. */
const batch = 1 << 20

export interface Target {
  readonly handle: FileHandle
  /** Where in the file the first byte goes. */
  readonly position: number
  /** Fed with exactly the bytes that were written, in order. */
  readonly hash: { readonly update: (chunk: Uint8Array) => void } | undefined
  /** Silence after which the client counts as gone. Milliseconds. */
  readonly idle: number
}

/**
 * Writes all of `body` and returns the number of bytes. Whatever came is written before the effect ends, also when the body
 * breaks off (`ConnectionLost`) and when the effect is interrupted.
 */
export const receive = (body: Readable, target: Target): Effect.Effect<number, StorageError | UploadError> =>
  Effect.async<number, StorageError | UploadError>((resume) => {
    let queue: Array<Uint8Array> = []
    let queued = 0
    let written = 0
    let writing = false
    let outcome: Effect.Effect<number, StorageError | UploadError> | undefined
    let settled: () => void = () => {}
    let done = false

    const end = (how: Effect.Effect<number, StorageError | UploadError>) => {
      outcome ??= how
      flush()
    }
    const settle = (how: Effect.Effect<number, StorageError | UploadError>) => {
      if (done) return
      done = true
      clearTimeout(timer)
      body.off("data", onData).off("end", onEnd).off("close", onLost)
      settled()
      resume(how)
    }
    const flush = () => {
      if (writing || done) return
      if (queue.length === 0 && outcome !== undefined) return settle(outcome)
      if (queue.length === 0 || (queued < batch && outcome === undefined)) return
      const buffers = queue
      const length = queued
      queue = []
      queued = 0
      writing = true
      writeAll(target.handle, buffers, length, target.position + written).then(
        () => {
          writing = false
          written += length
          timer.refresh()
          if (queued < 4 * batch && body.isPaused()) body.resume()
          flush()
        },
        (cause) => {
          writing = false
          queue = []
          outcome = Effect.fail(new StorageError({ operation: "write an upload", cause }))
          flush()
        }
      )
    }
    const onData = (chunk: Uint8Array) => {
      target.hash?.update(chunk)
      queue.push(chunk)
      queued += chunk.length
      timer.refresh()
      if (queued >= batch) flush()
      if (queued >= 4 * batch) body.pause()
    }
    const onEnd = () => end(Effect.sync(() => written))
    const onLost = () => end(lost)
    const timer = setTimeout(() => {
      if (writing) timer.refresh()
      else body.destroy(new Error("the client fell silent"))
    }, target.idle)

    // A stream that errors also closes; without a listener the error would end the process.
    body.on("error", onError).on("data", onData).on("end", onEnd).on("close", onLost)
    if (body.readableEnded) onEnd()
    else if (body.destroyed) onLost()

    return Effect.async<void>((finished) => {
      if (done) return finished(Effect.void)
      settled = () => finished(Effect.void)
      end(lost)
    })
  })

// internal

const lost = Effect.fail(new UploadError({ reason: "ConnectionLost" }))

const onError = () => {}

/** One gathered write; the kernel may take less than it was given. */
const writeAll = async (handle: FileHandle, buffers: ReadonlyArray<Uint8Array>, length: number, position: number) => {
  const { bytesWritten } = await handle.writev(buffers, position)
  if (bytesWritten === length) return
  const rest = Buffer.concat(buffers).subarray(bytesWritten)
  let at = position + bytesWritten
  for (let offset = 0; offset < rest.length; ) {
    const { bytesWritten } = await handle.write(rest, offset, rest.length - offset, at)
    offset += bytesWritten
    at += bytesWritten
  }
}
