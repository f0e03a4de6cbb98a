/**
 * From the socket to the file: no Effect for a chunk. Bytes are copied into a shared buffer as they come, and each full buffer is
 * hashed and written while the next is filled. Writes go one after the other, so that the file never has a hole.
 */
import type { FileHandle } from "node:fs/promises"
import type { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import { UploadError } from "../BlobStore.js"
import { StorageError } from "../StorageError.js"
import * as Buffers from "./Buffers.js"
import type { Hash } from "./Hashing.js"
import { type Pace, Watch } from "./Pace.js"

/** Buffers of one upload that are not yet written and hashed; with more its sender waits. */
const mostLent = 8

/** Bytes after which the disk is told to begin, so that little is left to wait for at the end. */
const aheadEvery = 32 << 20

export interface Target {
  readonly handle: FileHandle
  /** Where in the file the first byte goes. */
  readonly position: number
  /** Given exactly the bytes that are written, in order. */
  readonly hash: Pick<Hash, "update"> | undefined
  readonly buffers: Buffers.Buffers
  /** Bytes that may come; with one more it is `TooLarge`. */
  readonly room: number
  readonly pace: Pace
  /** Starts to force what is written to the disk, if it can now; see `Files`. */
  readonly ahead?: ((handle: FileHandle) => Promise<void> | undefined) | undefined
}

/** What the disk could not keep although it took it: nothing of such a file can be relied on. */
export const notKept = "force an upload to the disk"

type Outcome = Effect.Effect<number, StorageError | UploadError>

/**
 * Writes all of `body` and returns the number of bytes. Whatever came is written before the effect ends, also when the body
 * breaks off, falls silent or is too slow (`ConnectionLost`) and when the effect is interrupted.
 */
export const receive = (body: Readable, target: Target): Outcome =>
  Effect.async<number, StorageError | UploadError>((resume) => {
    const receiving = new Receiving(body, target, resume)
    receiving.start()
    return Effect.async<void>((finished) => receiving.stop(() => finished(Effect.void)))
  })

// internal

interface Filled {
  readonly bytes: Uint8Array
  readonly written: () => void
}

class Receiving implements Buffers.Borrower {
  /** What came and is not yet in a buffer; the body is paused then. */
  private chunk: Uint8Array | undefined
  private buffer: Buffer | undefined
  private filled = 0
  private isWaiting = false
  private lent = 0
  private queue: Array<Filled> = []
  private isWriting = false
  private came = 0
  private written = 0
  private forced = 0
  private isForcing = false
  private outcome: Outcome | undefined
  private isDone = false
  private onSettled: (() => void) | undefined
  private readonly watch: Watch

  constructor(
    private readonly body: Readable,
    private readonly target: Target,
    private readonly resume: (outcome: Outcome) => void
  ) {
    this.watch = new Watch(target.pace, () => this.look())
  }

  start(): void {
    const { body } = this
    // A stream that errors also closes; without a listener the error would end the process.
    body.on("error", ignore)
    if (body.readableEnded) this.onEnd()
    else if (body.destroyed) this.onLost()
    else body.on("data", this.onData).on("end", this.onEnd).on("close", this.onLost)
  }

  /** Ends it early; what came is written first. */
  stop(finished: () => void): void {
    if (this.isDone) finished()
    else {
      this.onSettled = finished
      this.end(lost)
    }
  }

  onBuffer(buffer: Buffer): void {
    this.isWaiting = false
    this.buffer = buffer
    this.fill()
  }

  hurry(): void {
    if (this.filled > 0) this.ship()
  }

  // internal

  private readonly onData = (chunk: Uint8Array): void => {
    this.came += chunk.length
    if (this.came > this.target.room) this.fail(tooLarge)
    else {
      this.chunk = chunk
      this.fill()
    }
  }
  private readonly onEnd = (): void => this.end(Effect.sync(() => this.written))
  private readonly onLost = (): void => this.end(lost)

  private fill(): void {
    while (this.chunk !== undefined) {
      if (this.buffer === undefined) {
        if (this.isWaiting) return
        this.buffer = this.target.buffers.take(this)
        if (this.buffer === undefined) {
          this.isWaiting = true
          this.body.pause()
          return
        }
      }
      const part = this.chunk.subarray(0, Buffers.size - this.filled)
      // A plain copy. `set` goes word by word into shared memory, at a third of the speed.
      if (part.length > 0) this.buffer.fill(part, this.filled, this.filled + part.length)
      this.filled += part.length
      this.chunk = part.length === this.chunk.length ? undefined : this.chunk.subarray(part.length)
      if (this.filled === Buffers.size) this.ship()
    }
    if (this.outcome !== undefined) this.flush()
    else if (this.lent >= mostLent) this.body.pause()
    else this.goOn()
  }

  /** Sends what is in the buffer to the hash and the file. */
  private ship(): void {
    const { buffer, filled } = this
    const { buffers, hash } = this.target
    if (buffer === undefined) return
    this.buffer = undefined
    this.filled = 0
    this.lent += 1
    buffers.full(this)
    let users = hash === undefined ? 1 : 2
    const done = () => {
      users -= 1
      if (users > 0) return
      this.lent -= 1
      buffers.giveBack(buffer)
      this.goOn()
    }
    const bytes = buffer.subarray(0, filled)
    hash?.update(bytes, done)
    this.queue.push({ bytes, written: done })
    this.write()
  }

  private goOn(): void {
    const isFree = !this.isDone && this.outcome === undefined && this.chunk === undefined && this.lent < mostLent
    if (isFree && this.body.isPaused()) this.body.resume()
  }

  private write(): void {
    const { queue } = this
    if (this.isWriting || queue.length === 0) return
    this.queue = []
    this.isWriting = true
    const { handle, position } = this.target
    const all = queue.map(({ bytes }) => bytes)
    writeAll(handle, all, position + this.written).then(
      (length) => {
        this.isWriting = false
        this.written += length
        for (const { written } of queue) written()
        this.forceAhead()
        this.write()
        if (this.outcome !== undefined) this.flush()
      },
      (cause) => {
        this.isWriting = false
        for (const { written } of queue) written()
        this.fail(Effect.fail(new StorageError({ operation: "write an upload", cause })))
      }
    )
  }

  private forceAhead(): void {
    if (this.isForcing || this.written - this.forced < aheadEvery) return
    const forcing = this.target.ahead?.(this.target.handle)
    if (forcing === undefined) return
    this.forced = this.written
    this.isForcing = true
    forcing.then(
      () => {
        this.isForcing = false
        if (this.outcome !== undefined) this.flush()
      },
      (cause) => {
        this.isForcing = false
        this.fail(Effect.fail(new StorageError({ operation: notKept, cause })))
      }
    )
  }

  private end(how: Outcome): void {
    this.outcome ??= how
    this.flush()
  }

  /** Ends it, and what is not written yet is not written any more. */
  private fail(how: Outcome): void {
    this.outcome = how
    this.chunk = undefined
    this.isWaiting = false
    this.target.buffers.leave(this)
    if (this.buffer !== undefined) {
      this.target.buffers.full(this)
      this.target.buffers.giveBack(this.buffer)
    }
    this.buffer = undefined
    this.filled = 0
    for (const { written } of this.queue.splice(0)) written()
    this.flush()
  }

  /** Settles it once everything is written; nobody may use the file afterwards. */
  private flush(): void {
    if (this.chunk === undefined && this.filled > 0) this.ship()
    const isBusy = this.chunk !== undefined || this.isWriting || this.isForcing || this.queue.length > 0
    if (this.isDone || isBusy || this.outcome === undefined) return
    this.isDone = true
    this.watch.stop()
    this.body.off("data", this.onData).off("end", this.onEnd).off("close", this.onLost).pause()
    this.onSettled?.()
    this.resume(this.outcome)
  }

  /** Every now and then: whether it is still worth waiting for more. */
  private look(): void {
    if (this.outcome !== undefined) return
    // Bytes that come slowly are not held back from the file, nor a buffer from the others.
    this.hurry()
    if (this.watch.isTooSlow(this.came, this.body.isPaused())) this.body.destroy(new Error("the client is too slow"))
  }
}

const lost = Effect.fail(new UploadError({ reason: "ConnectionLost" }))

const tooLarge = Effect.fail(new UploadError({ reason: "TooLarge" }))

const ignore = () => {}

/** One gathered write; the kernel may take less than it was given. Returns the number of bytes. */
const writeAll = async (handle: FileHandle, all: ReadonlyArray<Uint8Array>, position: number): Promise<number> => {
  const length = all.reduce((sum, { length }) => sum + length, 0)
  let { bytesWritten } = await handle.writev(all, position)
  for (let start = 0, index = 0; bytesWritten < length; start += all[index]?.length ?? 0, index++) {
    const bytes = all[index] ?? new Uint8Array(0)
    while (bytesWritten < start + bytes.length) {
      const rest = bytes.subarray(bytesWritten - start)
      bytesWritten += (await handle.write(rest, 0, rest.length, position + bytesWritten)).bytesWritten
    }
  }
  return length
}
