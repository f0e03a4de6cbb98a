/** A rate that several connections share, exact over any time longer than the burst. */

/** Milliseconds of silence that may be made up for: a timer that fires late costs no throughput. */
const burst = 50
/** Milliseconds that are not worth a timer. */
const tick = 4

/** Calls back when this many bytes may have passed, at once or by a timer, in the order of the calls. */
export type Bucket = (bytes: number, then: () => void) => void

/** Bytes a second. */
export const make = (rate: number): Bucket => {
  let free = performance.now()
  return (bytes, then) => {
    const now = performance.now()
    free = Math.max(free, now - burst) + (bytes / rate) * 1000
    if (free - now < tick) then()
    else setTimeout(then, free - now)
  }
}
