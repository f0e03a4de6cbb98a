/**
 * The body of a manifest, which has to be held in memory: bounded in size, in time, and in what all of them hold together.
 */
import * as Effect from "effect/Effect"
import * as OciError from "../OciError.js"
import { type Pace, Watch } from "../storage/Pace.js"
import type { Exchange } from "./Exchange.js"

export interface Bounds {
  /** Bytes that a manifest may have. */
  readonly size: number
  readonly pace: Pace
  /** One permit a byte. */
  readonly together: Effect.Semaphore
}

/** For one registry. `size` in bytes. */
export const bounds = (size: number, pace: Pace): Bounds => ({
  size,
  pace,
  together: Effect.unsafeMakeSemaphore(Math.max(most, size))
})

/** Runs `f` with the whole body. It is not read before there is room for it beside the others. */
export const use = <A, E, R>(
  exchange: Exchange,
  f: (bytes: Uint8Array) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | OciError.OciError, R> =>
  Effect.suspend(() => {
    const { size, together } = exchange.bounds
    const header = exchange.headers["content-length"]
    const announced = header === undefined ? size : Number(header)
    if (announced > size) return tooLarge(size)
    const used = Effect.flatMap(collect(exchange), f)
    return announced <= small ? used : together.withPermits(announced)(used)
  })

// internal

/** Bytes that large manifests hold at a time; more of them wait. */
const most = 64 << 20

/** Bytes of nearly every manifest. Those never wait, so a few slow senders of large ones hold up nobody else. */
const small = 64 << 10

const collect = ({ body, bounds: { pace, size }, proceed }: Exchange): Effect.Effect<Uint8Array, OciError.OciError> =>
  Effect.async((resume) => {
    // Not the chunks as they came: one of a byte costs hundreds.
    let bytes = Buffer.allocUnsafe(Math.min(size, small))
    let came = 0
    const watch = new Watch(pace, () => watch.isTooSlow(came, false) && settle(tooSlow))
    const settle = (outcome: Effect.Effect<Uint8Array, OciError.OciError>) => {
      watch.stop()
      body.off("data", onData).off("end", onEnd).off("close", onLost).pause()
      resume(outcome)
    }
    const onData = (chunk: Uint8Array) => {
      const at = came
      came += chunk.length
      if (came > size) return settle(tooLarge(size))
      if (came > bytes.length) {
        const larger = Buffer.allocUnsafe(Math.min(size, Math.max(came, 2 * bytes.length)))
        bytes.copy(larger, 0, 0, at)
        bytes = larger
      }
      bytes.set(chunk, at)
    }
    const onEnd = () => settle(Effect.succeed(Buffer.from(bytes.subarray(0, came))))
    const onLost = () => settle(lost)
    proceed?.()
    // A stream that errors also closes; without a listener the error would end the process.
    body
      .on("error", () => {})
      .on("data", onData)
      .on("end", onEnd)
      .on("close", onLost)
    return Effect.sync(() => settle(lost))
  })

const broken = (message: string) => OciError.make("MANIFEST_INVALID", message, { headers: { connection: "close" } })

const lost = broken("the body broke off")

const tooSlow = broken("the body came too slowly")

const tooLarge = (size: number) =>
  OciError.make("MANIFEST_INVALID", `a manifest has at most ${size} bytes`, {
    status: 413,
    headers: { connection: "close" }
  })
