/** One body on its way through the proxy: counted, slowed down, and harmed where its fault says so. */
import { Transform } from "node:stream"
import type { Bucket } from "./Bucket.js"

/** A place in a body: bytes from its start, or chosen by its Content-Length, `undefined` where it has none. */
export type Position = number | ((length: number | undefined) => number)

export interface StreamFault {
  /** Body bytes that pass before the connection is reset. */
  readonly cutAt?: Position
  /** Body bytes that pass before nothing more does. */
  readonly stallAt?: Position
  /** Body bytes that pass before the connection is closed in good order. */
  readonly truncateAt?: Position
  /** Body bytes that the other side is given as the whole body. */
  readonly shortenAt?: Position
  /** The place in the body of the byte of which the lowest bit is changed. */
  readonly flipAt?: Position
  /** Bytes a second, shared by all bodies of this direction that are told the same rate. */
  readonly rate?: number
}

/** The fault of one body, in bytes; what does not happen is at infinity. */
export interface Plan {
  readonly cut: number
  readonly stall: number
  readonly truncate: number
  readonly shorten: number
  readonly flip: number
}

export const plan = (fault: StreamFault, length: number | undefined): Plan => {
  const at = (position: Position = Number.POSITIVE_INFINITY) =>
    typeof position === "number" ? position : position(length)
  return {
    cut: at(fault.cutAt),
    stall: at(fault.stallAt),
    truncate: at(fault.truncateAt),
    shorten: at(fault.shortenAt),
    flip: at(fault.flipAt)
  }
}

export interface Events {
  readonly passed: (bytes: number) => void
  /** The fault happened. */
  readonly struck: () => void
  /** Resets the connection. */
  readonly cut: () => void
  /** Closes the connection in good order. */
  readonly close: () => void
}

/** Milliseconds for what was passed on to be read on the other side: a reset drops what is still under way. */
const reading = 20

/** Passes bytes on until the fault strikes. */
export const make = (plan: Plan, bucket: Bucket | undefined, events: Events): Transform => {
  const end = Math.min(plan.cut, plan.stall, plan.truncate, plan.shorten)
  let passed = 0
  let shortened = false
  return new Transform({
    highWaterMark: 256 * 1024,
    transform(chunk: Buffer, _encoding, done) {
      if (shortened) return done()
      const part = flip(chunk.subarray(0, Math.max(0, end - passed)), plan.flip - passed, events.struck)
      passed += part.length
      const pass = () => {
        events.passed(part.length)
        this.push(part)
        if (passed < end) return done()
        events.struck()
        if (end === plan.shorten) {
          shortened = true
          this.push(null)
          done()
        } else if (end === plan.cut) setTimeout(events.cut, reading)
        else if (end === plan.truncate) setTimeout(events.close, reading)
      }
      if (bucket === undefined) pass()
      else bucket(part.length, pass)
    }
  })
}

// internal

const flip = (part: Buffer, at: number, struck: () => void): Buffer => {
  const byte = at < 0 ? undefined : part[at]
  if (byte === undefined) return part
  const changed = Buffer.from(part)
  changed[at] = byte ^ 1
  struck()
  return changed
}
