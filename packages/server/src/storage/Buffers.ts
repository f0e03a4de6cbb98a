/**
 * The memory that all uploads share: buffers that are filled from a socket, then hashed and written, then used again. There are
 * so many and no more, however many uploads there are; who finds none waits in line.
 */

/** Bytes of a buffer: small enough to be still in the processor's cache when it is hashed and written. */
export const size = 1 << 18

/** A fast sender fills a buffer in a fraction of this. Milliseconds. */
const patience = 10

/** Who fills one buffer after the other. */
export interface Borrower {
  /** It is this one's turn. */
  readonly onBuffer: (buffer: Buffer) => void
  /** Others wait: send away what is in the buffer, however little. */
  readonly hurry: () => void
}

export class Buffers {
  private readonly free: Array<Buffer> = []
  private made = 0
  private timer: NodeJS.Timeout | undefined
  /** Both in the order in which they came. */
  private readonly waiting = new Set<Borrower>()
  private readonly filling = new Set<Borrower>()

  /** `most`: how many buffers there may be; 16 MiB unless told otherwise. */
  constructor(private readonly most = 64) {}

  /** A buffer to fill, or `undefined`: then `onBuffer` brings it. */
  take(borrower: Borrower): Buffer | undefined {
    const buffer = this.waiting.size > 0 ? undefined : (this.free.pop() ?? this.make())
    if (buffer !== undefined) {
      this.filling.add(borrower)
      return buffer
    }
    this.waiting.add(borrower)
    this.timer ??= setTimeout(() => this.look(), patience)
    return undefined
  }

  /** This one has stopped filling, and gives the buffer back when its bytes are where they belong. */
  full(borrower: Borrower): void {
    this.filling.delete(borrower)
  }

  giveBack(buffer: Buffer): void {
    for (const next of this.waiting) {
      this.waiting.delete(next)
      this.filling.add(next)
      next.onBuffer(buffer)
      return
    }
    this.free.push(buffer)
  }

  /** This one waits no more. */
  leave(borrower: Borrower): void {
    this.waiting.delete(borrower)
  }

  // internal

  /** Slow senders sit on buffers that are hardly filled; while somebody waits, none has one for longer than this. */
  private look(): void {
    this.timer = undefined
    if (this.waiting.size === 0) return
    this.timer = setTimeout(() => this.look(), patience)
    for (const slow of [...this.filling]) slow.hurry()
  }

  private make(): Buffer | undefined {
    if (this.made === this.most) return undefined
    this.made += 1
    // Shared, so that a thread hashes the very bytes that are written.
    return Buffer.from(new SharedArrayBuffer(size))
  }
}
