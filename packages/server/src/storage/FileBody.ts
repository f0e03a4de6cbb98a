/**
 * A part of a file as the body of an answer. Node's own file streams allocate memory for every read, and the garbage collector
 * then takes as much time as the sending; into a response the bytes go by buffers that are used again.
 */
import type { FileHandle } from "node:fs/promises"
import * as Fs from "node:fs/promises"
import { ServerResponse } from "node:http"
import { Readable } from "node:stream"

/** Bytes of a chunk that somebody keeps, and of a buffer that is sent and used again. */
const chunkSize = 1 << 20
const bufferSize = 1 << 19

/** Buffers that nobody sends at the moment; more than these are garbage. */
const spare: Array<Buffer> = []
const mostSpare = 32

export class FileBody extends Readable {
  private handle: FileHandle | undefined
  private readonly opening: Promise<void>
  private at: number
  private gone = () => {}
  /** What must end before the file is closed. */
  private busy: Promise<unknown> = Promise.resolve()

  /** The bytes from `start` up to and including `end`, which must be in the file. */
  constructor(
    private readonly path: string,
    start: number,
    private readonly end: number
  ) {
    super({ highWaterMark: chunkSize })
    this.at = start
    this.opening = Fs.open(path, "r").then((handle) => {
      this.handle = handle
    })
  }

  override _construct(callback: (error?: Error | null) => void): void {
    this.opening.then(() => callback(), callback)
  }

  override _read(): void {
    if (this.at > this.end) {
      this.push(null)
      return
    }
    this.busy = this.fill(Buffer.allocUnsafeSlow(Math.min(chunkSize, this.end - this.at + 1))).then(
      (bytes) => void this.push(bytes),
      (cause) => void this.destroy(cause)
    )
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.busy.then(() => this.handle?.close()).then(() => callback(error), callback)
  }

  /** A response lets go of what it has sent; of anybody else that is not known. */
  override pipe<T extends NodeJS.WritableStream>(destination: T, options?: { end?: boolean | undefined }): T {
    if (!(destination instanceof ServerResponse)) return super.pipe(destination, options)
    destination.once("close", () => {
      this.gone()
      this.destroy()
    })
    this.busy = this.send(destination).then(
      () => {
        // Nothing is left to be read, so this only ends it.
        this.resume()
        if (options?.end !== false) destination.end()
      },
      (cause) => void this.destroy(cause)
    )
    return destination
  }

  // internal

  /** Reads into one buffer while the other is on its way. */
  private async send(response: ServerResponse): Promise<void> {
    await this.opening
    let filling = spare.pop() ?? Buffer.allocUnsafeSlow(bufferSize)
    let sending = spare.pop() ?? Buffer.allocUnsafeSlow(bufferSize)
    let sent: Promise<void> = Promise.resolve()
    while (this.at <= this.end && !this.destroyed) {
      const bytes = await this.fill(filling.subarray(0, Math.min(bufferSize, this.end - this.at + 1)))
      await sent
      if (this.destroyed) return
      sent = this.write(response, bytes)
      ;[filling, sending] = [sending, filling]
    }
    await sent
    if (spare.length < mostSpare && !this.destroyed) spare.push(filling, sending)
  }

  private async fill(buffer: Buffer): Promise<Buffer> {
    const { bytesRead } = (await this.handle?.read(buffer, 0, buffer.length, this.at)) ?? { bytesRead: 0 }
    if (bytesRead === 0) throw new Error(`${this.path} ends too early`)
    this.at += bytesRead
    return buffer.subarray(0, bytesRead)
  }

  /** Waits until the response has no use for the bytes any more, or is gone. */
  private write(response: ServerResponse, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.gone = resolve
      response.write(bytes, () => resolve())
    })
  }
}
