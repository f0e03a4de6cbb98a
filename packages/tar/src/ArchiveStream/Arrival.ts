/** How much of a file is written, for those who read it meanwhile. */

interface Waiting {
  readonly position: number
  readonly resolve: () => void
  readonly reject: (cause: Error) => void
}

/** Past Effect: threads wait for every block of it. */
export class Arrival {
  private there = 0
  private stopped: Error | undefined
  private waiting: ReadonlyArray<Waiting> = []

  /** All bytes before this position are in the file. */
  reached(position: number): void {
    this.there = position
    const ready = this.waiting.filter((each) => each.position <= position)
    if (ready.length === 0) return
    this.waiting = this.waiting.filter((each) => each.position > position)
    for (const { resolve } of ready) resolve()
  }

  /** Nothing more is written; does nothing the second time. */
  stop(): void {
    this.stopped ??= new Error("nothing more is written to the file")
    for (const { reject } of this.waiting) reject(this.stopped)
    this.waiting = []
  }

  /** Settles when the bytes are there; rejects when they never will be. */
  readonly until = (position: number): Promise<void> => {
    if (position <= this.there) return Promise.resolve()
    const promise =
      this.stopped === undefined
        ? new Promise<void>((resolve, reject) => {
            this.waiting = [...this.waiting, { position, resolve, reject }]
          })
        : Promise.reject(this.stopped)
    // Whoever asked may have gone.
    promise.catch(() => {})
    return promise
  }
}
