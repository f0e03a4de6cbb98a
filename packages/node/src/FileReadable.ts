/** A segment of an open file as a Node stream, in reads of 1 MiB, whose descriptor stays its owner's. */
import * as Fs from "node:fs"
import { Readable } from "node:stream"

/** The read size is what decides the throughput of an upload: 64 KiB reads cost a third of it. */
const readSize = 1 << 20

/**
 * Not `fs.createReadStream`: that closes the descriptor when it is destroyed, and does not tell a file that became
 * shorter from its end.
 */
export class FileReadable extends Readable {
  private position: number
  private left: number
  private reading = false
  private afterRead: (() => void) | undefined
  /** Bytes given out or held ready. */
  pushed = 0

  constructor(
    private readonly fd: number,
    offset: number,
    size: number,
    private readonly onBytes: (bytes: number) => void
  ) {
    super({ highWaterMark: readSize })
    this.position = offset
    this.left = size
  }

  /** Ends here, as if the segment did. */
  stop(): void {
    this.left = 0
  }

  override _read(): void {
    if (this.left <= 0) {
      this.push(null)
      return
    }
    const length = Math.min(readSize, this.left)
    this.reading = true
    Fs.read(this.fd, Buffer.allocUnsafeSlow(length), 0, length, this.position, (error, got, buffer) => {
      this.reading = false
      if (this.afterRead !== undefined) return this.afterRead()
      if (error !== null) return void this.destroy(error)
      if (got === 0) return void this.destroy(new Error(`the file ends ${this.left} bytes too early`))
      this.position += got
      this.left = Math.max(0, this.left - got)
      this.pushed += got
      this.onBytes(got)
      this.push(got === length ? buffer : buffer.subarray(0, got))
    })
  }

  /** Closes only after a read in flight: the owner may close the descriptor next, and its number be given to another file. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.reading) this.afterRead = () => callback(error)
    else callback(error)
  }
}
