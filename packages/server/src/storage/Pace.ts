/** How fast the body of a request has to come. */

export interface Pace {
  /** Silence after which the sender counts as gone. Milliseconds. */
  readonly idle: number
  /** Bytes a second it must bring on average; time in which it waits for us does not count. */
  readonly rate: number
  /** What that is an average of. Milliseconds, default a minute. */
  readonly window?: number | undefined
}

/** Whether bytes come fast enough. */
export class Watch {
  private readonly timer: NodeJS.Timeout
  private lookedAt = performance.now()
  private last: { at: number; readonly came: number } = { at: this.lookedAt, came: 0 }
  private begin: { at: number; readonly came: number } = { at: this.lookedAt, came: 0 }

  constructor(
    private readonly pace: Pace,
    look: () => void
  ) {
    this.timer = setInterval(look, Math.min(1000, Math.max(5, Math.min(pace.idle, pace.window ?? minute) / 4)))
  }

  isTooSlow(came: number, isHeldBack: boolean): boolean {
    const { idle, rate, window = minute } = this.pace
    const now = performance.now()
    const passed = now - this.lookedAt
    this.lookedAt = now
    if (isHeldBack) {
      this.last.at += passed
      this.begin.at += passed
      return false
    }
    if (came > this.last.came) this.last = { at: now, came }
    if (now - this.last.at >= idle) return true
    if (now - this.begin.at < window) return false
    const isTooSlow = came - this.begin.came < (rate * window) / 1000
    this.begin = { at: now, came }
    return isTooSlow
  }

  stop(): void {
    clearInterval(this.timer)
  }
}

// internal

const minute = 60_000
