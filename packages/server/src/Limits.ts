/** What one client, and all of them together, may ask of the registry. */
import { isIPv6 } from "node:net"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as OciError from "./OciError.js"
import type { Pace } from "./storage/Pace.js"

export interface Options {
  /** Largest upload taken, in bytes. Default: as much as the disk holds. */
  readonly uploadSize?: number | undefined
  /** Unfinished uploads at a time. Default 1000. */
  readonly openUploads?: number | undefined
  /** Requests a second from one address, on average; twice as many at once. Default: any number. */
  readonly requestRate?: number | undefined
  /** Bytes a second that the body of a request must bring, on average over a minute. Default 1024. */
  readonly bodyRate?: number | undefined
  /** Silence after which the sender of an upload counts as gone; the bytes that came are kept. Default 1 minute. */
  readonly idle?: Duration.DurationInput | undefined
  /** Largest manifest taken, in bytes. Default 8 MiB; the specification asks for 4 MiB at least. */
  readonly manifestSize?: number | undefined
  /** When an upload that gets no bytes is removed. Default 1 day. */
  readonly uploadExpiry?: Duration.DurationInput | undefined
}

/** How fast bodies have to come. */
export const pace = ({ bodyRate = 1024, idle = "1 minute" }: Options): Pace => ({
  idle: Duration.toMillis(idle),
  rate: bodyRate
})

export interface Limits {
  /** Lets a request from this address through, or refuses it with `TOOMANYREQUESTS` and `Retry-After`. */
  readonly admit: (remote: string) => Effect.Effect<void, OciError.OciError>
}

export const make = ({ requestRate }: Options): Limits => {
  if (requestRate === undefined) return { admit: () => Effect.void }
  const buckets = new Buckets(requestRate)
  return {
    admit: (remote) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const wait = buckets.take(source(remote), now)
        return wait === 0 ? Effect.void : tooMany(wait)
      })
  }
}

/**
 * Who an address stands for: IPv4 as it is, IPv6 by its /64, because a host has all addresses of one.
 * `::ffff:192.0.2.1` is the IPv4 address.
 */
export const source = (remote: string): string => {
  if (!isIPv6(remote)) return remote
  const [address = ""] = remote.toLowerCase().split("%")
  const mapped = /^::ffff:([0-9.]+)$/.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [head = "", tail] = address.split("::")
  const front = head === "" ? [] : head.split(":")
  const back = tail === undefined || tail === "" ? [] : tail.split(":")
  const zeros = tail === undefined ? 0 : 8 - front.length - back.length - (address.includes(".") ? 1 : 0)
  const groups = [...front, ...Array<string>(Math.max(0, zeros)).fill("0"), ...back]
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`
}

// internal

/** Addresses remembered; the one that was silent longest, whose bucket has filled up most, is forgotten first. */
const mostSources = 10_000

/** A bucket of tokens for each source: `rate` a second come in, up to twice as many are kept. */
class Buckets {
  private readonly buckets = new Map<string, { tokens: number; at: number }>()

  constructor(private readonly rate: number) {}

  /** Takes a token, or says in how many milliseconds there is one. */
  take(source: string, now: number): number {
    const most = Math.max(1, 2 * this.rate)
    const bucket = this.buckets.get(source) ?? { tokens: most, at: now }
    // Put last: a Map keeps its order, so the first one is the one that was silent longest.
    this.buckets.delete(source)
    this.buckets.set(source, bucket)
    for (const [oldest] of this.buckets) {
      if (this.buckets.size <= mostSources) break
      this.buckets.delete(oldest)
    }
    bucket.tokens = Math.min(most, bucket.tokens + (Math.max(0, now - bucket.at) * this.rate) / 1000)
    bucket.at = now
    if (bucket.tokens < 1) return Math.ceil(((1 - bucket.tokens) / this.rate) * 1000)
    bucket.tokens -= 1
    return 0
  }
}

const tooMany = (milliseconds: number) =>
  OciError.make("TOOMANYREQUESTS", "too many requests from this address", {
    headers: { "retry-after": String(Math.ceil(milliseconds / 1000)) }
  })
