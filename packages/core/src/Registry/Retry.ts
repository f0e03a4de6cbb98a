/** The one policy for what is tried again, how often and after how long. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Progress from "../Progress.js"
import { RegistryError } from "../RegistryError.js"
import type * as Client from "./Client.js"
import type * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Request from "./Request.js"

/** A host that refuses an operation's first request is more likely misspelt than restarting. */
export const firstRequest = { attempts: 3, within: Duration.seconds(5) }
/** How often an exchange begins anew whose bytes came out wrong. */
export const maxRestarts = 2
/** A registry could make us wait for years. */
export const maxRetryAfter = Duration.minutes(5)

export interface Options<E> {
  /** Errors that are tried again although they are no fault of the network, at once and at most twice. Default: wrong content. */
  readonly restart?: ((error: E | RegistryError) => boolean) | undefined
  /** Whether something was moved since it was asked last: then what failed before does not count. Default: never. */
  readonly progressed?: (() => boolean) | undefined
}

/** Runs `attempt` until it succeeds, the error is of a kind that stays, or enough was tried. */
export const retry = <A, E, R>(
  client: Client.Client,
  operation: string,
  attempt: (number: number) => Effect.Effect<A, E | RegistryError, R>,
  { progressed = () => false, restart = isWrongContent }: Options<E> = {}
): Effect.Effect<A, E | RegistryError, R> => {
  const loop = (number: number, failures: number, restarts: number): Effect.Effect<A, E | RegistryError, R> =>
    Effect.catchAll(Effect.zipRight(pause(client), attempt(number)), (error) => {
      if (restarts < maxRestarts && restart(error) && !isGivenUp(client, error)) {
        return Effect.zipRight(
          announce(operation, number, error instanceof Error ? error.message : String(error)),
          loop(number + 1, failures, restarts + 1)
        )
      }
      if (!(error instanceof RegistryError)) return Effect.fail(error)
      const failed = progressed() ? 1 : failures + 1
      return Effect.zipRight(again(client, operation, error, failed), loop(number + 1, failed, restarts))
    })
  return Effect.suspend(() => loop(1, 0, 0))
}

/** Sends a call and works with its answer; both are tried again together. */
export const exchange = <A, E, R>(
  client: Client.Client,
  call: Exchange.Call,
  use: (response: Exchange.Response) => Effect.Effect<A, E | RegistryError, R>
): Effect.Effect<A, E | RegistryError, Exclude<R, Scope.Scope>> =>
  retry(client, call.operation, () => Effect.scoped(Effect.flatMap(Request.send(client, call), use)))

/** After `failures` failed attempts: waits and succeeds where another one is due, fails with the error where not. */
export const again = (
  client: Client.Client,
  operation: string,
  error: RegistryError,
  failures: number
): Effect.Effect<void, RegistryError> =>
  Effect.gen(function* () {
    const { config, state } = client
    const giveUp = Effect.suspend(() => {
      state.givenUp.add(error)
      return Effect.fail(error)
    })
    if (!isTransient(error) || state.givenUp.has(error)) return yield* Effect.fail(error)
    const first = error.reason === "Unreachable" && !state.answered
    if (failures >= (first ? Math.min(firstRequest.attempts, config.retry.attempts) : config.retry.attempts)) {
      return yield* giveUp
    }
    const backoff = Math.min(
      Duration.toMillis(config.retry.maxDelay),
      Duration.toMillis(config.retry.delay) * 2 ** (failures - 1)
    )
    const wait = backoff * (0.5 + (yield* Random.next) / 2)
    const asked = error.retryAfter ?? 0
    if (asked > Duration.toMillis(maxRetryAfter)) return yield* giveUp
    const budget = Duration.toMillis(first ? firstRequest.within : config.retry.budget)
    const now = yield* Clock.currentTimeMillis
    // Those that wait at the same time wait once.
    const more = Math.max(0, now + wait - Math.max(now, state.waitingUntil))
    if (asked <= wait && state.waited + more > budget) return yield* giveUp
    if (asked <= wait) {
      state.waited += more
      state.waitingUntil = Math.max(state.waitingUntil, now + wait)
    }
    const pauseFor = Math.max(wait, asked)
    if (error.reason === "RateLimited") {
      state.notBefore = Math.max(state.notBefore, now + pauseFor)
      state.gate.narrow()
    }
    yield* announce(operation, failures, error.message)
    yield* Effect.sleep(Duration.millis(pauseFor))
  })

/** Whether the same request may do better in a while. A certificate, a refusal or a missing thing stays what it is. */
export const isTransient = (error: RegistryError): boolean => {
  switch (error.reason) {
    case "Unreachable":
    case "ConnectionLost":
    case "Timeout":
    case "RateLimited":
      return true
    case "ServerError":
      return error.status !== 501 && error.status !== 505
    default:
      return false
  }
}

/** Bytes found wrong by us, not by the registry, which says so with a code of its own. */
export const isWrongContent = (error: unknown): boolean => Failure.isMismatch(error) && error.codes.length === 0

// internal

const isGivenUp = (client: Client.Client, error: unknown): boolean =>
  error instanceof RegistryError && client.state.givenUp.has(error)

/** Waits where the registry asked everybody to slow down. */
const pause = (client: Client.Client): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    client.state.notBefore > now ? Effect.sleep(Duration.millis(client.state.notBefore - now)) : Effect.void
  )

const announce = (operation: string, failed: number, message: string): Effect.Effect<void> =>
  Effect.map(Progress.Progress, (progress) =>
    progress.emit({ _tag: "Retrying", operation, attempt: failed + 1, message })
  )
