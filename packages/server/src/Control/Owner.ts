/** What an owner of a folder says of itself, and whether it is still there. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Channel from "./Channel.js"
import * as Machine from "./Machine.js"

export const Owner = Schema.Struct({
  /** Where it answers, and the secret that both sides prove to know. */
  port: Schema.Int.pipe(Schema.between(1, 65_535)),
  token: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/)),
  place: Machine.Place,
  /** It has ended, and said so. */
  released: Schema.optional(Schema.Boolean)
})
export type Owner = typeof Owner.Type

export const decode = Schema.decodeOption(Schema.parseJson(Owner))
export const encode = Schema.encodeSync(Schema.parseJson(Owner))

/** How often an owner shows that it is alive, in milliseconds. */
export const beat = 2000

/** How long the watch of an owner that cannot be asked lasts, in milliseconds. */
export const patience = 5 * beat

/** A file with an owner's words. */
export interface Record {
  readonly text: string
  /** When its owner last showed that it is alive. */
  readonly beatAt: number
}

export type State =
  | { readonly _tag: "Gone" }
  /** `reachable`: it can be asked from here. */
  | { readonly _tag: "Alive"; readonly owner: Owner | undefined; readonly reachable: boolean }

const gone: State = { _tag: "Gone" }

/**
 * Asks the owner. One that does not answer is gone where this machine knows it; one elsewhere (another container or machine that
 * shares the folder) is watched for some seconds: `look` reads its record again, `undefined` where there is another one. One of the
 * same host name is elsewhere too, unless the machine was not started again since: names are given twice.
 */
export const stateOf = (record: Record, look: Effect.Effect<Record | undefined>): Effect.Effect<State> =>
  Effect.gen(function* () {
    const owner = Option.getOrUndefined(decode(record.text))
    if (owner?.released === true) return gone
    if (owner !== undefined) {
      const answer = yield* Channel.ping(owner)
      if (answer === "Proved") return { _tag: "Alive", owner, reachable: true }
      const here = yield* Effect.promise(Machine.here)
      if (Machine.sharesNetwork(owner.place, here)) {
        if (answer === "Refused" || (yield* Effect.promise(() => Machine.isGone(owner.place, here)))) return gone
        // It hangs, or it is stopped; it may go on at any time.
        if (owner.place.processes === here.processes) return { _tag: "Alive", owner, reachable: false }
      }
    }
    yield* Effect.logInfo(`waiting ${patience / 1000} seconds to see whether ${whereOf(owner)} still uses the folder`)
    for (let waited = 0; waited < patience; waited += beat / 4) {
      yield* Effect.sleep(beat / 4)
      const now = yield* look
      if (now === undefined) return gone
      if (now.beatAt !== record.beatAt) return { _tag: "Alive", owner, reachable: false }
    }
    return gone
  })

/** `process 12 on host`, for messages. */
export const whereOf = (owner: Owner | undefined): string =>
  owner === undefined ? "another process" : `process ${owner.place.pid} on ${owner.place.host}`
